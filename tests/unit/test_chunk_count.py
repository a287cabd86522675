"""Counting an object: which bytes are asked of the store, and which are told by statistics."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pyarrow as pa
import pytest

from ess_ray.core.chunk import collect_object
from ess_ray.core.collect import FieldNames, Grouping, Partial
from ess_ray.core.collect import cells as cells_module
from ess_ray.core.query import All, And, Contains, Equals, Field, Query
from tests.unit.test_chunk_read import Requests

Make = Callable[..., pa.Table]
COUNT = 60_000
"""Rows, a microsecond apart: four row groups."""
GROUP = 16_384
LEVEL, MESSAGE = Field("level"), Field("message")


@pytest.fixture(scope="module")
def stored(make_events: Make, t0_us: int) -> Requests:
    messages = [f"request {i % 500} was answered" for i in range(COUNT)]
    messages[100] = messages[50_000] = "the needle"
    levels = ["ERROR" if i % 3 else None for i in range(COUNT)]
    large = [sha256(b"%d" % i).hexdigest() for i in range(COUNT)]  # else the object is small enough to be fetched whole
    return Requests(make_events([t0_us + i for i in range(COUNT)], messages, level=levels, span_id=large))


def counted(stored: Requests, query: Query, counting: Grouping | FieldNames) -> tuple[Partial, list[str]]:
    """Count, fetching nothing that was not asked for; gives also the columns that were read, one a range."""
    reader = stored.open(gap_bytes=0)
    before = len(stored.ranges)
    found = collect_object(reader, query, counting)
    return found, sorted(name for span in stored.ranges[before:] for name in columns_in(reader.metadata, span))


def columns_in(metadata: pa.parquet.FileMetaData, span: tuple[int, int]) -> list[str]:
    names = []
    for group in range(metadata.num_row_groups):
        for leaf in range(metadata.num_columns):
            column = metadata.row_group(group).column(leaf)
            start = column.data_page_offset
            if column.has_dictionary_page:
                start = min(start, column.dictionary_page_offset)
            if start < span[1] and span[0] < start + column.total_compressed_size:
                names.append(f"{column.path_in_schema.split('.')[0]} {group}")
    return names


def cells(found: Partial) -> list[tuple[int | None, int]]:
    return sorted(zip(*(found.table.column(name).to_pylist() for name in ("start_us", "count")), strict=True))


def test_the_number_of_rows_is_told_by_the_footer(stored: Requests, t0_us: int) -> None:
    for query in (Query(All()), Query(All(), t0_us, t0_us + COUNT)):
        found, read = counted(stored, query, Grouping())
        assert (cells(found), found.rows_matched, read) == ([(None, COUNT)], COUNT, [])


def test_row_groups_on_a_border_are_read_for_their_times_alone(stored: Requests, t0_us: int) -> None:
    found, read = counted(stored, Query(All(), t0_us + 10, t0_us + 3 * GROUP + 5), Grouping())
    assert cells(found) == [(None, 3 * GROUP - 5)]
    assert read == ["timestamp 0", "timestamp 3"]


def test_only_row_groups_with_two_buckets_are_read(stored: Requests, t0_us: int) -> None:
    interval_us = 2 * GROUP
    first_us = t0_us - t0_us % interval_us
    found, read = counted(stored, Query(All()), Grouping(interval_us))
    assert sum(count for _, count in cells(found)) == COUNT
    borders = [us - t0_us for us in range(first_us + interval_us, t0_us + COUNT, interval_us)]
    expected = {border // GROUP for border in borders if border % GROUP}
    assert read == [f"timestamp {group}" for group in sorted(expected)]
    assert 0 < len(expected) < 4


def test_only_the_columns_grouped_by_are_read(stored: Requests) -> None:
    found, read = counted(stored, Query(All()), Grouping(None, (LEVEL,)))
    assert found.table.num_rows == 2
    assert read == [f"level {group}" for group in range(4)]
    _, read = counted(stored, Query(Equals(LEVEL, "ERROR", False)), Grouping(None, (LEVEL,)))
    assert read == [f"level {group}" for group in range(4)]


def test_what_the_index_rules_out_is_not_read(stored: Requests) -> None:
    found, read = counted(stored, Query(Contains(MESSAGE, "the needle", False)), Grouping(None, (LEVEL,)))
    assert found.rows_matched == 2
    assert read == ["level 0", "level 3", "message 0", "message 3"]


def test_keys_are_read_only_where_rows_match(stored: Requests) -> None:
    nowhere = And((Contains(MESSAGE, "zq~", False), Equals(LEVEL, "ERROR", False)))
    found, read = counted(stored, Query(nowhere), Grouping(1, (Field("host"),)))
    assert found.rows_matched == 0
    assert not [name for name in read if name.startswith(("host", "timestamp"))]


def test_field_names_read_what_may_be_null_and_no_ids_where_there_are_none(stored: Requests) -> None:
    found, read = counted(stored, Query(All()), FieldNames())
    assert FieldNames().rows_of(found.table) == COUNT
    assert not [name for name in read if name.split()[0] in ("message", "timestamp", "event_id", "offset")]


def test_counting_ends_when_it_is_cancelled(stored: Requests) -> None:
    asked = iter([False, True])
    found = collect_object(stored.open(), Query(All()), Grouping(None, (LEVEL,)), lambda: next(asked, True))
    assert found.rows_matched < COUNT


def test_counting_ends_when_there_are_too_many_buckets(stored: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "MAX_CELLS", 10)
    monkeypatch.setattr(cells_module, "_MIN_FRESH", 1)
    reader = stored.open(gap_bytes=0)
    assert collect_object(reader, Query(All()), Grouping(1)).rows_matched <= GROUP
