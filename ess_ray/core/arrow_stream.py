"""How large an Arrow IPC stream becomes when it is decoded: what its buffers say of themselves, before any is decoded.

Arrow allocates what a compressed buffer says, so that a damaged length, or a few bytes that unpack to gigabytes, would
take the memory of whoever reads them.
"""

from __future__ import annotations

import struct
from typing import Final

import pyarrow as pa
from pyarrow import ipc

_RECORD_BATCH: Final = "record batch"
_BUFFER: Final = struct.Struct("<qq")
"""Of a record batch's metadata: where a buffer begins in the body, and its bytes there."""
_HEADER, _BODY_LENGTH = 2, 3
_BUFFERS, _COMPRESSION = 2, 3
"""Fields by their place in the flatbuffers tables: the first two of a message, the others of a record batch."""


def decoded_bytes(stream: pa.Buffer) -> int:
    """Add up the decompressed bytes of the buffers of all record batches. Raises ValueError, ArrowException."""
    total = 0
    for message in ipc.MessageReader.open_stream(stream):
        if message.type == _RECORD_BATCH:
            try:
                total += _batch_bytes(memoryview(message.metadata), memoryview(message.body))
            except (struct.error, IndexError) as error:
                raise ValueError(f"its metadata cannot be read: {error}") from error
    return total


def body_bytes(metadata: memoryview) -> int:
    """Read how many bytes follow a message's metadata. Raises ValueError for what is none."""
    try:
        at = _field(metadata, _uint32(metadata, 0), _BODY_LENGTH)
        length = 0 if at is None else int(struct.unpack_from("<q", metadata, at)[0])
    except struct.error as error:
        raise ValueError(f"its metadata cannot be read: {error}") from error
    if length < 0:
        raise ValueError("its body has a negative length")
    return length


def _batch_bytes(metadata: memoryview, body: memoryview) -> int:
    batch = _target(metadata, _field(metadata, _uint32(metadata, 0), _HEADER))
    is_compressed = _field(metadata, batch, _COMPRESSION) is not None
    buffers = _target(metadata, _field(metadata, batch, _BUFFERS))
    count, first = _uint32(metadata, buffers), buffers + 4
    total = 0
    for start, size in _BUFFER.iter_unpack(metadata[first : first + count * _BUFFER.size]):
        if is_compressed and size > 0:
            (told,) = struct.unpack_from("<q", body, start)
            total += size if told < 0 else told  # -1: not worth compressing
        else:
            total += size
    return total


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Find a table's field; None when it is not there."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    at = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
    return table + offset if offset else None


def _target(data: memoryview, field: int | None) -> int:
    if field is None:
        raise ValueError("its metadata lacks a field")
    return field + _uint32(data, field)


def _uint32(data: memoryview, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value
