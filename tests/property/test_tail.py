"""A tail beside everything that may happen to writers: what `test_exactly_once` does, with somebody looking on.

The model is the same line: each event appended since the tail began is shown exactly once, whatever came in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from ess_ray.core.errors import Fenced, UnknownOutcome
from ess_ray.core.query import All, Query
from ess_ray.ports import View
from ess_ray.search.tail import EndsReader, Parts, Tail, read_cursor
from ess_ray.testing import HereExecutor
from tests.examples import examples
from tests.property.test_exactly_once import BEHIND_VIEWS, WRITERS, ExactlyOnce, Owners
from tests.worlds import VNODES

QUERY = Query(All())


class TailExactlyOnce(ExactlyOnce):
    @initialize()
    def begin(self) -> None:
        super().begin()
        self.between = "nothing"
        self.clock_s = 0.0
        self.shown: list[str] = []
        self.tail: Tail = self.run(Tail.begin(self._parts(), "default", QUERY))

    def _parts(self) -> Parts:
        world = self.world
        ends = EndsReader(world.log, world.store, lambda: self.clock_s)
        return Parts(ends, self, world.catalog, world.store, HereExecutor(world.store), lambda: self.clock_s)

    async def views(self, *asked: Any, **more: Any) -> list[View]:
        """Be InFlight, over whoever owns what at this moment."""
        return await Owners(self.owner, self._then).views(*asked, **more)

    def _then(self, moment: str) -> None:
        """Happens between a look's views and its snapshot."""
        if moment != BEHIND_VIEWS:
            return
        inner = asyncio.new_event_loop()
        try:
            if self.between == "flush":
                for writer in self.writers:
                    inner.run_until_complete(writer.poll())
                    inner.run_until_complete(writer.flush())
            elif self.between == "take over":
                inner.run_until_complete(self.writers[0].assign(range(VNODES)))
        except (Fenced, UnknownOutcome):
            pass
        finally:
            inner.close()

    @rule(between=st.sampled_from(["nothing", "flush", "take over"]))
    def look(self, between: str) -> None:
        self.between = between
        self._look()
        self.between = "nothing"

    def _look(self) -> None:
        self.clock_s += 1
        look = self.run(self.tail.look())
        assert look.skipped == 0
        self.shown += look.rows.column("message").to_pylist()
        doubled = [name for name, times in Counter(self.shown).items() if times > 1]
        assert not doubled, "shown twice"

    @rule()
    def reconnect(self) -> None:
        """The connection is lost between two looks; the client comes back with what it was given."""
        cursor = read_cursor(str(self.tail.cursor))
        self.tail = self.run(Tail.begin(self._parts(), "default", QUERY, cursor))

    @rule(writer=st.integers(0, WRITERS - 1))
    def store_everything_unseen(self, writer: int) -> None:
        """What is appended and stored between two looks is in no buffer any more."""
        self.append(0, 2, 1)
        self.poll(writer)
        self.flush(writer)

    def _settle(self) -> None:
        super()._settle()
        last = self.world.writer()
        self.run(last.assign(range(VNODES)))
        self.owner = dict.fromkeys(range(VNODES), last)
        self._look()
        assert self.tail.lag_records == 0
        assert Counter(self.shown) == Counter(self.expected)


TailExactlyOnce.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestTailExactlyOnce = TailExactlyOnce.TestCase
