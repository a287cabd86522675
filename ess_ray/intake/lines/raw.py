"""Bytes to lines, however the bytes are cut into pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ess_ray.core.event import MAX_EVENT_BYTES

KEPT_BYTES: Final = 1024
"""Of each end of a line that is longer than an event may be."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its newline, of `size` bytes; of one that `is_too_long` only the ends are kept."""

    content: bytes
    size: int
    ended: bool

    @property
    def is_too_long(self) -> bool:
        return self.size > MAX_EVENT_BYTES


def cut_lines(pieces: Iterable[bytes]) -> Iterator[Line]:
    """Give each line, also the last one without an end."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        parts.append(first)
        size += len(first)
        for other in others:
            yield Line(parts[0] if len(parts) == 1 else b"".join(parts), size, True)
            parts, size = [other], len(other)
        if size > MAX_EVENT_BYTES:
            whole = b"".join(parts)
            parts = [whole[:KEPT_BYTES], whole[-KEPT_BYTES:]]
    if size:
        yield Line(b"".join(parts), size, False)
