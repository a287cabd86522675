"""Where a value of MessagePack ends, in bytes that come in pieces: nothing is made of what is walked over.

However deep a value is nested it takes two numbers to walk it.
"""

from __future__ import annotations

from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.intake.compression import Content

NEVER_USED: Final = 0xC1
NIL: Final = 0xC0


def _table() -> tuple[bytes, bytes, bytes, bytes]:
    """Give, by a value's first byte: its whole length in bytes where that byte tells it, else 0; how many values stand
    in it then; else the bytes of its length; and how many bytes (of text) or values (of a container) one of that is."""
    fixed, inside, lengths, values = bytearray([1] * 256), bytearray(256), bytearray(256), bytearray(256)
    for count in range(16):
        inside[0x80 + count], inside[0x90 + count] = 2 * count, count
    for count in range(32):
        fixed[0xA0 + count] = 1 + count
    fixed[NEVER_USED] = 0
    for first, size in ((0xCA, 4), (0xCB, 8), (0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        fixed[first] = 1 + size
    for first, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
        fixed[first] = 1 + size
    for first, size in ((0xD4, 1), (0xD5, 2), (0xD6, 4), (0xD7, 8), (0xD8, 16)):
        fixed[first] = 2 + size
    for first, length_bytes, of_value in (
        *((0xC4, 1, 0), (0xC5, 2, 0), (0xC6, 4, 0), (0xC7, 1, 0), (0xC8, 2, 0), (0xC9, 4, 0)),
        *((0xD9, 1, 0), (0xDA, 2, 0), (0xDB, 4, 0), (0xDC, 2, 1), (0xDD, 4, 1), (0xDE, 2, 2), (0xDF, 4, 2)),
    ):
        fixed[first], lengths[first], values[first] = 0, length_bytes, of_value
    return bytes(fixed), bytes(inside), bytes(lengths), bytes(values)


_FIXED, _INSIDE, _LENGTHS, _VALUES = _table()
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})
_TEXTS: Final = frozenset({*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB})
_ARRAYS: Final = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
_MAPS: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})


class Malformed(BadRequest):
    """These bytes are no MessagePack."""


class Walker:
    """Walks over one value, which begins at `at`. Then `at` is its end."""

    __slots__ = ("_left", "at")

    def __init__(self, at: int) -> None:
        self.at = at
        self._left = 1  # values that still have to be walked over

    def walk(self, data: Content) -> bool:
        """Go on as far as the bytes reach; `data` begins where it did before. True: the value's end is among them.

        Raises Malformed.
        """
        at, left, end = self.at, self._left, len(data)
        while left and at < end:
            first = data[at]
            size = _FIXED[first]
            if size:
                at += size
                left += _INSIDE[first] - 1
                continue
            start = at + 1 + _LENGTHS[first]
            if first == NEVER_USED:
                raise Malformed(f"this is no MessagePack: byte {at} of the message is one that it never uses")
            if start > end:
                break
            length = int.from_bytes(data[at + 1 : start], "big")
            if _VALUES[first]:
                at = start
                left += length * _VALUES[first] - 1
            else:
                at = start + length + (first in _EXTENSIONS)
                left -= 1
        self.at, self._left = at, left
        return not left and at <= end

    def least_end(self) -> int:
        """Give the first place where the value may end: each value that is missing has a byte at the least."""
        return self.at + self._left


def is_text(first: int) -> bool:
    """Tell whether a value that begins so is text or binary."""
    return first in _TEXTS


def is_array(first: int) -> bool:
    """Tell whether a value that begins so is an array."""
    return first in _ARRAYS


def is_map(first: int) -> bool:
    """Tell whether a value that begins so is a map."""
    return first in _MAPS


def head(data: Content, at: int) -> tuple[int, int] | None:
    """Give where the content of a text, an array or a map begins, and its length in bytes or elements; None where the
    bytes do not reach so far."""
    if at >= len(data):
        return None
    first = data[at]
    start = at + 1 + _LENGTHS[first]
    if start > len(data):
        return None
    if start > at + 1:
        return start, int.from_bytes(data[at + 1 : start], "big")
    if is_array(first) or is_map(first):
        return start, first & 0x0F
    return start, first & 0x1F
