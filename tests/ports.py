"""Stand-ins of the ports that have no adapter in memory, one for each; what else a test needs of one, it adds itself.

The log, the stores, the catalog and the results have adapters in memory: `ess_ray.adapters.memory`, `memory_catalog`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

from ess_ray.core.collect import ROWS, Collector
from ess_ray.core.query import Query
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.ports import Bundle, Notice, ObjectStore, ScanResult, ScanTask, View
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


class NoOwners:
    """InFlight of a system in which everything is stored."""

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **_: object
    ) -> list[View]:
        return []


class OneWriter:
    """InFlight over one writer of this process; `hold` keeps a search waiting."""

    def __init__(self, writer: VnodeWriter) -> None:
        self.writer = writer
        self.hold = asyncio.Event()
        self.hold.set()

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        collector: Collector = ROWS,
    ) -> list[View]:
        await self.hold.wait()
        frozen = self.writer.freeze(tenant, since=since)
        return [await asyncio.to_thread(collect_frozen, frozen, query, collector)]  # as a persist actor does


class HeardReceiver:
    """A Receiver that keeps what it is told; `on_send` is called before and after, and what it raises is raised."""

    def __init__(
        self, name: str = "pager", on_send: Callable[[str], None] = lambda _: None, repeat_s: float | None = None
    ) -> None:
        self.name, self.on_send, self.repeat_s = name, on_send, repeat_s
        self.heard: list[Notice] = []
        self.bundles: list[Bundle] = []

    async def send(self, bundle: Bundle) -> None:
        self.on_send("before")
        self.heard += bundle.notices
        self.bundles.append(bundle)
        self.on_send("after")

    @property
    def told(self) -> list[tuple[str, str]]:
        """(alert, status) of each notice."""
        return [(one.labels["alertname"], one.status) for one in self.heard]
