"""One search by two executors: invocations within their cap and a budget, the rest beside them as local tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Final

from ess_ray.core.errors import EssError
from ess_ray.limits import InvokeLimits
from ess_ray.ports import ScanExecutor, ScanResult, ScanTask
from ess_ray.search.executors.hedge import cost_bytes

_log = logging.getLogger(__name__)

ASSUMED_BYTES_PER_S: Final = 16 * 1024 * 1024
"""Stored bytes that an invocation scans, until the search's own have told."""


class _Shared:
    """The tasks of one search, each taken once, with the index that the whole search knows it by."""

    def __init__(self, tasks: Iterable[ScanTask]) -> None:
        self._tasks = enumerate(tasks)
        self._returned: deque[tuple[int, ScanTask]] = deque()

    def take(self) -> tuple[int, ScanTask] | None:
        return self._returned.popleft() if self._returned else next(self._tasks, None)

    def give_back(self, index: int, task: ScanTask) -> None:
        self._returned.append((index, task))

    @property
    def returned(self) -> bool:
        return bool(self._returned)


class _Part:
    """What one executor takes of the shared tasks; it numbers them by itself, from 0."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._taken: list[int] = []
        self.unfinished: dict[int, ScanTask] = {}

    def __iter__(self) -> Iterator[ScanTask]:
        while self.may() and (following := self._shared.take()) is not None:
            index, task = following
            self._taken.append(index)
            self.unfinished[index] = task
            yield task

    def may(self) -> bool:
        """Whether it may take another one."""
        return True

    def finished(self, place: int, result: ScanResult) -> int:
        """Give the index of a task by the executor's own number of it, which has its result."""
        index = self._taken[place]
        del self.unfinished[index]
        return index


class _Budgeted(_Part):
    """A part that ends when its budget is spent, counting what is under way as it is likely to cost."""

    def __init__(self, shared: _Shared, memory_gb: float, limits: InvokeLimits, max_cost_usd: float) -> None:
        super().__init__(shared)
        self._gb, self._limits, self._left_usd = memory_gb, limits, max_cost_usd
        self._done_bytes = 0
        self._done_usd = 0.0

    def may(self) -> bool:
        under_way = sum(map(cost_bytes, self.unfinished.values()))
        return self._done_usd + under_way * self._usd_per_byte() < self._left_usd

    def _usd_per_byte(self) -> float:
        if self._done_bytes:
            return self._done_usd / self._done_bytes
        return self._limits.cost_usd(0, self._gb) / ASSUMED_BYTES_PER_S

    def finished(self, place: int, result: ScanResult) -> int:
        index = self._taken[place]
        self._done_bytes += cost_bytes(self.unfinished[index])
        self._done_usd += result.cost.usd
        return super().finished(place, result)


class AutoExecutor:
    """ScanExecutor over two others: `remote` up to `max_cost_usd` a search, `local` beside it and for what is left.

    When `remote` fails as a whole, `local` does its tasks too: the answer is the same, and the log says why it is slow.
    """

    def __init__(
        self, remote: ScanExecutor, local: ScanExecutor, *, memory_gb: float, limits: InvokeLimits, max_cost_usd: float
    ) -> None:
        self._remote, self._local = remote, local
        self._memory_gb, self._limits, self._max_cost_usd = memory_gb, limits, max_cost_usd

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """See the port."""
        shared = _Shared(tasks)
        remote = _Budgeted(shared, self._memory_gb, self._limits, self._max_cost_usd)
        queue: asyncio.Queue[tuple[int, ScanResult] | None] = asyncio.Queue()
        async with contextlib.AsyncExitStack() as stack:
            pumps = [
                asyncio.create_task(self._pump_remote(remote, shared, queue), name="scan by invocations"),
                asyncio.create_task(_pump(self._local, _Part(shared), queue), name="scan by local tasks"),
            ]
            stack.push_async_callback(_cancel, pumps)
            for pump in pumps:
                pump.add_done_callback(lambda _: queue.put_nowait(None))
            ended = 0
            while ended < len(pumps):
                pair = await queue.get()
                if pair is None:
                    ended += 1
                else:
                    yield pair
            for pump in pumps:
                pump.result()
        # What came back after the local tasks had run out of others.
        while shared.returned:
            part = _Part(shared)
            async with contextlib.aclosing(self._local.run(part)) as results:
                async for place, result in results:
                    yield part.finished(place, result), result

    async def _pump_remote(
        self, part: _Budgeted, shared: _Shared, queue: asyncio.Queue[tuple[int, ScanResult] | None]
    ) -> None:
        try:
            await _pump(self._remote, part, queue)
        except EssError as error:
            _log.warning("invocations fail, Ray tasks take over what they had: %s", error)
            for index, task in part.unfinished.items():
                shared.give_back(index, task)


async def _pump(executor: ScanExecutor, part: _Part, queue: asyncio.Queue[tuple[int, ScanResult] | None]) -> None:
    async with contextlib.aclosing(executor.run(part)) as results:
        async for place, result in results:
            queue.put_nowait((part.finished(place, result), result))


async def _cancel(pumps: list[asyncio.Task[None]]) -> None:
    for pump in pumps:
        pump.cancel()
    await asyncio.wait(pumps)
