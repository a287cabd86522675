"""Storing exactly once (docs/exactly-once.md), step by step: what each crash, fault and take-over leaves behind.

Interleavings are in property/.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pyarrow as pa
import pytest

from ess_ray.core.errors import DataLoss, Fenced, Unavailable, UnknownOutcome
from ess_ray.limits import WriterLimits
from ess_ray.record import encode_records
from ess_ray.testing import MemoryLog
from tests.worlds import VNODES, World, batch_of
from tests.writers import append, append_keyed, owner, raising, store_all

SECOND_US = 1_000_000


# ------------------------------------------------------------------------------------------------- 1 and 10: take-over
async def test_a_first_take_over_commits_the_log_start_at_once() -> None:
    world = World()
    await owner(world, (0, 1))
    log_id = await world.log.log_id()
    assert world.catalog.snapshot().next_offsets(log_id, [0, 1, 2]) == {0: 0, 1: 0, 2: None}


async def test_a_catalog_beyond_the_end_of_the_log_stops_the_writer() -> None:
    world = World()
    await append(world, "a", "b")
    await store_all(await owner(world))
    log_id = await world.log.log_id()
    world.log = MemoryLog(VNODES)  # replaced, under the same name
    world.log.log_id = lambda: asyncio.sleep(0, log_id)  # type: ignore[method-assign]
    with pytest.raises(DataLoss, match="replaced or truncated"):
        await owner(world)


async def test_a_log_that_lost_its_start_commits_the_gap_alone_and_goes_on() -> None:
    world = World()
    await owner(world)
    await append(world, "lost")
    await append(world, "kept")
    await world.log.committed({0: 1})  # its retention passed what nobody stored
    writer = await owner(world)
    assert writer.gaps == [(0, 0, 1)]
    assert world.catalog.snapshot().next_offset(await world.log.log_id(), 0) == 1
    await store_all(writer)
    assert world.stored() == Counter(["kept"])


# ------------------------------------------------------------------------------------------------------ 2: the buffers
async def test_full_buffers_pause_consumption_until_a_flush() -> None:
    world = World()
    writer = await owner(world, limits=WriterLimits(max_buffer_bytes=1, read_bytes=1))
    for name in ("a", "b", "c"):
        await append(world, name)
    assert await writer.poll() == 1
    assert await writer.poll() == 0
    await writer.flush()
    assert await writer.poll() == 1


async def test_what_was_read_is_in_a_view_before_it_is_stored() -> None:
    world = World()
    writer = await owner(world)
    await append(world, "a")
    await writer.poll()
    frozen = writer.freeze("default")
    await writer.flush()
    assert [batch.column("message").to_pylist() for batch in frozen.batches] == [["a"]], "frozen, whatever happens next"
    assert writer.freeze("default").batches == ()
    assert (frozen.ranges[0].first, frozen.ranges[0].end) == (0, 1)
    assert writer.freeze("another").batches == ()


# ------------------------------------------------------------------------------------------------- 3: sealing and PUT
async def test_a_flush_is_due_by_age_and_by_size() -> None:
    world = World()
    writer = await owner(world, limits=WriterLimits(seal_bytes=100_000))
    await append(world, "a")
    await writer.poll()
    assert not writer.due()
    world.now_us += 30 * SECOND_US
    assert writer.due()
    await writer.flush()
    await append(world, "x" * 200_000)
    await writer.poll()
    assert writer.due()


async def test_an_import_of_many_hours_is_sealed_by_size_only() -> None:
    world = World()
    writer = await owner(world, limits=WriterLimits(seal_bytes=1_000_000))
    for hour in range(26):
        await append(world, f"hour {hour}", hour=-hour)
    while await writer.poll():
        pass
    world.now_us += 3600 * SECOND_US
    assert not writer.due()
    await append(world, "y" * 1_000_000)
    await writer.poll()
    assert writer.due()


async def test_objects_are_one_per_tenant_and_hour() -> None:
    world = World()
    writer = await owner(world)
    for hour in (0, 0, 1):
        await append(world, f"h{hour}", hour=hour)
    batch = batch_of(["another's"], [None], 0, world.now_us)
    await world.log.append(encode_records(batch, 0, "another"))
    await store_all(writer)
    entries = world.catalog.snapshot().objects(None, None, None)
    assert Counter(entry.tenant for entry in entries) == {"default": 2, "another": 1}


async def test_a_crash_between_put_and_commit_leaves_invisible_orphans_and_loses_nothing() -> None:
    world = World()
    dead = await owner(world)
    await append(world, "a")
    await dead.poll()
    world.fault = raising(Unavailable("the machine died"), "before")
    with pytest.raises(UnknownOutcome):
        await dead.flush()
    assert world.stored() == Counter()
    (orphan,) = world.store.list("tenant=")
    await store_all(await owner(world))
    assert world.stored() == Counter(["a"])
    assert orphan.key not in {entry.key for entry in world.catalog.snapshot().objects(None, None, None)}


async def test_a_seal_that_took_too_long_is_put_again_under_new_keys() -> None:
    world = World()
    writer = await owner(world, limits=WriterLimits(reput_after_us=-1))
    await append(world, "a")
    await store_all(writer)
    assert len(world.store.list("tenant=")) == 2
    assert world.stored() == Counter(["a"])


# --------------------------------------------------------------------------------------------------- 4: the fence
async def test_a_zombie_cannot_commit_what_its_successor_stored() -> None:
    world = World()
    zombie = await owner(world)
    await append(world, "a", "b")
    await zombie.poll()
    await store_all(await owner(world))
    with pytest.raises(Fenced):
        await zombie.flush()
    assert world.stored() == Counter(["a", "b"])
    await append(world, "c")
    await store_all(zombie)  # it went on from where the catalog is
    assert world.stored() == Counter(["a", "b", "c"])


async def test_a_zombie_that_passed_its_check_is_refused_by_the_commit_itself() -> None:
    world = World()
    zombie, heir = await owner(world), await owner(world)
    await append(world, "a")
    await zombie.poll()
    await heir.poll()

    def overtake(moment: str) -> None:
        if moment == "before":
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(heir.flush())
            finally:
                loop.close()

    world.fault = overtake
    with pytest.raises((Fenced, UnknownOutcome)):
        await zombie.flush()
    world.fault = None
    assert world.stored() == Counter(["a"])


async def test_a_zombie_behind_a_trimmed_log_does_not_store_a_repeat_it_cannot_know() -> None:
    """The heir stores a keyed request and the log is trimmed; then the zombie reads only the request's repeat."""
    world = World()
    zombie = await owner(world)
    await append_keyed(world, "a", "key")
    await store_all(await owner(world))
    await append_keyed(world, "a", "key")
    for _ in range(3):
        await zombie.poll()
        try:
            await zombie.flush()
        except (Fenced, UnknownOutcome):
            continue
    assert world.stored() == Counter(["a"])


