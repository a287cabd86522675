"""The owners of what is not stored yet: none, or one writer of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ess_ray.core.collect import ROWS, Collector
from ess_ray.core.query import Query
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.ports import View


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
