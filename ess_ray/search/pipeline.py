"""What every search does, whatever it is for: the cut between buffers and table, the plan, tasks where they are
cheapest, retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Final, TypeVar

import pyarrow as pa

from ess_ray.aside import aside, aside_if_any
from ess_ray.core.chunk import index_tells
from ess_ray.core.collect import ROWS, Collector, Fold, Partial
from ess_ray.core.errors import Unavailable
from ess_ray.core.query import Query
from ess_ray.limits import SearchLimits
from ess_ray.ports import (
    AnswerState,
    Catalog,
    Cost,
    EventLog,
    InFlight,
    ObjectStore,
    ScanExecutor,
    ScanResult,
    ScanTask,
    Snapshot,
    View,
)
from ess_ray.search.growth import Growth
from ess_ray.search.meter import SearchMeter
from ess_ray.search.plan import Plan, Tasks, make_plan, not_stored, standing, tasks_in_place, uncovered
from ess_ray.search.scan import run_task
from ess_ray.search.sift import sift

T = TypeVar("T")

TABLE_TIMEOUT_S: Final = 30.0
"""How long the table may take to tell its newest state: a third of a second as a rule, ten if a store retries."""
SIFT_TIMEOUT_S: Final = 2.0
"""How long skip indexes may take to be looked into: some milliseconds as a rule. A store that stands still is left to
tasks, which know what to do with it."""
PLANNED_AT_ONCE: Final = 2_000
"""Objects of a table that are planned on the event loop: a few tenths of a millisecond, as long as a thread takes."""
HERE_TIMEOUT_S: Final = 120.0
"""How long a task may take where its search was planned: about a second as a rule; a disk or store may stand still."""


@dataclass(frozen=True)
class Lane:
    """Another executor that a query may ask for, and the bytes left to read that are worth a task of its."""

    executor: ScanExecutor
    task_bytes: int
    in_place: bool = True
    """Whether what is small is done where it is planned, without the executor."""


@dataclass
class Progress:
    """What a search has done so far: the contract's `progress`."""

    objects_total: int = 0
    objects_pruned: int = 0
    objects_done: int = 0
    objects_failed: int = 0
    bytes_total: int = 0
    rows_matched: int = 0
    duplicates_suppressed: int = 0
    in_flight_rows: int = 0
    complete_from: str | None = None
    cost: Cost = field(default_factory=Cost)

    def told(self) -> dict[str, int | float | str | None]:
        """Give it as an answer's state has it."""
        figures = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "cost"}
        return {
            **figures,
            "bytes_read": self.cost.bytes_read,
            "gets": self.cost.gets,
            "invocations": self.cost.invocations,
            "gb_seconds": round(self.cost.gb_seconds, 6),
            "estimated_cost_usd": round(self.cost.usd, 9),
        }


@dataclass
class Search:
    """One running search: its question and where it stands."""

    tenant: str
    query_id: str
    query: Query
    started_s: float
    lane: Lane
    progress: Progress = field(default_factory=Progress)
    incomplete: list[str] = field(default_factory=list)
    buckets: tuple[dict[str, Any], ...] | None = None
    interval_s: int | None = None
    """These two an aggregation has."""
    statistics: dict[str, Any] | None = None
    table: dict[str, Any] | None = None
    """What is to be known of its statistics, and, of a pipe, its table."""
    range_holds: bool = False
    """Whether an event is known to lie in its time range, matching or not."""
    hints: tuple[dict[str, Any], ...] = ()
    """What a reader should know of it having no rows."""
    position: int | None = None
    """Of one that waits for its turn."""
    growth: Growth = field(default_factory=Growth)
    """How many of its rows can be read by now."""
    stopped: tuple[str, str] | None = None
    """The state and reason that it is to end with, once somebody has stopped it."""

    def found(self, fold: Fold) -> None:
        """Tell in the progress what was folded so far."""
        self.progress.rows_matched = fold.rows_matched
        self.progress.duplicates_suppressed = fold.duplicates_suppressed

    def state(self, state: str, *, finished: bool) -> AnswerState:
        """Give where it stands as an answer's state."""
        elapsed_ms = round((time.monotonic() - self.started_s) * 1000)
        complete = finished and state == "done" and not self.incomplete
        return AnswerState(
            state,
            self.progress.told(),
            complete,
            tuple(self.incomplete),
            elapsed_ms,
            self.buckets,
            self.interval_s,
            self.hints,
            self.statistics,
            self.table,
            self.position,
        )