async def test_a_range_that_holds_nothing_to_store_commits_its_transaction_alone() -> None:
    world = World()
    writer = await owner(world)
    await append_keyed(world, "a", "key")
    await store_all(writer)
    await append_keyed(world, "a", "key")  # only a repeat
    await store_all(writer)
    assert world.catalog.snapshot().next_offset(await world.log.log_id(), 0) == 2
    assert len(world.catalog.snapshot().objects(None, None, None)) == 1


# ------------------------------------------------------------------------------------------- 5: unknown outcomes
@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_lost_answer_of_a_commit_neither_loses_nor_doubles(at: str) -> None:
    world = World()
    writer = await owner(world)
    await append(world, "a")
    await writer.poll()
    world.fault = raising(Unavailable("the connection broke"), at)
    with pytest.raises(UnknownOutcome):
        await writer.flush()
    world.fault = None
    await append(world, "b")
    await store_all(writer)
    assert world.stored() == Counter(["a", "b"])


async def test_after_its_own_commit_was_in_doubt_a_writer_still_knows_its_repeats() -> None:
    world = World()
    writer = await owner(world)
    await append_keyed(world, "a", "key")
    await writer.poll()
    world.fault = raising(Unavailable("the connection broke"), "after")
    with pytest.raises(UnknownOutcome):
        await writer.flush()
    world.fault = None
    await append_keyed(world, "a", "key")
    await store_all(writer)
    assert world.stored() == Counter(["a"])


# ---------------------------------------------------------------------------------- 6: durable before forgetting
async def test_a_committed_object_that_is_missing_is_put_and_committed_again() -> None:
    world = World()
    writer = await owner(world)
    await append(world, "a")
    await writer.poll()

    def lose(moment: str) -> None:
        if moment == "after":
            for info in world.store.list("tenant="):
                world.store.delete(info.key)

    world.fault = lose
    await writer.flush()
    world.fault = None
    assert writer.counts["objects_put_again"] == 1
    assert world.stored() == Counter(["a"])


async def test_a_put_that_fails_half_way_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try would leave some objects for a day, and on a full disk take the room that the next one needs."""
    world = World()
    writer = await owner(world)
    for hour in range(3):
        await append(world, f"hour {hour}", hour=hour)
    await writer.poll()
    put, room = world.store.put, 2

    def full_after_two(key: str, data: bytes | pa.Buffer) -> None:
        nonlocal room
        if room == 0:
            raise Unavailable("No space left on device")
        room -= 1
        put(key, data)

    monkeypatch.setattr(world.store, "put", full_after_two)
    with pytest.raises(Unavailable, match="No space left"):
        await writer.flush()
    assert world.store.list("tenant=") == []
    room = 3
    await writer.flush()
    assert world.stored() == Counter([f"hour {hour}" for hour in range(3)])
    assert len(world.store.list("tenant=")) == 3


async def test_the_log_is_trimmed_only_after_the_commit() -> None:
    world = World()
    writer = await owner(world)
    await append(world, "a")
    await writer.poll()
    world.fault = raising(Unavailable("the disk is full"), "before")
    with pytest.raises(UnknownOutcome):
        await writer.flush()
    assert (await world.log.start_offsets())[0] == 0
    world.fault = None
    await writer.flush()
    assert (await world.log.start_offsets())[0] == 1


async def test_a_crash_between_commit_and_trim_does_not_double() -> None:
    world = World()
    dead = await owner(world)
    await append(world, "a")
    await dead.poll()
    trim, world.log.committed = world.log.committed, None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        await dead.flush()
    world.log.committed = trim  # type: ignore[method-assign]
    await store_all(await owner(world))
    assert world.stored() == Counter(["a"])
