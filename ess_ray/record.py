"""The log record: rows as one Arrow IPC stream with headers, and back.

Push replicas write it, persist actors read it, the log in between sees bytes. A record belongs to one tenant and, if it
carries an Idempotency-Key, to one request. It names its format in a header; one without that header is of format 1,
which is read for ever. From format 2 on a header holds the CRC-32 of the value and of all other headers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from ess_ray.core.arrow_stream import decoded_bytes
from ess_ray.core.checksum import crc32
from ess_ray.core.errors import BadRequest, CorruptData, NewerFormat
from ess_ray.core.event import (
    EVENT_SCHEMA,
    FORMAT_VERSION,
    RECORD_SCHEMA,
    TIMESTAMP,
    schema_of_format,
    with_all_columns,
)
from ess_ray.core.tenant import check_tenant
from ess_ray.ports import ARROW_STREAM, CONTENT_TYPE, MAX_RECORD_BYTES, Record, StoredRecord

CODEC: Final = "lz4"
"""lz4, not zstd: 100 events encode in 30 us instead of 290 us (measured), and the log keeps a record for a minute only;
a log that keeps records for days may ask for zstd. Either is read back: a stream names its own codec."""

FILLING: Final = "filling"
"""Header of `encode_nothing`: bytes that mean nothing."""
FORMAT: Final = "ess-format"
CHECKSUM: Final = "ess-crc32"
TENANT: Final = "tenant"
REQUEST_KEY: Final = "idempotency-key"
BODY_HASH: Final = "body-sha256"
PART: Final = "part"
PARTS: Final = "parts"

ATTRIBUTE_BYTES: Final = 8
"""What one attribute counts beyond its text: two 32-bit offsets, without which many tiny ones would come for free."""
ORIGINAL_TIMESTAMP: Final = "original_timestamp"
"""The attribute that keeps a time which could not be the event's."""
_MOMENT_BYTES: Final = 38
"""A time as text, with nanoseconds and a zone."""
_ROW_BYTES: Final = 80 + ATTRIBUTE_BYTES + len(ORIGINAL_TIMESTAMP) + _MOMENT_BYTES
"""A row's fixed part: two times, a number, a hash, offsets of ten columns, validity bits, rounded up; and the time that
may be kept besides."""
_ENVELOPE_BYTES: Final = 16 * 1024
"""Room for a stream's schema, metadata, padding and the codec's own frames: about 5 KiB are used."""
_CUT_BYTES: Final = MAX_RECORD_BYTES - _ENVELOPE_BYTES
MAX_DECODED_BYTES: Final = 64 * 1024 * 1024
"""A record's buffers when decoded. Ours are under 3 MiB; who writes to the topic directly may pack more into a record,
and what packs twenty times better than events do is damage or an attack on our memory."""
_STRINGS: Final = tuple(field.name for field in RECORD_SCHEMA if pa.types.is_string(field.type))
_TIMES: Final = tuple(field.name for field in RECORD_SCHEMA if field.type == TIMESTAMP)
_FIRST_US: Final = -62_135_596_800_000_000
"""The year 1 begins: no calendar here names an earlier hour, and sealing needs the hour of every row."""
_LAST_US: Final = 253_402_300_799_999_999
"""The year 9999 ends."""
_REQUIRED: Final = tuple(field.name for field in RECORD_SCHEMA if not field.nullable)
SURELY_ONE_RECORD_BYTES: Final = MAX_RECORD_BYTES // 2
"""A batch whose buffers are no larger is one record, however its rows count: rows count under twice that."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Part `part` of `parts` (from 0) of a request with an Idempotency-Key: identical ones are stored once."""

    tenant: str
    key: str
    body_hash: str
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """What is known of a request with an Idempotency-Key: its body, and which parts of how many were stored of it.

    `whole`: all that the request holds is stored, whatever it was cut into.
    """

    body_hash: str
    parts: frozenset[tuple[int, int]] = frozenset()
    whole: bool = False


