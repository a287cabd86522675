"""Compaction and retention: what is chosen, what a merge keeps, and each step's crash."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray import compaction
from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.memory import MemoryObjectStore
from ess_ray.adapters.memory_catalog import MemoryCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.compaction import (
    BUSY_INPUTS,
    MAX_INPUTS,
    QUIET_US,
    SMALL_BYTES,
    TARGET_BYTES,
    CompactionPolicy,
    bucket_of,
    choose,
    commit,
    compact,
    expire,
    merge,
    partition,
    plan,
)
from ess_ray.core.chunk import OffsetRange, StoredRequest, encode_object, object_key, open_object
from ess_ray.core.errors import CorruptData, NotFound, Unavailable, UnknownOutcome
from ess_ray.core.event import ORDER, partition_of
from ess_ray.ingest.repeats import WINDOW_US, rebuild
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.maintenance import GARBAGE_AGE_US, collect_garbage
from ess_ray.ports import Advance, Catalog, ObjectEntry, ObjectStore
from ess_ray.record import RequestKey, encode_records
from tests import worlds

Make = Callable[..., pa.Table]
MIB = 1024 * 1024
DAY_US = 86_400 * 1_000_000
HOUR_US = 3_600 * 1_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US
LONG_AGO_US = T0_US - 2 * QUIET_US


def sized(sizes: Sequence[int], modified_us: int = LONG_AGO_US, hour: int = 0) -> list[ObjectEntry]:
    """Entries of one partition that differ in size alone."""
    at_us = T0_US + hour * HOUR_US
    date, of_day = partition_of(at_us)
    return [
        ObjectEntry(
            object_key("default", at_us, at_us + 1, f"{number:032x}", 8, 0),
            *(size, "default", date, of_day, 1, at_us, at_us + 1, modified_us),
        )
        for number, size in enumerate(sizes)
    ]


class World:
    """Store and catalog in memory; the clock stands until it is moved."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.now_us = T0_US + 10 * HOUR_US
        self.fault: Callable[[str], None] | None = None
        self.store: ObjectStore = MemoryObjectStore(clock_us=lambda: self.now_us)
        self.catalog: Catalog = MemoryCatalog(on_commit=self._on_commit, clock_us=lambda: self.now_us)
        self.next_offset = 0

    def _on_commit(self, moment: str) -> None:
        if self.fault is not None:
            self.fault(moment)

    def add(
        self,
        times_us: Sequence[int],
        requests: Sequence[StoredRequest] = (),
        modified_us: int = LONG_AGO_US,
        vnode: int = 0,
        tenant: str = "default",
    ) -> ObjectEntry:
        """Store and commit one object of rows at these times; offsets go on from object to object."""
        first, end = self.next_offset, self.next_offset + len(times_us)
        messages = [f"m{offset}" for offset in range(first, end)]
        encoded = encode_object(
            self.make(list(times_us), messages, vnode, first), [OffsetRange("log", vnode, first, end)], requests
        )
        entry = entry_of(Sealed(tenant, encoded), modified_us)
        self.store.put(entry.key, encoded.data)
        self.catalog.writer().commit("log", [entry], {99: Advance(first, end)})
        self.next_offset = end
        return entry

    def entries(self, tenant: str | None = None) -> list[ObjectEntry]:
        return self.catalog.snapshot().objects(tenant, None, None)

    def rows(self, entry: ObjectEntry) -> pa.Table:
        reader = open_object(self.store, entry.key, entry.size)
        return pa.concat_tables([reader.read_group(group) for group in range(reader.groups)])

    def messages(self) -> Counter[str]:
        return Counter(name for entry in self.entries() for name in self.rows(entry).column("message").to_pylist())

    def everything(self) -> Counter[str]:
        return Counter(f"m{offset}" for offset in range(self.next_offset))

    def merge(self) -> compaction.Merge:
        (chosen,) = plan(self.catalog.snapshot(), self.now_us, eager=True).values()
        done = merge(self.store, chosen, self.now_us)
        assert done is not None
        return done


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
    memory = rebuild(world.store, [done.entry], "log", [0], world.now_us)[0]
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


@pytest.mark.parametrize("at", [10, -20, "rows"])
def test_a_damaged_object_leaves_its_hour_as_it_is(world: World, at: int | str) -> None:
    times_us = [T0_US + i for i in range(1000)]
    bad = world.add(times_us)
    world.add([T0_US])
    data = bytearray(world.store.get_range(bad.key, 0, bad.size))
    if isinstance(at, int):
        data[at] ^= 0xFF
    else:
        # Another object's rows under this one's facts: only the content hash can tell.
        other = encode_object(world.make(times_us, [f"x{offset}" for offset in range(1000)]), [])
        facts = open_object(world.store, bad.key, bad.size).facts
        data = bytearray(other.data.to_pybytes().replace(_hash_of(other.data), facts.content_hash.encode()))
    world.store.put(bad.key, bytes(data))
    if at == "rows":
        with pytest.raises(CorruptData, match="content hash"):
            merge(world.store, [replace(bad, size=len(data)), world.entries()[1]], world.now_us)
    else:
        done = compact(world.catalog, world.store, CompactionPolicy(), eager=True)
        assert (done.merged_objects, len(done.skipped)) == (0, 1)
    assert len(world.entries()) == 2
    assert len(world.store.list("tenant=")) == 2, "nothing was put"


def _hash_of(data: pa.Buffer) -> bytes:
    found: bytes = pq.read_metadata(pa.BufferReader(data)).metadata[b"ess.content_hash"]
    return found


def test_rows_out_of_order_are_not_merged(world: World) -> None:
    encoded = encode_object(world.make([T0_US, T0_US + 9, T0_US + 5]), [])
    entry = entry_of(Sealed("default", encoded), LONG_AGO_US)
    world.store.put(entry.key, encoded.data)
    with pytest.raises(CorruptData, match="not in the order"):
        merge(world.store, [entry, world.add([T0_US])], world.now_us)


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
            merged += (await asyncio.to_thread(compact, writer, world.store, CompactionPolicy(), True)).new_objects
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
