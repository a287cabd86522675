"""Run a query over the ports: start it, follow it, cancel it; and find its rows in their final order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from ess_ray import telemetry
from ess_ray.core.errors import BadRequest, EssError, NotFound
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.limits import SearchLimits
from ess_ray.ports import AnswerState, Catalog, EventLog, InFlight, ObjectStore, ResultStore, ScanExecutor
from ess_ray.search.count import CountProgress, count
from ess_ray.search.hints import find_hints
from ess_ray.search.meter import SearchMeter, Unmetered
from ess_ray.search.pipeline import Lane, Pipeline, Search
from ess_ray.search.question import NO_EVENTS, Question, encode_question
from ess_ray.search.remote_cancel import AnswerKey, WishWatch, cancel_remotely, wait_remotely
from ess_ray.search.rows import rows_in_order
from ess_ray.search.shown import Aggregation
from ess_ray.search.turns import Place, Turns

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[str]]
"""Does a search; gives the state that it ends with."""
CANCELLED: Final = "the search was cancelled"
TRUNCATED: Final = (
    "the answer is larger than what is kept of one: it ends at its last row here; narrow the query or its time, or "
    "export it, which has no such limit"
)
QUEUE_LOOK_S: Final = 0.5
"""How often a search that waits looks whether its position is another: what a person watches."""
_UNDER_WAY: Final = {True: "queued", False: "running"}
SHUT_DOWN: Final = "the search replica that ran this query was shut down: what it found is here, run it again"


@dataclass(frozen=True)
class _Running:
    task: asyncio.Task[None]
    search: Search

    def stop(self, state: str = "cancelled", reason: str = CANCELLED) -> None:
        """Have it end so. Once: a second interruption would hit it while it tells its end."""
        if self.search.stopped is None:
            self.search.stopped = (state, reason)
            self.task.cancel()


class Searcher:
    """Starts, follows and cancels searches. Lives on one event loop; answers go to the result store."""

    def __init__(
        self,
        log: EventLog,
        catalog: Catalog,
        store: ObjectStore,
        in_flight: InFlight,
        *,
        executor: ScanExecutor,
        results: ResultStore,
        limits: SearchLimits,
        meter: SearchMeter | None = None,
        lanes: Mapping[str, Lane] | None = None,
    ) -> None:
        """`executor` runs what names none; `lanes` are those that a query may name."""
        self._results = results
        self._hints_within_s = limits.hints_within_s
        self._usual = Lane(executor, limits.task_bytes)
        self._lanes = dict(lanes or {})
        self._meter: SearchMeter = meter if meter is not None else Unmetered()
        self.pipeline = Pipeline(log, catalog, store, in_flight, limits=limits, meter=self._meter)
        self._running: dict[AnswerKey, _Running] = {}
        self._turns = Turns(limits.max_running, limits.max_queued)
        self._wishes = WishWatch(results, self._running.keys, self._asked_to_stop)

    async def start(self, tenant: str, query: Query, executor: str | None = None, text: str | None = None) -> str:
        """Start a search and give its id at once: it runs, or waits for its turn behind others of its tenant. Raises
        BadRequest for a limit that cannot be, TooFast where too many wait.

        `executor` names a lane; one that is not there means the usual executor. `text`: the query as it was written,
        for hints where nothing is found; without it there are none.
        """
        if not 1 <= query.limit <= MAX_LIMIT:
            raise BadRequest(f"limit must lie between 1 and {MAX_LIMIT}; use export for more rows")
        search = self._search(tenant, query, executor)
        question = encode_question(Question(query, executor))
        return await self._begin(search, partial(self._rows, search), question, text)

    async def start_count(
        self,
        tenant: str,
        query: Query,
        aggregation: Aggregation,
        executor: str | None = None,
        text: str | None = None,
    ) -> str:
        """Start to count a query's rows and give the id at once: the answer's state carries the buckets.

        `text` as in `start`.
        """
        search = self._search(tenant, query, executor)
        search.progress, search.buckets = CountProgress(), ()
        work = partial(count, self.pipeline, search, aggregation, self._results)
        return await self._begin(search, work, NO_EVENTS, text)

    def _search(self, tenant: str, query: Query, executor: str | None) -> Search:
        return Search(tenant, uuid4().hex, query, time.monotonic(), self.lane(executor))

    async def _begin(self, search: Search, work: Work, question: str, text: str | None) -> str:
        """Tell that a search runs or waits, and what was asked, and have it run. Raises TooFast."""
        key = (search.tenant, search.query_id)
        place = self._turns.enter(search.tenant)
        try:
            search.position = place.position
            await self._results.create(*key, search.state(_UNDER_WAY[place.waits], finished=False), question)
        except BaseException:
            place.give_back()
            raise
        with telemetry.context(query_id=search.query_id, tenant=search.tenant):
            task = asyncio.create_task(self._guarded(search, place, work, text), name=f"search {search.query_id}")
        self._running[key] = _Running(task, search)
        self._count_running()
        task.add_done_callback(lambda _: self._forget(key, place))
        return search.query_id

    def position(self, tenant: str, query_id: str) -> int | None:
        """Tell of a search that waits here how many of the tenant's wait until it runs; None of any other."""
        running = self._running.get((tenant, query_id))
        return None if running is None else running.search.position

    @contextlib.asynccontextmanager
    async def turn(self, tenant: str) -> AsyncGenerator[None, None]:
        """Wait for a turn among the tenant's searches, and hold it. Raises TooFast where too many wait."""
        place = self._turns.enter(tenant)
        try:
            await asyncio.wait([place.turn])
            yield
        finally:
            place.give_back()

    @property
    def running(self) -> int:
        """How many searches are under way here."""
        return len(self._running)

    def lane(self, executor: str | None) -> Lane:
        """Give the lane of this name; the usual one for None, or a name that is not there."""
        return self._usual if executor is None else self._lanes.get(executor, self._usual)

    def _forget(self, key: AnswerKey, place: Place) -> None:
        place.give_back()
        self._running.pop(key, None)
        self._count_running()

    def _count_running(self) -> None:
        self._meter.running(self.running)
        self._wishes.look(bool(self._running))

    def _asked_to_stop(self, key: AnswerKey) -> None:
        if key in self._running:
            self._running[key].stop()

    async def cancel(self, tenant: str, query_id: str, reason: str = CANCELLED) -> AnswerState:
        """Cancel a search and wait until its tasks are told; one that has ended stays as it is.

        It may run in another process. Raises NotFound, and Unavailable when that process does not end it.
        """
        running = self._running.get((tenant, query_id))
        if running is None:
            return await cancel_remotely(self._results, tenant, query_id)
        running.stop(reason=reason)
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

    async def wait(self, tenant: str, query_id: str, timeout_s: float, rows: int | None = None) -> None:
        """Wait until a search has ended or, where that is given, so many rows of its answer can be read; at most
        `timeout_s`. One that is not there is not waited for. Who waits no more ends nothing.
        """
        running = self._running.get((tenant, query_id))
        if running is None:
            await wait_remotely(self._results, tenant, query_id, timeout_s, rows)
        elif rows is None:
            await asyncio.wait([running.task], timeout=timeout_s)
        else:
            with running.search.growth.reaching(rows) as enough:
                await asyncio.wait([running.task, enough], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    # ----------------------------------------------------------------------------------------------- one search
    async def _guarded(self, search: Search, place: Place, work: Work, text: str | None) -> None:
        """Run a search, when it is its turn, so that its end, whatever it is, is told."""
        try:
            await self._turn(search, place)
            state = await work()
            if text is not None and state == "done" and search.progress.rows_matched == 0:
                with contextlib.suppress(asyncio.CancelledError):  # the answer is whole without them
                    search.hints = await find_hints(self.pipeline, self._usual, search, text, self._hints_within_s)
            await self._end(search, state)
        except asyncio.CancelledError:
            await self._end(search, *(search.stopped or ("cancelled", CANCELLED)))
        except EssError as error:
            await self._end(search, "failed", error.message)
        except Exception as error:  # noqa: BLE001 (told in the answer, and logged)
            _log.exception("search %s failed", search.query_id)
            await self._end(search, "failed", f"the search failed unexpectedly: {type(error).__name__}: {error}")

    async def _turn(self, search: Search, place: Place) -> None:
        """Wait for a search's turn, and tell meanwhile how far it is."""
        while place.waits:
            await asyncio.wait([place.turn], timeout=QUEUE_LOOK_S)
            if place.position != search.position:
                search.position = place.position
                state = search.state(_UNDER_WAY[place.waits], finished=False)
                await self._results.update(search.tenant, search.query_id, state)

    async def _end(self, search: Search, state: str, reason: str | None = None) -> None:
        search.incomplete += [] if reason is None else [reason]
        seconds = time.monotonic() - search.started_s
        self._meter.ended(state, seconds)
        _log_end(search, state, seconds)
        with contextlib.suppress(NotFound):  # expired meanwhile: nobody is waiting for it
            await self._results.update(search.tenant, search.query_id, search.state(state, finished=True))

    async def _rows(self, search: Search) -> str:
        """Find a query's rows and append them in final order; truncated where the stored answer is full."""
        async with contextlib.aclosing(rows_in_order(self.pipeline, search)) as parts:
            async for rows in parts:
                fits = await self._results.append(search.tenant, search.query_id, rows) if len(rows) else True
                await self._results.update(search.tenant, search.query_id, search.state("running", finished=False))
                search.growth.add(len(rows))
                if not fits:
                    search.incomplete.append(TRUNCATED)
                    return "truncated"
        return "done"


def _log_end(search: Search, state: str, seconds: float) -> None:
    """Log one line for a search that ended: a warning where it could not tell everything.

    Slow ones are no warnings: how long a scan may take, only who asked can say.
    """
    told = search.progress
    # That a client cancelled, or asked for more than is kept, is nothing to warn of.
    reasons = [reason for reason in search.incomplete if reason != TRUNCATED]
    told_all = state == "cancelled" or (state in ("done", "truncated") and not reasons)
    _log.log(
        logging.INFO if told_all else logging.WARNING,
        "search %s in %.3f s: %d of %d objects, %d rows%s",
        state,
        seconds,
        told.objects_done,
        told.objects_total,
        told.rows_matched,
        "" if told_all else f"; incomplete: {reasons[0] if reasons else state}",
        extra={
            "query_id": search.query_id,
            "tenant": search.tenant,
            "state": state,
            "elapsed_ms": round(seconds * 1000),
            "objects": told.objects_done,
            "bytes_read": told.cost.bytes_read,
            "gets": told.cost.gets,
            "rows": told.rows_matched,
        },
    )
