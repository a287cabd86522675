"""Scan tasks on Ray: bounded parallelism, results as they finish, second copies of stragglers, cancellation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray import exceptions as ray_errors

from ess_ray import telemetry
from ess_ray.core.errors import Unavailable
from ess_ray.ports import ScanResult, ScanTask
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.placement import cluster_cpus
from ess_ray.runtime.wiring import System
from ess_ray.search.executors.hedge import Hedge, HedgeLimits, cost_bytes
from ess_ray.search.scan import run_task

_log = logging.getLogger(__name__)

TASK_RETRIES: Final = 2
"""Times Ray starts a task again whose worker died: scanning is pure, so again is always right."""
CANCEL_GRACE_S: Final = 0.5
"""A cancelled task ends between two calls of native code, and keeps its worker warm for the next search; one that is
inside such a call for longer is ended with its worker, so that its CPU is free within a second."""
CPU_INTERVAL_S: Final = 0.25
"""How often a straggler's search looks whether a CPU is free for a second copy."""

SILENCE_S: Final = 30.0
"""How long a search waits while none of the tasks of this process comes back: one takes about a second, or three times
ten with a store that stalls. Then Ray stands still, and what is left is scanned where the search was planned."""
STILL_SILENT_S: Final = 5.0
"""The same for searches that begin after that, until a task comes back."""
LOOK_TIMEOUT_S: Final = 2.0
"""How long is waited for what Ray tells of its CPUs; without an answer the last one holds."""
CPUS_AGE_S: Final = 2.0
"""How old the count of the cluster's CPUs may be: a node takes longer to come, and counting costs a millisecond."""


def _scan(system: System, task: ScanTask, context: Mapping[str, Any]) -> ScanResult:
    with telemetry.context(**context, task=ray.get_runtime_context().get_task_id()):
        result = run_task(system.store(), task)
        _log.debug("scanned %d objects, %d rows match", len(task.entries), result.partial.rows_matched)
        return result


class RayScanExecutor:
    """ScanExecutor over Ray tasks, one CPU each. Lives on one event loop."""

    def __init__(
        self,
        system: System,
        hedge: HedgeLimits = HedgeLimits(),  # noqa: B008
        silence_s: float = SILENCE_S,
    ) -> None:
        self._system, self._hedge = system, hedge
        self._pulse = _Pulse(silence_s)
        self._remote = ray.remote(_scan)
        self._ending: set[asyncio.Task[None]] = set()
        self._cpus, self._counted_s = 1, -CPUS_AGE_S

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """See the port. A task that Ray gives up on becomes a result that names its objects as failed."""
        room = self._system.scan_parallelism or await self._count_cpus()
        run = _RayTasks(
            tasks,
            system=self._system,
            room=room,
            remote=self._remote,
            hedge=Hedge(time.monotonic, self._hedge),
            pulse=self._pulse,
        )
        try:
            while run.fill():
                for index, result in await run.step():
                    yield index, result
                self._end(run.losers())
        finally:
            self._end(run.leftover())

    async def _count_cpus(self) -> int:
        """Count the cluster's CPUs, as they were a moment ago: nodes come and go."""
        if time.monotonic() - self._counted_s >= CPUS_AGE_S:
            try:
                self._cpus = await off_loop(cluster_cpus, timeout_s=LOOK_TIMEOUT_S)
            except Unavailable as error:
                _log.warning("the cluster's CPUs are taken as they were: %s", error.message)
            self._counted_s = time.monotonic()
        return self._cpus

    def _end(self, copies: Iterable[_Copy]) -> None:
        """Cancel copies without waiting for their end: an answer that is proven is told at once."""
        left: list[_Copy] = []
        for copy in copies:
            if copy.future.done():
                copy.future.exception()  # looked at, so that asyncio does not complain of it
            else:
                left.append(copy)
        if left:
            ending = asyncio.create_task(_end(left), name="ending scan tasks")
            self._ending.add(ending)
            ending.add_done_callback(self._ended)

    def _ended(self, ending: asyncio.Task[None]) -> None:
        self._ending.discard(ending)
        if not ending.cancelled() and (error := ending.exception()) is not None:
            _log.warning("scan tasks could not be cancelled, they end by themselves: %s", error)


