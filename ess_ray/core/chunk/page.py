"""A column chunk's pages, decoded here so that their text is searched where it lies: Parquet's page level.

A data page of DELTA_LENGTH_BYTE_ARRAY is its lengths, packed, and then all texts one after the other. So a page is
decompressed once, searched as one text, and its lengths are unpacked only where something was found. What is decoded
here is what we write: required texts, data pages v1 and v2. All else raises NotInPlace, and Arrow's reader decodes it.

May live here: Parquet's page headers and encodings. May not: fetching, queries, matching.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int32s = npt.NDArray[np.int32]

_CODECS: Final = {"ZSTD": "zstd", "LZ4": "lz4_raw", "SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli"}
"""Parquet's names to Arrow's. Parquet's old "LZ4" (Hadoop's frames) has no name of its own in Arrow and fails to decode
as lz4_raw, which raises NotInPlace."""
_DATA_PAGE, _DATA_PAGE_V2 = 0, 3
_DELTA_LENGTH_BYTE_ARRAY: Final = 6
_VALUES_PER_WORD_GROUP: Final = 32
"""A miniblock is a multiple of 32 values, so 32 values of w bits fill w words of 32 bits."""
_MAX_DELTA_BITS: Final = 32
"""Lengths are 32-bit, so deltas between them need no more (33 for none that is not damaged)."""
_MAX_BLOCK_VALUES: Final = 65_536
"""Of DELTA_BINARY_PACKED: writers use 128 or 256; a damaged header must not make us allocate gigabytes."""
_MAX_PAGE_BYTES: Final = 2**31 - 1
"""Arrow's 32-bit offsets, and Parquet's own sizes."""


class NotInPlace(Exception):
    """A page that is not laid out as our own are (or is damaged): leave it to Arrow's reader. Never leaves `core`."""


class TextBlock:
    """The texts of consecutive rows, which stand one after the other in `data` (other bytes may stand before them).

    `data` is searched before the lengths are unpacked; `offsets` are the rows' borders in it, unpacked when first
    asked for. Raises NotInPlace then, if the lengths are damaged.
    """

    def __init__(self, data: pa.Buffer, rows: int, offsets: Int32s | None = None) -> None:
        self.data = data
        self.rows = rows
        self._offsets = offsets

    @classmethod
    def of(cls, texts: pa.StringArray) -> TextBlock:
        """Take an array as it is, without a copy; a null is an empty text."""
        if not len(texts):
            return cls(pa.py_buffer(b""), 0, np.zeros(1, np.int32))
        _, offsets, data = texts.buffers()
        borders = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        return cls(data if data is not None else pa.py_buffer(b""), len(texts), borders)

    @property
    def offsets(self) -> Int32s:
        """The rows' borders in `data`, ascending; row i is [offsets[i], offsets[i + 1])."""
        if self._offsets is None:
            page = np.frombuffer(self.data, np.uint8)
            lengths, start = unpack_deltas(page, self.rows)
            borders = np.empty(self.rows + 1, np.int64)
            borders[0] = start
            np.cumsum(lengths, out=borders[1:])
            borders[1:] += start
            if borders[-1] != len(page) or (self.rows and int(lengths.min()) < 0):
                raise NotInPlace("the lengths do not add up to the page")
            self._offsets = borders.astype(np.int32)
        return self._offsets

    def array(self) -> pa.StringArray:
        """Give the texts as an Arrow array over the same bytes."""
        return pa.StringArray.from_buffers(self.rows, pa.py_buffer(self.offsets), self.data)


def text_blocks(chunk: pa.Buffer, codec_name: str, rows: int) -> list[TextBlock]:
    """Decode the column chunk of a required text column without dictionary; `rows` are all its rows.

    `codec_name` is the chunk's compression as Arrow's metadata names it. Raises NotInPlace.
    """
    blocks: list[TextBlock] = []
    at, left = 0, rows
    while left > 0:
        try:
            header, at = _read_struct(chunk, at)
            size, compressed = header[2], header[3]
            version2 = header[1] == _DATA_PAGE_V2
            if header[1] not in (_DATA_PAGE, _DATA_PAGE_V2) or not 0 <= size <= _MAX_PAGE_BYTES:
                raise NotInPlace("a page of another kind")
            page = header[8] if version2 else header[5]
            values, encoding = page[1], page[4] if version2 else page[2]
            plain = codec_name == "UNCOMPRESSED" or (version2 and page.get(7) is False)
            levels = page[5] + page[6] if version2 else 0
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise NotInPlace(f"a page header that cannot be read: {error!r}") from error
        if encoding != _DELTA_LENGTH_BYTE_ARRAY or levels or not 0 < values <= left or at + compressed > len(chunk):
            raise NotInPlace("a page in another encoding, or cut off")
        body = chunk.slice(at, compressed)
        blocks.append(TextBlock(body if plain else _decompress(body, codec_name, size), values))
        at += compressed
        left -= values
    return blocks


