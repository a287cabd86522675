"""What a compaction chooses, what a merge keeps, and what it does about damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray.core.chunk import OffsetRange, StoredRequest, encode_object, object_key, open_object
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import FORMAT_VERSION, ORDER
from ess_ray.core.timestamps import partition_of
from ess_ray.ingest.repeats import WINDOW_US, rebuild
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import ObjectEntry
from ess_ray.record import RequestKey
from ess_ray.table import compaction
from ess_ray.table.compaction import (
    BUSY_INPUTS,
    MAX_INPUTS,
    QUIET_US,
    SMALL_BYTES,
    TARGET_BYTES,
    choose,
    compact,
    merge,
    plan,
)
from ess_ray.table.replacing import bucket_of, partition
from tests.compactions import HOUR_US, LONG_AGO_US, MIB, T0_US, Make, World
from tests.formats import encode_object_1


def sized(sizes: Sequence[int], modified_us: int = LONG_AGO_US, hour: int = 0) -> list[ObjectEntry]:
    """Entries of one partition that differ in size alone."""
    at_us = T0_US + hour * HOUR_US
    date, of_day = partition_of(at_us)
    return [
        ObjectEntry(
            object_key("default", at_us, at_us + 1, uuid_hex=f"{number:032x}", footer_bytes=8, index_bytes=0),
            *(size, "default", date, of_day, 1, at_us, at_us + 1, modified_us),
        )
        for number, size in enumerate(sizes)
    ]


@pytest.fixture
def world(make_events: Make) -> World:
    return World(make_events)


# ------------------------------------------------------------------------------------------------------- the choice
def test_an_hour_that_is_still_written_waits_for_many_objects() -> None:
    few = sized([MIB] * (BUSY_INPUTS - 1), modified_us=T0_US)
    assert choose(few, T0_US) == []
    assert len(choose(sized([MIB] * BUSY_INPUTS, modified_us=T0_US), T0_US)) == BUSY_INPUTS
    assert choose(few, T0_US, eager=True) == few
    assert len(choose(few, T0_US + QUIET_US)) == len(few)


def test_large_objects_are_left_alone() -> None:
    assert choose(sized([SMALL_BYTES] * 10), T0_US, eager=True) == []
    chosen = choose(sized([SMALL_BYTES - 1, SMALL_BYTES, MIB]), T0_US, eager=True)
    assert [entry.size for entry in chosen] == [MIB, SMALL_BYTES - 1]


def test_a_merge_takes_in_no_more_than_the_target() -> None:
    chosen = choose(sized([20 * MIB] * 10), T0_US)
    assert sum(entry.size for entry in chosen) <= TARGET_BYTES
    assert len(chosen) == 6
    assert len(choose(sized([MIB // 4] * 200), T0_US)) == MAX_INPUTS


def test_a_straggler_does_not_rewrite_what_was_merged() -> None:
    assert choose(sized([40 * MIB, 1000]), T0_US) == []
    assert [e.size for e in choose(sized([40 * MIB, 1000, 1000]), T0_US)] == [1000, 1000]


def test_rows_are_rewritten_a_logarithmic_number_of_times_however_long_an_hour_goes_on() -> None:
    size, rewrites = 64 * 1024, Counter[int]()
    held: list[tuple[ObjectEntry, list[int]]] = []
    for flush in range(2000):
        (entry,) = sized([size], modified_us=T0_US)
        held.append((replace(entry, key=f"{flush:032x}"), [flush]))
        chosen = {entry.key for entry in choose([entry for entry, _ in held], T0_US)}
        if chosen:
            inside = [flush for entry, flushes in held if entry.key in chosen for flush in flushes]
            rewrites.update(inside)
            held = [one for one in held if one[0].key not in chosen]
            held.append((replace(entry, key=f"m{flush:032x}", size=size * len(inside)), inside))
    assert max(rewrites.values()) <= (TARGET_BYTES // size).bit_length()
    assert len(held) <= 40


def test_only_what_was_there_counts_when_a_moment_is_given(world: World) -> None:
    for modified_us in (T0_US, T0_US, T0_US + 1):
        world.add([T0_US], modified_us=modified_us)
    world.add([T0_US], modified_us=T0_US + 5000)
    (chosen,) = plan(world.catalog.snapshot(), T0_US, eager=True, before_us=T0_US + 4000).values()
    assert len(chosen) == 3


def test_tenants_and_hours_are_never_mixed(world: World) -> None:
    for tenant in ("default", "other"):
        for hour in (0, 1):
            world.add([T0_US + hour * HOUR_US], tenant=tenant)
            world.add([T0_US + hour * HOUR_US], tenant=tenant)
    assert compact(world.catalog, world.store, CompactionPolicy()).new_objects == 4
    assert len({partition(entry) for entry in world.entries()}) == 4
    assert [e.rows for e in world.entries()] == [2] * 4
    assert len(world.entries("other")) == 2


def test_a_merged_object_tells_when_all_its_rows_arrived(world: World) -> None:
    inputs = [world.add([T0_US + at]) for at in (0, 5)]
    assert compact(world.catalog, world.store, CompactionPolicy(), eager=True).new_objects == 1
    (merged,) = world.entries()
    arrivals = [us for one in inputs for us in (one.first_arrival_us, one.last_arrival_us)]
    assert None not in arrivals
    assert (merged.first_arrival_us, merged.last_arrival_us) == (min(arrivals), max(arrivals))  # type: ignore[type-var]


def test_the_bucket_of_a_partition_never_changes() -> None:
    assert bucket_of(("default", "2026-09-21", 14)) == 14
    assert len({bucket_of(("default", "2026-09-21", hour)) for hour in range(24)}) > 20


# -------------------------------------------------------------------------------------------------------- the merge
def test_rows_stand_in_the_total_order_whatever_overlaps(world: World) -> None:
    for vnode in (2, 0, 1):
        world.add([T0_US, T0_US, T0_US + 5, T0_US + 9], vnode=vnode)
    world.add([T0_US + 5, T0_US + 5], vnode=0)
    done = world.merge()
    rows = world.rows(done.entry)
    keys = list(zip(*(rows.column(name).to_pylist() for name in ORDER), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == done.entry.rows == 14
    assert (done.entry.min_us, done.entry.max_us) == (T0_US, T0_US + 9)


def test_the_same_objects_give_the_rows_that_writing_them_at_once_would(world: World) -> None:
    world.add([T0_US + i for i in range(0, 40_000, 2)])
    world.add([T0_US + i for i in range(1, 40_000, 2)], vnode=1)
    world.add([T0_US + 7] * 20_000)
    everything = pa.concat_tables([world.rows(entry) for entry in world.entries()])
    done = world.merge()
    reader = open_object(world.store, done.entry.key, done.entry.size)
    assert world.rows(done.entry).equals(everything.sort_by([(name, "ascending") for name in ORDER]).combine_chunks())
    assert [reader.group_rows(group) for group in range(reader.groups)] == [16_384] * 3 + [60_000 - 3 * 16_384]
    assert reader.index, "a skip index"
    assert reader.facts.index_bytes == len(reader.index)


def test_offset_ranges_are_united_and_ids_counted(world: World) -> None:
    for vnode in (0, 1, 0):
        world.add([T0_US, T0_US + 1], vnode=vnode)
    facts = open_object(world.store, (entry := world.merge().entry).key, entry.size).facts
    assert facts.ranges == (OffsetRange("log", 0, 0, 6), OffsetRange("log", 1, 2, 4))
    assert facts.ids == 0


def request(key: str, observed_us: int, offset: int = 0) -> StoredRequest:
    return StoredRequest("log", 0, offset, key, "hash", 0, 1, observed_us)


def test_request_keys_are_carried_for_an_hour(world: World) -> None:
    old_us = world.now_us - 2 * WINDOW_US
    world.add([T0_US], [request("old", old_us)], modified_us=old_us)
    world.add([T0_US], [request("young", world.now_us - WINDOW_US + 1, 1)], modified_us=world.now_us - WINDOW_US)
    # A writer that caught up late: the repeat of this key may be the next record of the log.
    world.add([T0_US], [request("stored late", old_us, 2)], modified_us=world.now_us)
    done = world.merge()
    facts = open_object(world.store, done.entry.key, done.entry.size).facts
    assert [r.key for r in facts.requests] == ["stored late", "young"]
    assert done.entry.modified_us == world.now_us
    memory = rebuild(world.store, [done.entry], log_id="log", vnodes=[0], now_us=world.now_us)[0]
    assert memory.is_repeat(RequestKey("default", "young", "hash", 0, 1), world.now_us)
    assert not memory.is_repeat(RequestKey("default", "old", "hash", 0, 1), world.now_us)


def test_an_old_hour_is_not_read_at_take_over_because_it_was_compacted(world: World) -> None:
    world.add([T0_US])
    world.add([T0_US])
    assert world.merge().entry.modified_us == LONG_AGO_US


def test_a_merge_takes_no_more_than_fits_into_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        world.add([T0_US + i for i in range(100)])
    each = compaction.open_bytes(open_object(world.store, (entry := world.entries()[0]).key, entry.size))
    monkeypatch.setattr(compaction, "MAX_OPEN_BYTES", 3 * each + each // 2)
    assert len(world.merge().inputs) == 3
    monkeypatch.setattr(compaction, "MAX_OPEN_BYTES", each)
    done = compact(world.catalog, world.store, CompactionPolicy())
    assert [reason for _, reason in done.skipped] == ["its row groups are too large to be merged in bounded memory"]
    assert world.messages() == world.everything()


def test_message_may_be_lz4(world: World) -> None:
    world.add([T0_US])
    world.add([T0_US])
    compact(world.catalog, world.store, CompactionPolicy(message_codec="lz4"))
    (entry,) = world.entries()
    metadata = open_object(world.store, entry.key, entry.size).metadata.row_group(0)
    codecs = {metadata.column(i).path_in_schema: metadata.column(i).compression for i in range(metadata.num_columns)}
    assert (codecs["message"], codecs["host"]) == ("LZ4", "ZSTD")


# ------------------------------------------------------------------------------------------------------- what is bad
def test_a_missing_object_leaves_its_hour_as_it_is(world: World) -> None:
    for hour in (0, 0, 1, 1):
        world.add([T0_US + hour * HOUR_US])
    gone = world.entries()[0]
    world.store.delete(gone.key)
    done = compact(world.catalog, world.store, CompactionPolicy())
    assert (done.merged_objects, done.new_objects, done.more) == (2, 1, False)
    ((where, reason),) = done.skipped
    assert where == f"default/{gone.date}/{gone.hour:02d}"
    assert gone.key in reason
    assert gone in world.entries()


@pytest.mark.parametrize("at", [10, -20])
def test_a_damaged_object_leaves_its_hour_as_it_is(world: World, at: int) -> None:
    bad = world.add([T0_US + i for i in range(1000)])
    world.add([T0_US])
    data = bytearray(world.store.get_range(bad.key, 0, bad.size))
    data[at] ^= 0xFF
    world.store.put(bad.key, bytes(data))
    done = compact(world.catalog, world.store, CompactionPolicy(), eager=True)
    assert (done.merged_objects, len(done.skipped)) == (0, 1)
    assert bad.key in done.skipped[0][1]
    assert len(world.entries()) == 2
    assert len(world.store.list("tenant=")) == 2, "nothing was put"


def test_other_rows_under_an_objects_facts_are_not_merged(world: World) -> None:
    """Of format 1, which has no checksums: only the content hash can tell."""
    times_us = [T0_US + i for i in range(1000)]
    made = [encode_object_1(world.make(times_us, [f"{name}{i}" for i in range(1000)]), []) for name in "xy"]
    (bad, data), (_, other) = made
    data = data.replace(_hash_of(data), _hash_of(other))
    world.store.put(bad.key, data)
    with pytest.raises(CorruptData, match="content hash"):
        merge(world.store, [bad, world.add([T0_US])], world.now_us)
    assert len(world.store.list("tenant=")) == 2, "nothing was put"


def test_objects_of_both_formats_become_one_of_todays(world: World) -> None:
    times_us = [T0_US + i for i in range(100)]
    old = world.make(times_us, event_id=[f"old-{i}" for i in range(100)])
    entry, data = encode_object_1(old, [OffsetRange("log", 0, 0, 100)])
    world.store.put(entry.key, data)
    world.catalog.writer().commit([entry], [], {})
    given = {"attribute_types": ["s", None] * 50, "event_hash": [b"0123456789abcdef", None] * 50}
    new = world.make([us + 1 for us in times_us], None, 0, 100, **given)
    other = entry_of(Sealed("default", encode_object(new, [OffsetRange("log", 0, 100, 200)])), LONG_AGO_US)
    world.store.put(other.key, encode_object(new, [OffsetRange("log", 0, 100, 200)]).data)
    done = merge(world.store, [entry, other], world.now_us)
    assert done is not None
    assert open_object(world.store, done.entry.key, done.entry.size).facts.format_version == FORMAT_VERSION
    expected = pa.concat_tables([old, new]).sort_by([(name, "ascending") for name in ORDER])
    assert world.rows(done.entry).equals(expected)


def _hash_of(data: bytes) -> bytes:
    found: bytes = pq.read_metadata(pa.BufferReader(data)).metadata[b"ess.content_hash"]
    return found


def test_rows_out_of_order_are_not_merged(world: World) -> None:
    encoded = encode_object(world.make([T0_US, T0_US + 8, T0_US + 5, T0_US + 9]), [])
    entry = entry_of(Sealed("default", encoded), LONG_AGO_US)
    world.store.put(entry.key, encoded.data)
    with pytest.raises(CorruptData, match="not in the order"):
        merge(world.store, [entry, world.add([T0_US])], world.now_us)