@dataclass(frozen=True)
class DecodedRecord:
    """A record read back: rows of EVENT_SCHEMA, whose they are, and the request they came with, if it had a key."""

    tenant: str
    batch: pa.RecordBatch
    request: RequestKey | None


def row_bytes(batch: pa.RecordBatch) -> pa.Int64Array:
    """Count each row's text (UTF-8 bytes of every string) plus ATTRIBUTE_BYTES an attribute: what the limits mean."""
    total = pc.cast(_lengths(batch.column(_STRINGS[0])), pa.int64())
    for name in _STRINGS[1:]:
        column = batch.column(name)
        if column.null_count < len(column):
            total = pc.add(total, _lengths(column))
    attributes = batch.column("attributes")
    if attributes.null_count < len(attributes):
        total = pc.add(total, _map_bytes(attributes))
    return total


def _lengths(column: pa.Array) -> pa.Array:
    return pc.fill_null(pc.binary_length(column), 0)


def _map_bytes(attributes: pa.MapArray) -> pa.Array:
    each = pc.add(pc.add(_lengths(attributes.keys), _lengths(attributes.items)), ATTRIBUTE_BYTES)
    until = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(pc.cast(each, pa.int64()))])
    # Offsets count from the start of the parent's child, `keys` and `items` are that whole child: they fit as they are.
    offsets = attributes.offsets
    return pc.subtract(until.take(offsets[1:]), until.take(offsets[:-1]))


def encode_records(
    batch: pa.RecordBatch, vnode: int, tenant: str, request: RequestKey | None = None, codec: str = CODEC
) -> list[Record]:
    """Encode a batch of RECORD_SCHEMA as records of at most MAX_RECORD_BYTES for one virtual node; none for no rows.

    The cut depends on the rows' text alone, never on times or the codec, so that a repeated request is cut alike.
    `request` gives the key and body hash, and where the request was cut into parts before (`intake.formats`) which one
    this is; else each record is numbered as its own part of all.
    """
    headers = _headers(tenant)
    cuts = list(_cuts(batch))
    records = []
    for part, (start, length) in enumerate(cuts):
        value = _to_stream(batch if len(cuts) == 1 else batch.slice(start, length), codec)
        if len(value) > MAX_RECORD_BYTES:
            raise BadRequest(f"an event of {len(value)} bytes does not fit a log record of {MAX_RECORD_BYTES} bytes")
        mine = headers if request is None else headers + _request_headers(_part_of(request, part, len(cuts)))
        records.append(_record(vnode, value, mine))
    return records


def is_one_record(batch: pa.RecordBatch) -> bool:
    """Tell whether a batch is encoded as one record at the most."""
    return len(list(_cuts(batch))) <= 1


def encode_nothing(vnode: int, tenant: str, size: int) -> Record:
    """Make a record that holds no event and takes about `size` bytes of the log, at most what one record may take.

    Who reads it has nothing to store; its filling does not compress.
    """
    value = _to_stream(pa.RecordBatch.from_pylist([], schema=RECORD_SCHEMA), CODEC)
    filling = os.urandom(max(0, min(size, MAX_RECORD_BYTES) - len(value)))
    return _record(vnode, value, (*_headers(tenant), (FILLING, filling)))


def _headers(tenant: str) -> tuple[tuple[str, bytes], ...]:
    return (
        (CONTENT_TYPE, ARROW_STREAM.encode()),
        (FORMAT, b"%d" % FORMAT_VERSION),
        (TENANT, tenant.encode()),
    )


