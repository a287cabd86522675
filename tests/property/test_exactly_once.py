"""Exactly once, proved: writers, zombies, crashes, faults, take-overs and searches, at random, against a model.

The model is one line long: every appended event (a repeated key once) is found exactly once, by every search that calls
itself complete, and in the table at the end. Clients repeat events with ids, requests with keys, and requests of
several parts of which some were stored; some of it was appended by an ess_ray of before, in format 1, and cut
otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.collect import ROWS
from ess_ray.core.errors import DataLoss, Fenced, Unavailable, UnknownOutcome
from ess_ray.core.query import All, Query
from ess_ray.core.timestamps import partition_of
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import SearchLimits
from ess_ray.ports import Catalog, CatalogWriter, Record, ScanTask, Snapshot, View
from ess_ray.record import RequestKey, encode_records
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from ess_ray.table.compaction import commit, merge, plan
from tests.examples import examples
from tests.formats import encode_record_1, keyed_headers_1
from tests.worlds import HOUR_US, T0_US, VNODES, World, batch_of

WRITERS = 3


Moment = Callable[[str], None]


class Table:
    """The catalog as readers see it, with something that may happen before each snapshot."""

    def __init__(self, catalog: Catalog, then: Moment) -> None:
        self._catalog, self._then = catalog, then
        self.given: list[Snapshot] = []

    def snapshot(self) -> Snapshot:
        self._then(BEFORE_SNAPSHOT)
        self.given.append(self._catalog.snapshot())
        return self.given[-1]

    def writer(self) -> CatalogWriter:
        return self._catalog.writer()

    def exclusive(self) -> AbstractContextManager[None]:
        return self._catalog.exclusive()


class Owners:
    """InFlight over the writers of this process, with something that may happen before and behind the views."""

    def __init__(self, writers: Mapping[int, VnodeWriter], then: Moment) -> None:
        self._writers, self._then = writers, then
        self.asked: Mapping[int, int] = {}

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        **_: object,
    ) -> list[View]:
        self.asked = dict(min_ends)
        await asyncio.to_thread(self._then, BEFORE_VIEWS)
        found: list[View] = []
        for writer in {id(w): w for w in self._writers.values()}.values():
            mine = {v for v, w in self._writers.items() if w is writer} & writer.positions.keys() & min_ends.keys()
            view = collect_frozen(writer.freeze(tenant, since=since), query, ROWS)
            rows = view.table.filter(pa.array([v in mine for v in view.table.column("vnode").to_pylist()], pa.bool_()))
            matched = {vnode: count for vnode, count in view.matched.items() if vnode in mine}
            found.append(View({v: r for v, r in view.ranges.items() if v in mine}, rows, matched=matched))
        await asyncio.to_thread(self._then, BEHIND_VIEWS)
        return found


BEFORE_SNAPSHOT, BEFORE_VIEWS, BEHIND_VIEWS = "before a snapshot", "before the views", "behind the views"


Payload = tuple[int, str, bool, int, bool]
"""(virtual node, name, by key rather than by id, hour, with a hash) of what may be sent again."""


Large = tuple[int, str, int, int, bool]
"""(virtual node, name, events, hour, by an ess_ray of before) of a request of several parts."""
OLD_PARTS, PARTS = 2, 3
"""How requests were cut, and are: what was stored whole is known in any cut, what was not, in the same one."""


class ExactlyOnce(RuleBasedStateMachine):
    payloads = Bundle("payloads")
    larges = Bundle("larges")

    @initialize()
    def begin(self) -> None:
        self.checked_version = -1
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.writers = [self.world.writer() for _ in range(WRITERS)]
        self.owner: dict[int, VnodeWriter] = {}
        self.expected: set[str] = set()
        self.whole: set[str] = set()
        self.serial = 0
        for vnode in range(VNODES):
            self.take_over(vnode % WRITERS, vnode)

    def run(self, coroutine):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self._settle()
        finally:
            self.loop.close()

    # ------------------------------------------------------------------------------------------------- what clients do
    @rule(vnode=st.integers(0, VNODES - 1), count=st.integers(1, 3), hour=st.integers(0, 2))
    def append(self, vnode: int, count: int, hour: int) -> None:
        names = [f"e{self.serial + i}" for i in range(count)]
        self.serial += count
        batch = batch_of(names, [None] * count, hour, self.world.now_us)
        self._append(vnode, encode_records(batch, vnode, "default"))
        self.expected |= set(names)

    @rule(
        target=payloads,
        vnode=st.integers(0, VNODES - 1),
        keyed=st.booleans(),
        hour=st.integers(0, 2),
        hashed=st.booleans(),
    )
    def append_repeatable(self, vnode: int, keyed: bool, hour: int, hashed: bool):  # type: ignore[no-untyped-def]
        """`hashed` false: by an ess_ray of format 1, which had no hashes; its repeats come after an upgrade."""
        name = f"e{self.serial}"
        self.serial += 1
        payload = (vnode, name, keyed, hour, hashed)
        self._send(payload, name, hashed)
        self.expected.add(name)
        return payload

    @rule(payload=payloads)
    def repeat(self, payload: Payload) -> None:
        self._send(payload, payload[1], True)

    @rule(payload=payloads)
    def append_other_content_with_the_same_id(self, payload: Payload) -> None:
        _, name, keyed, _, hashed = payload
        if keyed or not hashed:  # without a hash the id alone tells a repeat
            return
        other = f"{name}+{self.serial}"
        self.serial += 1
        self._send(payload, other, True)
        self.expected.add(other)

    def _send(self, payload: Payload, message: str, hashed: bool) -> None:
        vnode, name, keyed, hour, _ = payload
        batch = batch_of([message], [None if keyed else name], hour, self.world.now_us, hashed)
        if hashed:
            request = RequestKey("default", name, "hash", 0, 1) if keyed else None
            self._append(vnode, encode_records(batch, vnode, "default", request))
        else:
            headers = keyed_headers_1(name, "hash", 0, 1) if keyed else ()
            self._append(vnode, [encode_record_1(batch, vnode, "default", headers)])

    @rule(
        target=larges,
        vnode=st.integers(0, VNODES - 1),
        count=st.integers(PARTS, 6),
        hour=st.integers(0, 2),
        old=st.booleans(),
        sent=st.integers(1, PARTS),
    )
    def append_large(self, vnode: int, count: int, hour: int, old: bool, sent: int):  # type: ignore[no-untyped-def]
        """The log may fail after some of the parts."""
        large = (vnode, f"e{self.serial}", count, hour, old)
        self.serial += 1
        self._send_parts(large, OLD_PARTS if old else PARTS, sent)
        return large

    @rule(large=larges, sent=st.integers(1, PARTS))
    def repeat_large(self, large: Large, sent: int) -> None:
        """A request that failed is repeated before an upgrade too, one that was acknowledged also after it."""
        by_old = large[-1] and large[1] not in self.whole
        self._send_parts(large, OLD_PARTS if by_old else PARTS, sent)

    def _send_parts(self, large: Large, parts: int, sent: int) -> None:
        vnode, name, count, hour, _ = large
        names = [f"{name}/{number}" for number in range(count)]
        borders = [part * count // parts for part in range(parts + 1)]
        for part in range(min(sent, parts)):
            mine = names[borders[part] : borders[part + 1]]
            batch = batch_of(mine, [None] * len(mine), hour, self.world.now_us)
            if parts == OLD_PARTS:
                records = [encode_record_1(batch, vnode, "default", keyed_headers_1(name, "hash", part, parts))]
            else:
                records = encode_records(batch, vnode, "default", RequestKey("default", name, "hash", part, parts))
            self._append(vnode, records)
            self.expected |= set(mine)
        if sent >= parts:
            self.whole.add(name)

    def _append(self, vnode: int, records: list[Record]) -> None:
        self.run(self.world.log.append(records))
        self.world.now_us += 1000

    # ------------------------------------------------------------------------------------------------- what writers do
    @rule(writer=st.integers(0, WRITERS - 1))
    def poll(self, writer: int) -> None:
        self.run(self.writers[writer].poll())

    @rule(writer=st.integers(0, WRITERS - 1))
    def flush(self, writer: int) -> None:
        self._flush(self.writers[writer])

    def _flush(self, writer: VnodeWriter) -> None:
        with contextlib.suppress(Fenced, UnknownOutcome, DataLoss):
            self.run(writer.flush())

    @rule(writer=st.integers(0, WRITERS - 1), moment=st.sampled_from(["before", "after"]))
    def flush_with_lost_answer(self, writer: int, moment: str) -> None:
        def strike(at: str) -> None:
            if at == moment:
                raise Unavailable("the connection broke")

        self.world.fault = strike
        self._flush(self.writers[writer])
        self.world.fault = None

    @rule(writer=st.integers(0, WRITERS - 1), other=st.integers(0, WRITERS - 1))
    def flush_overtaken(self, writer: int, other: int) -> None:
        """Another writer commits between this one's check and its commit."""
        if writer == other:
            return

        def strike(at: str) -> None:
            if at == "before":
                self.world.fault = None
                inner = asyncio.new_event_loop()
                try:
                    inner.run_until_complete(self.writers[other].flush())
                except (Fenced, UnknownOutcome):
                    pass
                finally:
                    inner.close()

        self.world.fault = strike
        self._flush(self.writers[writer])
        self.world.fault = None

    @rule(writer=st.integers(0, WRITERS - 1), vnode=st.integers(0, VNODES - 1))
    def take_over(self, writer: int, vnode: int) -> None:
        """A new owner; the old one is not told and goes on as a zombie."""
        mine = self.writers[writer]
        try:
            self.run(mine.assign({*mine.positions, vnode}))
        except (Fenced, UnknownOutcome):
            return
        self.owner[vnode] = mine

    @rule(
        hour=st.integers(0, 2),
        between=st.sampled_from(["nothing", "flush", "compact", "before", "after"]),
        writer=st.integers(0, 2),
    )
    def compact(self, hour: int, between: str, writer: int) -> None:
        """Objects of an hour become one, while a writer or another compaction commits in between."""
        found = plan(self.world.catalog.snapshot(), self.world.now_us, eager=True)
        where = ("default", *partition_of(T0_US + hour * HOUR_US))
        if where not in found:
            return
        done = merge(self.world.store, found[where], self.world.now_us)
        assert done is not None
        if between == "flush":
            self._flush(self.writers[writer])
        elif between == "compact":
            self.compact(hour, "nothing", writer)
        elif between in ("before", "after"):
            self.world.fault = lambda at: self._strike(at, between)
        assert commit(self.world.catalog.writer(), done) is (between != "compact")
        self.world.fault = None

    @staticmethod
    def _strike(at: str, moment: str) -> None:
        if at == moment:
            raise Unavailable("the connection broke")

    @rule(writer=st.integers(0, WRITERS - 1))
    def release_all(self, writer: int) -> None:
        self.run(self.writers[writer].assign(()))

    @rule(writer=st.integers(0, WRITERS - 1))
    def crash(self, writer: int) -> None:
        dead = self.writers[writer]
        self.writers[writer] = self.world.writer()
        self.owner = {vnode: owner for vnode, owner in self.owner.items() if owner is not dead}

    # ------------------------------------------------------------------------------------------------ what people see
    @rule(
        between=st.sampled_from(["nothing", "flush", "compact", "take over"]),
        moment=st.sampled_from([BEFORE_SNAPSHOT, BEFORE_VIEWS, BEHIND_VIEWS]),
        writer=st.integers(0, WRITERS - 1),
    )
    def search(self, between: str, moment: str, writer: int) -> None:
        due = set(self.expected)

        def then(now: str) -> None:
            if now == moment:
                self._strike_a_search(between, writer)

        table, owners = Table(self.world.catalog, then), Owners(self.owner, then)
        cut = self.run(self._searcher(table, owners).pipeline.cut("default", Query(All(), limit=10_000)))
        log_id, ends = self.run(self.world.log.log_id()), self.run(self.world.log.end_offsets())
        for vnode in owners.asked:
            at = [snapshot.next_offset(log_id, vnode) for snapshot in table.given]
            assert at[0] is None or at[0] < ends[vnode], "an owner was asked for what is stored"
        found = Counter(self._messages(cut.tables))
        query = Query(All(), limit=10_000)
        result = run_task(
            self.world.store, ScanTask("default", query, tuple(cut.snapshot.objects("default", None, None)))
        )
        assert not result.failed
        found.update(self._messages([result.partial.table]))
        assert not [name for name, times in found.items() if times > 1], "doubled"
        assert found.keys() <= self.expected, "made up"
        if not cut.missing:
            assert due <= found.keys(), "a gap in an answer that calls itself complete"

    def _strike_a_search(self, between: str, writer: int) -> None:
        if between == "compact":
            self.compact(0, "nothing", writer)
            return
        inner = asyncio.new_event_loop()
        try:
            if between == "flush":
                inner.run_until_complete(self.writers[writer].poll())
                inner.run_until_complete(self.writers[writer].flush())
            elif between == "take over":
                inner.run_until_complete(self.writers[writer].assign(range(VNODES)))
        except (Fenced, UnknownOutcome):
            pass
        finally:
            inner.close()

    @staticmethod
    def _messages(tables: list[pa.Table]) -> list[str]:
        return [name for table in tables for name in table.column("message").to_pylist()]

    def _searcher(self, table: Table, owners: Owners) -> Searcher:
        return Searcher(
            self.world.log,
            table,
            self.world.store,
            owners,
            executor=None,  # type: ignore[arg-type]
            results=MemoryResultStore(clock_us=lambda: self.world.now_us),
            limits=SearchLimits(),
        )

    @invariant()
    def stored_once(self) -> None:
        if not hasattr(self, "world") or self.world.catalog.snapshot().version == self.checked_version:
            return
        self.checked_version = self.world.catalog.snapshot().version
        found = self.world.stored()
        assert not [name for name, times in found.items() if times > 1], "doubled in the table"

    def _settle(self) -> None:
        """One fresh writer takes over everything and stores it: nothing may be missing then."""
        last = self.world.writer()
        self.run(last.assign(range(VNODES)))
        while self.run(last.poll()):
            pass
        self.run(last.flush())
        assert self.world.stored() == Counter(self.expected)


ExactlyOnce.TestCase.settings = settings(
    max_examples=examples(200), stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestExactlyOnce = ExactlyOnce.TestCase
