"""Run a query over the ports: log ends, views, snapshot, tasks, ordered merge, results.

May live here: the course of one search and the book of running ones. May not: HTTP, Ray, or how a row is matched.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray import telemetry
from ess_ray.core.errors import BadRequest, EssError, NotFound
from ess_ray.core.event import format_timestamp
from ess_ray.core.merge import OrderedMerge
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.ports import (
    AnswerState,
    Catalog,
    EventLog,
    InFlight,
    ObjectStore,
    ResultStore,
    ScanExecutor,
    ScanResult,
    ScanTask,
    Snapshot,
    VnodeRange,
)
from ess_ray.search.elsewhere import AnswerKey, WishWatch, cancel_elsewhere, wait_elsewhere
from ess_ray.search.meter import SearchMeter, Unmetered
from ess_ray.search.plan import Plan, Tasks, make_plan, not_stored, tasks_in_place, uncovered
from ess_ray.search.question import Question, encode_question
from ess_ray.search.scan import run_task

_log = logging.getLogger(__name__)


CANCELLED: Final = "the search was cancelled"
SHUT_DOWN: Final = "the search replica that ran this query was shut down: what it found is here, run it again"


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What bounds one search."""

    freshness_timeout_s: float = 2.0
    task_bytes: int = 16 * 1024 * 1024
    """Bytes left to read in one task: about a second of scanning, so that cancelling and stopping early stay cheap."""
    in_place_bytes: int = 4 * 1024 * 1024
    """Up to here a search is done where it is planned: a task costs more than it saves."""
    attempts: int = 3
    """Tries an object gets before it is named as failed."""


@dataclass(frozen=True)
class Lane:
    """Another executor that a query may ask for, and the bytes left to read that are worth a task of its."""

    executor: ScanExecutor
    task_bytes: int
    in_place: bool = True
    """Whether what is small is done where it is planned, without the executor."""


@dataclass
class _Progress:
    objects_total: int = 0
    objects_pruned: int = 0
    objects_done: int = 0
    objects_failed: int = 0
    bytes_total: int = 0
    bytes_read: int = 0
    gets: int = 0
    rows_matched: int = 0
    duplicates_suppressed: int = 0
    in_flight_rows: int = 0
    invocations: int = 0
    gb_seconds: float = 0.0
    estimated_cost_usd: float = 0.0
    complete_from: str | None = None


@dataclass
class _Search:
    """One running search: its question and where it stands."""

    tenant: str
    query_id: str
    query: Query
    started_s: float
    lane: Lane
    progress: _Progress = field(default_factory=_Progress)
    incomplete: list[str] = field(default_factory=list)
    merged_repeats: int = 0
    """Of the progress' repeats, those that the merge found."""
    stopped: tuple[str, str] | None = None
    """The state and reason that it is to end with, once somebody has stopped it."""

    def state(self, state: str, *, finished: bool) -> AnswerState:
        progress = {name: getattr(self.progress, name) for name in _Progress.__dataclass_fields__}
        elapsed_ms = round((time.monotonic() - self.started_s) * 1000)
        complete = finished and state == "done" and not self.incomplete
        return AnswerState(state, progress, complete, tuple(self.incomplete), elapsed_ms)


@dataclass(frozen=True)
class _Running:
    task: asyncio.Task[None]
    search: _Search

    def stop(self, state: str = "cancelled", reason: str = CANCELLED) -> None:
        """Have it end so. Once: a second interruption would hit it while it tells its end."""
        if self.search.stopped is None:
            self.search.stopped = (state, reason)
            self.task.cancel()


@dataclass(frozen=True)
class Cut:
    """Section 4.8 done once: rows of the views that the snapshot does not hold, and the snapshot."""

    rows: list[pa.Table]
    snapshot: Snapshot
    missing: list[str]
    scanned_rows: int
    duplicates_suppressed: int


