"""Rows to bytes: an object's row groups, encodings and codecs, and the hash of its rows.

May live here: what Parquet is told to write. May not: reading, or deciding which rows go into one object.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.core.chunk.layout import Encoded, Facts, OffsetRange, StoredRequest, facts_to_metadata
from ess_ray.core.chunk.page import ASCII_END
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.index import build

ROWS_PER_GROUP: Final = 16_384
"""Rows in a row group: the unit of pruning; large enough that a column's page compresses well."""
MESSAGE_BYTES_PER_GROUP: Final = 32 * 1024 * 1024
"""Message bytes in a row group: bounds the memory of a scan, which holds one decompressed group."""
INDEX_MIN_ROWS: Final = 4_096
"""Rows that are worth a skip index: of fewer, reading all costs no more than reading the index."""
MessageCodec = Literal["zstd", "lz4"]
"""lz4 makes `message` 1.7 times as large and searchable at twice the speed."""
COMPRESSION_LEVEL: Final = 3
"""zstd(3): a flush is written once and soon; compaction compresses harder."""
RANDOM_LEVEL: Final = 1
"""Of ids: random digits shrink by coding their letters alone, which level 1 does best (5.8 B an id against 6.4)."""
_RANDOM: Final = ("trace_id", "span_id", "event_id")
_ONE_PAGE: Final = 2**31 - 1
# Attribute values repeat enough for a dictionary (-0.9 B a row); where they do not, the writer leaves it by itself.
_DICTIONARY: Final = [
    *("level", "severity_number", "service", "host", "log_id", "vnode"),
    *("attributes.key_value.key", "attributes.key_value.value"),
]
_ENCODING: Final = {
    "timestamp": "DELTA_BINARY_PACKED",
    "observed_timestamp": "DELTA_BINARY_PACKED",
    "message": "DELTA_LENGTH_BYTE_ARRAY",
    "offset": "DELTA_BINARY_PACKED",
    "row": "DELTA_BINARY_PACKED",
    **dict.fromkeys(_RANDOM, "DELTA_LENGTH_BYTE_ARRAY"),
}
_MAGIC_BYTES: Final = 8


def encode_object(
    rows: pa.Table,
    ranges: Sequence[OffsetRange],
    requests: Sequence[StoredRequest] = (),
    message_codec: MessageCodec = "zstd",
) -> Encoded:
    """Write sorted rows of EVENT_SCHEMA (one tenant, one hour) as an object. The same rows give the same bytes."""
    times = rows.column("timestamp").cast(pa.int64())
    groups = list(_groups(rows))
    index = build(rows.slice(start, length) for start, length in groups) if len(rows) >= INDEX_MIN_ROWS else b""
    ids = len(rows) - rows.column("event_id").null_count
    ascii_groups = tuple(_is_ascii(rows.column("message").slice(start, length)) for start, length in groups)
    facts = Facts(tuple(ranges), content_hash(rows), tuple(requests), ids, len(index), ascii_groups)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, EVENT_SCHEMA, **_writer_options(message_codec)) as writer:
        for start, length in groups:
            writer.write_table(rows.slice(start, length), row_group_size=length)
        sink.write(index)  # between the last page and the footer: no Parquet reader looks there
        writer.add_key_value_metadata(facts_to_metadata(facts))
    data = sink.getvalue()
    footer = struct.unpack("<I", data[-_MAGIC_BYTES:-4].to_pybytes())[0] + _MAGIC_BYTES
    return Encoded(data, len(rows), times[0].as_py(), times[-1].as_py(), footer, len(index))


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


def _writer_options(message_codec: MessageCodec) -> dict[str, Any]:
    leaves = [name for name in EVENT_SCHEMA.names if name != "attributes"]
    leaves += ["attributes.key_value.key", "attributes.key_value.value"]
    levels = {name: RANDOM_LEVEL if name in _RANDOM else COMPRESSION_LEVEL for name in leaves}
    if message_codec == "lz4":
        del levels["message"]
    return {
        "compression": {name: message_codec if name == "message" else "zstd" for name in leaves},
        "compression_level": levels,
        "use_dictionary": _DICTIONARY,
        "column_encoding": _ENCODING,
        "write_statistics": ["timestamp"],
        "data_page_size": _ONE_PAGE,
        "max_rows_per_page": _ONE_PAGE,
        "store_schema": False,
    }


def _groups(rows: pa.Table) -> Iterator[tuple[int, int]]:
    """Cut rows into row groups by count and by message bytes; gives (start, length)."""
    start = 0
    while start < len(rows):
        length = min(ROWS_PER_GROUP, len(rows) - start)
        sizes = pc.binary_length(rows.column("message").slice(start, length)).cast(pa.int64())
        if pc.sum(sizes).as_py() > MESSAGE_BYTES_PER_GROUP:
            fits = pc.less_equal(pc.cumulative_sum(sizes), MESSAGE_BYTES_PER_GROUP)
            length = max(1, pc.sum(fits).as_py())
        yield start, length
        start += length


def content_hash(rows: pa.Table) -> str:
    """Hash the rows' values (SHA-256, hex), whatever their chunks, slices and null padding."""
    digest = sha256()
    for name in EVENT_SCHEMA.names:
        digest.update(name.encode() + b"\0")
        _hash_array(rows.column(name).combine_chunks(), digest)
    return digest.hexdigest()


def _hash_array(array: Any, digest: Any) -> None:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    digest.update(struct.pack("<q", len(array)))
    if array.null_count:
        digest.update(_values(pc.cast(pc.is_null(array), pa.uint8())))
    if pa.types.is_map(array.type):
        flat = pa.concat_arrays([array])
        _hash_array(pc.subtract(flat.offsets[1:], flat.offsets[:-1]), digest)
        start, end = flat.offsets[0].as_py(), flat.offsets[-1].as_py()
        _hash_array(flat.keys.slice(start, end - start), digest)
        _hash_array(flat.items.slice(start, end - start), digest)
    elif pa.types.is_string(array.type):
        filled = pc.fill_null(array, "")
        lengths = pc.binary_length(filled)
        digest.update(_values(lengths))
        text = filled.buffers()[2]
        if text is not None and len(filled):
            ends = memoryview(filled.buffers()[1]).cast("i")
            first, last = ends[filled.offset], ends[filled.offset + len(filled)]
            digest.update(text.slice(first, last - first))
    else:
        digest.update(_values(pc.fill_null(array.cast(pa.int64()), 0)))


def _values(array: Any) -> pa.Buffer:
    """Give the value buffer of a fixed-width array without nulls, cut to the array."""
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return b"" if buffer is None else buffer.slice(array.offset * width, len(array) * width)
