"""Live tails over real parts in memory, under a clock that stands until somebody sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ess_ray.core.collect import ROWS
from ess_ray.core.errors import Unavailable
from ess_ray.core.query import Query
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.language import parse
from ess_ray.ports import View
from ess_ray.record import encode_records
from ess_ray.search.tail import EndsReader, Look, Parts, Tail, read_cursor
from ess_ray.testing import HereExecutor
from tests.worlds import VNODES, World, batch_of


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


class Rig:
    """A log, one writer that may be away, and tails over them."""

    def __init__(self, world: World, writer: VnodeWriter) -> None:
        self.world, self.writer, self.clock = world, writer, Clock()
        self.away = False
        self.log_fails = False
        self.parts = Parts(
            EndsReader(world.log, world.store, self.clock),
            self,
            world.catalog,
            world.store,
            HereExecutor(world.store),
            self.clock,
        )

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
    ) -> list[View]:
        """Be InFlight over the writer."""
        if self.log_fails:
            raise Unavailable("nobody is there")
        return [] if self.away else [collect_frozen(self.writer.freeze(tenant, since=since), query, ROWS)]

    async def append(self, *names: str, vnode: int = 0, tenant: str = "default", ids: bool = False) -> None:
        batch = batch_of(list(names), [n if ids else None for n in names], 0, self.world.now_us)
        await self.world.log.append(encode_records(batch, vnode, tenant))
        self.world.now_us += 1000

    async def push(self, *names: str, **where: Any) -> None:
        await self.append(*names, **where)
        await self.writer.poll()

    async def tail(self, query: str = "", cursor: str | None = None, tenant: str = "default") -> Tail:
        at = None if cursor is None else read_cursor(cursor)
        return await Tail.begin(self.parts, tenant, Query(parse(query)), at)

    async def look(self, tail: Tail) -> list[str]:
        names: list[str] = (await self.whole_look(tail)).rows.column("message").to_pylist()
        return names

    async def whole_look(self, tail: Tail) -> Look:
        self.clock.now_s += 1
        return await tail.look()


async def new_rig() -> Rig:
    """Give a rig over an empty world, whose writer owns every virtual node."""
    world = World()
    writer = world.writer()
    await writer.assign(range(VNODES))
    return Rig(world, writer)
