"""A plane: one Bloom filter for each of eight row groups, lane by lane in the bits of one byte per position.

A look-up reads one byte per position for eight row groups at once. Planes are sparse (a wide, mostly empty filter
packs into fewer bytes than a narrow full one that errs as often), so they are stored compressed, in chunks that are
unpacked one by one as look-ups need them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import zstandard

from ess_ray.core.errors import CorruptData

LANES: Final = 8
"""Row groups in a plane: the bits of a byte."""
CHUNK_POSITIONS: Final = 8192
"""Positions compressed together: a look-up unpacks this many bytes (about 10 us); smaller ones pack worse."""
_LEVEL: Final = 1
"""zstd(1): there are no repeats to find, only bytes that are frequent or rare."""
_CHUNK: Final = struct.Struct("<H")
"""A chunk's packed bytes, in the directory before the chunks."""
FRAME_BYTES: Final = 90
"""What a chunk costs beside its entropy: frame, checksum, the table of its code."""
MAX_POSITIONS: Final = 1 << 20
"""Positions in a plane: bounds memory, whatever rows hold."""
MAX_FILL: Final = 0.9
"""Of a plane's used lanes: fuller ones rule too little out and are left away. (0.9 still rules out 32 of 33 groups
for a UUID, whose 32 grams must all be there.)"""

Bytes = npt.NDArray[np.uint8]


def pack(plane: Bytes) -> bytes:
    """Write a plane: the packed length of every chunk, then the chunks, each with its own checksum."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    data = plane.tobytes()
    chunks = [compressor.compress(data[at : at + CHUNK_POSITIONS]) for at in range(0, len(data), CHUNK_POSITIONS)]
    return b"".join([_CHUNK.pack(len(chunk)) for chunk in chunks] + chunks)


def packed_bytes(plane: Bytes) -> float:
    """Estimate what `pack` makes of a plane, from the entropy of its bytes; up to a tenth too low or too high."""
    counts = np.bincount(plane, minlength=256)
    shares = counts[counts > 0] / len(plane)
    return float(-(shares * np.log2(shares)).sum()) * len(plane) / 8 + FRAME_BYTES * chunk_count(len(plane))


def is_too_full(plane: Bytes, used_lanes: int) -> bool:
    """Tell whether a plane is not worth its bytes."""
    return int(np.bitwise_count(plane).sum()) > MAX_FILL * used_lanes * len(plane)


def chunk_count(positions: int) -> int:
    return -(-positions // CHUNK_POSITIONS)


class Plane:
    """A stored plane, unpacked chunk by chunk on demand; not for several threads at once."""

    def __init__(self, data: memoryview, positions: int, decompressor: zstandard.ZstdDecompressor) -> None:
        self._data = data
        self._positions = positions
        self._decompressor = decompressor
        self._chunks: dict[int, bytes] = {}

    @cached_property
    def _ends(self) -> list[int]:
        """Where each chunk ends in the data, and before them where the first begins."""
        count = chunk_count(self._positions)
        directory = count * _CHUNK.size
        if len(self._data) < directory:
            raise CorruptData("the skip index is cut short: read the object without it, and compact it")
        sizes = struct.unpack_from(f"<{count}H", self._data)
        ends = list(accumulate(sizes, initial=directory))
        if ends[-1] != len(self._data):
            raise CorruptData("the skip index's chunks do not add up: read the object without it, and compact it")
        return ends

    def at(self, position: int) -> int:
        """Give the lanes (bits) that are set at a position."""
        number, within = divmod(position, CHUNK_POSITIONS)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self._unpack(number)
        return chunk[within]

    def lanes(self, positions: Iterable[int], asked: int) -> int:
        """Give those of the lanes `asked` (bits) that are set at every position."""
        for position in positions:
            asked &= self.at(position)
            if not asked:
                break
        return asked

    def _unpack(self, number: int) -> bytes:
        size = min(CHUNK_POSITIONS, self._positions - number * CHUNK_POSITIONS)
        packed = self._data[self._ends[number] : self._ends[number + 1]]
        try:
            # zstandard allocates what a frame says, whatever the most is that we want.
            told = zstandard.frame_content_size(packed)
            if told > size:
                raise CorruptData(f"a chunk of the skip index holds {told} positions, not {size}")
            chunk = self._decompressor.decompress(packed, max_output_size=size)
        except zstandard.ZstdError as error:
            raise CorruptData(f"a chunk of the skip index does not unpack: {error}") from error
        if len(chunk) != size:
            raise CorruptData(f"a chunk of the skip index holds {len(chunk)} positions, not {size}")
        return chunk