def _record(vnode: int, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> Record:
    return Record(vnode, value, (*headers, (CHECKSUM, _checksum(value, headers))))


def _checksum(value: bytes, headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Sum up a record: a flipped bit must not alter an event, nor give it to another tenant."""
    told = b"\n".join(b"%s:%s" % (name.encode(), content) for name, content in headers if name != CHECKSUM)
    return b"%08x" % crc32(told, crc32(value))


@lru_cache(maxsize=1024)
def _row_numbers(count: int) -> pa.Array:
    return pa.array(range(count), pa.int32())


def _part_of(request: RequestKey, cut: int, cuts: int) -> RequestKey:
    """Name one of the records that a request, or a part of it, became."""
    if cuts == 1:
        return request
    if request.parts == 1:
        return replace(request, part=cut, parts=cuts)
    # A part that grew beyond a record: its cuts have a key of their own, so that no part of one passes for all of it.
    return replace(request, key=f"{request.key}\n{cut}/{cuts}")


def _request_headers(request: RequestKey) -> tuple[tuple[str, bytes], ...]:
    return (
        (REQUEST_KEY, request.key.encode()),
        (BODY_HASH, request.body_hash.encode()),
        (PART, b"%d" % request.part),
        (PARTS, b"%d" % request.parts),
    )


def _cuts(batch: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    """Give (start, length) of the runs of rows that make one record each."""
    if not len(batch):
        return
    if batch.get_total_buffer_size() <= SURELY_ONE_RECORD_BYTES:
        yield 0, len(batch)
        return
    start = size = 0
    for row, count in enumerate(_lasting_bytes(batch).to_pylist()):
        if size + count + _ROW_BYTES > _CUT_BYTES and row > start:
            yield start, row - start
            start, size = row, 0
        size += count + _ROW_BYTES
    yield start, len(batch) - start


def _lasting_bytes(batch: pa.RecordBatch) -> pa.Int64Array:
    """Count each row without what the moment of its receipt decides, so that a repeat is cut alike: a time is kept
    besides while it is too far ahead, and types with it. _ROW_BYTES makes up for both."""
    batch = batch.set_column(
        batch.schema.get_field_index("attribute_types"), "attribute_types", pa.nulls(len(batch), pa.string())
    )
    attributes = batch.column("attributes")
    total = row_bytes(batch)
    if attributes.null_count == len(attributes):
        return total
    keys, items = attributes.keys, attributes.items
    kept = pc.and_(pc.equal(keys, ORIGINAL_TIMESTAMP), pc.less_equal(_lengths(items), _MOMENT_BYTES))
    if not pc.any(kept).as_py():
        return total
    each = pc.add(pc.add(_lengths(keys), _lengths(items)), ATTRIBUTE_BYTES)
    until = pa.concat_arrays(
        [pa.array([0], pa.int64()), pc.cumulative_sum(pc.cast(pc.if_else(kept, each, 0), pa.int64()))]
    )
    offsets = attributes.offsets
    return pc.subtract(total, pc.subtract(until.take(offsets[1:]), until.take(offsets[:-1])))


def _to_stream(batch: pa.RecordBatch, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    # One thread: a replica's cores are for its requests, and starting tasks costs more than these small buffers.
    options = ipc.IpcWriteOptions(compression=codec, use_threads=False)
    with ipc.new_stream(sink, RECORD_SCHEMA, options=options) as writer:
        writer.write_batch(batch)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def decode_record(record: StoredRecord, log_id: str, vnode: int) -> DecodedRecord:
    """Read a record back, with its rows' identity.

    Raises CorruptData for whatever is not one of ours, saying why, and NewerFormat for one that a newer ess_ray wrote:
    that one is whole, and must wait for who can read it.
    """
    headers = dict(record.headers)
    where = f"the record at offset {record.offset} of virtual node {vnode}"
    if headers.get(CONTENT_TYPE) != ARROW_STREAM.encode():
        raise CorruptData(f"{where} has no header {CONTENT_TYPE}: {ARROW_STREAM}")
    if TENANT not in headers:
        raise CorruptData(f"{where} has no header {TENANT}")
    format_version = _format_of(record, headers, where)
    try:
        tenant = check_tenant(headers[TENANT].decode())
        request = _request_of(headers, tenant)
    except (BadRequest, ValueError, KeyError) as error:
        raise CorruptData(f"{where} has headers that cannot be read: {error}") from error
    try:
        batch = _from_stream(record.value, format_version)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptData(f"{where} cannot be decoded: {error}") from error
    return DecodedRecord(tenant, identified(batch, log_id, vnode, record.offset), request)


def _format_of(record: StoredRecord, headers: dict[str, bytes], where: str) -> int:
    """Tell a record's format, after its checksum: neither may a flipped bit make it look newer."""
    told = headers.get(FORMAT, b"1")
    if CHECKSUM in headers and headers[CHECKSUM] != _checksum(record.value, record.headers):
        raise CorruptData(f"{where} does not match its checksum: it was altered after it was written")
    format_version = int(told) if told.isdigit() else 0
    if format_version > FORMAT_VERSION:
        raise NewerFormat(
            f"{where} is of format {format_version}, this ess_ray reads up to {FORMAT_VERSION}: upgrade it; the record "
            "waits in the log",
            format_version=format_version,
        )
    if format_version < 1:
        raise CorruptData(f"{where} has no format: the header {FORMAT} says {told!r}")
    if format_version > 1 and CHECKSUM not in headers:
        raise CorruptData(f"{where} has no header {CHECKSUM}")
    return format_version


def identified(batch: pa.RecordBatch, log_id: str, vnode: int, offset: int) -> pa.RecordBatch:
    """Give a record's rows of RECORD_SCHEMA their identity: rows of EVENT_SCHEMA."""
    count = len(batch)
    identity = [
        pa.repeat(pa.scalar(log_id, pa.string()), count),
        pa.repeat(pa.scalar(vnode, pa.int32()), count),
        pa.repeat(pa.scalar(offset, pa.int64()), count),
        _row_numbers(count),
    ]
    return pa.RecordBatch.from_arrays([*batch.columns, *identity], schema=EVENT_SCHEMA)


def _request_of(headers: dict[str, bytes], tenant: str) -> RequestKey | None:
    if REQUEST_KEY not in headers:
        return None
    key, body_hash = headers[REQUEST_KEY].decode(), headers[BODY_HASH].decode()
    request = RequestKey(tenant, key, body_hash, int(headers[PART]), int(headers[PARTS]))
    if not 0 <= request.part < request.parts:
        raise ValueError(f"part {request.part} of {request.parts} is none")
    return request


@lru_cache(maxsize=FORMAT_VERSION)
def _schema(format_version: int) -> pa.Schema:
    return schema_of_format(RECORD_SCHEMA, format_version)


def _from_stream(value: bytes, format_version: int) -> pa.RecordBatch:
    """Read and check one batch: whoever can write to the topic could otherwise make us read beyond a buffer."""
    schema = _schema(format_version)
    stream = pa.py_buffer(value)
    if (size := decoded_bytes(stream)) > MAX_DECODED_BYTES:
        raise ValueError(f"it says that it becomes {size} bytes when decoded, more than {MAX_DECODED_BYTES}")
    options = ipc.IpcReadOptions(use_threads=False)
    with ipc.open_stream(stream, options=options) as reader:
        if not reader.schema.equals(schema):
            raise ValueError(f"its columns are {reader.schema.names}, not those of an event")
        batches: list[Any] = list(reader)
    if len(batches) != 1:
        raise ValueError(f"it holds {len(batches)} batches instead of one")
    batch = batches[0]
    batch.validate(full=True)
    for name in _REQUIRED:
        if batch.column(name).null_count:
            raise ValueError(f"its column {name} has nulls")
    for name in _TIMES:
        bounds = pc.min_max(batch.column(name).cast(pa.int64())).as_py()
        if len(batch) and not _FIRST_US <= bounds["min"] <= bounds["max"] <= _LAST_US:
            raise ValueError(f"its column {name} has times beyond the years 1 to 9999")
    return with_all_columns(batch, RECORD_SCHEMA)