@dataclass(frozen=True)
class Cut:
    """Buffers and table at one moment (docs/exactly-once.md, step 8): what the views have that the snapshot does not
    hold, and the snapshot."""

    tables: Sequence[pa.Table]
    """Partial results of the search's collector, kept apart by `collect.PLACES`."""
    snapshot: Snapshot
    missing: list[str]
    scanned_rows: int
    duplicates_suppressed: int

    @property
    def rows(self) -> int:
        """How many rows (of the collector) the tables have."""
        return sum(len(table) for table in self.tables)

    def partial(self, collector: Collector) -> Partial:
        """Give what was in flight as one partial result of the search."""
        names, empty = collector.schema().names, collector.schema().empty_table()
        table = pa.concat_tables([empty, *(table.select(names) for table in self.tables)])
        return Partial(table, collector.rows_of(table), self.duplicates_suppressed)


class Pipeline:
    """The steps of a search, over the ports. Lives on one event loop."""

    def __init__(
        self,
        log: EventLog,
        catalog: Catalog,
        store: ObjectStore,
        in_flight: InFlight,
        *,
        limits: SearchLimits,
        meter: SearchMeter,
    ) -> None:
        self._log, self._catalog, self._store, self._in_flight = log, catalog, store, in_flight
        self._limits, self._meter = limits, meter

    async def cut(self, tenant: str, query: Query, collector: Collector = ROWS) -> Cut:
        """Cut: the log's ends, and beside them the table; then views of what the table does not hold up to there.

        1. the ends, of all that was acknowledged before; at the same time the newest snapshot;
        2. where a virtual node has no offset in that, the log's starts, and a snapshot after them;
        3. of virtual nodes that the snapshot does not cover, their owners' views: of what is stored, nobody is asked;
        4. where a view begins beyond the snapshot, since its owner stored meanwhile, a newer one, which holds that.

        What is covered is told by offsets alone, whenever each was read. Where the log does not answer it is named as
        missing, and what is stored is found all the same. Raises Unavailable when the table does not answer.
        """
        log, snapshot = await asyncio.gather(self._log_ends(), self._snapshot())
        if isinstance(log, Unavailable):
            return _without_log(snapshot, log)
        log_id, ends = log
        stored = snapshot.next_offsets(log_id, sorted(ends))
        starts: Mapping[int, int] = {}
        if None in stored.values():
            try:
                starts = await self._log.start_offsets()
            except Unavailable as error:
                return _without_log(snapshot, error)
            snapshot = await self._snapshot()
            stored = snapshot.next_offsets(log_id, sorted(ends))
        stands = standing(stored, starts)
        behind = {vnode: end for vnode, end in ends.items() if stands[vnode] < end}
        views: list[View] = []
        if behind:
            views = await self._in_flight.views(
                tenant, query, behind, self._limits.freshness_timeout_s, collector=collector
            )
        ranges = {vnode: held for view in views for vnode, held in view.ranges.items()}
        if any(stands[vnode] < held.first for vnode, held in ranges.items()):
            snapshot = await self._snapshot()
            stands = standing(snapshot.next_offsets(log_id, sorted(ends)), starts)
        missing = [str(gap) for gap in uncovered(ends, stands, ranges)]
        tables = await aside(lambda: [not_stored(view.table, stands) for view in views]) if views else []
        scanned, repeats = sum(v.scanned_rows for v in views), sum(v.duplicates_suppressed for v in views)
        return Cut(tables, snapshot, missing, scanned, repeats)

    async def _log_ends(self) -> tuple[str, Mapping[int, int]] | Unavailable:
        """Give the log's id and its ends, or why it does not tell them."""
        try:
            return await self._log.log_id(), await self._log.end_offsets()
        except Unavailable as error:
            return error

    async def _snapshot(self) -> Snapshot:
        try:
            async with asyncio.timeout(TABLE_TIMEOUT_S) as limit:
                return await asyncio.to_thread(self._catalog.snapshot)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(f"the table did not answer within {TABLE_TIMEOUT_S:g} s; try again later") from error

    async def plan(self, search: Search, cut: Cut) -> Plan:
        """Choose the objects of a search whose cut is done, and tell both in its progress."""
        search.incomplete += cut.missing
        search.progress.in_flight_rows = cut.scanned_rows
        given = (search.tenant, search.query, cut.snapshot)
        few = cut.snapshot.count(None) <= PLANNED_AT_ONCE
        plan = make_plan(*given) if few else await asyncio.to_thread(make_plan, *given)
        search.progress.objects_total, search.progress.objects_pruned = plan.objects_total, plan.objects_pruned
        search.progress.bytes_total = plan.bytes_total
        search.range_holds = plan.surely_holds
        self._meter.planned(plan.objects_pruned)
        return plan

    async def sift(
        self, plan: Plan, collector: Collector, lane: Lane, take: Callable[[ScanTask, ScanResult], None]
    ) -> Plan:
        """Take out of a plan what is ruled out by skip indexes that are cheap to look into, and of the rest what they
        tell need not be read. `take` as in `fold`: it is told of what is ruled out."""
        if not (len(plan) and lane.in_place and self._limits.in_place_bytes and index_tells(plan.query)):
            return plan
        sifted = await _in_thread(SIFT_TIMEOUT_S, sift, self._store, plan, self._limits.in_place_bytes)
        if sifted is None:
            return plan
        entries, rest = plan.sifted(sifted.left)
        nothing = collector.fold(plan.query).partial()
        take(ScanTask(plan.tenant, plan.query, tuple(entries), collector), ScanResult(nothing, sifted.cost))
        return rest

    async def fold(
        self, fold: Fold, plan: Plan, tasks: Tasks, lane: Lane, take: Callable[[ScanTask, ScanResult], None]
    ) -> AsyncGenerator[None, None]:
        """Run a plan's tasks, and fold what they give until nothing unfinished can change what `fold` has.

        Yields before the first result and behind each: then nothing is being folded, and whoever drives this may look
        at it. `take` is told of each result before that; what it raises ends the search. Folding is done aside:
        it takes as long as the rows are many, and a replica's event loop is for all its requests. Closing this ends
        what runs.
        """
        tasks.tighten(fold.bound)
        async with contextlib.aclosing(self._results_of(plan, tasks, lane)) as results:
            yield
            while tasks.open and not fold.bound.done:
                index, result = await anext(results)
                take(tasks.finish(index), result)
                await aside_if_any(fold.rows_matched + len(result.partial.table), fold.add, result.partial)
                tasks.tighten(fold.bound)
                yield

    async def _results_of(self, plan: Plan, tasks: Tasks, lane: Lane) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """Run tasks where they are cheapest, and their failed objects again, before giving a result."""
        here = tasks_in_place(plan, self._limits.in_place_bytes) if lane.in_place else 0
        for run in (partial(self._in_place, itertools.islice(tasks, here)), partial(lane.executor.run, tasks)):
            first = tasks.made
            if not tasks.left:
                return
            async with contextlib.aclosing(run()) as results:
                async for index, result in results:
                    yield first + index, await self._again(tasks.task(first + index), result)

    async def _in_place(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for index, task in enumerate(tasks):
            yield index, await _run_here(self._store, task)

    async def _again(self, task: ScanTask, result: ScanResult) -> ScanResult:
        """Try the failed objects of a result again, here: they are few, and a different place may fare better."""
        for _ in range(self._limits.attempts - 1):
            if not result.failed:
                break
            keys = {key for key, _ in result.failed}
            rest = replace(task, entries=tuple(e for e in task.entries if e.key in keys), probe=False)
            result = result.and_again(await _run_here(self._store, rest))
        return result

    def count(self, search: Search, task: ScanTask, result: ScanResult) -> None:
        """Tell the final result of a task in its search's progress; what it found is for whoever folds it."""
        self._meter.scanned(len(task.entries), result)
        progress = search.progress
        progress.objects_done += len(task.entries) - len(result.failed)
        progress.objects_failed += len(result.failed)
        progress.cost += result.cost
        search.incomplete += [f"object {key} could not be read: {reason}" for key, reason in result.failed]


def _without_log(snapshot: Snapshot, error: Unavailable) -> Cut:
    return Cut([], snapshot, [f"what is not stored yet is missing, since its log is away: {error.message}"], 0, 0)


async def _run_here(store: ObjectStore, task: ScanTask, timeout_s: float = HERE_TIMEOUT_S) -> ScanResult:
    """Run a task in a thread, which ends at its next row group when the search is cancelled, or its time is over."""
    result = await _in_thread(timeout_s, run_task, store, task)
    return result if result is not None else ScanResult.of_failure(task, f"it was not read within {timeout_s:g} s")


async def _in_thread(timeout_s: float, work: Callable[..., T], *given: Any) -> T | None:
    """Do work in a thread, which asks its last argument whether to stop: once the search is cancelled, or its time is
    over. None then."""
    stop = threading.Event()
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await asyncio.to_thread(work, *given, stop.is_set)
    except TimeoutError:
        if not limit.expired():
            raise
        return None
    finally:
        stop.set()
