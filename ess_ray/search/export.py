"""Export: the whole answer of a query, done afresh, without a cap on rows, in memory that is bounded whatever its size.

The cut between buffers and table (`pipeline`) is made once. Then the answer is cut in time into slices (`slices`), each
scanned by the query's executor and merged as a search's answer is; the next one is prepared while the client reads, and
nothing beyond it. A slice that has more rows than it may hold is given up to the last timestamp that is whole: the next
one begins there.

Memory of one export: two or three slices of 64 MiB; what matches of the owners' buffers (at most what they may hold,
twice for a moment); and about 100 bytes for each `id` in the answer, since repeats are merged over all of it: 10
million events with ids take 1 GB, events without any nothing. Events of one microsecond are held together.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from ess_ray import telemetry
from ess_ray.aside import aside
from ess_ray.core.collect import SLICE_ROWS, Partial
from ess_ray.core.errors import BadRequest, NotFound, Unavailable
from ess_ray.core.merge import EMPTY, copies_of, sort_rows
from ess_ray.core.query import Order, Query
from ess_ray.ports import Ints, ResultStore, ScanResult, ScanTask
from ess_ray.search.meter import SearchMeter, Unmetered
from ess_ray.search.pipeline import Cut, Lane
from ess_ray.search.plan import Plan, Tasks, make_plan
from ess_ray.search.question import NO_EVENTS, decode_question
from ess_ray.search.run import Searcher
from ess_ray.search.shares import Shares
from ess_ray.search.slices import Appetite, SliceLimits, rest_behind, rest_from, slice_end

_log = logging.getLogger(__name__)

MAX_EXPORTS: Final = 4
"""Exports under way in one replica: each keeps all CPUs at work as long as its client reads, and holds up to 300 MB
(of 600,000 events as NDJSON, Python's objects and its tasks' results in shared memory included)."""
PIECE_ROWS: Final = 8_192
"""Rows handed out at once: about 4 MB of JSON, which is encoded in a tenth of a second."""
ALL_ROWS: Final = 2**62
"""A limit that no answer reaches."""
ID_BYTES: Final = 16
"""Of the hash that an id is remembered by: two of a billion ids are alike with a chance of 1 in 10^20."""
LEFT_OUT: Final = "an export of it was broken off"
"""How the reason begins that an export leaves in its query's answer."""
MAX_LEFT_OUT: Final = 20
"""Objects that cannot be read, without which an export goes on to its end: more of them are a store that is away."""


class Exporter:
    """Starts the exports of one replica, at most `most` at a time, shared among tenants. Lives on one event loop."""

    def __init__(
        self,
        searcher: Searcher,
        results: ResultStore,
        *,
        meter: SearchMeter | None = None,
        most: int = MAX_EXPORTS,
        limits: SliceLimits = SliceLimits(),  # noqa: B008
    ) -> None:
        self._searcher, self._results, self._limits = searcher, results, limits
        self._meter: SearchMeter = meter if meter is not None else Unmetered()
        self._places = Shares("exports", most)

    async def open(self, tenant: str, query_id: str) -> Export:
        """Make the cut of a query's export; whoever gets it closes it. The state of the query does not matter.

        Raises NotFound, BadRequest for what is no search's id, TooFast when too many are under way, or the tenant has
        its share, and Unavailable when something acknowledged cannot be searched now: an export is whole, or there is
        none.
        """
        text = await self._results.question(tenant, query_id)
        if text == NO_EVENTS:
            raise BadRequest("only the events of a search can be exported, and this is the id of something else")
        question = decode_question(text)
        export = Export(
            searcher=self._searcher,
            results=self._results,
            lane=self._searcher.lane(question.executor),
            meter=self._meter,
            limits=self._limits,
            tenant=tenant,
            query_id=query_id,
            query=question.query,
            ended=self._places.take(tenant),
        )
        try:
            await export.start()
        except BaseException:
            export.close()
            raise
        return export


