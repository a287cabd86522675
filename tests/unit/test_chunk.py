"""The object: written as docs/formats.md says, read back the same, pruned and scanned in order."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray.core import chunk
from ess_ray.core.chunk import ObjectLimits
from ess_ray.core.collect import ROWS
from ess_ray.core.errors import CorruptData
from ess_ray.core.query import All, Contains, Field, Query

Make = Callable[..., pa.Table]


class Bytes:
    """One object in memory that counts the reads."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, 0

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.reads += 1
        return self.data[offset : offset + length]

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        yield self.get_range(key, offset, length)

    def get_suffix(self, key: str, length: int) -> bytes:
        self.reads += 1
        return self.data[-length:]


def stored(rows: pa.Table, **facts: Any) -> tuple[str, Bytes]:
    encoded = chunk.encode_object(rows, facts.pop("ranges", ()), facts.pop("requests", ()), **facts)
    key = encoded.key("default")
    return key, Bytes(encoded.data.to_pybytes())


def opened(rows: pa.Table, **facts: Any) -> chunk.ObjectReader:
    key, blob = stored(rows, **facts)
    return chunk.open_object(blob, key, len(blob.data))


def test_rows_and_facts_come_back_as_they_were(make_events: Make, t0_us: int) -> None:
    rows = make_events(
        [t0_us, t0_us + 1, t0_us + 2],
        ["", "line one\nline two", "ſ\0K"],
        attributes=[[("a", "1"), ("b", "")], [], None],
        event_id=["x", None, "y"],
    )
    ranges = (chunk.OffsetRange("log", 0, 0, 3),)
    requests = (chunk.StoredRequest("log", 0, 1, "key", "hash", 0, 1, t0_us),)
    reader = opened(rows, ranges=ranges, requests=requests)
    assert reader.read_group(0).equals(rows)
    assert reader.facts.ranges == ranges
    assert reader.facts.requests == requests
    assert reader.facts.ids == 2
    assert reader.facts.content_hash == chunk.content_hash(rows)


def test_one_suffix_read_opens_an_object(make_events: Make, t0_us: int) -> None:
    key, blob = stored(make_events([t0_us + i for i in range(100)]))
    chunk.open_object(blob, key, len(blob.data))
    assert blob.reads == 1


def test_the_file_is_laid_out_as_the_design_says(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us + i for i in range(40_000)])
    _, blob = stored(rows)
    metadata = pq.ParquetFile(io.BytesIO(blob.data)).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [16_384, 16_384, 7_232]
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(16)}
    assert "DELTA_LENGTH_BYTE_ARRAY" in columns["message"].encodings
    assert not columns["message"].has_dictionary_page
    assert columns["timestamp"].statistics.has_min_max
    assert pq.read_table(io.BytesIO(blob.data)).num_rows == 40_000


def test_a_row_group_closes_at_its_message_bytes(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us + i for i in range(10)], ["x" * 400] * 9 + ["y" * 5000])
    reader = opened(rows, limits=ObjectLimits(message_bytes_per_group=1000))
    assert [len(reader.read_group(i)) for i in range(reader.groups)] == [2, 2, 2, 2, 1, 1]


def test_the_content_hash_tells_rows_apart_and_ignores_how_they_are_held(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us + i for i in range(10)], attributes=[[("k", str(i))] for i in range(10)])
    chunked = pa.concat_tables([rows.slice(0, 4), rows.slice(4)])
    assert chunk.content_hash(chunked) == chunk.content_hash(rows)
    assert chunk.content_hash(rows.slice(1, 5)) == chunk.content_hash(rows.slice(1, 5).combine_chunks())
    assert chunk.content_hash(rows.slice(0, 9)) != chunk.content_hash(rows)
    null = make_events([t0_us], host=[None])
    empty = make_events([t0_us], host=[""])
    assert chunk.content_hash(null) != chunk.content_hash(empty)


def test_scanning_newest_stops_at_the_limit_and_reads_no_more(make_events: Make, t0_us: int) -> None:
    messages = [sha256(b"%d" % i).hexdigest() for i in range(40_000)]
    reader = opened(make_events([t0_us + i for i in range(40_000)], messages))
    found = chunk.collect_object(reader, Query(limit=3), ROWS)
    assert found.table.column("offset").to_pylist() == [39_999, 39_998, 39_997]
    whole = opened(make_events([t0_us + i for i in range(40_000)], messages))
    chunk.collect_object(whole, Query(limit=40_000), ROWS)
    assert reader.bytes_read < whole.bytes_read / 2


def test_an_object_that_its_index_rules_out_costs_one_request(make_events: Make, t0_us: int) -> None:
    key, blob = stored(
        make_events([t0_us + i for i in range(40_000)], [f"request {i:x} took long" for i in range(40_000)])
    )
    reader = chunk.open_object(blob, key, len(blob.data))
    query = Query(Contains(Field("message"), "needle in a haystack", ignore_case=True))
    assert chunk.collect_object(reader, query, ROWS).rows_matched == 0
    assert blob.reads == 1
    assert (
        chunk.collect_object(reader, Query(Contains(Field("message"), "request 9c3f took", False)), ROWS).rows_matched
        == 1
    )
    assert blob.reads <= 3


def test_scanning_oldest_and_by_time(make_events: Make, t0_us: int) -> None:
    reader = opened(make_events([t0_us + i for i in range(20_000)]))
    query = Query(All(), t0_us + 10, t0_us + 12, 100, "oldest")
    assert chunk.collect_object(reader, query, ROWS).table.column("offset").to_pylist() == [10, 11]


def test_repeats_by_id_are_merged_within_an_object(make_events: Make, t0_us: int) -> None:
    reader = opened(make_events([t0_us, t0_us + 1, t0_us + 2], event_id=["a", "a", None]))
    found = chunk.collect_object(reader, Query(limit=10), ROWS)
    assert found.table.column("offset").to_pylist() == [2, 1]
    assert found.duplicates_suppressed == 1


def test_repeats_by_id_do_not_fill_a_limit(make_events: Make, t0_us: int) -> None:
    ids = [None, "a", "a", "a", "a"] * 2
    rows = make_events([t0_us + i for i in range(10)], event_id=ids)
    reader = opened(rows, limits=ObjectLimits(rows_per_group=3))
    found = chunk.collect_object(reader, Query(limit=3), ROWS)
    assert found.table.column("offset").to_pylist() == [9, 5, 0]
    assert found.rows_matched == 10


def test_a_cancelled_scan_ends_between_row_groups(make_events: Make, t0_us: int) -> None:
    reader = opened(make_events([t0_us + i for i in range(40_000)]))
    answers = iter([False, True])
    query = Query(Contains(Field("message"), "message", ignore_case=True), limit=40_000)
    assert chunk.collect_object(reader, query, ROWS, lambda: next(answers)).rows_matched == 40_000 - 2 * 16_384


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"nonsense" * 10])
def test_damaged_bytes_are_corrupt_data(damage: bytes) -> None:
    key = chunk.object_key("default", 0, 0, uuid_hex="0" * 32, footer_bytes=len(damage), index_bytes=0, checksum=0)
    with pytest.raises(CorruptData, match="cannot be read as an ess_ray object"):
        chunk.ObjectReader(key, len(damage), damage, lambda offset, length: damage[offset : offset + length])


def test_a_key_that_is_not_ours_is_corrupt_data() -> None:
    with pytest.raises(CorruptData):
        chunk.tail_bytes("tenant=default/date=2026-01-01/hour=00/part-0.parquet")
