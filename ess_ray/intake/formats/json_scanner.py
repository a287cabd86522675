"""Where the values of a JSON array or the lines of a text end, found a block at a time without making objects of
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

BLOCK_BYTES: Final = 1024 * 1024
"""Looked at together: a few milliseconds, and some megabytes of positions."""
_COMMA: Final = 2
_CODES: Final = np.zeros(256, np.int8)
_CODES[[ord("["), ord("{")]] = 1
_CODES[[ord("]"), ord("}")]] = -1
_CODES[ord(",")] = _COMMA
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
"""A text, a quote that begins none, or a bracket."""
_BORDER_AT_END: Final = re.compile(rb'\}\s*,?\s*\{\s*"$')
"""How a text ends that is none, but lies between a quote too few and the first name of the next object."""
_CLOSES: Final = {b"}": b"{", b"]": b"["}


class ArrayScanner:
    """Looks through the inside of an array, from behind its opening bracket on."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = 0
        self._escaping = False

    def scan(self, block: npt.NDArray[np.uint8]) -> tuple[Positions, int | None]:
        """Give the positions in this block of the commas between the array's values, and of its closing bracket."""
        at, code = self._outside_texts(block)
        is_comma = code == _COMMA
        depths = self._depth + np.cumsum(np.where(is_comma, 0, code), dtype=np.int64)
        if not len(depths):
            return at, None
        self._depth = int(depths[-1])
        closed = np.flatnonzero(depths < 0)
        end = int(closed[0]) if len(closed) else len(at)
        commas = at[:end][is_comma[:end] & (depths[:end] == 0)]
        return commas, int(at[end]) if len(closed) else None

    def _outside_texts(self, block: npt.NDArray[np.uint8]) -> tuple[Positions, npt.NDArray[np.int8]]:
        """Give the positions and codes of brackets and commas that no text holds."""
        quotes = self._quotes(block)
        codes = _CODES[block]
        at = np.flatnonzero(codes)
        at = at[(np.searchsorted(quotes, at) + self._in_text) & 1 == 0]
        self._in_text = (self._in_text + len(quotes)) & 1
        return at, codes[at]

    def _quotes(self, block: npt.NDArray[np.uint8]) -> Positions:
        """Give the quotes that begin or end a text: those behind an odd number of backslashes do not."""
        quotes = np.flatnonzero(block == ord('"'))
        slashes = np.flatnonzero(block == ord("\\"))
        if not len(slashes):
            escaped = np.zeros(int(self._escaping), np.int64)
        else:
            begins = np.diff(slashes, prepend=-2) != 1
            first, last = slashes[begins], slashes[np.append(begins[1:], True)]
            lengths = last - first + 1
            if self._escaping and first[0] == 0:
                lengths[0] += 1
            escaped = last[lengths & 1 == 1] + 1
            if self._escaping and first[0] != 0:
                escaped = np.append(0, escaped)
        self._escaping = bool(len(escaped)) and int(escaped[-1]) == len(block)
        return quotes if not len(escaped) else quotes[~np.isin(quotes, escaped, assume_unique=True)]


class ObjectScanner(ArrayScanner):
    """Looks through objects that stand one behind another, with or without white space between them."""

    def ends(self, block: npt.NDArray[np.uint8]) -> tuple[Positions, bool]:
        """Give the positions in this block behind the objects that end here; false: a bracket closes what none opened,
        so that nothing behind it can be told."""
        at, code = self._outside_texts(block)
        at, code = at[code != _COMMA], code[code != _COMMA]
        if not len(at):
            return at, True
        depths = self._depth + np.cumsum(code, dtype=np.int64)
        self._depth = int(depths[-1])
        wrong = np.flatnonzero(depths < 0)
        until = int(wrong[0]) if len(wrong) else len(at)
        return at[:until][depths[:until] == 0] + 1, not len(wrong)


def blocks(body: bytes | bytearray, start: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Give a body from `start` on in blocks, each with its position."""
    whole = np.frombuffer(body, np.uint8)
    for at in range(start, len(body), BLOCK_BYTES):
        yield at, whole[at : at + BLOCK_BYTES]


def values_of_array(text: bytes) -> list[bytes] | None:
    """Cut an array into its values, as text; None where it is none, or does not end where the text does."""
    start = text.find(b"[") + 1
    if not start or text[: start - 1].strip():
        return None
    commas, end = ArrayScanner().scan(np.frombuffer(text, np.uint8)[start:])
    if end is None or text[start + end] != ord("]") or text[start + end + 1 :].strip():
        return None
    borders = [start - 1, *(commas + start).tolist(), start + end]
    return [text[one + 1 : other] for one, other in pairwise(borders)]


def objects_of(text: bytes) -> list[bytes] | None:
    """Cut objects that stand one behind another, with or without white space between; None where that is not all."""
    ends, _ = ObjectScanner().ends(np.frombuffer(text, np.uint8))
    borders = [0, *ends.tolist()]
    objects = [text[one:other].strip() for one, other in pairwise(borders)]
    is_all = not text[borders[-1] :].strip() and all(one[:1] == b"{" for one in objects)
    return objects if is_all else None


def is_whole(value: bytes) -> bool:
    """Tell whether what is no JSON surely ends where it seems to, so that its flaw is its own and no neighbour's.

    Its brackets fit each other, they are one value's, and no quote is missing: else something of it, or of a neighbour,
    could have been taken for a text, and the other way round.
    """
    opened: list[bytes] = []
    values = 0
    for token in _TOKEN.finditer(value):
        found = token[0]
        if found[:1] == b'"':
            if len(found) == 1 or _BORDER_AT_END.search(found):
                return False
        elif found in _CLOSES:
            if not opened or opened.pop() != _CLOSES[found]:
                return False
        else:
            values += not opened
            opened.append(found)
    return not opened and values <= 1 and bool(value.strip())


def lead_of(text: bytes) -> bytes:
    """Give what stands before the first bracket of a text that `is_whole`: no part of the value in brackets."""
    for token in _TOKEN.finditer(text):
        if token[0] in (b"{", b"["):
            return text[: token.start()]
    return text
