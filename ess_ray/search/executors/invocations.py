"""Scan tasks as invocations of a function: how many at a time, what is asked again, second copies, and their cost."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from ess_ray.core.errors import EssError, TooFast
from ess_ray.limits import InvokeLimits
from ess_ray.ports import Cost, InvocationSlots, Invoked, ScanFunction, ScanResult, ScanTask
from ess_ray.search.executors.hedge import Hedge, HedgeLimits, cost_bytes
from ess_ray.search.executors.pace import Pace

_log = logging.getLogger(__name__)

HEDGE: Final = HedgeLimits(min_s=3.0, factor=3.0, unknown_s=20.0)
"""A cold start takes two or three seconds, and is no reason to pay twice."""


class InvokingExecutor:
    """ScanExecutor over a function. Lives on one event loop; searches share slots and pace evenly."""

    def __init__(
        self,
        function: ScanFunction,
        slots: InvocationSlots,
        *,
        limits: InvokeLimits = InvokeLimits(),
        hedge: HedgeLimits = HEDGE,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function, self._slots, self.limits = function, slots, limits
        self._hedge, self._clock_s = hedge, clock_s
        self._pace = Pace(slots.cap, clock_s, random.Random())
        self._runs = 0
        self._giving_back: set[asyncio.Task[None]] = set()

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """See the port. A task that is lost too often becomes a result that names its objects as failed.

        Raises TooFast when nothing is let through for too long, and what the function refuses for good. Closing it
        leaves invocations to their end, since none can be stopped: their slots stay taken until then.
        """
        run = _Invocations(self, tasks)
        self._runs += 1
        try:
            while await run.fill():
                for pair in await run.step():
                    yield pair
        finally:
            self._runs -= 1
            run.leave()

    def share(self) -> int:
        """How many invocations each of the searches that run now may have."""
        return max(1, self._pace.limit // max(1, self._runs))

    async def start(self, task: ScanTask) -> asyncio.Future[Invoked] | None:
        """Invoke the function if there is a slot; the slot is free again when the invocation has ended."""
        slot = await self._slots.take()
        if slot is None:
            return None
        loop = asyncio.get_running_loop()
        ending = self._function.start(task)
        ending.add_done_callback(lambda _: _tell(loop, self._give_back, slot))
        return asyncio.wrap_future(ending)

    def _give_back(self, slot: str) -> None:
        giving = asyncio.create_task(self._slots.give_back(slot))
        self._giving_back.add(giving)
        giving.add_done_callback(self._given_back)

    def _given_back(self, giving: asyncio.Task[None]) -> None:
        self._giving_back.discard(giving)
        if not giving.cancelled() and (error := giving.exception()) is not None:
            _log.warning("a Lambda slot could not be given back, it comes back by itself: %s", error)

    def new_hedge(self) -> Hedge:
        return Hedge(self._clock_s, self._hedge)

    @property
    def pace(self) -> Pace:
        return self._pace

    @property
    def memory_gb(self) -> float:
        return self._function.memory_gb

    def now_s(self) -> float:
        return self._clock_s()


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[str], None], slot: str) -> None:
    if not loop.is_closed():  # else nobody is left, and slots that others share come back by themselves
        loop.call_soon_threadsafe(call, slot)


@dataclass
class _Task:
    """A task that is not answered: its copies under way, how often it was lost, and what that cost."""

    task: ScanTask
    copies: list[asyncio.Future[Invoked]] = field(default_factory=list)
    started_s: list[float] = field(default_factory=list)
    lost: int = 0
    invocations: int = 0
    gb_seconds: float = 0.0


class _Invocations:
    """The tasks of one search: which are under way, which must be invoked again, and what came of them."""

    def __init__(self, executor: InvokingExecutor, tasks: Iterable[ScanTask]) -> None:
        self._executor = executor
        self._tasks = enumerate(tasks)
        self._more = True  # whether `tasks` may have more
        self._again: deque[int] = deque()
        self._open: dict[int, _Task] = {}
        self._index_of: dict[asyncio.Future[Invoked], int] = {}
        self._hedge = executor.new_hedge()
        self._starved = False  # whether no slot was free
        self._refused_since_s: float | None = None

    async def fill(self) -> bool:
        """Invoke as far as slots and pace allow. False when there is nothing left to do."""
        self._starved = False
        while self._wants and len(self._index_of) < self._executor.share() and not self._executor.pace.pause_s():
            index = self._next()
            if index is None:
                break
            if not await self._invoke(index):
                self._again.appendleft(index)
                self._starved = True
                break
        return bool(self._index_of) or self._wants

    @property
    def _wants(self) -> bool:
        return bool(self._again) or self._more

    def _next(self) -> int | None:
        if self._again:
            return self._again.popleft()
        following = next(self._tasks, None)
        if following is None:
            self._more = False
            return None
        index, task = following
        self._open[index] = _Task(task)
        return index

    async def _invoke(self, index: int) -> bool:
        task = self._open[index]
        copy = await self._executor.start(task.task)
        if copy is None:
            return False
        task.copies.append(copy)
        task.started_s.append(self._executor.now_s())
        self._index_of[copy] = index
        if len(task.copies) == 1:
            self._hedge.started(index, cost_bytes(task.task))
        else:
            self._hedge.hedged(index)
        return True

    async def step(self) -> list[tuple[int, ScanResult]]:
        """Wait until something ends or may begin; gives the results that came."""
        if not self._index_of:
            await asyncio.sleep(self._patience_s() or 0)
            return []
        copies = list(self._index_of)
        done, _ = await asyncio.wait(copies, timeout=self._patience_s(), return_when=asyncio.FIRST_COMPLETED)
        if not done and not self._wants and (late := self._hedge.overdue()) is not None and await self._invoke(late):
            _log.info("an invocation takes long, a second one is made: %s", self._open[late].task.entries[0].key)
        results = (self._settle(copy) for copy in copies if copy in done and copy in self._index_of)
        return [result for result in results if result is not None]

    def _patience_s(self) -> float | None:
        """How long to wait for an answer before something else is worth doing."""
        waits = []
        if self._wants:
            if self._starved or not self._index_of:
                waits.append(self._executor.limits.slot_poll_s)
            if pause_s := self._executor.pace.pause_s():
                waits = [pause_s]
            elif not waits:
                return None  # this search's share is under way: the next answer makes room
        elif (late_s := self._hedge.wait_s()) is not None:
            waits.append(max(late_s, self._executor.limits.slot_poll_s))
        return min(waits, default=None)

    def _settle(self, copy: asyncio.Future[Invoked]) -> tuple[int, ScanResult] | None:
        """Take what an invocation gave: a result, unless it is asked for again or another copy may still give it."""
        index = self._index_of.pop(copy)
        task = self._open[index]
        place = task.copies.index(copy)
        task.copies.pop(place)
        started_s = task.started_s.pop(place)
        error = copy.exception()
        if error is None:
            invoked = copy.result()
            task.gb_seconds += invoked.gb_seconds
            return self._answered(index, task, invoked.result)
        if isinstance(error, TooFast):
            self._refused(error)
            self._ask_again(index, task)
            return None
        if not isinstance(error, EssError) or not error.retryable:
            raise error
        self._lost(task, error, self._executor.now_s() - started_s)
        if task.lost < self._executor.limits.attempts:
            self._ask_again(index, task)
            return None
        return None if task.copies else self._gave_up(index, task, error.message)

    def _lost(self, task: _Task, error: EssError, elapsed_s: float) -> None:
        entries = task.task.entries
        _log.warning("an invocation for %s and %d more was lost: %s", entries[0].key, len(entries) - 1, error)
        billed = error.details.get("gb_seconds")
        task.gb_seconds += elapsed_s * self._executor.memory_gb if billed is None else float(billed)
        task.invocations += 1
        task.lost += 1

    def _answered(self, index: int, task: _Task, result: ScanResult) -> tuple[int, ScanResult]:
        self._executor.pace.went_through()
        self._refused_since_s = None
        self._hedge.finished(index)
        task.invocations += 1
        return self._close(index, task, result)

    def _gave_up(self, index: int, task: _Task, message: str) -> tuple[int, ScanResult]:
        self._hedge.gave_up(index)
        reason = f"its scan was lost {task.lost} times, at last: {message}"
        return self._close(index, task, ScanResult.of_failure(task.task, reason))

    def _close(self, index: int, task: _Task, result: ScanResult) -> tuple[int, ScanResult]:
        """Give a task's only result, with all that it cost; a copy still under way is counted as far as it came."""
        for copy, started_s in zip(task.copies, task.started_s, strict=True):
            task.invocations += 1
            task.gb_seconds += (self._executor.now_s() - started_s) * self._executor.memory_gb
            del self._index_of[copy]
            _forget(copy)
        del self._open[index]
        usd = self._executor.limits.cost_usd(task.invocations, task.gb_seconds)
        billed = Cost(invocations=task.invocations, gb_seconds=task.gb_seconds, usd=usd)
        return index, replace(result, cost=result.cost + billed)

    def _ask_again(self, index: int, task: _Task) -> None:
        if not task.copies:
            self._hedge.gave_up(index)
            self._again.append(index)

    def _refused(self, error: TooFast) -> None:
        self._executor.pace.refused()
        now_s = self._executor.now_s()
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        if not self._index_of and now_s - self._refused_since_s > self._executor.limits.throttled_s:
            raise TooFast(
                f"Lambda let no invocation through for {self._executor.limits.throttled_s:g} s: raise the function's "
                f"reserved concurrency, or search with executor ray; it said: {error.message}"
            ) from error

    def leave(self) -> None:
        """Let go of what is under way."""
        for copy in self._index_of:
            _forget(copy)


def _forget(copy: asyncio.Future[Invoked]) -> None:
    """Nobody waits for it any more: whatever it gives is looked at, so that asyncio does not complain of it."""
    copy.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