class Searcher:
    """Starts, follows and cancels searches. Lives on one event loop; answers go to the result store."""

    def __init__(
        self,
        log: EventLog,
        catalog: Catalog,
        store: ObjectStore,
        in_flight: InFlight,
        executor: ScanExecutor,
        results: ResultStore,
        limits: SearchLimits,
        meter: SearchMeter | None = None,
        lanes: Mapping[str, Lane] | None = None,
    ) -> None:
        """`executor` runs what names none; `lanes` are those that a query may name."""
        self._log, self._catalog, self._store = log, catalog, store
        self._in_flight, self._results = in_flight, results
        self._usual = Lane(executor, limits.task_bytes)
        self._lanes = dict(lanes or {})
        self._limits = limits
        self._meter: SearchMeter = meter if meter is not None else Unmetered()
        self._running: dict[AnswerKey, _Running] = {}
        self._wishes = WishWatch(results, self._running.keys, self._asked_to_stop)

    async def start(self, tenant: str, query: Query, executor: str | None = None) -> str:
        """Start a search and give its id at once. Raises BadRequest for a limit that cannot be.

        `executor` names a lane; one that is not there means the usual executor.
        """
        if not 1 <= query.limit <= MAX_LIMIT:
            raise BadRequest(f"limit must lie between 1 and {MAX_LIMIT}; use export for more rows")
        question = encode_question(Question(query, executor))
        search = _Search(tenant, uuid4().hex, query, time.monotonic(), self.lane(executor))
        await self._results.create(tenant, search.query_id, search.state("running", finished=False), question)
        with telemetry.context(query_id=search.query_id, tenant=tenant):
            task = asyncio.create_task(self._guarded(search), name=f"search {search.query_id}")
        self._running[(tenant, search.query_id)] = _Running(task, search)
        self._count_running()
        task.add_done_callback(lambda _: self._forget(tenant, search.query_id))
        return search.query_id

    def lane(self, executor: str | None) -> Lane:
        """Give the lane of this name; the usual one for None, or a name that is not there."""
        return self._usual if executor is None else self._lanes.get(executor, self._usual)

    def _forget(self, tenant: str, query_id: str) -> None:
        self._running.pop((tenant, query_id), None)
        self._count_running()

    def _count_running(self) -> None:
        self._meter.running(len(self._running))
        self._wishes.look(bool(self._running))

    def _asked_to_stop(self, key: AnswerKey) -> None:
        if key in self._running:
            self._running[key].stop()

    async def cancel(self, tenant: str, query_id: str) -> AnswerState:
        """Cancel a search and wait until its tasks are told; one that has ended stays as it is.

        It may run in another process. Raises NotFound, and Unavailable when that process does not end it.
        """
        running = self._running.get((tenant, query_id))
        if running is None:
            return await cancel_elsewhere(self._results, tenant, query_id)
        running.stop()
        await self._stopped([running])
        return await self._results.state(tenant, query_id)

    async def _stopped(self, stopped: Sequence[_Running]) -> None:
        """Wait until searches that were told to stop have told their ends."""
        if stopped:
            await asyncio.wait([running.task for running in stopped])
        for running in stopped:
            if running.task.cancelled():  # before its first step, so that it could not tell its end itself
                await self._end(running.search, *(running.search.stopped or ("cancelled", CANCELLED)))

    async def close(self) -> None:
        """End what still runs, as failed, saying what to do: this process is about to go. Idempotent."""
        running = list(self._running.values())
        for each in running:
            each.stop("failed", SHUT_DOWN)
        await self._stopped(running)

    async def wait(self, tenant: str, query_id: str, timeout_s: float) -> None:
        """Wait until a search has ended, at most `timeout_s`: as long as that where another process runs it."""
        running = self._running.get((tenant, query_id))
        if running is None:
            await wait_elsewhere(self._results, tenant, query_id, timeout_s)
        else:
            await asyncio.wait([running.task], timeout=timeout_s)

    # ------------------------------------------------------------------------------------------ the course of a search
    async def _guarded(self, search: _Search) -> None:
        """Run a search so that its end, whatever it is, is told."""
        try:
            await self._end(search, await self._run(search))
        except asyncio.CancelledError:
            await self._end(search, *(search.stopped or ("cancelled", CANCELLED)))
        except EssError as error:
            await self._end(search, "failed", error.message)
        except Exception as error:  # noqa: BLE001 (told in the answer, and logged)
            _log.exception("search %s failed", search.query_id)
            await self._end(search, "failed", f"the search failed unexpectedly: {type(error).__name__}: {error}")

    async def _end(self, search: _Search, state: str, reason: str | None = None) -> None:
        search.incomplete += [] if reason is None else [reason]
        seconds = time.monotonic() - search.started_s
        self._meter.ended(state, seconds)
        _log_end(search, state, seconds)
        with contextlib.suppress(NotFound):  # expired meanwhile: nobody is waiting for it
            await self._results.update(search.tenant, search.query_id, search.state(state, finished=True))

    async def _run(self, search: _Search) -> str:
        cut = await self.cut(search.tenant, search.query)
        search.incomplete += cut.missing
        search.progress.in_flight_rows = cut.scanned_rows
        search.progress.duplicates_suppressed = cut.duplicates_suppressed
        merge = OrderedMerge(search.query.order, search.query.limit)
        for rows in cut.rows:
            search.progress.rows_matched += len(rows)
            merge.add(rows)
        plan = await asyncio.to_thread(make_plan, search.tenant, search.query, cut.snapshot)
        search.progress.objects_total, search.progress.objects_pruned = plan.objects_total, plan.objects_pruned
        search.progress.bytes_total = plan.bytes_total
        self._meter.planned(plan.objects_pruned)
        tasks = Tasks(plan, search.lane.task_bytes)
        results = self.results_of(plan, tasks, search.lane)
        try:
            fits = await self._emit(search, merge, tasks)
            while tasks.unfinished and fits and not merge.done:
                index, result = await anext(results)
                self._count(search, tasks.finish(index), result)
                merge.add(result.rows)
                fits = await self._emit(search, merge, tasks)
        finally:
            await results.aclose()
        return "done" if fits else "truncated"

    async def cut(self, tenant: str, query: Query) -> Cut:
        """Do section 4.8: the log's ends first, then the views, then a snapshot that is at least as new."""
        log_id = await self._log.log_id()
        ends = await self._log.end_offsets()
        starts = await self._log.start_offsets()
        views = await self._in_flight.views(tenant, query, ends, self._limits.freshness_timeout_s)
        snapshot = await asyncio.to_thread(self._catalog.snapshot)
        stored = snapshot.next_offsets(log_id, sorted(ends))
        ranges: dict[int, VnodeRange] = {}
        for view in views:
            ranges.update(view.ranges)
        missing = [str(gap) for gap in uncovered(ends, starts, ranges, stored)]
        rows = [not_stored(view.rows, stored) for view in views]
        scanned, repeats = sum(v.scanned_rows for v in views), sum(v.duplicates_suppressed for v in views)
        return Cut(rows, snapshot, missing, scanned, repeats)

    async def results_of(self, plan: Plan, tasks: Tasks, lane: Lane) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """Run tasks where they are cheapest, and their failed objects again, before giving a result."""
        here = tasks_in_place(plan, self._limits.in_place_bytes) if lane.in_place else 0
        sources = [self._in_place(itertools.islice(tasks, here))] if here != 0 else []
        sources += [lane.executor.run(tasks)] if here is not None else []
        for source in sources:
            first = tasks.made
            async with contextlib.aclosing(source):
                async for index, result in source:
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
            rest = ScanTask(task.tenant, task.query, tuple(e for e in task.entries if e.key in keys))
            more = await _run_here(self._store, rest)
            result = replace(
                result,
                rows=pa.concat_tables([result.rows, more.rows]),
                rows_matched=result.rows_matched + more.rows_matched,
                bytes_read=result.bytes_read + more.bytes_read,
                gets=result.gets + more.gets,
                duplicates_suppressed=result.duplicates_suppressed + more.duplicates_suppressed,
                failed=more.failed,
                footer_hits=result.footer_hits + more.footer_hits,
                footer_misses=result.footer_misses + more.footer_misses,
            )
        return result

    def _count(self, search: _Search, task: ScanTask, result: ScanResult) -> None:
        self._meter.scanned(len(task.entries), result)
        progress = search.progress
        progress.objects_done += len(task.entries) - len(result.failed)
        progress.objects_failed += len(result.failed)
        progress.bytes_read += result.bytes_read
        progress.gets += result.gets
        progress.invocations += result.invocations
        progress.gb_seconds = round(progress.gb_seconds + result.gb_seconds, 6)
        progress.estimated_cost_usd = round(progress.estimated_cost_usd + result.cost_usd, 9)
        progress.rows_matched += result.rows_matched
        progress.duplicates_suppressed += result.duplicates_suppressed
        search.incomplete += [f"object {key} could not be read: {reason}" for key, reason in result.failed]

    async def _emit(self, search: _Search, merge: OrderedMerge, tasks: Tasks) -> bool:
        """Append what is final by now and tell the progress. False when the stored answer is full.

        Tasks that start later are told which rows can still matter.
        """
        watermark_us = tasks.watermark_us
        rows = merge.release(watermark_us)
        tasks.tighten(merge.bound_us)
        search.progress.duplicates_suppressed += merge.duplicates_suppressed - search.merged_repeats
        search.merged_repeats = merge.duplicates_suppressed
        # An answer that its limit ended is complete down to its last row, whatever was read beyond it.
        from_us = merge.bound_us if merge.done else watermark_us
        if from_us is not None:
            search.progress.complete_from = format_timestamp(from_us)
        fits = await self._results.append(search.tenant, search.query_id, rows) if len(rows) else True
        await self._results.update(search.tenant, search.query_id, search.state("running", finished=False))
        return fits


def _log_end(search: _Search, state: str, seconds: float) -> None:
    """Log one line for a search that ended: a warning where it could not tell everything.

    Slow ones are no warnings: how long a scan may take, only who asked can say.
    """
    told = search.progress
    told_all = state in ("done", "truncated", "cancelled") and (state == "cancelled" or not search.incomplete)
    _log.log(
        logging.INFO if told_all else logging.WARNING,
        "search %s in %.3f s: %d of %d objects, %d rows%s",
        state,
        seconds,
        told.objects_done,
        told.objects_total,
        told.rows_matched,
        "" if told_all else f"; incomplete: {search.incomplete[0] if search.incomplete else state}",
        extra={
            "query_id": search.query_id,
            "tenant": search.tenant,
            "state": state,
            "elapsed_ms": round(seconds * 1000),
            "objects": told.objects_done,
            "bytes_read": told.bytes_read,
            "gets": told.gets,
            "rows": told.rows_matched,
        },
    )


async def _run_here(store: ObjectStore, task: ScanTask) -> ScanResult:
    """Run a task in a thread, which ends at its next row group when the search is cancelled."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(run_task, store, task, stop.is_set)
    finally:
        stop.set()
