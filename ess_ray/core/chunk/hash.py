"""The content hash of an object's rows: the same for the same values, however they are chunked, sliced or padded."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import EVENT_SCHEMA, FORMAT_VERSION, schema_of_format


class ContentHash:
    """Takes rows piece by piece: one digest for each stream of values (nulls, lengths, texts) of a column.

    An object's hash covers the columns of its own format, so that it is the same whatever came later.
    """

    def __init__(self, format_version: int = FORMAT_VERSION) -> None:
        self._names = schema_of_format(EVENT_SCHEMA, format_version).names
        self._streams: dict[str, Any] = {}

    def add(self, rows: pa.Table) -> None:
        """Take the next rows of EVENT_SCHEMA."""
        for name in self._names:
            for array in rows.column(name).chunks:
                self._add(name, array)

    def hexdigest(self) -> str:
        """Give the hash (SHA-256) of all rows so far."""
        whole = sha256()
        for name in sorted(self._streams):
            whole.update(name.encode() + b"\0" + self._streams[name].digest())
        return whole.hexdigest()

    def _feed(self, stream: str, data: Any) -> None:
        self._streams.setdefault(stream, sha256()).update(data)

    def _add(self, name: str, array: Any) -> None:
        nulls = _values(pc.cast(pc.is_null(array), pa.uint8())) if array.null_count else bytes(len(array))
        self._feed(f"{name}.nulls", nulls)
        if pa.types.is_map(array.type):
            flat = pa.concat_arrays([array])
            self._feed(f"{name}.lengths", _values(pc.subtract(flat.offsets[1:], flat.offsets[:-1])))
            start, end = flat.offsets[0].as_py(), flat.offsets[-1].as_py()
            self._add(f"{name}.key", flat.keys.slice(start, end - start))
            self._add(f"{name}.value", flat.items.slice(start, end - start))
        elif pa.types.is_fixed_size_binary(array.type):
            self._feed(f"{name}.values", _values(pc.fill_null(array, bytes(array.type.byte_width))))
        elif pa.types.is_string(array.type):
            filled = pc.fill_null(array, "")
            self._feed(f"{name}.lengths", _values(pc.binary_length(filled)))
            text = filled.buffers()[2]
            if text is not None and len(filled):
                ends = memoryview(filled.buffers()[1]).cast("i")
                first, last = ends[filled.offset], ends[filled.offset + len(filled)]
                self._feed(f"{name}.text", text.slice(first, last - first))
        else:
            self._feed(f"{name}.values", _values(pc.fill_null(array.cast(pa.int64()), 0)))


def content_hash(rows: pa.Table) -> str:
    """Hash rows of EVENT_SCHEMA (SHA-256, hex)."""
    digest = ContentHash()
    digest.add(rows)
    return digest.hexdigest()


def _values(array: Any) -> pa.Buffer:
    """Give the value buffer of a fixed-width array without nulls, cut to the array."""
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return b"" if buffer is None else buffer.slice(array.offset * width, len(array) * width)
