"""Scan tasks on Ray: bounded parallelism, results as they finish, cancellation.

May live here: running `search.scan.run_task` as Ray tasks. May not: what a task does, or how tasks are cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import ray
from ray import exceptions as ray_errors

from ess_ray.core.merge import EMPTY
from ess_ray.ports import ScanResult, ScanTask
from ess_ray.runtime.wiring import System
from ess_ray.search.scan import run_task

_log = logging.getLogger(__name__)

TASK_RETRIES: Final = 2
"""Times Ray starts a task again whose worker died: scanning is pure, so again is always right."""


def _scan(system: System, task: ScanTask) -> ScanResult:
    return run_task(system.store(), task)


class RayScanExecutor:
    """ScanExecutor over Ray tasks, one CPU each."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._remote = ray.remote(_scan)

    async def run(self, tasks: Sequence[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """See the port. A task that Ray gives up on becomes a result that names its objects as failed."""
        waiting = list(enumerate(tasks))[::-1]
        running: dict[asyncio.Future[Any], tuple[int, Any]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._system.scan_parallelism:
                    index, task = waiting.pop()
                    name = f"scan {task.entries[0].date} {task.entries[0].hour:02d}h, {len(task.entries)} objects"
                    reference = self._remote.options(name=name, num_cpus=1, max_retries=TASK_RETRIES).remote(
                        self._system, task
                    )
                    running[asyncio.ensure_future(_wait(reference))] = (index, reference)
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    index, _ = running.pop(future)
                    yield index, _result(future, tasks[index])
        finally:
            for future, (_, reference) in running.items():
                # Without force: it arrives between row groups, and the worker lives on for the next search.
                ray.cancel(reference, force=False)
                future.cancel()


async def _wait(reference: Any) -> ScanResult:
    result: ScanResult = await reference
    return result


def _result(future: asyncio.Future[Any], task: ScanTask) -> ScanResult:
    try:
        result: ScanResult = future.result()
    except ray_errors.RayError as error:
        _log.warning("a scan task failed: %s", error)
        reason = f"its scan task failed: {type(error).__name__}"
        return ScanResult(EMPTY, 0, 0, 0, 0, tuple((entry.key, reason) for entry in task.entries))
    return result
