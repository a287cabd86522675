"""A column chunk's pages, decoded here so that their text is searched where it lies: Parquet's page level.

A data page of DELTA_LENGTH_BYTE_ARRAY is its lengths, packed, and then all texts one after the other. So a page is
decompressed once, searched as one text, and its lengths are unpacked only where something was found. What is decoded
here is what we write: required texts, data pages v1 and v2. All else raises NotInPlace, and Arrow's reader decodes it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ess_ray.core.prefilter import CASE_BIT

Int32s = npt.NDArray[np.int32]

ASCII_END: Final = 128
"""Bytes from here on are part of a character beyond ASCII."""
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
        self.ascii = False
        """Whether the texts are known to be ASCII throughout."""
        self._offsets = offsets
        self._without_case: memoryview | None = None

    @classmethod
    def of(cls, texts: pa.StringArray) -> TextBlock:
        """Take an array as it is, without a copy; a null is an empty text."""
        if not len(texts):
            return cls(pa.py_buffer(b""), 0, np.zeros(1, np.int32))
        _, offsets, data = texts.buffers()
        borders = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        return cls(data if data is not None else pa.py_buffer(b""), len(texts), borders)

    @property
    def without_case(self) -> memoryview:
        """A copy of the data with bit 5 of every byte set: for searches that ignore the case of ASCII letters."""
        if self._without_case is None:
            self._without_case = np.bitwise_or(np.frombuffer(self.data, np.uint8), CASE_BIT).data
        return self._without_case

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
            # Each by itself too: a sum beyond 64 bits could seem right, and its borders lie anywhere.
            if borders[-1] != len(page) or (
                self.rows and not 0 <= int(lengths.min()) <= int(lengths.max()) <= len(page)
            ):
                raise NotInPlace("the lengths do not add up to the page")
            self._offsets = borders.astype(np.int32)
        return self._offsets

    def rows_beyond_ascii(self) -> npt.NDArray[np.int64]:
        """Give the rows whose text holds a character beyond ASCII, ascending."""
        if self.ascii or not self.rows:
            return np.empty(0, np.int64)
        starts, end = self.offsets[:-1], int(self.offsets[-1])
        text = np.frombuffer(self.data, np.uint8)[:end]
        filled = np.flatnonzero(self.offsets[1:] > starts)
        if not len(filled) or text[starts[0] :].max() < ASCII_END:
            return np.empty(0, np.int64)
        # Empty rows are left out, so that each row's bytes end where those of the next one begin.
        return filled[np.maximum.reduceat(text, starts[filled]) >= ASCII_END]

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
            if header[1] not in (_DATA_PAGE, _DATA_PAGE_V2) or not 0 <= size <= _MAX_PAGE_BYTES or compressed < 0:
                raise NotInPlace("a page of another kind")
            page = header[8] if version2 else header[5]
            values, encoding = page[1], page[4] if version2 else page[2]
            plain = codec_name == "UNCOMPRESSED" or (version2 and page.get(7) is False)
            levels = page[5] + page[6] if version2 else 0
            fits = 0 < values <= left and at + compressed <= len(chunk)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise NotInPlace(f"a page header that cannot be read: {error!r}") from error
        if encoding != _DELTA_LENGTH_BYTE_ARRAY or levels or not fits:
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


def page_end(data: memoryview, at: int) -> int:
    """Give where the page that begins at `at` ends, its header included. Raises IndexError, KeyError, ValueError."""
    header, body = _read_struct(data, at)
    return body + int(header[3])


# ------------------------------------------------------------------------------------------------- compact Thrift
def _read_struct(data: pa.Buffer | memoryview, at: int) -> tuple[dict[int, Any], int]:
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


def _read_value(data: pa.Buffer | memoryview, at: int, kind: int) -> tuple[Any, int]:
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
    except (IndexError, ValueError, OverflowError) as error:
        raise NotInPlace(f"lengths that cannot be unpacked: {error!r}") from error


def _unpack_deltas(data: memoryview, page: npt.NDArray[np.uint8], count: int) -> tuple[npt.NDArray[np.int64], int]:
    block_values, at = read_varint(data, 0)
    miniblocks, at = read_varint(data, at)
    total, at = read_varint(data, at)
    first, at = _read_zigzag(data, at)
    fits = miniblocks > 0 and 0 < block_values <= _MAX_BLOCK_VALUES
    if total != count or not fits or block_values % (miniblocks * _VALUES_PER_WORD_GROUP):
        raise ValueError("another layout than Parquet's")
    per_miniblock = block_values // miniblocks
    blocks = -(-(count - 1) // block_values)
    heads = bytearray()
    starts: list[int] = []
    minima: list[int] = []
    # One pass over the blocks' heads; then all miniblocks of one width are unpacked together.
    for _ in range(blocks):
        minimum, at = _read_zigzag(data, at)
        minima.append(minimum)
        own = data[at : at + miniblocks]
        at += miniblocks
        heads += own
        starts.append(at)
        at += sum(own) * per_miniblock // 8
    if len(heads) != blocks * miniblocks:
        raise ValueError("cut off")
    widths = np.frombuffer(heads, np.uint8).astype(np.int64).reshape(blocks, miniblocks)
    if blocks:  # unused miniblocks at the end may have a width, but no data
        used = -(-(count - 1 - (blocks - 1) * block_values) // per_miniblock)
        at -= int(widths[-1, used:].sum()) * per_miniblock // 8
        widths[-1, used:] = 0
    if at > len(data):
        raise ValueError("cut off")
    sizes = widths * (per_miniblock // 8)
    places = (np.array(starts, np.int64).reshape(-1, 1) + np.cumsum(sizes, axis=1) - sizes).reshape(-1)
    deltas = np.zeros((blocks * miniblocks, per_miniblock), np.int64)
    flat_widths = widths.reshape(-1)
    for width in np.flatnonzero(np.bincount(flat_widths)).tolist():
        if width:
            alike = np.flatnonzero(flat_widths == width)
            deltas[alike] = _unpack_bits(page, places[alike], width, per_miniblock)
    values = np.empty(count, np.int64)
    if count:
        values[0] = first
        flat = deltas.reshape(blocks, block_values)
        flat += np.array(minima, np.int64).reshape(-1, 1)
        np.cumsum(flat.reshape(-1)[: count - 1], out=values[1:])
        values[1:] += first
    return values, at


def _unpack_bits(
    page: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], width: int, values: int
) -> npt.NDArray[np.uint64]:
    """Unpack `values` integers of `width` bits at each of `starts`: one row each."""
    if width > _MAX_DELTA_BITS:
        raise ValueError(f"deltas of {width} bits")
    size = width * values // 8
    # Room for a 64-bit word at the last value.
    packed = np.zeros((len(starts), size + 4), np.uint8)
    packed[:, :size] = page[np.add.outer(starts, np.arange(size))]
    words = packed.view(np.uint32).astype(np.uint64)
    pairs = words[:, :-1] | (words[:, 1:] << np.uint64(32))
    bits = np.arange(values) * width
    taken: npt.NDArray[np.uint64] = np.take(pairs, bits // 32, axis=1)
    np.right_shift(taken, (bits % 32).astype(np.uint64), out=taken)
    return np.bitwise_and(taken, np.uint64((1 << width) - 1), out=taken)
