"""Rows to bytes: an object's row groups, encodings and codecs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.core.checksum import crc32
from ess_ray.core.chunk.hash import ContentHash
from ess_ray.core.chunk.layout import DeletedId, Encoded, Facts, OffsetRange, StoredRequest, facts_to_metadata
from ess_ray.core.chunk.page import ASCII_END
from ess_ray.core.chunk.sums import PAGE_ENTRY_BYTES, PageSink
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.index import build

ROWS_PER_GROUP: Final = 16_384
"""Rows in a row group: the unit of pruning; large enough that a column's page compresses well."""
MESSAGE_BYTES_PER_GROUP: Final = 32 * 1024 * 1024
"""Message bytes in a row group: bounds the memory of a scan, which holds one decompressed group."""
INDEX_MIN_ROWS: Final = 4_096
"""Rows that are worth a skip index: of fewer, reading all costs no more than reading the index."""


@dataclass(frozen=True, slots=True)
class ObjectLimits:
    """Where row groups of an object end, and from how many rows on it has a skip index."""

    rows_per_group: int = ROWS_PER_GROUP
    message_bytes_per_group: int = MESSAGE_BYTES_PER_GROUP
    index_min_rows: int = INDEX_MIN_ROWS


MessageCodec = Literal["zstd", "lz4"]
"""lz4 makes `message` 1.7 times as large and searchable at twice the speed."""
COMPRESSION_LEVEL: Final = 3
"""zstd(3): a flush is written once and soon; compaction compresses harder."""
RANDOM_LEVEL: Final = 1
"""Of ids: random digits shrink by coding their letters alone, which level 1 does best (5.8 B an id against 6.4)."""
_RANDOM: Final = ("trace_id", "span_id", "event_id", "event_hash")
_ONE_PAGE: Final = 2**31 - 1
# Attribute values repeat enough for a dictionary (-0.9 B a row); where they do not, the writer leaves it by itself.
_DICTIONARY: Final = [
    *("level", "severity_number", "service", "host", "attribute_types", "log_id", "vnode"),
    *("attributes.key_value.key", "attributes.key_value.value"),
]
_ENCODING: Final = {
    "timestamp": "DELTA_BINARY_PACKED",
    "observed_timestamp": "DELTA_BINARY_PACKED",
    "message": "DELTA_LENGTH_BYTE_ARRAY",
    "offset": "DELTA_BINARY_PACKED",
    "row": "DELTA_BINARY_PACKED",
    **dict.fromkeys(("trace_id", "span_id", "event_id"), "DELTA_LENGTH_BYTE_ARRAY"),
}


def encode_object(
    rows: pa.Table,
    ranges: Sequence[OffsetRange],
    requests: Sequence[StoredRequest] = (),
    message_codec: MessageCodec = "zstd",
    message_level: int = COMPRESSION_LEVEL,
    *,
    deleted: Sequence[DeletedId] = (),
    limits: ObjectLimits = ObjectLimits(),
) -> Encoded:
    """Write sorted rows of EVENT_SCHEMA (one tenant, one hour) as an object. The same rows give the same bytes.

    Without any rows its times are 0: what it stands for is then for the caller to say.
    """
    groups = (rows.slice(start, length) for start, length in _groups(rows, limits))
    return _encode(
        groups,
        len(rows),
        ranges,
        requests=requests,
        message_codec=message_codec,
        message_level=message_level,
        deleted=deleted,
        index_min_rows=limits.index_min_rows,
    )


def encode_stream(
    tables: Iterable[pa.Table],
    row_count: int,
    ranges: Sequence[OffsetRange],
    *,
    requests: Sequence[StoredRequest] = (),
    message_codec: MessageCodec = "zstd",
    message_level: int = COMPRESSION_LEVEL,
    deleted: Sequence[DeletedId] = (),
    limits: ObjectLimits = ObjectLimits(),
) -> Encoded:
    """Write sorted rows that come in pieces of any length, `row_count` in all (at least one), as `encode_object` does.

    Besides the object itself, memory holds two row groups and a piece. Raises ValueError when the rows are not as many.
    """
    encoded = _encode(
        _regrouped(tables, limits),
        row_count,
        ranges,
        requests=requests,
        message_codec=message_codec,
        message_level=message_level,
        deleted=deleted,
        index_min_rows=limits.index_min_rows,
    )
    if encoded.rows != row_count:
        raise ValueError(f"{row_count} rows were announced, {encoded.rows} came")
    return encoded


