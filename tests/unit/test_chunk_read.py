"""Reading an object: how many requests a scan makes, what is kept of footers, rows taken from dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import copy
from hashlib import sha256

import pyarrow as pa
import pytest

from ess_ray.core import chunk
from ess_ray.core.chunk import ObjectLimits, ranges, read, windows
from ess_ray.core.chunk.rows import read_rows
from ess_ray.core.chunk.write import ROWS_PER_GROUP
from ess_ray.core.collect import ROWS
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import And, Contains, Equals, Field, Order, Query

Make = Callable[..., pa.Table]
MESSAGE = Field("message")
COUNT = 60_000
"""Rows: four row groups."""
PIECE_BYTES = 5_000
"""Of a stream."""
STREAM_GAP_BYTES = read.MIN_STREAM_GAP_BYTES


class Requests:
    """One object in memory that notes the ranges asked for."""

    def __init__(self, rows: pa.Table, rows_per_group: int = ROWS_PER_GROUP) -> None:
        encoded = chunk.encode_object(rows, (), limits=ObjectLimits(rows_per_group=rows_per_group))
        self.key = encoded.key("default")
        self.data = encoded.data.to_pybytes()
        self.footer_bytes, self.index_bytes = encoded.footer_bytes, encoded.index_bytes
        self.tail_bytes = encoded.footer_bytes + encoded.index_bytes
        self.ranges: list[tuple[int, int]] = []
        self.streamed: list[tuple[int, int]] = []
        self.given = 0
        """Bytes of streams."""
        self.ends = 0
        """Of streams that were ended."""

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.ranges.append((offset, offset + length))
        return self.data[offset : offset + length]

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        data = self.get_range(key, offset, length)
        self.streamed.append((offset, offset + length))
        try:
            for at in range(0, length, PIECE_BYTES):
                self.given += len(data[at : at + PIECE_BYTES])
                yield data[at : at + PIECE_BYTES]
        finally:
            self.ends += 1

    def get_suffix(self, key: str, length: int) -> bytes:
        return self.get_range(key, len(self.data) - length, length)

    def open(
        self, footers: chunk.FooterCache | None = None, gap_bytes: int = read.GAP_BYTES, with_index: bool = True
    ) -> chunk.ObjectReader:
        return chunk.open_object(
            self, self.key, len(self.data), footers=footers, gap_bytes=gap_bytes, with_index=with_index
        )


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
    found = chunk.collect_object(reader, Query(Contains(MESSAGE, "the needle", False), limit=limit), ROWS)
    assert found.table.column("offset").to_pylist() == [50_000, 100]
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
    return Requests(make_events([t0_us + i for i in range(COUNT)], texts), rows_per_group=500)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("gap_bytes", [0, 32 * 1024, read.GAP_BYTES])
def test_the_newest_of_a_common_term_read_little(many_groups: Requests, order: Order, gap_bytes: int) -> None:
    query = Query(Contains(MESSAGE, "common", True), limit=100, order=order)
    reader = many_groups.open(gap_bytes=gap_bytes, with_index=chunk.index_first(query))
    found = chunk.collect_object(reader, query, ROWS)
    assert len(found.table) == 100
    footer_and_index = many_groups.tail_bytes if reader.knows_index else many_groups.footer_bytes
    assert reader.bytes_read - footer_and_index <= len(many_groups.data) / 100
    assert reader.knows_index == (gap_bytes == read.GAP_BYTES), "a small index comes with the footer"


@pytest.mark.parametrize("limit", [100, 1000])
def test_a_probe_for_few_rows_of_a_phrase_reads_no_index(many_groups: Requests, limit: int) -> None:
    phrase = Query(Contains(MESSAGE, "phrase everywhere", True), limit=limit)
    few = limit <= windows.PROBE_LIMIT
    assert chunk.index_first(phrase)
    assert chunk.index_first(phrase, probe=True) != few
    trace = Query(Equals(Field("trace_id"), "ab" * 16, False), limit=limit)
    assert chunk.index_first(trace, probe=True), "an id is rare"
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=chunk.index_first(phrase, probe=True))
    found = chunk.collect_object(reader, phrase, ROWS, probe=True)
    assert len(found.table) == limit
    assert reader.knows_index != few


def test_an_index_larger_than_what_is_left_to_read_is_not_read(many_groups: Requests) -> None:
    query = Query(Contains(MESSAGE, "seldom", True), limit=3)
    reader = many_groups.open(gap_bytes=16 * 1024, with_index=False)
    assert len(chunk.collect_object(reader, query, ROWS, probe=True).table) == 3
    assert not reader.knows_index, "two more row groups have fewer bytes than the index"
    absent = Query(Contains(MESSAGE, "zzyyxxww-42", True), limit=3)
    reader = many_groups.open(gap_bytes=16 * 1024, with_index=False)
    assert not chunk.collect_object(reader, absent, ROWS, probe=True).rows_matched
    assert reader.knows_index


def test_an_index_that_cannot_tell_is_not_read(many_groups: Requests) -> None:
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=False)
    chunk.collect_object(reader, Query(Contains(MESSAGE, "zq~", False)), ROWS)
    assert not reader.knows_index


def test_what_is_read_ahead_grows_with_what_the_limit_still_wants(many_groups: Requests) -> None:
    query = Query(Contains(MESSAGE, "seldom", True), limit=10)
    reader = many_groups.open(gap_bytes=32 * 1024, with_index=False)
    found = chunk.collect_object(reader, query, ROWS)
    expected = [i for i in range(COUNT) if i % 500 == 250 and i not in (700, 30_000, 59_000)][::-1][:10]
    assert found.table.column("offset").to_pylist() == expected
    assert reader.bytes_read < many_groups.footer_bytes + many_groups.index_bytes + len(many_groups.data) / 4


def test_scattered_row_groups_take_few_requests_where_requests_are_dear(many_groups: Requests) -> None:
    for limit in (1000, 2):
        query = Query(Contains(MESSAGE, "needle-42", False), limit=limit)
        reader = many_groups.open(with_index=chunk.index_first(query))
        found = chunk.collect_object(reader, query, ROWS)
        assert found.table.column("offset").to_pylist() == [59_000, 30_000, 700][:limit]
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
    chunk.collect_object(reader, Query(Equals(Field("host"), "nowhere", False)), ROWS)
    assert reader.bytes_read < len(stored.data) / 20


def test_a_small_column_that_rules_a_row_group_out_keeps_messages_from_being_searched(stored: Requests) -> None:
    reader = stored.open(gap_bytes=0)
    query = Query(And((Contains(MESSAGE, "the needle", False), Equals(Field("host"), "host-0", False))), limit=10)
    assert chunk.collect_object(reader, query, ROWS).table.column("offset").to_pylist() == [50_000, 100]
    other = Query(And((Contains(MESSAGE, "the needle", False), Equals(Field("host"), "host-1", False))), limit=10)
    assert len(chunk.collect_object(stored.open(), other, ROWS).table) == 0


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
        chunk.collect_object(reader, Query(Contains(MESSAGE, "x", False)), ROWS)


def test_rows_taken_from_dictionaries_are_the_rows(make_events: Make, t0_us: int) -> None:
    attributes = [None, [], [("a", "1"), ("b", None)], [("a", ""), ("c", "x" * 50)]] * 10
    levels = [None, "ERROR", "INFO", ""] * 10
    rows = make_events([t0_us + i for i in range(40)], attributes=attributes, level=levels, service=levels[::-1])
    reader = Requests(rows).open()
    for chosen in ([], [0], [1, 2], [39, 2, 0], [3, 6, 7, 9], list(range(40)), list(range(39, -1, -1))):
        indices = pa.array(chosen, pa.int64())
        taken = read_rows(reader, 0, EVENT_SCHEMA.names, indices)
        assert pa.table(taken, schema=EVENT_SCHEMA).equals(rows.take(indices))


# ------------------------------------------------------------------------------------------------------------- streams
@pytest.fixture
def streamed(many_groups: Requests, monkeypatch: pytest.MonkeyPatch) -> Requests:
    """The object of 120 row groups; opened with STREAM_GAP_BYTES, more than 14 of them are streamed."""
    monkeypatch.setattr(read, "STREAM_GAPS", 1)
    fresh = copy(many_groups)
    fresh.ranges, fresh.streamed, fresh.given, fresh.ends = [], [], 0, 0
    return fresh


SEEKS = {
    "nothing": Contains(MESSAGE, "zq~", False),
    "a few": Contains(MESSAGE, "needle", False),
    "one of each row group": Contains(MESSAGE, "seldom", False),
    "all": Contains(MESSAGE, "common", False),
}


STRETCHES: list[tuple[Order, int, list[int], int]] = [
    ("newest", 1, [11_650], 1),
    ("newest", 3, [11_650, 2_050, 250], 2),
    ("oldest", 1, [250], 1),
    ("oldest", 3, [250, 2_050, 11_650], 2),
]


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 7, 90, 3_000, COUNT])
@pytest.mark.parametrize("sought", SEEKS)
def test_a_streamed_scan_finds_what_windows_find(streamed: Requests, sought: str, limit: int, order: Order) -> None:
    query = Query(SEEKS[sought], limit=limit, order=order)
    in_windows = chunk.collect_object(streamed.open(gap_bytes=32 * 1024), query, ROWS)
    assert not streamed.streamed
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)
    found = chunk.collect_object(reader, query, ROWS)
    assert found.table.equals(in_windows.table)
    assert streamed.ends == len(streamed.streamed)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_scanned_object_is_its_tail_its_first_row_group_and_a_stream(
    streamed: Requests, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "WINDOW_GAPS", 2)  # the object would be five windows
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)
    query = Query(SEEKS["one of each row group"], limit=400, order=order)
    assert len(chunk.collect_object(reader, query, ROWS).table) == 120
    assert reader.gets == len(streamed.ranges) == 3
    assert len(streamed.streamed) == 1
    assert reader.bytes_read == sum(end - start for start, end in streamed.ranges) == len(streamed.data) - len(b"PAR1")


@pytest.mark.parametrize(("limit", "requests"), [(60, 3), (10, 4)])
def test_a_stream_of_most_of_what_is_left_is_of_all_of_it(streamed: Requests, limit: int, requests: int) -> None:
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)
    assert not chunk.collect_object(reader, Query(SEEKS["nothing"], limit=limit), ROWS).rows_matched
    # The limit of 60 makes 1.25 * 60 * 500 of the 59,500 rows left likely to be needed, that of 10 a tenth of them.
    assert reader.gets == requests
    assert reader.bytes_read == len(streamed.data) - len(b"PAR1")


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_row_groups_are_scanned_before_more_is_asked_of_the_stream(streamed: Requests, order: Order) -> None:
    given: list[int] = []
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)

    def note() -> bool:
        given.append(streamed.given)
        return False

    chunk.collect_object(reader, Query(SEEKS["nothing"], order=order), ROWS, note)
    (start, end) = streamed.streamed[0]
    spans = [reader.group_span(group) for group in range(reader.groups)]
    asked = [last - start for first, last in spans if start <= first and last <= end]
    assert len(asked) > 100
    for bytes_given, bytes_needed in zip(given[-len(asked) :], asked, strict=True):
        assert bytes_needed <= bytes_given < bytes_needed + PIECE_BYTES


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_cancelled_stream_is_ended_at_once(streamed: Requests, order: Order) -> None:
    def cancelled() -> bool:
        return streamed.given > len(streamed.data) / 3

    found = chunk.collect_object(
        streamed.open(gap_bytes=STREAM_GAP_BYTES), Query(SEEKS["all"], limit=COUNT, order=order), ROWS, cancelled
    )
    assert len(streamed.streamed) == streamed.ends == 1
    assert streamed.given < len(streamed.data) / 2
    offsets = found.table.column("offset").to_pylist()
    assert offsets == [i for i in _in_order(order) if i not in (700, 30_000, 59_000)][: len(offsets)]


def _in_order(order: Order) -> range:
    return range(COUNT) if order == "oldest" else range(COUNT - 1, -1, -1)


def test_a_stream_ends_where_the_limit_is_reached(streamed: Requests) -> None:
    query = Query(SEEKS["one of each row group"], limit=12, order="oldest")
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)
    assert len(chunk.collect_object(reader, query, ROWS).table) == 12
    ((start, end),) = streamed.streamed
    assert reader.group_span(11)[1] <= start + streamed.given < end
    assert streamed.ends == 1


@pytest.mark.parametrize(("order", "limit", "expected", "requests"), STRETCHES)
def test_of_row_groups_far_apart_no_more_is_streamed_than_the_limit_needs(
    make_events: Make,
    t0_us: int,
    order: Order,
    limit: int,
    expected: list[int],
    requests: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "MIN_STREAM_GAP_BYTES", 0)
    monkeypatch.setattr(read, "STREAM_GAPS", 0)
    texts = [sha256(b"%d" % i).hexdigest() for i in range(12_000)]
    sought = sha256(b"sought").hexdigest()
    for i in (250, 2_050, 11_650):
        texts[i] = sought
    blob = Requests(make_events([t0_us + i for i in range(12_000)], texts), rows_per_group=200)
    found = chunk.collect_object(
        blob.open(gap_bytes=16 * 1024), Query(Contains(MESSAGE, sought, False), limit=limit, order=order), ROWS
    )
    assert found.table.column("offset").to_pylist() == expected
    assert len(blob.streamed) == blob.ends == requests


def test_what_only_a_small_column_decides_is_not_streamed_over_large_ones(
    make_events: Make, t0_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "STREAM_GAPS", 0)
    monkeypatch.setattr(read, "MIN_STREAM_GAP_BYTES", 0)
    texts = [sha256(b"%d" % i).hexdigest() for i in range(10_000)]
    hosts = [f"host-{i % 5}" for i in range(10_000)]
    blob = Requests(make_events([t0_us + i for i in range(10_000)], texts, host=hosts), rows_per_group=500)
    reader = blob.open(gap_bytes=1024)
    chunk.collect_object(reader, Query(Equals(Field("host"), "nowhere", False)), ROWS)
    assert not blob.streamed
    assert reader.bytes_read < blob.tail_bytes + len(blob.data) / 2
    chunk.collect_object(blob.open(gap_bytes=1024), Query(Contains(MESSAGE, "zq~", False)), ROWS)
    assert blob.streamed


def test_a_stream_that_ends_early_is_corrupt(streamed: Requests) -> None:
    whole = streamed.data
    reader = streamed.open(gap_bytes=STREAM_GAP_BYTES)
    streamed.data = whole[: len(whole) // 2]
    with pytest.raises(CorruptData, match=f"{streamed.key} ends early"):
        chunk.collect_object(reader, Query(SEEKS["nothing"], order="oldest"), ROWS)
    assert streamed.ends == len(streamed.streamed) == 1


def test_a_range_is_cut_out_of_pieces_wherever_they_end() -> None:
    data = bytes(range(200))
    for piece_bytes in (1, 7, 64, 500):
        pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
        arriving = ranges.Arriving(iter([b"", *pieces, b""]), 1_000)
        found = [
            arriving.take(start, end).to_pybytes() for start, end in ((1_000, 1_003), (1_010, 1_010), (1_070, 1_150))
        ]
        assert found == [data[:3], b"", data[70:150]]
        assert arriving.take(1_190, 1_300).to_pybytes() == data[190:]
        assert arriving.take(1_300, 1_301).to_pybytes() == b""
