"""A flipped bit anywhere in a stored object: every reader gives the right answer or names the object.

An object of several row groups, with all columns, a skip index and dictionaries, has one bit flipped in a place of its
every region in turn; then it is searched, counted, read whole and merged. `python -m tests.property.test_bit_flips N`
does it N times and prints what came of it.
"""

from __future__ import annotations

import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray.core.chunk import Encoded, ObjectLimits, OffsetRange, encode_object, merged, open_object, read
from ess_ray.core.chunk.footer import parse_footer
from ess_ray.core.collect import Collector, FieldNames, Grouping, Rows
from ess_ray.core.errors import CorruptData
from ess_ray.core.query import And, Contains, Equals, Exists, Field, Not, Query
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.scan import run_task
from ess_ray.table.compaction import compact
from ess_ray.table.verify import verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from tests.examples import examples
from tests.property.oracle import table_of

T0_US = 1_790_000_000_000_000 // 3_600_000_000 * 3_600_000_000
ROWS = 900
GROUP_ROWS = 300
FLIPS = examples(270)
"""In a run of all tests: thirty of each kind of region, about half a minute of CPU."""
REGIONS = ("magic", "page header", "dictionary", "page", "skip index", "page table", "page index", "footer", "end")


SMALL = ObjectLimits(rows_per_group=GROUP_ROWS, index_min_rows=1)


def _rows(first: int, count: int) -> pa.Table:
    """Make rows that use every column; `first` is their first offset."""
    source = random.Random(first)
    numbers = range(first, first + count)
    words = ["timeout", "refused", "accepted", "retry", "Ärger", "ſtale", ""]
    columns: dict[str, list[Any]] = {
        "timestamp": [T0_US + number * 1_000 for number in numbers],
        "observed_timestamp": [T0_US + number * 1_000 + 7 for number in numbers],
        "level": [source.choice(["INFO", "WARN", "ERROR", None]) for _ in numbers],
        "severity_number": [source.choice([9, 13, 17, None]) for _ in numbers],
        "service": [source.choice(["api", "db", None]) for _ in numbers],
        "host": [f"host-{source.randrange(5)}" for _ in numbers],
        "message": [f"{source.choice(words)} user={source.randrange(500)} {source.choice(words)}" for _ in numbers],
        "trace_id": [source.randbytes(16).hex() if number % 3 else None for number in numbers],
        "span_id": [source.randbytes(8).hex() if number % 3 else None for number in numbers],
        "attributes": [
            [("region", source.choice(["eu", "us"])), ("n", str(source.randrange(50)))] if number % 4 else None
            for number in numbers
        ],
        "event_id": [f"id-{number}" if number % 2 else None for number in numbers],
        "attribute_types": ["sn" if number % 4 else None for number in numbers],
        "event_hash": [source.randbytes(16) if number % 2 else None for number in numbers],
        "log_id": ["log"] * count,
        "vnode": [0] * count,
        "offset": list(numbers),
        "row": [0] * count,
    }
    return table_of([dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])


@dataclass(frozen=True)
class Object:
    """An object and where its regions stand: (name, start, end), the same name many times."""

    encoded: Encoded
    data: bytes
    regions: tuple[tuple[str, int, int], ...]


def _object(first: int, count: int = ROWS) -> Object:
    encoded = encode_object(_rows(first, count), [OffsetRange("log", 0, first, first + count)], limits=SMALL)
    data = encoded.data.to_pybytes()
    return Object(encoded, data, tuple(_regions(encoded, data)))


def _regions(encoded: Encoded, data: bytes) -> list[tuple[str, int, int]]:
    footer = parse_footer(encoded.key("default"), data)
    assert footer.pages is not None
    assert encoded.index_bytes
    regions = [("magic", 0, 4)]
    dictionaries = set()
    for group in range(footer.metadata.num_row_groups):
        for leaf in range(footer.metadata.num_columns):
            column = footer.metadata.row_group(group).column(leaf)
            if column.has_dictionary_page:
                dictionaries.add(column.dictionary_page_offset)
    at = 4
    for length in footer.pages.lengths.tolist():
        regions.append(("page header", at, at + 12))
        regions.append(("dictionary" if at in dictionaries else "page", at, at + length))
        at += length
    index_end = at + encoded.index_bytes
    table_end = index_end + footer.pages.nbytes
    footer_start = len(data) - 8 - int(footer.metadata.serialized_size)
    regions += [("skip index", at, index_end), ("page table", index_end, table_end)]
    regions += [("page index", table_end, footer_start), ("footer", footer_start, len(data) - 8)]
    return [*regions, ("end", len(data) - 8, len(data))]


