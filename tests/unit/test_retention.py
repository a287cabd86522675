"""Retention by size, and how the bytes of what left really come back."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.core.query import All, Query
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.scan import run_task
from ess_ray.table.compaction import NO_ROOM, compact
from ess_ray.table.maintenance import GARBAGE_AGE_US, PRESSED_AGE_US, collect_garbage, is_over
from ess_ray.table.retention import expire
from tests.compactions import HOUR_US, T0_US, Make, World


@pytest.fixture
def world(make_events: Make) -> World:
    return World(make_events)


def keys(*entries: ObjectEntry) -> set[str]:
    return {entry.key for entry in entries}


def total(*entries: ObjectEntry) -> int:
    return sum(entry.size for entry in entries)


def test_the_objects_with_the_oldest_newest_event_leave_until_the_rest_fits(world: World) -> None:
    late_end = world.add([T0_US, T0_US + 5 * HOUR_US - 1])
    oldest = world.add([T0_US + 1])
    second = world.add([T0_US + HOUR_US], tenant="other")
    newest = world.add([T0_US + 6 * HOUR_US])
    policy = CompactionPolicy(max_bytes=total(late_end, newest))
    done = expire(world.catalog, world.store, policy)
    assert (done.objects, done.rows, done.bytes) == (2, 2, total(oldest, second))
    assert keys(*world.entries()) == keys(late_end, newest)
    assert expire(world.catalog, world.store, policy).objects == 0
    done = expire(world.catalog, world.store, CompactionPolicy(max_bytes=total(late_end, newest) - 1))
    assert keys(*world.entries()) == keys(newest)
    assert done.objects == 1


def test_a_tenants_size_takes_nothing_of_another(world: World) -> None:
    other = world.add([T0_US], tenant="other")
    world.add([T0_US + HOUR_US])
    kept = world.add([T0_US + 2 * HOUR_US])
    policy = CompactionPolicy(tenant_max_bytes={"default": kept.size})
    assert expire(world.catalog, world.store, policy).objects == 1
    assert keys(*world.entries()) == keys(other, kept)


def test_without_a_size_nothing_leaves_and_a_size_of_nothing_leaves_nothing(world: World) -> None:
    world.add([T0_US])
    assert expire(world.catalog, world.store, CompactionPolicy()).objects == 0
    assert expire(world.catalog, world.store, CompactionPolicy(max_bytes=1)).objects == 1
    assert expire(world.catalog, world.store, CompactionPolicy(max_bytes=1)).objects == 0
    assert world.entries() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_answer_takes_no_more_than_it_should(world: World, moment: str) -> None:
    entries = [world.add([T0_US + hour * HOUR_US]) for hour in range(4)]

    def strike(at: str) -> None:
        if at == moment:
            world.fault = None
            raise Unavailable("the connection broke")

    world.fault = strike
    expire(world.catalog, world.store, CompactionPolicy(max_bytes=total(*entries[2:])))
    assert keys(*world.entries()) == keys(*entries[2:])


def test_under_pressure_removed_objects_go_soon_and_orphans_as_ever(world: World) -> None:
    gone = world.add([T0_US])
    kept = world.add([T0_US + HOUR_US])
    orphan = gone.key.rsplit("/", 1)[0] + "/1-2-" + "0" * 32 + "-f8-x0.parquet"
    world.store.put(orphan, b"about to be committed")
    policy = CompactionPolicy(max_bytes=kept.size)
    assert is_over(world.store, policy)
    expire(world.catalog, world.store, policy)
    world.now_us += PRESSED_AGE_US
    assert collect_garbage(world.catalog, world.store, pressed=True).objects == 0
    world.now_us += 1
    assert collect_garbage(world.catalog, world.store, pressed=False).objects == 0
    done = collect_garbage(world.catalog, world.store, pressed=True)
    assert (done.objects, done.bytes) == (1, gone.size)
    assert {info.key for info in world.store.list("tenant=")} == {kept.key, orphan}
    world.now_us += GARBAGE_AGE_US
    assert collect_garbage(world.catalog, world.store).objects == 1


def test_what_waits_for_its_deletion_counts_as_pressure(world: World) -> None:
    first, second = world.add([T0_US], tenant="a"), world.add([T0_US + HOUR_US], tenant="b")
    both = total(first, second)
    assert not is_over(world.store, CompactionPolicy())
    assert not is_over(world.store, CompactionPolicy(max_bytes=both))
    assert is_over(world.store, CompactionPolicy(max_bytes=both - 1))
    assert not is_over(world.store, CompactionPolicy(tenant_max_bytes={"a": first.size}))
    assert is_over(world.store, CompactionPolicy(tenant_max_bytes={"a": first.size - 1}))
    assert not is_over(world.store, CompactionPolicy(tenant_max_bytes={"nobody": 1}))


def test_a_search_that_still_wants_a_deleted_object_names_it(world: World) -> None:
    gone, kept = world.add([T0_US]), world.add([T0_US + HOUR_US])
    pinned = world.entries()
    expire(world.catalog, world.store, CompactionPolicy(max_bytes=kept.size))
    world.now_us += PRESSED_AGE_US + 1
    collect_garbage(world.catalog, world.store, pressed=True)
    result = run_task(world.store, ScanTask("default", Query(All(), limit=10), tuple(pinned)))
    assert result.partial.table.num_rows == 1
    assert gone.key in str(result.failed)


def test_a_merge_without_room_is_named_and_others_go_on(world: World) -> None:
    for hour, count in ((0, 2), (1, 40)):
        for at in range(count):
            world.add([T0_US + hour * HOUR_US + at])
    small = total(*(entry for entry in world.entries() if entry.min_us < T0_US + HOUR_US))
    done = compact(world.catalog, world.store, CompactionPolicy(), room=lambda: small)
    assert done.new_objects == 1
    (skipped,) = done.skipped
    assert skipped[1] == NO_ROOM
    assert compact(world.catalog, world.store, CompactionPolicy(), room=lambda: 0).new_objects == 0
    assert compact(world.catalog, world.store, CompactionPolicy()).new_objects == 1
    assert world.messages() == world.everything()