class Export:
    """One export under way. `close` gives its place free; idempotent."""

    def __init__(
        self,
        *,
        searcher: Searcher,
        results: ResultStore,
        lane: Lane,
        meter: SearchMeter,
        limits: SliceLimits,
        tenant: str,
        query_id: str,
        query: Query,
        ended: Callable[[], None],
    ) -> None:
        self._searcher, self._results, self._lane, self._meter = searcher, results, lane, meter
        self._tenant, self.query_id, self._ended = tenant, query_id, ended
        self._rest: Query | None = query
        self._order = query.order
        self._appetite = Appetite(limits)
        self._shown: set[bytes] = set()
        self._started_s = time.monotonic()
        self.rows = 0
        """Handed out so far."""
        self.whole = False
        """Whether those were all."""
        self.left_out: dict[str, str] = {}
        """Why an object could not be read, by its key: everything else is handed out before that is told."""

    async def start(self) -> None:
        """Make the cut. Raises Unavailable, naming what it does not cover."""
        assert self._rest is not None
        self._cut = await self._searcher.pipeline.cut(self._tenant, replace(self._rest, limit=ALL_ROWS))
        if self._cut.missing:
            raise Unavailable("; ".join(self._cut.missing), incomplete=self._cut.missing)
        self._in_flight = await aside(_Sorted, self._cut, self._order)

    def close(self) -> None:
        self._ended()

    @property
    def too_many_left_out(self) -> bool:
        """Whether it ends before its last row, since too many objects cannot be read."""
        return len(self.left_out) > MAX_LEFT_OUT

    async def tables(self) -> AsyncGenerator[pa.Table, None]:
        """Give the answer's rows in its order, piece by piece. Closing it ends what is scanned ahead.

        Raises Unavailable after the last piece when objects could not be read, named by `left_out`; in the midst of it
        when these are more than MAX_LEFT_OUT.
        """
        ahead = self._prepare()
        try:
            while (rows := await ahead) is not None:
                ahead = self._prepare()
                for at in range(0, len(rows), PIECE_ROWS):
                    piece = rows.slice(at, PIECE_ROWS)
                    self.rows += len(piece)
                    yield piece
            if self.left_out:
                raise self._unreadable()
            self.whole = True
            _log.info(
                "export of %d rows in %.3f s",
                self.rows,
                time.monotonic() - self._started_s,
                extra={"query_id": self.query_id, "tenant": self._tenant, "rows": self.rows},
            )
        finally:
            ahead.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # so that nobody complains
            ahead.cancel()
            await asyncio.wait([ahead])

    def missing(self) -> tuple[str, ...]:
        """Name what could not be read, for people."""
        return tuple(f"object {key} cannot be read: {why}" for key, why in self.left_out.items())

    def _unreadable(self) -> Unavailable:
        return Unavailable("; ".join(self.missing()))

    async def tell_left_out(self) -> None:
        """Tell what was left out in the answer's state: a body that is broken off has no place for reasons."""
        reason = f"{LEFT_OUT}: {self._unreadable().message}"
        with contextlib.suppress(NotFound):  # expired meanwhile: nobody can ask for it
            state = await self._results.state(self._tenant, self.query_id)
            if self.left_out and not state.under_way:  # else who runs it would write over it
                told = tuple(dict.fromkeys((*state.incomplete, reason)))
                await self._results.update(self._tenant, self.query_id, replace(state, complete=False, incomplete=told))

    def _prepare(self) -> asyncio.Task[pa.Table | None]:
        with telemetry.context(query_id=self.query_id, tenant=self._tenant):
            return asyncio.create_task(self._next(), name=f"a slice of the export of {self.query_id}")

    async def _next(self) -> pa.Table | None:
        """Scan the next slice; None when nothing is left."""
        if self._rest is None:
            return None
        query = replace(self._rest, limit=self._appetite.rows)
        while True:
            plan, in_flight, end_us = await asyncio.to_thread(self._plan, query)
            rows, bound_us = await self._scan(plan, in_flight)
            if bound_us is None:
                self._rest = None if end_us is None else rest_behind(self._rest, end_us)
                break
            if len(rows):
                self._rest = rest_from(self._rest, bound_us)
                break
            query = replace(query, limit=2 * query.limit)  # all of one microsecond, which cannot be cut
        self._appetite.fed(rows, bound_us is not None)
        return await aside(self._first_copies, rows)

    def _plan(self, query: Query) -> tuple[Plan, pa.Table, int | None]:
        """Plan a slice; gives its rows in flight, and its last timestamp (None: it ends where the query does)."""
        chosen = self._cut.snapshot.select(self._tenant, query.start_us, query.end_us)
        end_us = slice_end(chosen, query, self._appetite.read_bytes)
        end_us = self._in_flight.nearer(query, end_us)
        query = query.bounded(end_us)
        return make_plan(self._tenant, query, self._cut.snapshot), self._in_flight.of(query), end_us

    async def _scan(self, plan: Plan, in_flight: pa.Table) -> tuple[pa.Table, int | None]:
        """Read a slice; gives its rows, and the timestamp at which the next one begins if it ends there (`whole`)."""
        fold, tasks = SLICE_ROWS.fold(plan.query), Tasks(plan, self._lane.task_bytes, SLICE_ROWS)
        await aside(fold.add, Partial(in_flight, len(in_flight)))
        steps = self._searcher.pipeline.fold(fold, plan, tasks, self._lane, self._take)
        async with contextlib.aclosing(steps):
            async for _ in steps:
                pass
        return await aside(fold.whole)

    def _take(self, task: ScanTask, result: ScanResult) -> None:
        """Take note of a result. Raises Unavailable when too many objects cannot be read."""
        self._meter.scanned(len(task.entries), result)
        self.left_out |= result.failed
        if self.too_many_left_out:
            raise self._unreadable()

    def _first_copies(self, rows: pa.Table) -> pa.Table:
        """Leave out copies of what an earlier slice has shown; within a slice it is done."""
        ids = rows.column("event_id")
        if ids.null_count == len(ids):
            return rows
        keep = []
        for copy in copies_of(rows):
            short = None if copy is None else _short(*copy)
            keep.append(short is None or short not in self._shown)
            if short is not None:
                self._shown.add(short)
        return rows.filter(pa.array(keep, pa.bool_()))


