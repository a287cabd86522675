"""`ess_ray.table.verify`: each kind of damage, made one at a time, is found by name; what is right is called right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray.core.checksum import crc32
from ess_ray.core.chunk import Encoded, OffsetRange, encode_object, identity
from ess_ray.core.timestamps import partition_of
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.compaction import compact
from ess_ray.table.maintenance import GARBAGE_AGE_US
from ess_ray.table.replacing import count_up
from ess_ray.table.verify import LogState, Report, verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore

Make = Callable[..., pa.Table]
HOUR_US = 3_600_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US


class World:
    """A table in memory of three objects, of one virtual node, of which the last two lie in one hour."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.now_us = T0_US
        self.store = MemoryObjectStore(clock_us=lambda: self.now_us)
        self.catalog = MemoryCatalog(clock_us=lambda: self.now_us)
        self.next_offset = 0
        self.entries = [self.add(0), self.add(1), self.add(1)]

    def encode(self, hour: int, count: int = 10, first: int | None = None, ranges: Any = None) -> Encoded:
        first = self.next_offset if first is None else first
        times = [T0_US + hour * HOUR_US + number for number in range(count)]
        rows = self.make(times, [f"m{first + number} of some length" for number in range(count)], 0, first)
        return encode_object(rows, ranges or [OffsetRange("log", 0, first, first + count)])

    def add(self, hour: int, count: int = 10) -> ObjectEntry:
        entry = self.put(self.encode(hour, count))
        self.catalog.writer().commit(
            [entry], [], vnode_advances("log", {0: Advance(self.next_offset, self.next_offset + count)})
        )
        self.next_offset += count
        return entry

    def put(self, encoded: Encoded) -> ObjectEntry:
        entry = entry_of(Sealed("default", encoded), self.now_us)
        self.store.put(entry.key, encoded.data)
        return entry

    def tell(self, entry: ObjectEntry) -> None:
        """Commit by hand, without any offset."""
        self.catalog.writer().commit([entry], [], {})

    def flip(self, entry: ObjectEntry, at: int) -> None:
        data = bytearray(self.store.get_range(entry.key, 0, entry.size))
        data[at] ^= 0xFF
        self.store.put(entry.key, bytes(data))

    def verify(self, **arguments: Any) -> Report:
        return verify(self.catalog, self.store, **arguments)

    def checks(self, deep: bool = False, **arguments: Any) -> set[str]:
        return {problem.check for problem in self.verify(deep=deep, **arguments).problems}


@pytest.fixture
def world(make_events: Make) -> World:
    return World(make_events)


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_right_is_called_right(world: World, deep: bool) -> None:
    seen: list[tuple[int, int]] = []
    report = world.verify(deep=deep, on_progress=lambda *told: seen.append(told))
    assert report.problems == []
    assert (report.objects, report.rows, report.uncovered, report.orphans) == (3, 30, [], 0)
    assert report.bytes == sum(entry.size for entry in world.entries)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_compaction_makes_is_right(world: World) -> None:
    compact(world.catalog, world.store, CompactionPolicy(), eager=True)
    report = world.verify(deep=True)
    assert report.problems == []
    assert (report.objects, report.rows, report.unreferenced) == (2, 30, 2)
    world.now_us += GARBAGE_AGE_US + 1
    assert world.verify().orphans == 2


def test_a_missing_object_is_found(world: World) -> None:
    world.store.delete(world.entries[0].key)
    (problem,) = world.verify().problems
    assert (problem.check, problem.where) == ("missing", world.entries[0].key)
    assert "restore" in problem.advice


def test_an_object_cut_short_is_found(world: World) -> None:
    entry = world.entries[0]
    world.store.put(entry.key, world.store.get_range(entry.key, 0, entry.size - 1))
    assert world.checks() == {"size"}


def test_a_broken_footer_is_found(world: World) -> None:
    world.flip(world.entries[0], world.entries[0].size - 1)
    assert world.checks() == {"footer"}


def test_a_flipped_byte_of_the_rows_is_found_by_reading_them(world: World) -> None:
    entry, found = world.entries[0], set()
    for at in range(4, 600, 61):
        world.flip(entry, at)
        found |= world.checks(deep=True)
        world.flip(entry, at)
    assert found <= {"rows", "content hash", "statistics", "ranges", "order", "footer", "index"}
    assert found & {"rows", "content hash"}
    assert world.checks(deep=True) == set()


def test_other_rows_under_the_same_footer_are_found(world: World) -> None:
    entry = world.entries[0]
    encoded = world.encode(0, first=0)
    other = world.make([T0_US + number for number in range(10)], ["another text"] * 10, 0, 0)
    forged = encode_object(other, [OffsetRange("log", 0, 0, 10)])
    honest = _hash_of(encoded)
    data = bytes(forged.data).replace(_hash_of(forged).encode(), honest.encode())
    key = replace(forged, checksum=crc32(data[-forged.footer_bytes :])).key("default")
    world.store.put(key, data)
    remove(world, entry)
    world.tell(replace(entry, key=key, size=len(data)))
    assert world.checks() == set()
    assert world.checks(deep=True) == {"content hash"}


def _hash_of(encoded: Encoded) -> str:
    metadata = pq.read_metadata(pa.BufferReader(encoded.data)).metadata
    return str(metadata[b"ess.content_hash"].decode())


