"""Storing exactly once, what a record itself can do to it: repeats, records that cannot be decoded, newer formats."""

from __future__ import annotations

from collections import Counter

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.core.event import FORMAT_VERSION
from ess_ray.limits import WriterLimits
from ess_ray.ports import Record, StoredRecord
from ess_ray.record import FORMAT, KnownRequest, encode_records
from ess_ray.table.maintenance import GARBAGE_AGE_US
from tests.formats import encode_record_1, with_header
from tests.worlds import HOUR_US, World, batch_of
from tests.writers import append, append_keyed, owner, store_all

SECOND_US = 1_000_000


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


@pytest.mark.parametrize("jump_us", [HOUR_US, 24 * HOUR_US, -24 * HOUR_US, -HOUR_US])
async def test_a_time_of_day_that_jumps_and_returns_makes_no_repeat_another_event(jump_us: int) -> None:
    world = World()
    writer = await owner(world)
    await append(world, "before", ids=True)
    await append_keyed(world, "keyed before", "key-1")
    await writer.poll()
    await append(world, "unread", ids=True)  # observed before the jump, read after it
    for at, ahead_us in enumerate((jump_us, 0)):
        world.now_us += SECOND_US
        world.ahead_us = ahead_us
        await append(world, "before", "unread", "meanwhile", ids=True)
        await append_keyed(world, "keyed before", "key-1")
        await append_keyed(world, "keyed meanwhile", "key-2")
        await (writer.poll() if at == 0 else store_all(writer))
    assert world.stored() == Counter(["before", "unread", "meanwhile", "keyed before", "keyed meanwhile"])


async def test_what_is_an_hour_old_is_forgotten_whatever_the_time_of_day_says() -> None:
    world = World()
    writer = await owner(world)
    await append(world, "a", ids=True)
    await writer.poll()
    world.now_us += HOUR_US + SECOND_US
    world.ahead_us = -HOUR_US
    await append(world, "a", ids=True)
    await store_all(writer)
    assert sum(entry.rows for entry in world.catalog.snapshot().objects(None, None, None)) == 2


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
