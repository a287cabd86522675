"""Storing exactly once (docs/exactly-once.md), step by step: what each crash, fault and take-over leaves behind.

Interleavings are in property/.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from ess_ray.adapters.memory import MemoryLog
from ess_ray.core.errors import DataLoss, EssError, Fenced, Unavailable, UnknownOutcome
from ess_ray.core.event import FORMAT_VERSION
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import WriterLimits
from ess_ray.maintenance import GARBAGE_AGE_US
from ess_ray.ports import Record, StoredRecord
from ess_ray.record import FORMAT, KnownRequest, RequestKey, encode_records
from tests.formats import encode_record_1, with_header
from tests.worlds import HOUR_US, VNODES, World, batch_of

SECOND_US = 1_000_000


async def append(world: World, *names: str, vnode: int = 0, hour: int = 0, ids: bool = False) -> None:
    batch = batch_of(list(names), [*names] if ids else [None] * len(names), hour, world.now_us)
    await world.log.append(encode_records(batch, vnode, "default"))


async def append_keyed(world: World, name: str, key: str, body_hash: str = "hash", vnode: int = 0) -> None:
    batch = batch_of([name], [None], 0, world.now_us)
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


# ------------------------------------------------------------------------------------------------------- 7: repeats
async def test_a_repeat_by_key_is_dropped_in_flight_after_the_flush_and_after_a_take_over() -> None:
    world = World()
    writer = await owner(world)
    await append_keyed(world, "a", "key")
    await append_keyed(world, "a", "key")
    await store_all(writer)
    await append_keyed(world, "a", "key")
    await store_all(writer)
    heir = await owner(world)
    await append_keyed(world, "a", "key")
    await store_all(heir)
    assert world.stored() == Counter(["a"])
    assert writer.counts["repeats_dropped"] == 2
    assert heir.counts["repeats_dropped"] == 1


async def test_the_same_key_with_another_body_is_kept_and_counted() -> None:
    world = World()
    writer = await owner(world)
    await append_keyed(world, "a", "key", "one")
    await append_keyed(world, "b", "key", "other")
    await store_all(writer)
    assert world.stored() == Counter(["a", "b"])
    assert writer.counts["key_conflicts"] == 1
    assert writer.known_request(0, "default", "key") == KnownRequest("one", frozenset({(0, 1)}), whole=True)
    assert writer.known_request(0, "another", "key") is None


async def test_a_repeat_by_id_is_dropped_within_the_hour_and_stored_after_it() -> None:
    world = World()
    await append(world, "a", "b", ids=True)
    writer = await owner(world)
    await store_all(writer)
    await append(world, "a", "b", ids=True)
    await store_all(writer)
    heir = await owner(world)
    await append(world, "a", "b", ids=True)
    await store_all(heir)
    assert world.stored() == Counter(["a", "b"])
    world.now_us += HOUR_US + SECOND_US
    await append(world, "a", ids=True)
    await store_all(heir)
    entries = world.catalog.snapshot().objects(None, None, None)
    assert sum(entry.rows for entry in entries) == 3


async def test_the_same_id_with_other_content_is_another_event_also_after_a_take_over() -> None:
    world = World()
    writer = await owner(world)
    for messages in (["created"], ["paid"], ["created"], ["paid", "shipped"]):
        batch = batch_of(messages, ["o-7"] * len(messages), 0, world.now_us)
        await world.log.append(encode_records(batch, 0, "default"))
        await store_all(writer)
        writer = await owner(world)
    assert world.stored() == Counter(["created", "paid", "shipped"])


async def test_what_was_stored_without_a_hash_is_known_by_its_id_alone() -> None:
    world = World()
    writer = await owner(world)
    for hashed in (False, True):
        batch = batch_of(["created"], ["o-7"], 0, world.now_us, hashed)
        await world.log.append(encode_records(batch, 0, "default"))
        await store_all(writer)
        writer = await owner(world)
    assert world.stored() == Counter(["created"])


# ------------------------------------------------------------------------------------------------------- dead letters
async def test_a_record_that_cannot_be_decoded_is_kept_aside_and_stops_nothing() -> None:
    world = World()
    kept: list[tuple[int, int, bytes]] = []
    broken = True

    async def keep(vnode: int, record: StoredRecord, _: str) -> None:
        if broken:
            raise Unavailable("the dead-letter topic is not there just now")
        kept.append((vnode, record.offset, record.value))

    writer = world.writer(dead_letter=keep)
    await writer.assign((0,))
    await append(world, "before")
    await world.log.append([Record(0, b"no arrow", ())])
    await append(world, "a")
    for _ in range(2):  # nothing passes its offset, and nothing before it is taken twice
        with pytest.raises(Unavailable):
            await writer.poll()
    broken = False
    await store_all(writer)
    assert kept == [(0, 1, b"no arrow")]
    assert world.stored() == Counter(["before", "a"])
    assert writer.counts["dead_letters"] == 1


def test_writers_put_again_long_before_garbage_is_collected() -> None:
    assert WriterLimits().reput_after_us < GARBAGE_AGE_US / 10


# --------------------------------------------------------------------------------------- records of a newer format
async def append_newer(world: World, name: str, vnode: int = 0) -> None:
    """Append a record as the version after this one may write it."""
    (record,) = encode_records(batch_of([name], [None], 0, world.now_us), vnode, "default")
    await world.log.append([with_header(record, FORMAT, b"%d" % (FORMAT_VERSION + 1))])


async def test_a_record_of_a_newer_format_stops_its_virtual_node_alone_and_waits() -> None:
    world = World()
    await append(world, "before")
    await append_newer(world, "newer")
    await append(world, "behind")
    await append(world, "elsewhere", vnode=1)
    writer = await owner(world, (0, 1))  # whose dead letters fail the test
    await store_all(writer)
    await append(world, "later")
    await append(world, "elsewhere, later", vnode=1)
    await store_all(writer)
    assert world.stored() == Counter(["before", "elsewhere", "elsewhere, later"])
    assert list(writer.stopped) == [0]
    assert "of format 3" in writer.stopped[0].message
    assert writer.caught_up
    log_id = await world.log.log_id()
    assert world.catalog.snapshot().next_offsets(log_id, [0, 1]) == {0: 1, 1: 2}


async def test_a_stopped_virtual_node_goes_on_where_a_newer_version_takes_it_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await append_newer(world, "newer")
    await append(world, "behind")
    await store_all(await owner(world))
    monkeypatch.setattr("ess_ray.record.FORMAT_VERSION", FORMAT_VERSION + 1)
    writer = await owner(world)
    await store_all(writer)
    assert not writer.stopped
    assert world.stored() == Counter(["newer", "behind"])


async def test_records_of_format_1_are_stored_beside_those_of_today() -> None:
    world = World()
    batch = batch_of(["old"], ["id-1"], 0, world.now_us)
    await world.log.append([encode_record_1(batch, 0, "default")])
    await append(world, "new")
    await world.log.append([encode_record_1(batch, 0, "default")])  # a client's repeat, before the upgrade
    writer = await owner(world)
    await store_all(writer)
    assert world.stored() == Counter(["old", "new"])
    assert writer.counts["repeats_dropped"] == 1


async def test_a_version_of_before_stops_at_records_of_today_and_moves_nothing_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.log.append([encode_record_1(batch_of(["old"], [None], 0, world.now_us), 0, "default")])
    await append(world, "new")
    await append(world, "behind")
    with monkeypatch.context() as before:
        before.setattr("ess_ray.record.FORMAT_VERSION", 1)
        writer = await owner(world)  # whose dead letters fail the test
        await store_all(writer)
        assert "is of format 2, this ess_ray reads up to 1: upgrade it" in writer.stopped[0].message
        assert writer.positions == {0: (1, 1)}
    assert world.stored() == Counter(["old"])
    await store_all(await owner(world))
    assert world.stored() == Counter(["old", "new", "behind"])
