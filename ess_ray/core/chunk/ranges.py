"""An object's bytes in memory: ranges held, ranges cut out of a stream as it arrives, and which requests bring them."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa

MAX_RANGES: Final = 2
"""Requests for one window: gaps of up to WIDE_GAPS times the usual are read over rather than making more."""
WIDE_GAPS: Final = 8

Fetch = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the object."""
Stream = Callable[[int, int], Generator[bytes, None, None]]
"""(offset, length) -> the same bytes in pieces, as they arrive. Closing it ends the request."""


def coalesced(ranges: Iterable[tuple[int, int]], gap_bytes: int) -> list[tuple[int, int]]:
    """Join ranges [start, end) that lie no more than `gap_bytes` apart."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= gap_bytes:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def in_few(ranges: list[tuple[int, int]], max_gap_bytes: int) -> list[tuple[int, int]]:
    """Join ascending ranges over their smallest gaps until there are MAX_RANGES, as far as no gap is larger."""
    while len(ranges) > MAX_RANGES:
        gaps = [after[0] - before[1] for before, after in pairwise(ranges)]
        at = min(range(len(gaps)), key=gaps.__getitem__)
        if gaps[at] > max_gap_bytes:
            break
        ranges = [*ranges[:at], (ranges[at][0], ranges[at + 1][1]), *ranges[at + 2 :]]
    return ranges


class Ranges(io.RawIOBase):
    """A seekable file over ranges of an object: the tail, what is held, and, for anything else, a request."""

    def __init__(self, size: int, tail: bytes, fetch: Fetch) -> None:
        super().__init__()
        self._size, self._fetch = size, fetch
        self._at = 0
        self._tail = (size - len(tail), pa.py_buffer(tail))
        self.forget()

    def forget(self) -> None:
        self._held: list[tuple[int, pa.Buffer]] = [self._tail]
        self.verified: set[tuple[int, int]] = set()
        """Of the ranges held, those whose checksums were looked at."""

    def fetch(self, start: int, end: int) -> None:
        """Get [start, end) by a request, and hold it until all is forgotten."""
        self.hold(start, pa.py_buffer(self._fetch(start, end - start)))

    def hold(self, start: int, data: pa.Buffer) -> None:
        self._held.append((start, data))

    def _find(self, start: int, end: int) -> tuple[int, pa.Buffer] | None:
        for at, data in reversed(self._held):
            if at <= start and end <= at + len(data):
                return start - at, data
        return None

    def holds(self, start: int, end: int) -> bool:
        return self._find(start, end) is not None

    def view(self, start: int, end: int) -> pa.Buffer:
        """Give [start, end) without a copy if it is held in one piece."""
        found = self._find(start, end)
        return found[1].slice(found[0], end - start) if found else pa.py_buffer(self._fetch(start, end - start))

    def read_range(self, start: int, end: int) -> bytes:
        """Read [start, end), which is not held afterwards."""
        return self._fetch(start, end - start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> Any:
        size = self._size - self._at if size is None or size < 0 else min(size, self._size - self._at)
        if size <= 0:
            return b""
        data = self.view(self._at, self._at + size)
        self._at += size
        return data


class Arriving:
    """Ranges cut out of the pieces of a stream, each copied at most once. Pieces are asked for when they are needed."""

    def __init__(self, pieces: Iterator[bytes], start: int) -> None:
        self._pieces = pieces
        self._at = start
        self._rest = memoryview(b"")

    def take(self, start: int, end: int) -> pa.Buffer:
        """Give [start, end), or what of it came; what lies between the range before it and this one is let go of."""
        while self._at < start and self._more():
            self._cut(start)
        if self._at + len(self._rest) >= end:
            return pa.py_buffer(self._cut(end))
        data = pa.allocate_buffer(end - start)  # joining pieces would hold all of them twice
        room, filled = memoryview(data).cast("B"), 0
        while self._at < end and self._more():
            part = self._cut(end)
            room[filled : filled + len(part)] = part
            filled += len(part)
        return data.slice(0, filled)

    def _cut(self, end: int) -> memoryview:
        """Take what is there of the bytes up to `end`."""
        part = self._rest[: end - self._at]
        self._rest = self._rest[len(part) :]
        self._at += len(part)
        return part

    def _more(self) -> bool:
        """Get the next piece if there is nothing left of the one before it."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._rest = memoryview(piece)
        return True
