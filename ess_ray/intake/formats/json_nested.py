"""Large JSON documents whose events stand in arrays inside objects inside arrays, cut into pieces along those arrays.

What stands around an array is parsed once, without the array; a piece is a run of its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.json_pieces import Cutter
from ess_ray.intake.formats.json_values import lenient

Arrays = Sequence[Sequence[str]]
"""Names of arrays from the outside in: at each level one name, or several of which an object may have any."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece: elements of the array `name`, and the objects around that array, without it: none for the outermost
    array, for the next one the element of it that it stands in, and so on."""

    start: int
    end: int
    size: int
    around: tuple[dict[str, Any], ...] = ()
    name: str = ""


def parse(text: bytes) -> Any:
    """Parse JSON, leniently. Raises BadRequest."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return lenient(text)


def cut_nested(text: Content, arrays: Arrays, protocol: str, piece_bytes: int, usual_bytes: int) -> list[Span]:
    """Cut a document into pieces: of the outermost array's elements, and where one is large of the next array's.

    `usual_bytes`: what an event has at least, which tells how often what stands around it is repeated in rows.

    Raises BadRequest, TooLarge where an array is there twice: one of them would have to be read whole.
    """
    return list(_Cut(text, arrays, protocol, piece_bytes, usual_bytes).spans((0, len(text)), (), 0))


@dataclass(frozen=True, slots=True)
class _Opened:
    """An object without what its array `name` holds, where that begins and ends, and whether the array is there."""

    name: str
    outer: dict[str, Any]
    start: int
    end: int
    is_there: bool


@dataclass(frozen=True)
class _Cut:
    """A document that is being cut."""

    text: Content
    arrays: Arrays
    protocol: str
    piece_bytes: int
    usual_bytes: int

    def spans(self, span: tuple[int, int], around: tuple[dict[str, Any], ...], shared_bytes: int) -> Iterator[Span]:
        """Cut the object that stands in `span` by the arrays that are next below the objects `around`.

        An object below the whole that has none of them is a piece without elements: who reads it sees what it is.
        """
        has_array = False
        for name in self.arrays[len(around)]:
            opened = self._opened(*span, name)
            if opened.is_there:
                has_array = True
                yield from self._by(opened, span, around, shared_bytes)
        if around and not has_array:
            yield Span(span[1], span[1], 0, (*around, opened.outer)[1:], name)

    def _by(
        self, array: _Opened, span: tuple[int, int], around: tuple[dict[str, Any], ...], shared_bytes: int
    ) -> Iterator[Span]:
        start, end = span
        inside = (*around, array.outer)[1:]  # what the whole request holds besides concerns no record
        if around:
            shared_bytes += (array.start - start) + (end - array.end)
        repeats = 1 + shared_bytes // self.usual_bytes
        for first, last in Cutter(self.text, array.start, max(1, self.piece_bytes // repeats)).by_commas()[0]:
            size = last - first
            if size * repeats <= self.piece_bytes or len(inside) == len(self.arrays) - 1:
                yield Span(first, last, size * repeats, inside, array.name)
            else:
                yield from self.spans((first, last), (*around, array.outer), shared_bytes)

    def _opened(self, start: int, end: int, name: str) -> _Opened:
        """Open the object in [start, end). Raises BadRequest when it is none, TooLarge."""
        text = self.text
        match = _opening_of(name).search(text, start, end)
        opening = closing = end
        if match is not None:
            opening = match.end()
            closing = Cutter(text, opening, end - start).by_commas()[1] - 1
        if closing > end:
            raise BadRequest("this is not JSON: an array goes on behind the object that it stands in")
        outer = parse(bytes(text[start:opening]) + bytes(text[closing:end]))
        is_there = match is not None or bool(self._array(outer, name))
        if is_there and (not isinstance(outer, dict) or outer.get(name) != []):
            raise TooLarge(
                f"{name} is there twice, or not where {self.protocol} has it, which is read in small requests only"
            )
        return _Opened(name, outer, opening, closing, is_there)

    def _array(self, holder: Any, name: str) -> list[Any]:
        value = holder.get(name) if isinstance(holder, dict) else 0
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadRequest(f"this is not {self.protocol} logs in JSON: {name} must be an array in an object")
        return value


@lru_cache(maxsize=16)
def _opening_of(name: str) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"\s*:\s*\[' % name.encode())