def remove(world: World, entry: ObjectEntry) -> None:
    writer = world.catalog.writer()
    view = writer.view()
    writer.commit([], [entry], count_up(view, 0))


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"rows": 11}, "statistics"),
        ({"min_us": T0_US - 1}, "statistics"),
        ({"max_us": T0_US + 5}, "statistics"),
        ({"hour": 23}, "partition"),
        ({"date": "2020-01-01"}, "partition"),
    ],
)
def test_wrong_statistics_and_partitions_are_found(world: World, wrong: dict[str, Any], check: str) -> None:
    remove(world, world.entries[0])
    world.tell(replace(world.entries[0], **wrong))
    assert check in world.checks()


def test_rows_of_two_hours_in_one_object_are_found(world: World) -> None:
    rows = world.make([T0_US + 5, T0_US + HOUR_US], vnode=0, first=0)
    world.tell(world.put(encode_object(rows, [OffsetRange("log", 0, 0, 2)])))
    assert "partition" in world.checks()


def test_an_object_doubled_under_another_key_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tell(world.put(world.encode(0, first=0)))
    problems = world.verify().problems
    assert [problem.check for problem in problems] == ["doubled"]
    assert problems[0].found.startswith("10 of its rows")
    monkeypatch.setattr(identity, "MAX_ROWS_HELD", 3)
    assert [problem.found for problem in world.verify().problems] != []
    assert world.verify().problems[0].found.startswith("10 of its rows"), "counted over all parts"


def test_rows_of_one_identity_in_two_hours_are_found_by_reading_them(world: World) -> None:
    """In three hours the same ten rows: two pairs tell of all three."""
    first = world.entries[0]
    for hour in (5, 9):
        world.tell(world.put(world.encode(hour, first=0)))
    assert world.checks() == set()
    problems = world.verify(deep=True).problems
    assert [(problem.check, problem.found[:15]) for problem in problems] == [("doubled", "10 of its rows,")] * 2
    told = " ".join(problem.where + problem.found for problem in problems)
    assert first.key in told
    assert all(f"hour={first.hour + hour:02d}" in told or hour + first.hour > 23 for hour in (5, 9))


def test_a_row_twice_in_one_object_is_found_by_reading_it(world: World) -> None:
    rows = world.make([T0_US + 100, T0_US + 101], offset=[3, 3], vnode=0)
    world.tell(world.put(encode_object(rows, [OffsetRange("log", 0, 3, 4)])))
    assert world.checks(deep=True) == {"doubled"}


def test_ranges_that_overlap_without_a_row_in_common_are_right(world: World) -> None:
    rows = world.make([T0_US + 5], vnode=1, first=2)
    world.catalog.writer().commit([], [], vnode_advances("log", {1: Advance(0, 5)}))
    world.tell(world.put(encode_object(rows, [OffsetRange("log", 0, 0, 10), OffsetRange("log", 1, 0, 5)])))
    report = world.verify()
    assert (report.problems, report.rows_compared) == ([], 11)


def test_offsets_beyond_the_catalogs_are_found(world: World) -> None:
    world.tell(world.put(world.encode(2)))
    assert world.checks() == {"beyond the catalog"}


def test_rows_outside_their_ranges_are_found_by_reading_them(world: World) -> None:
    world.tell(world.put(world.encode(0, count=5, first=0, ranges=[OffsetRange("log", 1, 0, 5)])))
    world.catalog.writer().commit([], [], vnode_advances("log", {1: Advance(0, 5)}))
    assert world.checks() == set()
    assert "ranges" in world.checks(deep=True)


def test_a_damaged_index_is_found(world: World) -> None:
    entry = world.add(3, count=5_000)
    index_bytes = int(entry.key.rpartition("-x")[2].partition("-")[0])
    footer_bytes = int(entry.key.rpartition("-f")[2].partition("-")[0])
    assert index_bytes
    start = entry.size - footer_bytes - index_bytes
    assert world.checks(deep=True) == set()
    for at in (start + 8, start + index_bytes // 2):
        world.flip(entry, at)
        (problem,) = world.verify().problems
        assert (problem.check, problem.where) == ("footer", entry.key)
        assert "skip index does not match" in problem.found
        world.flip(entry, at)


def test_the_log_is_compared(world: World) -> None:
    def log(start: int, end: int) -> Callable[[], LogState]:
        return lambda: LogState("log", {0: start}, {0: end})

    assert world.checks(read_log=log(0, 30)) == set()
    assert world.verify(read_log=log(10, 35)).not_stored == 5
    assert world.checks(read_log=log(0, 29)) == {"log end"}
    assert world.checks(read_log=log(31, 40)) == {"log gap"}


def test_uncovered_offsets_are_told_and_no_fault(world: World) -> None:
    remove(world, world.entries[1])
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(30, 40)}))
    report = world.verify()
    assert report.problems == []
    assert report.uncovered == [("log", 0, 10, 20), ("log", 0, 30, 40)]


def test_dead_letters_are_counted(world: World) -> None:
    letters = MemoryObjectStore(clock_us=lambda: T0_US)
    letters.put("0-1", b"x")
    letters.put("0-1.json", b"{}")
    assert world.verify(dead_letters=letters).dead_letters == 1


def test_a_tenant_and_a_time_narrow_what_is_checked(world: World) -> None:
    world.store.delete(world.entries[0].key)
    assert world.checks(since_us=T0_US + HOUR_US) == set()
    assert world.checks(tenant="other") == set()
    assert world.checks(tenant="default") == {"missing"}
    assert partition_of(T0_US)[1] == world.entries[0].hour