class _Pulse:
    """When a scan task of this process came back last. As long as some do, a search waits for its own."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._beat_s = time.monotonic()
        self._stands_still = False

    def beat(self) -> None:
        """A task came back."""
        self._beat_s, self._stands_still = time.monotonic(), False

    def left_s(self, since_s: float) -> float:
        """Tell how much longer is waited by who waits since then; not above zero: no more."""
        patience_s = min(self._silence_s, STILL_SILENT_S) if self._stands_still else self._silence_s
        return max(self._beat_s, since_s) + patience_s - time.monotonic()

    def stand_still(self) -> str:
        """Somebody waited for too long; gives the reason, for people."""
        self._stands_still = True
        return f"no scan task came back for {self._silence_s:g} s: Ray stands still, see `ess status`"


@dataclass(frozen=True)
class _Copy:
    """One Ray task that runs a scan task: the only one, or one of two."""

    index: int
    references: list[Any]
    """Ray's name for it, once it was handed over."""
    future: asyncio.Future[ScanResult]


class _RayTasks:
    """The scan tasks of one search: which are running, in one copy or two, and what came of them."""

    def __init__(
        self, tasks: Iterable[ScanTask], *, system: System, room: int, remote: Any, hedge: Hedge, pulse: _Pulse
    ) -> None:
        self._system, self._room, self._remote, self._hedge, self._pulse = system, room, remote, hedge, pulse
        self._begun_s = time.monotonic()
        self._given_up: list[_Copy] = []
        self._tasks = enumerate(tasks)
        self._waiting = True  # whether `tasks` may still have more
        self._running: dict[int, ScanTask] = {}
        self._copies: dict[asyncio.Future[ScanResult], _Copy] = {}
        self._losers: list[_Copy] = []

    def fill(self) -> bool:
        """Start tasks as far as there is room. False when nothing is running."""
        while self._waiting and len(self._copies) < self._room:
            following = next(self._tasks, None)
            if following is None:
                self._waiting = False
                break
            index, task = following
            self._running[index] = task
            self._hedge.started(index, cost_bytes(task))
            if self._pulse.left_s(self._begun_s) <= 0:
                break  # it is given up at once
            self._start(index)
        return bool(self._running)

    def losers(self) -> list[_Copy]:
        """Give, once, the copies whose twin answered."""
        losers, self._losers = self._losers, []
        return losers

    def leftover(self) -> list[_Copy]:
        """Give every copy that nobody will wait for any more."""
        return [*self.losers(), *self._copies.values(), *self._given_up]

    async def step(self) -> list[tuple[int, ScanResult]]:
        """Wait until something ends, a straggler gets its second copy, or Ray has been silent for too long.

        Gives the results that came. A task that is given up has one that names its objects as failed.
        """
        left_s = self._pulse.left_s(self._begun_s)
        if left_s <= 0:
            return self._give_up()
        patience_s = self._patience_s()
        timeout_s = left_s if patience_s is None else min(left_s, patience_s)
        done, _ = await asyncio.wait(self._copies, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and patience_s == timeout_s:
            await self._hedge_one()
        results = (self._settle(self._copies.pop(future)) for future in done if future in self._copies)
        return [result for result in results if result is not None]

    def _give_up(self) -> list[tuple[int, ScanResult]]:
        """Let go of all tasks that run, for their objects to be scanned elsewhere."""
        reason = self._pulse.stand_still()
        _log.error("%d scan tasks are given up: %s", len(self._running), reason)
        self._given_up += self._copies.values()
        self._copies = {}
        return [(index, self._failed(index, reason)) for index in list(self._running)]

    def _failed(self, index: int, reason: str) -> ScanResult:
        self._hedge.gave_up(index)
        task = self._running.pop(index)
        return ScanResult.of_failure(task, reason)

    def _start(self, index: int) -> None:
        task = self._running[index]
        context = telemetry.current()
        first, query_id = task.entries[0], context.get("query_id", "?")
        name = f"scan for {query_id}: {first.date} {first.hour:02d}h, {len(task.entries)} objects"
        options = self._remote.options(name=name, num_cpus=1, max_retries=TASK_RETRIES)
        references: list[Any] = []
        future = asyncio.ensure_future(_scan_remotely(references, options, self._system, task, context))
        future.add_done_callback(self._came_back)
        self._copies[future] = _Copy(index, references, future)

    def _came_back(self, future: asyncio.Future[ScanResult]) -> None:
        """Whatever came of it, Ray runs tasks; also of one that was given up."""
        if not future.cancelled() and not isinstance(future.exception(), Unavailable):
            self._pulse.beat()

    def _patience_s(self) -> float | None:
        """Tell how long to wait before a straggler is looked for; None while there is other work for its CPU."""
        if self._waiting or len(self._copies) >= self._room:
            return None
        wait_s = self._hedge.wait_s()
        return None if wait_s is None else max(wait_s, CPU_INTERVAL_S)

    async def _hedge_one(self) -> None:
        index = self._hedge.overdue()
        # Not only this search's room counts: beside others, the straggler may itself be waiting for a CPU.
        if index is None or await _free_cpus() < 1:
            return
        _log.info("a scan task takes long, a second copy is started: %s", self._running[index].entries[0].key)
        self._hedge.hedged(index)
        self._start(index)

    def _settle(self, copy: _Copy) -> tuple[int, ScanResult] | None:
        """Take an ended copy's answer, unless its twin answered before or may still do better."""
        twin = next((other for other in self._copies.values() if other.index == copy.index), None)
        try:
            result = copy.future.result()
        except (ray_errors.RayError, Unavailable) as error:
            _log.warning("a scan task failed: %s", error)
            if twin is not None:
                return None
            return copy.index, self._failed(copy.index, f"its scan task failed: {_short(error)}")
        del self._running[copy.index]
        self._hedge.finished(copy.index)
        if twin is not None:
            self._losers.append(self._copies.pop(twin.future))
        return copy.index, result


def _short(error: Exception) -> str:
    """Say it in a line: Ray's own errors have many."""
    return error.message if isinstance(error, Unavailable) else type(error).__name__


async def _free_cpus() -> float:
    try:
        return float((await off_loop(ray.available_resources, timeout_s=LOOK_TIMEOUT_S)).get("CPU", 0))
    except Unavailable:
        return 0.0


async def _scan_remotely(
    references: list[Any], options: Any, system: System, task: ScanTask, context: Mapping[str, Any]
) -> ScanResult:
    # Not here: the first one of a process has Ray's control store keep the function, and waits for it.
    references.append(await off_loop(options.remote, system, task, context))
    result: ScanResult = await references[0]
    return result


async def _end(copies: Sequence[_Copy]) -> None:
    """Cancel copies: gently, then with their workers those that are in native code."""
    for copy in copies:
        if not copy.references:  # Ray does not have it yet
            copy.future.cancel()
    await _cancel(copies, force=False)
    _, left = await asyncio.wait([copy.future for copy in copies], timeout=CANCEL_GRACE_S)
    await _cancel([copy for copy in copies if copy.future in left], force=True)
    await asyncio.gather(*(copy.future for copy in copies), return_exceptions=True)


async def _cancel(copies: Sequence[_Copy], *, force: bool) -> None:
    for copy in copies:
        for reference in copy.references:
            await off_loop(ray.cancel, reference, force=force)
