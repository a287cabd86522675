"""The log record: what is encoded is read back with its identity, cut alike for alike rows, and refused when broken."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc

from ess_ray.core.arrow_stream import decoded_bytes
from ess_ray.core.errors import BadRequest, CorruptData, NewerFormat
from ess_ray.core.event import EVENT_SCHEMA, RECORD_SCHEMA
from ess_ray.ports import MAX_RECORD_BYTES, Record, StoredRecord
from ess_ray.record import (
    ATTRIBUTE_BYTES,
    CHECKSUM,
    FORMAT,
    MAX_DECODED_BYTES,
    RequestKey,
    decode_record,
    encode_records,
    row_bytes,
)
from tests.formats import encode_record_1, with_header, with_value

T0_US = 1_790_000_000_000_000


def batch_of(messages: Sequence[str], observed_us: int = T0_US, **columns: Any) -> pa.RecordBatch:
    count = len(messages)
    given = {
        "timestamp": [observed_us] * count,
        "observed_timestamp": [observed_us] * count,
        "message": messages,
        **columns,
    }
    arrays = [
        pa.array(given[field.name], field.type) if field.name in given else pa.nulls(count, field.type)
        for field in RECORD_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORD_SCHEMA)


def stored(record: Record, offset: int = 7) -> StoredRecord:
    return StoredRecord(offset, record.value, record.headers)


def flipped(data: bytes, at: int, bits: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def noise(count: int, characters: int, seed: int = 1) -> list[str]:
    source = random.Random(seed)
    return [source.randbytes(characters // 2).hex() for _ in range(count)]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_rows_come_back_with_their_identity(codec: str) -> None:
    batch = batch_of(["a", "", "täg\0\U0001f600"], level=["INFO", None, "WARN"], attributes=[[("k", "v")], None, []])
    (record,) = encode_records(batch, 3, "acme", codec=codec)
    decoded = decode_record(stored(record), "log-1", 3)
    assert (record.vnode, decoded.tenant, decoded.request) == (3, "acme", None)
    assert decoded.batch.schema.equals(EVENT_SCHEMA)
    assert decoded.batch.select(RECORD_SCHEMA.names).equals(batch)
    identity = decoded.batch.select(["log_id", "vnode", "offset", "row"]).to_pylist()
    assert identity == [{"log_id": "log-1", "vnode": 3, "offset": 7, "row": row} for row in range(3)]


def test_no_rows_are_no_record() -> None:
    assert encode_records(batch_of([]), 0, "default") == []


def test_a_large_batch_is_cut_into_records_below_the_limit() -> None:
    batch = batch_of(noise(40, 100_000))
    records = encode_records(batch, 1, "default")
    assert len(records) > 1
    assert all(len(record.value) <= MAX_RECORD_BYTES for record in records)
    back = [decode_record(stored(record), "log", 1).batch.select(RECORD_SCHEMA.names) for record in records]
    assert pa.Table.from_batches(back).equals(pa.Table.from_batches([batch]))


def test_a_repeat_is_cut_alike_whatever_its_times_codec_or_how_its_buffers_lie() -> None:
    messages = noise(40, 50_000)
    request = RequestKey("default", "k", "h", 0, 1)
    first = encode_records(batch_of(messages), 0, "default", request)
    sliced = batch_of(["before", *messages, "after"], observed_us=T0_US + 999_999_937).slice(1, 40)
    again = encode_records(sliced, 0, "default", request, codec="zstd")
    rows = [[decode_record(stored(r), "l", 0).batch.column("message") for r in records] for records in (first, again)]
    assert len(first) > 1
    assert rows[0] == rows[1]
    told = [[header for header in r.headers if header[0] != CHECKSUM] for r in (*first, *again)]
    assert told[: len(first)] == told[len(first) :]  # times and codec are not the same, so neither is the checksum


def test_a_request_is_numbered_part_by_part() -> None:
    records = encode_records(batch_of(noise(40, 50_000)), 0, "t", RequestKey("t", "clé", "ab12", 0, 1))
    requests = [decode_record(stored(record), "log", 0).request for record in records]
    assert requests == [RequestKey("t", "clé", "ab12", part, len(records)) for part in range(len(records))]


def test_the_largest_event_fits_a_record() -> None:
    attributes = [(f"{i:04x}", "") for i in range(512 * 1024 // (4 + ATTRIBUTE_BYTES))]
    for batch in (batch_of(noise(1, 512 * 1024)), batch_of([""], attributes=[attributes])):
        assert row_bytes(batch).to_pylist()[0] <= 512 * 1024
        (record,) = encode_records(batch, 0, "default")
        assert len(record.value) <= MAX_RECORD_BYTES


def test_an_event_beyond_a_record_is_refused() -> None:
    with pytest.raises(BadRequest, match="does not fit"):
        encode_records(batch_of(noise(1, MAX_RECORD_BYTES + 1000)), 0, "default")


def test_row_bytes_counts_utf8_and_attributes_also_in_a_slice() -> None:
    batch = batch_of(
        ["x", "né", "", "yy"],
        service=[None, "s", None, "api"],
        attributes=[[("a", "b")], None, [], [("k", "vv"), ("é", "")]],
    )
    assert row_bytes(batch).to_pylist() == [1 + 2 + 8, 3 + 1, 0, 2 + 3 + 3 + 8 + 2 + 8]
    assert row_bytes(batch.slice(1, 3)).to_pylist() == row_bytes(batch).to_pylist()[1:]


def ipc_stream(table: pa.Table, batches: int = 1) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        for _ in range(batches):
            writer.write_batch(table.to_batches()[0])
    return sink.getvalue().to_pybytes()


def with_nulls() -> bytes:
    table = pa.Table.from_batches([batch_of(["a", "b"])])
    return ipc_stream(table.set_column(6, RECORD_SCHEMA.field("message"), pa.array(["a", None])))


GOOD = encode_records(batch_of(["a", "b"]), 0, "default", RequestKey("default", "k", "h", 0, 1))[0]
BROKEN: dict[str, StoredRecord] = {
    "no headers": StoredRecord(1, GOOD.value, ()),
    "JSON": StoredRecord(1, b'{"message":"x"}', (("content-type", b"application/json"),)),
    "no tenant": StoredRecord(1, GOOD.value, tuple(h for h in GOOD.headers if h[0] != "tenant")),
    "bad tenant": StoredRecord(1, GOOD.value, tuple((n, b"../x" if n == "tenant" else v) for n, v in GOOD.headers)),
    "bad part": StoredRecord(1, GOOD.value, tuple((n, b"x" if n == "part" else v) for n, v in GOOD.headers)),
    "part beyond parts": StoredRecord(1, GOOD.value, tuple((n, b"9" if n == "part" else v) for n, v in GOOD.headers)),
    "key without hash": StoredRecord(1, GOOD.value, tuple(h for h in GOOD.headers if h[0] != "body-sha256")),
    "empty": StoredRecord(1, b"", GOOD.headers),
    "noise": StoredRecord(1, random.Random(1).randbytes(2000), GOOD.headers),
    "cut": StoredRecord(1, GOOD.value[: len(GOOD.value) // 2], GOOD.headers),
    "another schema": StoredRecord(1, ipc_stream(pa.table({"message": ["x"]})), GOOD.headers),
    "two batches": StoredRecord(1, ipc_stream(pa.Table.from_batches([batch_of(["a"])]), 2), GOOD.headers),
    "null message": StoredRecord(1, with_nulls(), GOOD.headers),
}


@pytest.mark.parametrize("record", BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_decoded_is_corrupt(record: StoredRecord) -> None:
    with pytest.raises(CorruptData):
        decode_record(record, "log", 0)


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_a_record_with_a_flipped_bit_is_never_read(bits: int) -> None:
    for at in range(len(GOOD.value)):
        with pytest.raises(CorruptData):
            decode_record(StoredRecord(1, flipped(GOOD.value, at, bits), GOOD.headers), "log", 0)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_a_header_alters_nothing_in_silence(bit: int) -> None:
    """Not the tenant, not the key, nor the format: it must not pass for an older one, nor for a newer one."""
    for number, (name, content) in enumerate(GOOD.headers):
        for at in range(len(content)):
            header = (name, flipped(content, at, 1 << bit))
            headers = (*GOOD.headers[:number], header, *GOOD.headers[number + 1 :])
            with pytest.raises(CorruptData):
                decode_record(StoredRecord(1, GOOD.value, headers), "log", 0)


def test_a_flipped_byte_of_format_1_breaks_nothing() -> None:
    """There is no checksum: rows or CorruptData, never anything else."""
    old = encode_record_1(batch_of(["a", "b"]), 0, "default")
    for at in range(len(old.value)):
        try:
            decoded = decode_record(StoredRecord(1, flipped(old.value, at, 0xFF), old.headers), "log", 0)
        except CorruptData:
            continue
        decoded.batch.to_pylist()


# ----------------------------------------------------------------------------------------------------------- formats
def test_a_record_of_format_1_is_read_with_nulls_for_what_came_later() -> None:
    batch = batch_of(["a", "b"], attributes=[[("k", "v")], None])
    record = encode_record_1(batch, 2, "acme")
    decoded = decode_record(stored(record), "log", 2)
    assert decoded.tenant == "acme"
    assert decoded.batch.schema.equals(EVENT_SCHEMA)
    assert decoded.batch.select(RECORD_SCHEMA.names).equals(batch)
    assert decoded.batch.column("attribute_types").null_count == decoded.batch.column("event_hash").null_count == 2


def test_the_columns_of_format_2_come_back() -> None:
    batch = batch_of(["a", "b"], attribute_types=["sn", None], event_hash=[b"0123456789abcdef", None])
    (record,) = encode_records(batch, 0, "default")
    assert decode_record(stored(record), "log", 0).batch.select(RECORD_SCHEMA.names).equals(batch)


def test_a_record_of_a_newer_format_is_not_damaged() -> None:
    with pytest.raises(NewerFormat, match="of format 3, this ess_ray reads up to 2: upgrade"):
        decode_record(stored(with_header(GOOD, FORMAT, b"3")), "log", 0)


@pytest.mark.parametrize("told", [b"0", b"", b"two", b"-2"])
def test_a_format_that_is_none_is_corrupt(told: bytes) -> None:
    with pytest.raises(CorruptData, match="no format"):
        decode_record(stored(with_header(GOOD, FORMAT, told)), "log", 0)


def test_a_record_of_format_2_without_its_checksum_is_corrupt() -> None:
    with pytest.raises(CorruptData, match=CHECKSUM):
        decode_record(stored(with_header(GOOD, CHECKSUM, None)), "log", 0)


# ------------------------------------------------------------------------------------------ found by tests/fuzz
def with_told_bytes(value: bytes, told: int) -> bytes:
    """Change what the first compressed buffer of a stream says that it becomes."""
    frame = min(at for magic in (b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd") if (at := value.find(magic)) > 0)
    return value[: frame - 8] + told.to_bytes(8, "little", signed=True) + value[frame:]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("told", [MAX_DECODED_BYTES + 1, 1 << 40, (1 << 63) - 1])
def test_a_damaged_length_takes_no_memory(codec: str, told: int) -> None:
    (record,) = encode_records(batch_of(["x" * 1000] * 50), 0, "default", codec=codec)
    assert decoded_bytes(pa.py_buffer(record.value)) < 200_000
    damaged = with_told_bytes(record.value, told)
    assert decoded_bytes(pa.py_buffer(damaged)) >= MAX_DECODED_BYTES
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(CorruptData, match="bytes when decoded"):
        decode_record(stored(with_value(record, damaged)), "log", 0)
    assert pa.default_memory_pool().max_memory() == before


def test_what_packs_to_next_to_nothing_is_no_record_of_ours() -> None:
    huge = batch_of(["\0" * 70_000_000])
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, RECORD_SCHEMA, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(huge)
    value = sink.getvalue().to_pybytes()
    assert len(value) < 100_000
    (record,) = encode_records(batch_of(["a"]), 0, "default")
    with pytest.raises(CorruptData, match="bytes when decoded"):
        decode_record(stored(with_value(record, value)), "log", 0)


@pytest.mark.parametrize("codec", ["lz4", "zstd", None])
def test_the_bytes_of_a_stream_are_those_of_its_buffers(codec: str | None) -> None:
    batch = batch_of(["a" * 100, "b" * 3000] * 20)
    (record,) = encode_records(batch, 0, "default", codec=codec)  # type: ignore[arg-type]
    assert batch.nbytes <= decoded_bytes(pa.py_buffer(record.value)) <= batch.nbytes + 64 * 3 * len(RECORD_SCHEMA)
