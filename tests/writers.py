"""What tests of the writer have in common: records for it, an owner, faults that strike at a moment of a commit."""

from __future__ import annotations

from collections.abc import Callable

from ess_ray.core.errors import EssError
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import WriterLimits
from ess_ray.record import RequestKey, encode_records
from tests.worlds import World, batch_of


async def append(world: World, *names: str, vnode: int = 0, hour: int = 0, ids: bool = False) -> None:
    batch = batch_of(list(names), [*names] if ids else [None] * len(names), hour, world.now_us + world.ahead_us)
    await world.log.append(encode_records(batch, vnode, "default"))


async def append_keyed(world: World, name: str, key: str, body_hash: str = "hash", vnode: int = 0) -> None:
    batch = batch_of([name], [None], 0, world.now_us + world.ahead_us)
    await world.log.append(encode_records(batch, vnode, "default", RequestKey("default", key, body_hash, 0, 1)))


async def owner(world: World, vnodes: tuple[int, ...] = (0,), limits: WriterLimits | None = None) -> VnodeWriter:
    writer = world.writer(limits or WriterLimits())
    await writer.assign(vnodes)
    return writer


async def store_all(writer: VnodeWriter) -> None:
    while await writer.poll():
        pass
    await writer.flush()


def raising(error: EssError, at: str) -> Callable[[str], None]:
    def strike(moment: str) -> None:
        if moment == at:
            raise error

    return strike