class Readers:
    """All that reads objects, over a damaged one and a sound one; knows what each gives of both sound."""

    def __init__(self) -> None:
        self.damaged, self.sound = _object(0), _object(ROWS, GROUP_ROWS)
        message = Field("message")
        trace_id = _rows(0, ROWS).column("trace_id")[ROWS // 2 + 1].as_py()
        queries = {
            "all": Query(limit=10_000, order="oldest"),
            "newest": Query(limit=20),
            "text": Query(Contains(message, "user=42", False), limit=1_000),
            "none": Query(Contains(message, "nowhere to be found", True), limit=10),
            "id": Query(Equals(Field("trace_id"), trace_id, False), limit=10),
            "fields": Query(
                And((Equals(Field("level"), "ERROR", True), Equals(Field("region", True), "eu", False))), limit=1_000
            ),
            "times": Query(Not(Exists(Field("service"))), T0_US + 100_000, T0_US + 700_000, 1_000, "oldest"),
        }
        counts = {
            "by level": Grouping(100_000, (Field("level"),)),
            "by attribute": Grouping(None, (Field("n", True),)),
            "field names": FieldNames(),
        }
        self.tasks: dict[str, tuple[Query, Collector]] = {name: (query, Rows()) for name, query in queries.items()}
        self.tasks |= {f"count {name}": (queries["all"], counting) for name, counting in counts.items()}
        self.right = {name: self.scan(name, self.entries({}), 0) for name in self.tasks}
        assert not any(failed for _, failed in self.right.values())
        assert all(len(rows) for name, (rows, _) in self.right.items() if name != "none")

    def entries(self, flipped: dict[int, int]) -> list[ObjectEntry]:
        """Put both objects, under names that no cache knows."""
        self.store = MemoryObjectStore(clock_us=lambda: T0_US)
        entries = []
        for one in (self.damaged, self.sound):
            data = bytearray(one.data)
            for at, bit in flipped.items() if one is self.damaged else ():
                data[at] ^= 1 << bit
            made = one.encoded
            key = made.key("default")
            self.store.put(key, bytes(data))
            _, date, hour, _ = key.split("/")
            where = "default", date.partition("=")[2], int(hour.partition("=")[2])
            entries.append(ObjectEntry(key, len(data), *where, made.rows, made.min_us, made.max_us, T0_US))
        return entries

    def scan(self, name: str, entries: list[ObjectEntry], gap_bytes: int) -> tuple[list[dict[str, Any]], set[str]]:
        query, collector = self.tasks[name]
        self.store.coalesce_bytes = gap_bytes
        result = run_task(self.store, ScanTask("default", query, tuple(entries), collector=collector))
        rows = result.partial.table if collector == Rows() else result.partial.table.sort_by("start_us")
        found = rows.to_pylist()
        return found if collector == Rows() else sorted(found, key=repr), {key for key, _ in result.failed}

    def outcomes(self, at: int, bit: int, gap_bytes: int) -> dict[str, str]:
        """Say for each reader whether it gave the right answer ("right") or named the damaged object ("named")."""
        entries = self.entries({at: bit})
        told = {}
        for name, (right, _) in self.right.items():
            found, failed = self.scan(name, entries, gap_bytes)
            told[name] = _verdict(failed == {entries[0].key}, not failed and found == right)
        told["merge"] = self._merge(entries)
        told["verify"] = self._verify(entries)
        return told

    def _merge(self, entries: list[ObjectEntry]) -> str:
        catalog = MemoryCatalog(clock_us=lambda: T0_US)
        catalog.writer().commit(entries, [], {})
        done = compact(catalog, self.store, CompactionPolicy(), eager=True)
        if done.skipped:
            return _verdict(entries[0].key in done.skipped[0][1], False)
        (entry,) = catalog.snapshot().objects(None, None, None)
        reader = open_object(self.store, entry.key, entry.size)
        rows = pa.concat_tables(merged([reader])).to_pylist()
        return _verdict(False, rows == self.right["all"][0])

    def _verify(self, entries: list[ObjectEntry]) -> str:
        catalog = MemoryCatalog(clock_us=lambda: T0_US)
        catalog.writer().commit(entries, [], {})
        problems = verify(catalog, self.store, deep=True).problems
        return _verdict({problem.where for problem in problems} >= {entries[0].key}, False)


def _verdict(named: bool, right: bool) -> str:
    return "named" if named else "right" if right else "wrong"


def _places(regions: tuple[tuple[str, int, int], ...], flips: int, source: random.Random) -> list[tuple[str, int, int]]:
    """Choose (region, byte, bit): every kind of region alike often."""
    chosen = []
    for number in range(flips):
        name = REGIONS[number % len(REGIONS)]
        _, start, end = source.choice([region for region in regions if region[0] == name])
        chosen.append((name, source.randrange(start, end), source.randrange(8)))
    return chosen


def flip_many(flips: int, seed: int) -> Counter[tuple[str, str]]:
    """Flip so many bits, one at a time; counts what came of each reader, by region. Every answer must be right."""
    readers, source = Readers(), random.Random(seed)
    told: Counter[tuple[str, str]] = Counter()
    for region, at, bit in _places(readers.damaged.regions, flips, source):
        gap_bytes = source.choice([0, 1_000, 300 * 1024])
        outcomes = readers.outcomes(at, bit, gap_bytes)
        wrong = [name for name, outcome in outcomes.items() if outcome == "wrong"]
        assert not wrong, f"seed {seed}: bit {bit} of byte {at} ({region}, gap {gap_bytes}): {wrong}"
        told.update((region, outcome) for outcome in outcomes.values())
    return told


@pytest.mark.parametrize("whole_bytes", [0, read.WHOLE_BYTES])
def test_a_flipped_bit_gives_the_right_answer_or_names_the_object(
    whole_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "WHOLE_BYTES", whole_bytes)
    told = flip_many(FLIPS // 2, seed=whole_bytes)
    assert {region for region, _ in told} == set(REGIONS)
    assert all(told[region, "named"] for region in REGIONS)


def test_every_bit_of_the_end_of_a_small_object_is_covered() -> None:
    """All of the tail, so that chance leaves no gap: opening it, by footer and index or by the footer alone, fails."""
    made = _object(0, 40)
    key, start = made.encoded.key("default"), len(made.data) - made.encoded.footer_bytes
    begin = start - made.encoded.index_bytes
    source = random.Random(1)
    for at in range(begin, len(made.data)):
        damaged = bytearray(made.data)
        damaged[at] ^= 1 << source.randrange(8)
        with pytest.raises(CorruptData, match=r"checksum|cannot be read"):
            parse_footer(key, bytes(damaged[begin:]))
        if at >= start:
            with pytest.raises(CorruptData, match=r"checksum|cannot be read"):
                parse_footer(key, bytes(damaged[start:]))


def test_other_readers_check_the_pages_too() -> None:
    made = _object(0)
    assert pq.read_table(pa.BufferReader(made.data), page_checksum_verification=True).num_rows == ROWS
    _, start, end = next(region for region in made.regions if region[0] == "page" and region[2] - region[1] > 1_000)
    damaged = bytearray(made.data)
    damaged[(start + end) // 2] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(pa.BufferReader(bytes(damaged)), page_checksum_verification=True)


def test_a_damaged_page_is_told_by_column_and_row_group() -> None:
    readers = Readers()
    made = readers.damaged
    column = parse_footer(made.encoded.key("default"), made.data).metadata.row_group(1).column(7)
    assert column.path_in_schema == "trace_id"
    entries = readers.entries({column.data_page_offset + 100: 3})
    result = run_task(readers.store, ScanTask("default", Query(limit=10_000), tuple(entries)))
    told = f"{entries[0].key}: a page of column trace_id in row group 1 does not match its checksum"
    assert result.failed == ((entries[0].key, told),)


def test_an_object_under_another_checksum_than_its_own_is_named() -> None:
    readers = Readers()
    entry = readers.entries({})[0]
    data = readers.store.get_range(entry.key, 0, entry.size)
    other = replace(readers.damaged.encoded, checksum=readers.damaged.encoded.checksum ^ 1).key("default")
    for key in (other, other.rpartition("-c")[0] + ".parquet"):
        with pytest.raises(CorruptData, match="checksum"):
            parse_footer(key, data)


if __name__ == "__main__":
    logging.disable()
    count, first_seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    outcomes = flip_many(count, first_seed)
    for part in REGIONS:
        print(f"{part:12}", {verdict: outcomes[part, verdict] for verdict in ("named", "right")})
