"""Reading an object: how many requests a scan makes, what is kept of footers, rows taken from dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from uuid import uuid4

import pyarrow as pa
import pytest

from ess_ray.core import chunk
from ess_ray.core.chunk import read
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import And, Contains, Equals, Field, Query

Make = Callable[..., pa.Table]
MESSAGE = Field("message")
COUNT = 60_000
"""Rows: four row groups."""


class Requests:
    """One object in memory that notes the ranges asked for."""

    def __init__(self, rows: pa.Table) -> None:
        encoded = chunk.encode_object(rows, ())
        self.key = chunk.object_key(
            "default", encoded.min_us, encoded.max_us, uuid4().hex, encoded.footer_bytes, encoded.index_bytes
        )
        self.data = encoded.data.to_pybytes()
        self.ranges: list[tuple[int, int]] = []

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.ranges.append((offset, offset + length))
        return self.data[offset : offset + length]

    def get_suffix(self, key: str, length: int) -> bytes:
        return self.get_range(key, len(self.data) - length, length)

    def open(self, footers: chunk.FooterCache | None = None, gap_bytes: int = read.GAP_BYTES) -> chunk.ObjectReader:
        return chunk.open_object(self, self.key, len(self.data), footers, gap_bytes)


@pytest.fixture(scope="module")
def stored(make_events: Make, t0_us: int) -> Requests:
    messages = [sha256(b"%d" % i).hexdigest() for i in range(COUNT)]
    messages[100] = messages[50_000] = "the needle"
    hosts = [f"host-{i % 5}" for i in range(COUNT)]
    rows = make_events([t0_us + i for i in range(COUNT)], messages, host=hosts)
    return Requests(rows)


@pytest.mark.parametrize("limit", [10, COUNT])
def test_a_scanned_object_takes_at_most_three_requests(stored: Requests, limit: int) -> None:
    stored.ranges.clear()
    reader = stored.open()
    found = chunk.scan_object(reader, Query(Contains(MESSAGE, "the needle", False), limit=limit))
    assert found.rows.column("offset").to_pylist() == [50_000, 100]
    assert reader.gets == len(stored.ranges) <= 3
    assert reader.bytes_read == sum(end - start for start, end in stored.ranges)


def test_with_small_gaps_only_tested_columns_are_read(stored: Requests) -> None:
    reader = stored.open(gap_bytes=0)
    chunk.scan_object(reader, Query(Equals(Field("host"), "nowhere", False)))
    assert reader.bytes_read < len(stored.data) / 20


def test_a_small_column_that_rules_a_row_group_out_keeps_messages_from_being_searched(stored: Requests) -> None:
    reader = stored.open(gap_bytes=0)
    query = Query(And((Contains(MESSAGE, "the needle", False), Equals(Field("host"), "host-0", False))), limit=10)
    assert chunk.scan_object(reader, query).rows.column("offset").to_pylist() == [50_000, 100]
    other = Query(And((Contains(MESSAGE, "the needle", False), Equals(Field("host"), "host-1", False))), limit=10)
    assert len(chunk.scan_object(stored.open(), other).rows) == 0


def test_a_known_footer_takes_no_request(stored: Requests) -> None:
    footers = chunk.FooterCache()
    first = stored.open(footers)
    again = stored.open(footers)
    assert (first.gets, again.gets, again.bytes_read) == (1, 0, 0)
    assert again.facts == first.facts
    assert again.read_group(0).equals(first.read_group(0))


def test_footers_are_dropped_beyond_the_cache_s_bytes(stored: Requests) -> None:
    footer = stored.open().footer
    footers = chunk.FooterCache(max_bytes=footer.cost_bytes * 2)
    for key in ("a", "b", "a", "c"):
        footers.put(key, 1, footer)
        footers.get("a", 1)
    assert [footers.get(key, 1) is not None for key in "abc"] == [True, False, True]


def test_an_object_that_ends_early_is_corrupt(stored: Requests) -> None:
    reader = chunk.ObjectReader(stored.key, len(stored.data), stored.data[-100_000:], lambda at, size: b"")
    with pytest.raises(CorruptData, match="ends early"):
        chunk.scan_object(reader, Query(Contains(MESSAGE, "x", False)))


def test_rows_taken_from_dictionaries_are_the_rows(make_events: Make, t0_us: int) -> None:
    attributes = [None, [], [("a", "1"), ("b", None)], [("a", ""), ("c", "x" * 50)]] * 10
    levels = [None, "ERROR", "INFO", ""] * 10
    rows = make_events([t0_us + i for i in range(40)], attributes=attributes, level=levels, service=levels[::-1])
    reader = Requests(rows).open()
    for chosen in ([], [0], [1, 2], [39, 2, 0], [3, 6, 7, 9], list(range(40)), list(range(39, -1, -1))):
        indices = pa.array(chosen, pa.int64())
        taken = reader.read_rows(0, EVENT_SCHEMA.names, indices)
        assert pa.table(taken, schema=EVENT_SCHEMA).equals(rows.take(indices))
