"""Exports over stored and buffered events in memory, with slices as small as a test wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from fastapi import FastAPI, Request

from deployments.departure import Departure
from deployments.explain import route_explain
from deployments.export import route_export
from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.chunk import encode_object
from ess_ray.core.collect import ROWS
from ess_ray.core.query import Query
from ess_ray.ingest.buffer import Frozen, collect_frozen
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import SearchLimits
from ess_ray.ports import Advance, ObjectEntry, Record, ScanResult, ScanTask, View, VnodeRange, vnode_advances
from ess_ray.search.explain import Explainer
from ess_ray.search.export import MAX_EXPORTS, Export, Exporter
from ess_ray.search.run import Lane, Searcher
from ess_ray.search.scan import run_task
from ess_ray.search.slices import SliceLimits
from ess_ray.testing import MemoryCatalog, MemoryLog, MemoryObjectStore
from tests.waiting import at_once


class Counted:
    """ScanExecutor in this process, one task after the other, remembering them."""

    def __init__(self, store: MemoryObjectStore) -> None:
        self._store = store
        self.tasks: list[ScanTask] = []
        self.most_rows = 0
        """Of one task's result."""

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for index, task in enumerate(tasks):
            self.tasks.append(task)
            result = run_task(self._store, task)
            self.most_rows = max(self.most_rows, len(result.partial.table))
            yield index, result


class Buffers:
    """InFlight of one owner, which filters as a persist actor does."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self.covers = True

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **_: object
    ) -> list[View]:
        ranges = {vnode: VnodeRange(0, end) for vnode, end in min_ends.items()} if self.covers else {}
        return [collect_frozen(Frozen(ranges, tuple(self._rows.to_batches())), query, ROWS)]


class World:
    """One tenant's objects and buffered rows, with a searcher over them."""

    def __init__(
        self,
        objects: Sequence[pa.Table],
        buffered: pa.Table,
        *,
        limits: SearchLimits = SearchLimits(in_place_bytes=0),
        slices: SliceLimits = SliceLimits(),  # noqa: B008
        most: int = MAX_EXPORTS,
    ) -> None:
        self.store, self.catalog = MemoryObjectStore(lambda: 0), MemoryCatalog()
        self.results = MemoryResultStore(lambda: 0)
        self.log, self.buffers = MemoryLog(1), Buffers(buffered)
        if len(buffered):
            at_once(self.log.append([Record(0, b"what is buffered")]))
        self.entries: list[ObjectEntry] = []
        self._commits = 0
        self.commit(*objects)
        self.counted = Counted(self.store)
        self._slices, self._most = slices, most
        self._search_by(limits, {})

    def limited(self, limits: SearchLimits, lanes: Mapping[str, Lane] | None = None) -> World:
        """Have searches run within other limits, or on more lanes."""
        self._search_by(limits, lanes or {})
        return self

    def _search_by(self, limits: SearchLimits, lanes: Mapping[str, Lane]) -> None:
        parts = (self.log, self.catalog, self.store, self.buffers)
        self.searcher = Searcher(*parts, executor=self.counted, results=self.results, limits=limits, lanes=lanes)
        self.exporter = Exporter(self.searcher, self.results, most=self._most, limits=self._slices)

    def commit(self, *objects: pa.Table) -> None:
        """Store more objects, all in one commit."""
        entries = [self._put(rows.sort_by("timestamp")) for rows in objects]
        self.catalog.writer().commit(
            entries, [], vnode_advances("elsewhere", {0: Advance(self._commits, self._commits + 1)})
        )
        self.entries += entries
        self._commits += 1

    def _put(self, rows: pa.Table) -> ObjectEntry:
        entry = entry_of(Sealed("default", encoded := encode_object(rows, [])), 0)
        self.store.put(entry.key, encoded.data)
        return entry

    async def asked(self, query: Query, tenant: str = "default") -> str:
        """Ask a query and give its id, once it has ended."""
        query_id = await self.searcher.start(tenant, query)
        await self.searcher.wait(tenant, query_id, 60)
        self.counted.tasks.clear()
        self.counted.most_rows = 0
        return query_id

    async def open(self, query: Query) -> Export:
        return await self.exporter.open("default", await self.asked(query))

    async def exported(self, query: Query) -> list[pa.Table]:
        """Export a query's answer: the pieces, in the order in which they came."""
        export = await self.open(query)
        try:
            return [piece async for piece in export.tables()]
        finally:
            export.close()


async def _tenant(request: Request) -> str:
    return request.headers.get("x-test-tenant", "default")


async def _stays() -> bool:
    return False


async def _well() -> list[str]:
    return []


async def _nothing(*_: object) -> dict[str, Any]:
    return {}


def app_of(world: World, departure: Departure | None = None) -> FastAPI:
    """Give the search application over a world; the tenant is the request's x-test-tenant."""
    departure = departure or Departure(_stays, world.searcher.close)
    api = SearchApi(
        searcher=world.searcher,
        results=world.results,
        tenant=_tenant,
        admin=_tenant,
        health=_well,
        status=_nothing,
        flush=_nothing,
        compact=_nothing,
    )
    app = create_search_app(api)
    route_export(app, _tenant, world.exporter, departure)
    route_explain(app, _tenant, api.executor, Explainer(world.searcher, 0, 1 << 20))
    return app
