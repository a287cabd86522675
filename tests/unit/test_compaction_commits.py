"""Compaction and retention of whole tables: each step's crash, who commits, what leaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.errors import NotFound, Unavailable, UnknownOutcome
from ess_ray.ingest.repeats import WINDOW_US
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import ObjectEntry, Snapshot
from ess_ray.record import RequestKey, encode_records
from ess_ray.table.compaction import MAX_INPUTS, commit, compact, merge, plan
from ess_ray.table.maintenance import GARBAGE_AGE_US, collect_garbage
from ess_ray.table.replacing import Replacement, bucket_of, partition, replace_objects
from ess_ray.table.retention import expire
from tests import worlds
from tests.compactions import DAY_US, HOUR_US, T0_US, Make, World


@pytest.fixture
def world(make_events: Make) -> World:
    return World(make_events)


# ---------------------------------------------------------------------------------------------- crashes and conflicts
def test_a_crash_after_the_put_leaves_an_orphan_that_goes_after_a_day(world: World) -> None:
    world.add([T0_US])
    world.add([T0_US + 1])
    orphan = world.merge().entry
    assert world.messages() == world.everything()
    done = compact(world.catalog, world.store, CompactionPolicy())
    assert done.new_objects == 1
    world.now_us += GARBAGE_AGE_US + 1
    assert collect_garbage(world.catalog, world.store).objects == 3
    assert world.store.head(orphan.key) is None
    assert world.messages() == world.everything()


def test_after_the_commit_the_inputs_stay_until_garbage_collection(world: World) -> None:
    inputs = [world.add([T0_US]), world.add([T0_US + 1])]
    before = world.catalog.snapshot().objects("default", None, None)
    assert commit(world.catalog.writer(), world.merge())
    assert collect_garbage(world.catalog, world.store).objects == 0
    assert [world.rows(entry).num_rows for entry in before] == [1, 1], "a search that began before reads on"
    world.now_us += GARBAGE_AGE_US + 1
    assert collect_garbage(world.catalog, world.store).objects == 2
    assert all(world.store.head(entry.key) is None for entry in inputs)
    assert world.messages() == world.everything()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_answer_is_looked_up_and_nothing_is_doubled(world: World, moment: str) -> None:
    world.add([T0_US])
    world.add([T0_US + 1])
    done = world.merge()

    def strike(at: str) -> None:
        if at == moment:
            world.fault = None
            raise Unavailable("the connection broke")

    world.fault = strike
    assert commit(world.catalog.writer(), done)
    assert commit(world.catalog.writer(), done), "idempotent"
    assert world.entries() == [done.entry]


def test_commits_that_are_always_refused_end(world: World) -> None:
    world.add([T0_US])
    world.add([T0_US + 1])
    done = world.merge()

    def refuse(at: str) -> None:
        raise Unavailable("no")

    world.fault = refuse
    with pytest.raises(UnknownOutcome, match="refused"):
        commit(world.catalog.writer(), done)
    assert compact(world.catalog, world.store, CompactionPolicy()).skipped
    world.fault = None
    assert world.messages() == world.everything()


def test_of_two_compactors_at_once_one_commits(world: World) -> None:
    world.add([T0_US])
    world.add([T0_US + 1])
    one, other = world.merge(), world.merge()

    def overtake(at: str) -> None:
        if at == "before":
            world.fault = None
            assert commit(world.catalog.writer(), other)

    world.fault = overtake
    assert not commit(world.catalog.writer(), one)
    assert world.entries() == [other.entry]
    assert world.messages() == world.everything()


def test_a_merge_outlives_a_removal_elsewhere(world: World) -> None:
    for hour in (0, 0, 1, 1):
        world.add([T0_US + hour * HOUR_US])
    chosen = plan(world.catalog.snapshot(), world.now_us)
    one, other = (merge(world.store, inputs, world.now_us) for inputs in chosen.values())
    assert one is not None
    assert other is not None
    assert commit(world.catalog.writer(), one)
    assert commit(world.catalog.writer(), other)
    assert world.messages() == world.everything()


def test_a_run_ends_with_its_budget_and_says_so(world: World) -> None:
    for hour in range(3):
        world.add([T0_US + hour * HOUR_US])
        world.add([T0_US + hour * HOUR_US])
    ticks = iter([0.0, 10.0, 30.0])
    done = compact(world.catalog, world.store, CompactionPolicy(), budget_s=30, clock=lambda: next(ticks))
    assert (done.new_objects, done.more) == (2, True)
    done = compact(world.catalog, world.store, CompactionPolicy())
    assert (done.new_objects, done.merged_objects, done.rows, done.more) == (1, 2, 2, False)
    assert compact(world.catalog, world.store, CompactionPolicy()).new_objects == 0
    assert world.messages() == world.everything()


def test_a_run_lists_the_table_once_however_many_merges_it_makes(world: World) -> None:
    for hour in range(5):
        world.add([T0_US + hour * HOUR_US])
        world.add([T0_US + hour * HOUR_US])
    listed: list[int | None] = []
    catalog = world.catalog

    class Listed:
        """A snapshot that tells which listings were asked of it."""

        def __init__(self, inner: Snapshot) -> None:
            self._inner = inner

        def objects(self, tenant: str | None, start_us: int | None, end_us: int | None) -> list[ObjectEntry]:
            listed.append(start_us)
            return self._inner.objects(tenant, start_us, end_us)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    class Watched:
        def snapshot(self) -> Listed:
            return Listed(catalog.snapshot())

        def __getattr__(self, name: str) -> Any:
            return getattr(catalog, name)

    done = compact(Watched(), world.store, CompactionPolicy(), eager=True, clock=lambda: 0.0)
    assert (done.new_objects, done.skipped) == (5, ())
    assert listed.count(None) == 2, "what was known to be damaged, and the plan"
    assert listed.count(None) + 5 == len(listed), "and of each merge its hour"


def test_what_another_removal_took_before_a_merge_is_chosen_again(world: World) -> None:
    for hour in (0, 0, 0, 0, 1, 1):
        world.add([T0_US + hour * HOUR_US])
    other = world.add([T0_US + HOUR_US])
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        if looks == 2:  # the larger hour is merged, the other one is planned
            writer = world.catalog.writer()
            where = bucket_of(partition(other))
            assert replace_objects(writer, where, lambda _: Replacement([], [other]), "somebody else")
        return 0.0

    done = compact(world.catalog, world.store, CompactionPolicy(), eager=True, clock=clock)
    assert (done.new_objects, done.merged_objects, done.skipped) == (2, 6, ())
    assert sum(entry.rows for entry in world.entries()) == 6


def test_many_objects_become_few(world: World) -> None:
    for number in range(MAX_INPUTS + 10):
        world.add([T0_US + number])
    done = compact(world.catalog, world.store, CompactionPolicy())
    assert len(world.entries()) < 5
    assert done.bytes_before > done.bytes_after
    assert compact(world.catalog, world.store, CompactionPolicy(), eager=True).new_objects <= 1
    assert len(world.entries()) == 1
    assert world.messages() == world.everything()


# ------------------------------------------------------------------------------------------- the real things together
async def test_compactions_of_a_real_table_beside_a_writer(tmp_path: Path, make_events: Make) -> None:
    world = World(make_events)
    world.store, world.catalog = LocalObjectStore(tmp_path), DeltaCatalog(tmp_path)
    stop = asyncio.Event()

    async def write() -> None:
        for number in range(40):
            await asyncio.to_thread(world.add, [T0_US + number])
        stop.set()

    async def merge_all() -> int:
        merged, writer = 0, world.catalog
        while not stop.is_set():
            merged += (
                await asyncio.to_thread(compact, writer, world.store, CompactionPolicy(), eager=True)
            ).new_objects
        return merged

    _, *merged = await asyncio.gather(write(), merge_all(), merge_all())
    assert sum(merged) > 1
    compact(world.catalog, world.store, CompactionPolicy(), eager=True)
    assert len(world.entries()) == 1
    assert world.messages() == world.everything()


async def test_a_repeat_of_a_key_is_known_after_compaction_and_take_over() -> None:
    world = worlds.World()

    async def append(name: str, key: str) -> None:
        batch = worlds.batch_of([name], [None], 0, world.now_us)
        await world.log.append(encode_records(batch, 0, "default", RequestKey("default", key, "hash", 0, 1)))

    async def store() -> None:
        writer = world.writer()
        await writer.assign((0,))
        while await writer.poll():
            pass
        await writer.flush()

    for name in ("a", "b"):
        await append(name, name)
        await store()
    world.now_us += WINDOW_US - 1_000_000
    assert compact(world.catalog, world.store, CompactionPolicy(), eager=True).new_objects == 1
    await append("a", "a")
    await append("b", "b")
    await store()
    assert world.stored() == Counter(["a", "b"])


# -------------------------------------------------------------------------------------------------------- retention
def test_whole_objects_leave_when_their_newest_event_is_too_old(world: World) -> None:
    old, border = T0_US - DAY_US, T0_US
    world.now_us = T0_US + DAY_US
    world.add([old, old + 1])
    kept = world.add([border])
    other = world.add([old], tenant="other")
    policy = CompactionPolicy({"default": 1.0, "nobody": 3.0})
    done = expire(world.catalog, world.store, policy)
    assert (done.objects, done.rows) == (1, 2)
    assert {entry.key for entry in world.entries()} == {kept.key, other.key}
    assert expire(world.catalog, world.store, policy).objects == 0
    world.now_us += 1
    assert expire(world.catalog, world.store, policy).objects == 1
    assert len(world.store.list("tenant=")) == 3, "only garbage collection deletes"


def test_without_a_setting_events_are_kept_for_ever(world: World) -> None:
    world.add([T0_US])
    world.now_us += 10_000 * DAY_US
    assert expire(world.catalog, world.store, CompactionPolicy()).objects == 0
    assert len(world.entries()) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_retention_looks_again_after_a_lost_answer(world: World, moment: str) -> None:
    for hour in range(3):
        world.add([T0_US + hour * HOUR_US])
    world.now_us = T0_US + 30 * DAY_US

    def strike(at: str) -> None:
        if at == moment:
            world.fault = None
            raise Unavailable("the connection broke")

    world.fault = strike
    assert expire(world.catalog, world.store, CompactionPolicy({"default": 1})).objects == 3
    assert world.entries() == []


def test_a_missing_object_does_not_keep_retention_from_going_on(world: World) -> None:
    entry = world.add([T0_US])
    world.store.delete(entry.key)
    with pytest.raises(NotFound):
        world.rows(entry)
    world.now_us = T0_US + 30 * DAY_US
    assert expire(world.catalog, world.store, CompactionPolicy({"default": 1})).objects == 1
