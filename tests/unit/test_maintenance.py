"""Garbage: old orphans go, everything that somebody may still need stays."""

from __future__ import annotations

from ess_ray.core.chunk import object_key
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.maintenance import GARBAGE_AGE_US, collect_garbage
from ess_ray.table.replacing import count_up
from ess_ray.testing import MemoryCatalog, MemoryObjectStore

T0_US = 1_790_000_000_000_000


class World:
    def __init__(self) -> None:
        self.now_us = T0_US
        self.store = MemoryObjectStore(clock_us=lambda: self.now_us)
        self.catalog = MemoryCatalog(clock_us=lambda: self.now_us)
        self.serial = 0

    def put(self) -> ObjectEntry:
        self.serial += 1
        key = object_key("default", T0_US, T0_US + 1, uuid_hex=f"{self.serial:032x}", footer_bytes=8, index_bytes=0)
        self.store.put(key, b"rows")
        return ObjectEntry(key, 4, "default", "2026-09-21", 0, 1, T0_US, T0_US + 1, self.now_us)

    def keys(self) -> set[str]:
        return {info.key for info in self.store.list("tenant=")}


def test_an_orphan_goes_after_its_age_and_not_before() -> None:
    world = World()
    orphan, kept = world.put(), world.put()
    world.catalog.writer().commit([kept], [], vnode_advances("log", {0: Advance(0, 1)}))
    world.now_us += GARBAGE_AGE_US
    assert collect_garbage(world.catalog, world.store).objects == 0
    world.now_us += 1
    assert collect_garbage(world.catalog, world.store).objects == 1
    assert world.keys() == {kept.key}
    assert world.store.head(orphan.key) is None


def test_a_removed_object_goes_a_day_after_its_removal() -> None:
    world = World()
    entry = world.put()
    world.catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(0, 1)}))
    world.now_us += 2 * GARBAGE_AGE_US
    writer = world.catalog.writer()
    view = writer.view()
    (found,) = view.objects("default", None, None)
    writer.commit([], [found], count_up(view, 0))
    assert collect_garbage(world.catalog, world.store).objects == 0
    world.now_us += GARBAGE_AGE_US + 1
    assert collect_garbage(world.catalog, world.store).objects == 1


def test_what_is_not_ours_is_left_alone() -> None:
    world = World()
    world.store.put("somebody/else.parquet", b"x")
    world.now_us += 2 * GARBAGE_AGE_US
    assert collect_garbage(world.catalog, world.store).objects == 0