def _encode(
    groups: Iterable[pa.Table],
    row_count: int,
    ranges: Sequence[OffsetRange],
    *,
    requests: Sequence[StoredRequest],
    message_codec: MessageCodec,
    message_level: int,
    index_min_rows: int,
    deleted: Sequence[DeletedId],
) -> Encoded:
    rows = ids = 0
    first_us = last_us = 0
    arrivals: list[int] = []
    ascii_groups: list[bool] = []
    digest = ContentHash()
    sink = pa.BufferOutputStream()
    pages = PageSink(sink)
    # One stream for Parquet's writer and for us, since it counts where it is by what it was given.
    stream = pa.PythonFile(pages, "w")
    with pq.ParquetWriter(stream, EVENT_SCHEMA, **_writer_options(message_codec, message_level)) as writer:

        def written() -> Iterator[pa.Table]:
            nonlocal rows, ids, first_us, last_us
            for group in groups:
                writer.write_table(group, row_group_size=len(group))
                pages.end_group()
                digest.add(group)
                ascii_groups.append(_is_ascii(group.column("message")))
                times = group.column("timestamp").cast(pa.int64())
                first_us, last_us = first_us if rows else times[0].as_py(), times[-1].as_py()
                arrivals.extend(_extremes(group.column("observed_timestamp")))
                rows, ids = rows + len(group), ids + len(group) - group.column("event_id").null_count
                yield group

        index = build(written()) if row_count >= index_min_rows else b""
        if not index:
            deque(written(), maxlen=0)
        # Index and table stand between the last page and the page index: no Parquet reader looks there.
        table = pages.table()
        index_start = stream.tell()
        stream.write(index)
        stream.write(table)
        facts = Facts(
            ranges=tuple(ranges),
            content_hash=digest.hexdigest(),
            requests=tuple(requests),
            ids=ids,
            index_bytes=len(index),
            index_checksum=crc32(index),
            pages=len(table) // PAGE_ENTRY_BYTES,
            ascii_groups=tuple(ascii_groups),
            deleted=tuple(deleted),
        )
        writer.add_key_value_metadata(facts_to_metadata(facts))
    data = sink.getvalue()
    footer_bytes = data.size - index_start - len(index)
    return Encoded(
        data,
        rows,
        first_us,
        last_us,
        footer_bytes,
        len(index),
        crc32(data.slice(index_start)),
        first_arrival_us=min(arrivals, default=None),
        last_arrival_us=max(arrivals, default=None),
    )


def _extremes(times: pa.ChunkedArray) -> list[int]:
    found = pc.min_max(times.cast(pa.int64())).as_py()
    return [] if found["min"] is None else [found["min"], found["max"]]


def _is_ascii(texts: pa.ChunkedArray) -> bool:
    """Tell whether texts hold ASCII only: where they do, a scan needs not look for anything else."""
    for chunk in texts.chunks:
        _, offsets, data = chunk.buffers()
        if len(chunk) and data is not None:
            borders = np.frombuffer(offsets, np.int32)
            text = np.frombuffer(data, np.uint8)[borders[chunk.offset] : borders[chunk.offset + len(chunk)]]
            if len(text) and text.max() >= ASCII_END:
                return False
    return True


def _writer_options(message_codec: MessageCodec, message_level: int) -> dict[str, Any]:
    leaves = [name for name in EVENT_SCHEMA.names if name != "attributes"]
    leaves += ["attributes.key_value.key", "attributes.key_value.value"]
    levels = {name: RANDOM_LEVEL if name in _RANDOM else COMPRESSION_LEVEL for name in leaves}
    levels["message"] = message_level
    if message_codec == "lz4":
        del levels["message"]
    return {
        "compression": {name: message_codec if name == "message" else "zstd" for name in leaves},
        "compression_level": levels,
        "use_dictionary": _DICTIONARY,
        "column_encoding": _ENCODING,
        "write_statistics": ["timestamp", "observed_timestamp"],
        "write_page_checksum": True,
        "write_page_index": True,
        "data_page_size": _ONE_PAGE,
        "max_rows_per_page": _ONE_PAGE,
        "store_schema": False,
    }


def _groups(rows: pa.Table, limits: ObjectLimits) -> Iterator[tuple[int, int]]:
    """Cut rows into row groups by count and by message bytes; gives (start, length)."""
    start = 0
    while start < len(rows):
        length = min(limits.rows_per_group, len(rows) - start)
        sizes = pc.binary_length(rows.column("message").slice(start, length)).cast(pa.int64())
        if pc.sum(sizes).as_py() > limits.message_bytes_per_group:
            fits = pc.less_equal(pc.cumulative_sum(sizes), limits.message_bytes_per_group)
            length = max(1, pc.sum(fits).as_py())
        yield start, length
        start += length


def _regrouped(tables: Iterable[pa.Table], limits: ObjectLimits) -> Iterator[pa.Table]:
    """Cut pieces of any length into the row groups that `_groups` would make of all of them."""
    pending: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        pending.append(table)
        rows, size = rows + len(table), size + table.column("message").nbytes
        if rows < limits.rows_per_group and size <= limits.message_bytes_per_group:
            continue
        joined = pa.concat_tables(pending).combine_chunks()
        *full, (start, length) = _groups(joined, limits)
        yield from (joined.slice(*cut) for cut in full)
        pending = [joined.slice(start, length)]
        rows, size = length, pending[0].column("message").nbytes
    if rows:
        yield pa.concat_tables(pending).combine_chunks()
