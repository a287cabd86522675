"""Scanning an object against the filter's oracle: what the search of whole pages leaves out must not match.

Texts are short and of few letters, so that needles often stand across two neighbouring rows, at a row's very start or
end, or in no row at all; row groups hold a few rows, so that every query meets several.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.core import chunk, prefilter
from ess_ray.core.chunk import read, write
from ess_ray.core.chunk.layout import Facts, facts_to_metadata
from ess_ray.core.chunk.page import NotInPlace, unpack_deltas
from ess_ray.core.collect import Rows
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import And, Contains, Equals, Field, Node, Not, Or, Order, Query
from tests.examples import examples
from tests.property.oracle import (
    ALPHABET,
    BOUNDS,
    CHARS,
    PATTERNS,
    ROWS,
    TEXTS,
    TREES,
    regex_leaf,
    table_of,
    wanted,
)

MESSAGE = Field("message")
PIECE_BYTES = 997
"""Of a stream: a row group has several, and few borders of the two meet."""
MANY = settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(autouse=True, scope="module", params=["few hits", "many hits", "streamed"])
def _small_limits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once take every search to be of no use after its first hit, once stream all."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many hits":
            patch.setattr(prefilter, "MIN_HITS", 1)
            patch.setattr(prefilter, "FEW_SHARE", 1.0)
        else:
            patch.setattr(prefilter, "FEW_SHARE", 0.0)
        if request.param == "streamed":
            patch.setattr(read, "MIN_STREAM_GAP_BYTES", 0)
            patch.setattr(read, "STREAM_GAPS", 0)
        yield


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def stream_range(self, offset: int, length: int) -> Generator[bytes, None, None]:
        for at in range(offset, offset + length, PIECE_BYTES):
            yield self.data[at : min(at + PIECE_BYTES, offset + length)]

    def get_suffix(self, key: str, length: int) -> bytes:
        return self.data[len(self.data) - length :]


def opened(rows: pa.Table, gap_bytes: int, message_codec: write.MessageCodec = "zstd") -> chunk.ObjectReader:
    encoded = chunk.encode_object(
        rows, (), (), message_codec, limits=chunk.ObjectLimits(rows_per_group=3, index_min_rows=0)
    )
    data = encoded.data.to_pybytes()
    tail = data[-encoded.footer_bytes :]
    blob = Bytes(data)
    return chunk.ObjectReader(
        encoded.key("default"),
        len(data),
        tail,
        lambda at, size: blob.get_range("k", at, size),
        gap_bytes=gap_bytes,
        stream=blob.stream_range,
    )


def scanned(rows: pa.Table, query: Query, gap_bytes: int = 0) -> pa.Table:
    return chunk.collect_object(opened(rows, gap_bytes), query, Rows()).table


# ---------------------------------------------------------------------------------------------------- whole objects
@MANY
@given(TREES, BOUNDS, BOUNDS, st.lists(ROWS, min_size=1, max_size=14), st.sampled_from([0, 100, 1 << 20]))
def test_a_scan_agrees_with_the_filter_and_the_oracle(
    root: Node, start_us: int | None, end_us: int | None, rows: list[dict[str, Any]], gap_bytes: int
) -> None:
    rows = sorted(rows, key=lambda row: row["timestamp"])
    table = table_of(rows)
    expected = [index for index, row in enumerate(rows) if wanted(Query(root, start_us, end_us), row)]
    found = scanned(table, Query(root, start_us, end_us, 100, "oldest"), gap_bytes)
    assert found.equals(table.take(pa.array(expected, pa.int64())))
    newest = scanned(table, Query(root, start_us, end_us, 2, "newest"), gap_bytes)
    assert newest.equals(table.take(pa.array(expected[::-1][:2], pa.int64())))


def distinct(rows: list[dict[str, Any]], indices: list[int]) -> list[int]:
    """Leave out, of rows with one `event_id`, all but the first."""
    seen: set[str] = set()
    kept = []
    for index in indices:
        event_id = rows[index]["event_id"]
        if event_id is None or event_id not in seen:
            kept.append(index)
            seen.add(event_id)
    return kept


@MANY
@given(
    TREES,
    BOUNDS,
    st.lists(ROWS, min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from(["newest", "oldest"]),
    st.sampled_from([0, 100, 1 << 20]),
    st.just([None]) | st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=7),
)
def test_a_limit_gives_the_first_rows_of_the_whole_answer(
    root: Node,
    start_us: int | None,
    drawn: list[dict[str, Any]],
    copies: int,
    limit: int,
    order: Order,
    gap_bytes: int,
    ids: list[str | None],
) -> None:
    rows = sorted(drawn * copies, key=lambda row: row["timestamp"])
    rows = [{**row, "event_id": ids[at % len(ids)]} for at, row in enumerate(rows)]
    table = table_of(rows)
    matching = [index for index, row in enumerate(rows) if wanted(Query(root, start_us), row)]
    expected = distinct(rows, matching if order == "oldest" else matching[::-1])[:limit]
    reader = opened(table, gap_bytes)
    found = chunk.collect_object(reader, Query(root, start_us, None, limit, order), Rows())
    assert found.table.equals(table.take(pa.array(expected, pa.int64())))
    assert len(expected) <= found.rows_matched <= len(matching)


MESSAGE_TREES: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        st.builds(Contains, st.just(MESSAGE), st.text(CHARS, max_size=4), st.booleans()),
        st.builds(Equals, st.just(MESSAGE), st.text(CHARS, max_size=4), st.booleans()),
        st.builds(regex_leaf, st.just(MESSAGE), PATTERNS, st.booleans()),
        st.builds(regex_leaf, st.just(MESSAGE), PATTERNS, st.booleans()),
    ),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda children: And(tuple(children))),
        st.lists(inner, min_size=1, max_size=3).map(lambda children: Or(tuple(children))),
    ),
    max_leaves=4,
)


@MANY
@given(MESSAGE_TREES, st.lists(TEXTS, min_size=1, max_size=12), st.sampled_from(["zstd", "lz4"]))
def test_messages_agree_with_the_oracle(root: Node, texts: list[str], codec: write.MessageCodec) -> None:
    same = dict.fromkeys(EVENT_SCHEMA.names) | {"log_id": "l", "vnode": 0, "offset": 0, "row": 0}
    rows = [{**same, "timestamp": i, "observed_timestamp": i, "message": text} for i, text in enumerate(texts)]
    expected = [i for i, row in enumerate(rows) if wanted(Query(root), row)]
    reader = opened(table_of(rows), 0, codec)
    found = chunk.collect_object(reader, Query(root, limit=100, order="oldest"), Rows()).table
    assert found.column("timestamp").cast(pa.int64()).to_pylist() == expected


# ------------------------------------------------------------------------------------------------------- the pages
LENGTHS = st.lists(st.integers(0, 5) | st.integers(0, 70_000), min_size=1, max_size=300)


@settings(max_examples=examples(60))
@given(
    LENGTHS,
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from([None, 10, 1000]),
    st.sampled_from(["none", "zstd", "snappy"]),
)
def test_pages_of_every_kind_read_as_arrow_reads_them(
    lengths: list[int], version: str, rows_per_page: int | None, codec: str
) -> None:
    texts = [ALPHABET[i % len(ALPHABET)] * length for i, length in enumerate(lengths)]
    reader = foreign(texts, data_page_version=version, max_rows_per_page=rows_per_page or 2**31 - 1, compression=codec)
    blocks = reader.message_in_place(0)
    assert pa.chunked_array([block.array() for block in blocks]).to_pylist() == texts
    assert len(blocks) == -(-len(texts) // (rows_per_page or 2**31))


@pytest.mark.parametrize(
    "options",
    [
        {"column_encoding": {"message": "PLAIN"}},
        {"use_dictionary": ["message"], "column_encoding": None},
        {"column_encoding": {"message": "DELTA_BYTE_ARRAY"}},
        {"nullable": True},
    ],
)
def test_what_is_not_laid_out_as_ours_is_left_to_arrow(options: dict[str, Any]) -> None:
    texts = ["needle", "", "nee", "dle", "a needle b"] * 20
    reader = foreign(texts, **options)
    with pytest.raises(NotInPlace):
        reader.message_in_place(0)
    found = chunk.collect_object(
        reader, Query(Contains(MESSAGE, "needle", False), order="oldest", limit=1000), Rows()
    ).table
    assert found.column("offset").to_pylist() == [i for i, text in enumerate(texts) if "needle" in text]


def foreign(texts: list[str], **options: Any) -> chunk.ObjectReader:
    """Write one row group as another writer would, and open it: as format 1, which has no checksums."""
    nullable = options.pop("nullable", False)
    schema = pa.schema([pa.field(f.name, f.type, nullable=nullable or f.nullable) for f in EVENT_SCHEMA])
    given_columns = {"message": texts, "offset": list(range(len(texts))), "log_id": ["l"] * len(texts)}
    zeros = {name: [0] * len(texts) for name in ("timestamp", "observed_timestamp", "vnode", "row")}
    columns = zeros | given_columns
    arrays = [
        pa.array(columns[f.name], pa.int64()).cast(f.type) if f.name in zeros else
        pa.array(columns.get(f.name, [None] * len(texts)), f.type) for f in schema
    ]  # fmt: skip
    defaults: dict[str, Any] = {
        "use_dictionary": False,
        "column_encoding": {"message": "DELTA_LENGTH_BYTE_ARRAY"},
        "data_page_size": 2**31 - 1,
    }
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **(defaults | options)) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=len(texts))
        writer.add_key_value_metadata(facts_to_metadata(Facts((), "", format_version=1)))
    data = sink.getvalue()
    key = chunk.object_key("default", 0, 0, uuid_hex="0" * 32, footer_bytes=len(data), index_bytes=0)
    return chunk.ObjectReader(key, len(data), data, lambda at, size: data[at : at + size])


@settings(max_examples=examples(200))
@given(st.binary(max_size=60), st.integers(1, 300))
def test_nonsense_instead_of_lengths_is_named(data: bytes, count: int) -> None:
    try:
        values, end = unpack_deltas(np.frombuffer(data, np.uint8), count)
    except NotInPlace:
        return
    assert len(values) == count
    assert end <= len(data)
