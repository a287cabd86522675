"""Log records and objects of other formats: of 1, as the code wrote them then, and of those to come.

Format 1 must be read for ever. Nothing here follows the code of today but for what has not changed since: the skip
index, the content hash's rule.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, astuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from ess_ray.core.checksum import crc32
from ess_ray.core.chunk import OffsetRange, StoredRequest
from ess_ray.core.chunk.hash import ContentHash
from ess_ray.core.event import EVENT_SCHEMA, RECORD_SCHEMA
from ess_ray.core.index import build
from ess_ray.core.timestamps import partition_of
from ess_ray.ports import ObjectEntry, Record
from ess_ray.record import CHECKSUM, FORMAT

_ADDED_SINCE = {"attribute_types", "event_hash"}
RECORD_SCHEMA_1 = pa.schema([field for field in RECORD_SCHEMA if field.name not in _ADDED_SINCE])
EVENT_SCHEMA_1 = pa.schema([field for field in EVENT_SCHEMA if field.name not in _ADDED_SINCE])
_GROUP_ROWS = 16_384
_INDEX_MIN_ROWS = 4_096
_DICTIONARY = ["level", "severity_number", "service", "host", "log_id", "vnode"]
_ATTRIBUTES = ["attributes.key_value.key", "attributes.key_value.value"]
_DELTA = ("timestamp", "observed_timestamp", "offset", "row")
_RANDOM = ("trace_id", "span_id", "event_id")


def encode_record_1(
    batch: pa.RecordBatch, vnode: int, tenant: str, headers: Sequence[tuple[str, bytes]] = ()
) -> Record:
    """Write rows of RECORD_SCHEMA as a record of format 1: no header names it."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, RECORD_SCHEMA_1, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch.select(RECORD_SCHEMA_1.names))
    ours = (("content-type", b"application/vnd.apache.arrow.stream"), ("tenant", tenant.encode()))
    return Record(vnode, sink.getvalue().to_pybytes(), (*ours, *headers))


def keyed_headers_1(key: str, body_hash: str, part: int, parts: int) -> tuple[tuple[str, bytes], ...]:
    """Write the headers of a record of format 1 that belongs to a request with an Idempotency-Key."""
    numbers = (("part", b"%d" % part), ("parts", b"%d" % parts))
    return (("idempotency-key", key.encode()), ("body-sha256", body_hash.encode()), *numbers)


def with_header(record: Record, name: str, content: bytes | None) -> Record:
    """Give a record of today with another header (None: without it), and the checksum that belongs to it."""
    given = [(name, content)] if content is not None else []
    headers = (*(header for header in record.headers if header[0] not in (name, CHECKSUM)), *given)
    sum_of = crc32(b"\n".join(b"%s:%s" % (key.encode(), value) for key, value in headers), crc32(record.value))
    return Record(record.vnode, record.value, headers if name == CHECKSUM else (*headers, (CHECKSUM, b"%08x" % sum_of)))


def with_value(record: Record, value: bytes) -> Record:
    """Give a record of today with other bytes, and the checksum that belongs to them."""
    return with_header(Record(record.vnode, value, record.headers), FORMAT, dict(record.headers)[FORMAT])


def encode_object_1(
    rows: pa.Table,
    ranges: Sequence[OffsetRange],
    requests: Sequence[StoredRequest] = (),
    tenant: str = "default",
    group_rows: int = _GROUP_ROWS,
    index_min_rows: int = _INDEX_MIN_ROWS,
) -> tuple[ObjectEntry, bytes]:
    """Write sorted rows of EVENT_SCHEMA as an object of format 1, with a skip index if they are many."""
    old = rows.select(EVENT_SCHEMA_1.names)
    groups = [old.slice(start, group_rows) for start in range(0, len(old), group_rows)]
    leaves = [name for name in old.column_names if name != "attributes"] + _ATTRIBUTES
    digest = ContentHash(format_version=1)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        EVENT_SCHEMA_1,
        compression=dict.fromkeys(leaves, "zstd"),
        compression_level={name: 1 if name in _RANDOM else 3 for name in leaves},
        use_dictionary=[*_DICTIONARY, *_ATTRIBUTES],
        column_encoding={
            **dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED"),
            **dict.fromkeys(("message", *_RANDOM), "DELTA_LENGTH_BYTE_ARRAY"),
        },
        write_statistics=["timestamp"],
        data_page_size=2**31 - 1,
        max_rows_per_page=2**31 - 1,
        store_schema=False,
    ) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=len(group))
            digest.add(group)
        index = build(groups) if len(old) >= index_min_rows else b""
        sink.write(index)
        ascii_groups = [all(text.isascii() for text in group.column("message").to_pylist()) for group in groups]
        writer.add_key_value_metadata(
            {
                "ess.format": "1",
                "ess.ranges": json.dumps([asdict(part) for part in ranges]),
                "ess.content_hash": digest.hexdigest(),
                "ess.requests": json.dumps([astuple(request) for request in requests], separators=(",", ":")),
                "ess.ids": str(len(old) - old.column("event_id").null_count),
                "ess.index": str(len(index)),
                "ess.ascii": "".join("01"[known] for known in ascii_groups),
            }
        )
    data = sink.getvalue().to_pybytes()
    footer_bytes = struct.unpack("<I", data[-8:-4])[0] + 8
    times = old.column("timestamp").cast(pa.int64())
    first_us, last_us = times[0].as_py(), times[-1].as_py()
    date, hour = partition_of(first_us)
    name = f"{first_us}-{last_us}-{uuid4().hex}-f{footer_bytes}-x{len(index)}.parquet"
    key = f"tenant={tenant}/date={date}/hour={hour:02d}/{name}"
    return ObjectEntry(key, len(data), tenant, date, hour, len(old), first_us, last_us, last_us), data
