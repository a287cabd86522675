"""Answers as Arrow streams: cut anywhere they read the same, and their end cannot be missed."""

from __future__ import annotations

import io

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.answer_stream import PAGE, End, StreamReader, StreamWriter
from ess_ray.core.errors import CorruptData
from tests.examples import examples

SCHEMA = pa.schema([("n", pa.int64()), ("of", pa.map_(pa.string(), pa.float64()))])
ROWS = pa.table([range(5), [[("k", 0.5)], None, [], [("k", None)], [("ä", 1.0)]]], schema=SCHEMA)


def written(incomplete: tuple[str, ...] = ()) -> bytes:
    writer = StreamWriter(SCHEMA)
    return writer.add(ROWS) + writer.add(ROWS.slice(1, 2)) + writer.end(incomplete)


def read(data: bytes, step: int) -> tuple[pa.Table, StreamReader]:
    reader, batches = StreamReader(), []
    for at in range(0, len(data), step):
        batches += reader.feed(data[at : at + step])
    assert reader.schema is not None
    return pa.Table.from_batches(batches, reader.schema), reader


@given(step=st.integers(1, 4_000))
@settings(max_examples=examples(30))
def test_bytes_may_come_in_any_pieces(step: int) -> None:
    rows, reader = read(written(), step)
    assert rows == pa.concat_tables([ROWS, ROWS.slice(1, 2)])
    assert (reader.end, reader.closed) == (End(True, 7), True)


def test_any_reader_reads_a_whole_answer() -> None:
    assert pa.ipc.open_stream(written()).read_all().num_rows == 7
    assert pl.read_ipc_stream(io.BytesIO(written())).height == 7


def test_no_reader_takes_an_incomplete_answer_for_a_whole_one() -> None:
    data = written(("object a cannot be read: gone",))
    rows, reader = read(data, 100)
    assert (len(rows), reader.end, reader.closed) == (7, End(False, 7, ("object a cannot be read: gone",)), False)
    with pytest.raises(pa.ArrowInvalid):
        pa.ipc.open_stream(data).read_all()
    with pytest.raises(pl.exceptions.ComputeError):
        pl.read_ipc_stream(io.BytesIO(data))


def test_a_stream_that_was_cut_off_has_no_end() -> None:
    data = written()
    _, reader = read(data[: len(data) // 2], 64)
    assert (reader.end, reader.closed) == (None, False)


def test_an_empty_answer_has_a_schema_and_an_end() -> None:
    rows, reader = read(StreamWriter(SCHEMA).end(), 50)
    assert (len(rows), rows.schema, reader.end) == (0, SCHEMA, End(True, 0))


def test_a_pages_state_stands_in_the_schema() -> None:
    writer = StreamWriter(SCHEMA, {PAGE: b'{"state": "done"}'})
    _, reader = read(writer.add(ROWS) + writer.close(), 1_000)
    assert (reader.page(), reader.closed) == ({"state": "done"}, True)
    with pytest.raises(CorruptData, match="no page"):
        read(written(), 1_000)[1].page()


@pytest.mark.parametrize("data", [b'{"detail": "no"}', b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\x7f" * 16])
def test_what_is_no_stream_is_told(data: bytes) -> None:
    with pytest.raises(CorruptData, match="Arrow stream"):
        list(StreamReader().feed(data))
