"""The table of an object's pages: how long each is, and its CRC-32. Written with the object, verified at every read.

Parquet's own page checksum covers a page's bytes but not its header, in which a flipped bit alters encodings, sizes and
numbers of values. Ours is of both, so that a single page can be verified by itself.
"""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ess_ray.core.checksum import crc32
from ess_ray.core.chunk.page import page_end

PARQUET_MAGIC: Final = b"PAR1"
"""What a Parquet file begins and ends with: the first page follows the first."""
PAGE_ENTRY_BYTES: Final = 8
"""Of a page in the table: its length and its CRC-32, 32 bits each."""

Words = npt.NDArray[np.uint32]


class PageTable:
    """All pages of an object in the order of the file: the first behind the magic, each behind the one before."""

    def __init__(self, data: bytes | memoryview, pages: int) -> None:
        """Read the table: `pages` lengths, then as many sums, little-endian. Raises ValueError if it is cut short."""
        self.lengths: Words = np.frombuffer(data, "<u4", pages)
        self.sums: Words = np.frombuffer(data, "<u4", pages, pages * 4)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return len(PARQUET_MAGIC) + np.cumsum(self.lengths, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return 2 * self.lengths.nbytes

    def matches(self, start: int, pages: pa.Buffer) -> bool:
        """Tell whether bytes that stand at `start` are whole pages as they were written."""
        number = int(self._ends.searchsorted(start, "right"))
        at, size = 0, len(pages)
        while at < size and number < len(self.lengths):
            length = int(self.lengths[number])
            if at + length > size or crc32(pages.slice(at, length)) != self.sums[number]:
                return False
            at, number = at + length, number + 1
        return at == size


class PageSink(io.RawIOBase):
    """What a Parquet writer writes to: hands bytes on to `sink`, and lists the pages of each row group that is done."""

    def __init__(self, sink: pa.BufferOutputStream) -> None:
        super().__init__()
        self._sink = sink
        self._group: list[Any] = []
        self._begun = self._ended = False
        self._lengths: list[int] = []
        self._sums: list[int] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._sink.write(data)
        if not self._ended:
            self._group.append(data)
        return len(data)

    def end_group(self) -> None:
        """List the pages written since the last call: those of a row group."""
        data = memoryview(b"".join(self._group))
        self._group = []
        at = 0 if self._begun else len(PARQUET_MAGIC)
        self._begun = True
        while at < len(data):
            end = page_end(data, at)
            self._lengths.append(end - at)
            self._sums.append(crc32(data[at:end]))
            at = end

    def table(self) -> bytes:
        """Give the table of all pages; what is written from now on are none."""
        self._ended = True
        self._group = []
        return np.array([self._lengths, self._sums], "<u4").tobytes()
