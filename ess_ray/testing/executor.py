"""The executor of scan tasks that runs them where it is asked to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from ess_ray.ports import ObjectStore, ScanResult, ScanTask
from ess_ray.search.scan import run_task


class HereExecutor:
    """ScanExecutor in this process, one task after the other, so that a search's CPU is all here; counts what `ran`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.ran = 0

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for index, task in enumerate(tasks):
            self.ran += 1
            yield index, run_task(self._store, task)