def _short(event_id: str, event_hash: bytes | None) -> bytes:
    return hashlib.blake2b(event_id.encode() + b"\0" + (event_hash or b""), digest_size=ID_BYTES).digest()


class _Sorted:
    """The rows of a cut that were in flight, in answer order."""

    def __init__(self, cut: Cut, order: Order) -> None:
        rows = [rows for rows in cut.tables if len(rows)]
        self._rows = sort_rows(pa.concat_tables(rows), order) if rows else EMPTY
        self._sign = -1 if order == "newest" else 1
        times = self._rows.column("timestamp").cast(pa.int64()).combine_chunks()
        self._ranks: Ints = self._sign * times.to_numpy()

    def nearer(self, query: Query, end_us: int | None) -> int | None:
        """Give the end of a slice that has no more rows in flight than the query's limit, or those of one timestamp."""
        first = self._places(query)[0]
        last = first + query.limit - 1
        if last >= len(self._ranks):
            return end_us
        rank = int(self._ranks[last])
        return self._sign * (rank if end_us is None else min(rank, self._sign * end_us))

    def of(self, query: Query) -> pa.Table:
        """Give the rows within a query's time."""
        first, last = self._places(query)
        return self._rows.slice(first, last - first)

    def _places(self, query: Query) -> tuple[int, int]:
        bounds = (query.start_us, None if query.end_us is None else query.end_us - 1)
        best, worst = bounds if self._sign > 0 else bounds[::-1]
        first = 0 if best is None else int(np.searchsorted(self._ranks, self._sign * best, side="left"))
        last = len(self._ranks)
        if worst is not None:
            last = int(np.searchsorted(self._ranks, self._sign * worst, side="right"))
        return first, max(first, last)
