"""Reading an object: how many requests a scan makes, what is kept of footers, rows taken from dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from uuid import uuid4

import pyarrow as pa
import pytest

from ess_ray.core import chunk
from ess_ray.core.chunk import read, scan, write
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import And, Contains, Equals, Field, Order, Query

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
        self.footer_bytes, self.index_bytes = encoded.footer_bytes, encoded.index_bytes
        self.tail_bytes = encoded.footer_bytes + encoded.index_bytes
        self.ranges: list[tuple[int, int]] = []

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.ranges.append((offset, offset + length))
        return self.data[offset : offset + length]

    def get_suffix(self, key: str, length: int) -> bytes:
        return self.get_range(key, len(self.data) - length, length)

    def open(
        self, footers: chunk.FooterCache | None = None, gap_bytes: int = read.GAP_BYTES, with_index: bool = True
    ) -> chunk.ObjectReader:
        return chunk.open_object(self, self.key, len(self.data), footers, gap_bytes, with_index)


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


@pytest.fixture(scope="module")
def many_groups(make_events: Make, t0_us: int) -> Requests:
    """An object of 120 row groups: "common" is in every row, "seldom" in one of each group, "needle-42" in three."""
    texts = [
        f"common phrase everywhere {sha256(b'%d' % i).hexdigest()}{' seldom' if i % 500 == 250 else ''}"
        for i in range(COUNT)
    ]
    for i in (700, 30_000, 59_000):
        texts[i] = "here is needle-42"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "ROWS_PER_GROUP", 500)
        return Requests(make_events([t0_us + i for i in range(COUNT)], texts))


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("gap_bytes", [0, 32 * 1024, read.GAP_BYTES])
def test_the_newest_of_a_common_term_read_little(many_groups: Requests, order: Order, gap_bytes: int) -> None:
    query = Query(Contains(MESSAGE, "common", True), limit=100, order=order)
    reader = many_groups.open(gap_bytes=gap_bytes, with_index=chunk.index_first(query))
    found = chunk.scan_object(reader, query)
    assert len(found.rows) == 100
    footer_and_index = many_groups.tail_bytes if reader.knows_index else many_groups.footer_bytes
    assert reader.bytes_read - footer_and_index <= len(many_groups.data) / 100
    assert reader.knows_index == (gap_bytes == read.GAP_BYTES), "a small index comes with the footer"


@pytest.mark.parametrize("limit", [100, 1000])
def test_a_probe_for_few_rows_of_a_phrase_reads_no_index(many_groups: Requests, limit: int) -> None:
    phrase = Query(Contains(MESSAGE, "phrase everywhere", True), limit=limit)
    few = limit <= scan.PROBE_LIMIT
    assert chunk.index_first(phrase)
    assert chunk.index_first(phrase, probe=True) != few
    trace = Query(Equals(Field("trace_id"), "ab" * 16, False), limit=limit)
    assert chunk.index_first(trace, probe=True), "an id is rare"
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=chunk.index_first(phrase, probe=True))
    found = chunk.scan_object(reader, phrase, probe=True)
    assert len(found.rows) == limit
    assert reader.knows_index != few


def test_an_index_larger_than_what_is_left_to_read_is_not_read(many_groups: Requests) -> None:
    query = Query(Contains(MESSAGE, "seldom", True), limit=3)
    reader = many_groups.open(gap_bytes=16 * 1024, with_index=False)
    assert len(chunk.scan_object(reader, query, probe=True).rows) == 3
    assert not reader.knows_index, "two more row groups have fewer bytes than the index"
    absent = Query(Contains(MESSAGE, "zzyyxxww-42", True), limit=3)
    reader = many_groups.open(gap_bytes=16 * 1024, with_index=False)
    assert not chunk.scan_object(reader, absent, probe=True).rows_matched
    assert reader.knows_index


def test_an_index_that_cannot_tell_is_not_read(many_groups: Requests) -> None:
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=False)
    chunk.scan_object(reader, Query(Contains(MESSAGE, "zq~", False)))
    assert not reader.knows_index


def test_what_is_read_ahead_grows_with_what_the_limit_still_wants(many_groups: Requests) -> None:
    query = Query(Contains(MESSAGE, "seldom", True), limit=10)
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=False)
    found = chunk.scan_object(reader, query)
    expected = [i for i in range(COUNT) if i % 500 == 250 and i not in (700, 30_000, 59_000)][::-1][:10]
    assert found.rows.column("offset").to_pylist() == expected
    assert reader.bytes_read < many_groups.footer_bytes + many_groups.index_bytes + len(many_groups.data) / 4


def test_scattered_row_groups_take_few_requests_where_requests_are_dear(many_groups: Requests) -> None:
    for limit in (1000, 2):
        query = Query(Contains(MESSAGE, "needle-42", False), limit=limit)
        reader = many_groups.open(with_index=chunk.index_first(query))
        found = chunk.scan_object(reader, query)
        assert found.rows.column("offset").to_pylist() == [59_000, 30_000, 700][:limit]
        assert reader.gets <= 3


def test_an_index_left_out_at_first_is_read_once_and_kept(many_groups: Requests) -> None:
    footers = chunk.FooterCache()
    reader = many_groups.open(footers, gap_bytes=0, with_index=False)
    assert not reader.knows_index
    assert len(reader.index) == many_groups.index_bytes
    assert reader.gets == 2
    again = many_groups.open(footers, gap_bytes=0, with_index=False)
    assert again.knows_index
    assert again.index == reader.index
    assert again.gets == 0
    many_groups.open(footers, gap_bytes=0, with_index=False)
    assert footers.get(many_groups.key, len(many_groups.data)) is again.footer


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