def _decompress(body: pa.Buffer, codec_name: str, size: int) -> pa.Buffer:
    try:
        # The system's pool gives pages back warm: a third faster than Arrow's own pool, which returns them to the
        # kernel, and than zstandard into a buffer of ours.
        return _codec(codec_name).decompress(body, size, memory_pool=pa.system_memory_pool())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise NotInPlace(f"a page that does not decompress: {error}") from error


@cache
def _codec(codec_name: str) -> pa.Codec:
    return pa.Codec(_CODECS[codec_name])


# ------------------------------------------------------------------------------------------------- compact Thrift
def _read_struct(data: pa.Buffer, at: int) -> tuple[dict[int, Any], int]:
    """Read one struct: (field id -> value, position after it). Raises IndexError, ValueError for nonsense."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        delta, kind = head >> 4, head & 0x0F
        if delta:
            number += delta
        else:
            number, at = _read_zigzag(data, at)
        if kind in (1, 2):  # a boolean field's value is its type
            fields[number] = kind == 1
        else:
            fields[number], at = _read_value(data, at, kind)


def _read_value(data: pa.Buffer, at: int, kind: int) -> tuple[Any, int]:
    match kind:
        case 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            return _read_zigzag(data, at)
        case 7:
            return None, at + 8
        case 8:
            length, at = read_varint(data, at)
            return None, at + length
        case 12:
            return _read_struct(data, at)
    raise ValueError(f"no page header has a field of type {kind}")


def read_varint(data: Any, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number: (value, position after it)."""
    value = shift = 0
    while True:
        byte = int(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _read_zigzag(data: Any, at: int) -> tuple[int, int]:
    value, at = read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


# ----------------------------------------------------------------------------------------- DELTA_BINARY_PACKED
def unpack_deltas(page: npt.NDArray[np.uint8], count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Unpack `count` integers in DELTA_BINARY_PACKED at the page's start: (values, position after them).

    Raises NotInPlace for what is not that, or not `count` of them.
    """
    try:
        return _unpack_deltas(page.data, page, count)
    except (IndexError, ValueError) as error:
        raise NotInPlace(f"lengths that cannot be unpacked: {error!r}") from error


def _unpack_deltas(data: memoryview, page: npt.NDArray[np.uint8], count: int) -> tuple[npt.NDArray[np.int64], int]:
    block_values, at = read_varint(data, 0)
    miniblocks, at = read_varint(data, at)
    total, at = read_varint(data, at)
    first, at = _read_zigzag(data, at)
    fits = miniblocks > 0 and block_values <= _MAX_BLOCK_VALUES
    if total != count or not fits or block_values % (miniblocks * _VALUES_PER_WORD_GROUP):
        raise ValueError("another layout than Parquet's")
    per_miniblock = block_values // miniblocks
    needed = count - 1
    # One pass over the headers, then every width's miniblocks are unpacked together.
    starts: dict[int, list[int]] = {}
    places: dict[int, list[int]] = {}
    minima: list[int] = []
    place = 0
    while place * per_miniblock < needed:
        minimum, at = _read_zigzag(data, at)
        minima.append(minimum)
        widths = data[at : at + miniblocks]
        at += miniblocks
        for width in widths:
            if place * per_miniblock >= needed:
                break  # the last block's unused miniblocks have a width but no data
            if width:
                starts.setdefault(width, []).append(at)
                places.setdefault(width, []).append(place)
                at += width * per_miniblock // 8
            place += 1
    if at > len(data):
        raise ValueError("cut off")
    deltas = np.zeros((len(minima) * miniblocks, per_miniblock), np.int64)
    for width, at_bytes in starts.items():
        deltas[places[width]] = _unpack_bits(page, at_bytes, width, per_miniblock)
    deltas = deltas.reshape(len(minima), block_values) + np.array(minima, np.int64).reshape(-1, 1)
    values = np.empty(count, np.int64)
    if count:
        values[0] = first
        np.cumsum(deltas.reshape(-1)[:needed], out=values[1:])
        values[1:] += first
    return values, at


def _unpack_bits(page: npt.NDArray[np.uint8], starts: list[int], width: int, values: int) -> npt.NDArray[np.int64]:
    """Unpack miniblocks of `values` integers of `width` bits that begin at `starts`: one row each."""
    if width > _MAX_DELTA_BITS:
        raise ValueError(f"deltas of {width} bits")
    size = width * values // 8
    # Rows of bytes, with room for reading a 64-bit word at the last value.
    rows = np.zeros((len(starts), size + 8), np.uint8)
    if len(starts) * size == starts[-1] + size - starts[0]:
        rows[:, :size] = page[starts[0] : starts[-1] + size].reshape(-1, size)
    else:
        rows[:, :size] = page[np.add.outer(np.array(starts), np.arange(size))]
    words = rows[:, : size + 4].view(np.uint32).astype(np.uint64)
    bits = np.arange(values) * width
    low = bits // 32
    pairs = words[:, :-1] | (words[:, 1:] << np.uint64(32))
    taken = pairs[:, low] >> (bits % 32).astype(np.uint64)
    return (taken & np.uint64((1 << width) - 1)).astype(np.int64)
