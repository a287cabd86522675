"""Large JSON bodies in two passes: first cut into pieces, then read a piece at a time.

The first pass finds where events end and whether the body is what it should be, so that what is malformed as a whole is
refused with nothing stored; it keeps no event. The cut follows the body's bytes alone, never what becomes of them: a
body that is sent again is cut alike, and each piece is one record of the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import numpy as np

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.columns import to_columns
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats import json_values as reading
from ess_ray.intake.formats.json_scanner import ArrayScanner, ObjectScanner, Positions, blocks
from ess_ray.intake.formats.json_values import Values
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken

PIECE_BYTES: Final = 640 * 1024
"""A piece with all its events: what becomes of it nearly always fits one record."""
EVENT_BYTES: Final = 100
"""What an event counts beyond its bytes: about what a row takes beyond its text."""
MAX_VALUE_BYTES: Final = 8 * MAX_EVENT_BYTES
"""A value that is longer is no event, and is not read: six bytes of JSON may stand for one byte of text."""

Form = Literal["array", "lines", "text", "objects", "document"]
_ENVELOPE: Final = re.compile(rb'\s*\{\s*"events"\s*:\s*\[')
_BRACKET: Final = re.compile(rb"\s*\[")
_FIRST_LINE: Final = re.compile(rb"[^\n]*\S[^\n]*")
_TEXT: Final = re.compile(rb"\S")


@dataclass(frozen=True)
class Pieces:
    """A body and where its pieces are: each holds whole events. `body_hash` is SHA-256 of the body as it was sent."""

    text: Content
    form: Form
    spans: list[tuple[int, int]]
    body_hash: str
    parse: str | None = None
    """The format of lines of text. A table's header, and a stack trace, end with their piece."""

    def __len__(self) -> int:
        return len(self.spans)

    def size(self, number: int) -> int:
        """Give the bytes of a piece."""
        start, end = self.spans[number]
        return end - start

    def read(self, number: int, exact: bool = False) -> Values:
        """Read a piece's values (see `json_values.read_values`). Raises BadRequest for an array that is none."""
        start, end = self.spans[number]
        if end - start > MAX_VALUE_BYTES:  # more than a piece holds only where it is a single value
            return Values([Broken(f"the event is larger than {MAX_EVENT_BYTES} bytes")], exact=True)
        with memoryview(self.text) as view:
            piece = bytes(view[start:end])
        return _READERS[self.form](piece, exact)

    def _parsed(self, number: int, now_us: int) -> Values | None:
        """Read a piece's lines of text in their format; None where that is not asked for."""
        start, end = self.spans[number]
        parse = reading.partial_parse(self.parse, now_us)
        if parse is None or self.form != "text" or end - start > MAX_VALUE_BYTES:
            return None
        return Values(parse(bytes(self.text[start:end])), exact=True)

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a piece's events, received at `now_us`; an index counts the piece's own values from 0."""
        exact = False
        while True:
            read = self._parsed(number, now_us) or self.read(number, exact)
            try:
                return to_columns(read.values, self.size(number), Reading(now_us, limits, read.exact, table))
            except Inexact:
                exact = True
            except TooLarge as error:  # other pieces are stored already, and this one never can be
                nothing = odd_columns([], Reading(now_us, limits, exact)).batch
                return Decoded(nothing, [(index, error.message) for index in range(len(read.values))], [])


def _read_array(piece: bytes, exact: bool) -> Values:
    return reading.read_document(b"[" + piece + b"]", exact)


_READERS: Final[dict[Form, Callable[[bytes, bool], Values]]] = {
    "array": _read_array,
    "lines": lambda piece, exact: reading.read_lines(reading.lines_of(piece), exact),
    "text": lambda piece, exact: reading.read_messages(reading.lines_of(piece)),
    "objects": lambda piece, exact: reading.read_objects(piece, exact, at_least=0),
    "document": reading.read_document,
}


def may_be_several(body: Content) -> bool:
    """Tell whether a body is more than one piece, at a glance: each event has a brace."""
    return len(body) > PIECE_BYTES - EVENT_BYTES * body.count(b"{")


def cut(body: Content, content_type: str | None, piece_bytes: int = PIECE_BYTES, parse: str | None = None) -> Pieces:
    """Cut a decompressed body into pieces of whole events.

    Means what `json_values.read_values` means by the whole. Raises BadRequest (empty, malformed as a whole),
    Unsupported (content type).
    """
    digest = sha256(body).hexdigest()
    kind, text = reading.text_of(body, content_type)

    def made(form: Form, spans: list[tuple[int, int]]) -> Pieces:
        return Pieces(text, form, spans, digest, parse)

    lines = Cutter(text, 0, piece_bytes)
    if kind == reading.PLAIN:
        pieces = made("lines", lines.by_lines())
        return pieces if _are_objects(pieces) else made("text", pieces.spans)
    first = _FIRST_LINE.search(text)
    assert first is not None  # it is not empty
    has_more = _TEXT.search(text, first.end()) is not None
    line = text[first.start() : first.end()][: MAX_VALUE_BYTES + 1].lstrip()
    is_line = reading.is_line(line, kind)
    if has_more and line[:1] != b"[" and (is_line or reading.is_object(line)):
        return made("lines", lines.by_lines())
    try:
        return _document(made, text, piece_bytes)
    except BadRequest:
        pieces = made("lines", lines.by_lines())
        opens = reading.opens_many(text) and not is_line
        is_lines = kind in reading.NDJSON and line[:1] != b"["
        if has_more and not opens and (is_lines or _has_objects(pieces)):
            return pieces
        raise


def _document(made: Callable[[Form, list[tuple[int, int]]], Pieces], text: Content, piece_bytes: int) -> Pieces:
    """Cut an array, an envelope, or objects one behind another; any other document is one piece. Raises BadRequest."""
    envelope = _ENVELOPE.match(text)
    opening = envelope or _BRACKET.match(text)
    if opening is not None:
        cutter = Cutter(text, opening.end(), piece_bytes)
        spans, end = cutter.by_commas()
        rest = text[end:].strip()
        if rest == (b"}" if envelope else b""):
            pieces = made("array", spans)
            _check(pieces)
            return pieces
        if not envelope:
            raise BadRequest("this is not JSON: something stands behind the array's end")
    pieces = made("document", [(0, len(text))])
    if opening is None:
        spans = Cutter(text, 0, piece_bytes, gap=0).by_objects()
        if len(spans) > 1 and not text[spans[-1][0] :].strip():
            spans[-2:] = [(spans[-2][0], len(text))]
        pieces = made("objects", spans) if len(spans) > 1 else pieces
    _check(pieces)
    return pieces


def _check(pieces: Pieces) -> None:
    """Read all pieces, keeping nothing. Raises BadRequest."""
    for number, (start, end) in enumerate(pieces.spans):
        if len(pieces) > 1 and pieces.form == "array" and not pieces.text[start:end].strip():
            raise BadRequest("this is not JSON: a comma of the array has no value behind it, or none before it")
        pieces.read(number)


def _are_objects(pieces: Pieces) -> bool:
    """Tell whether each line is one object."""
    for number, (start, end) in enumerate(pieces.spans):
        values = pieces.read(number).values
        is_whole = end - start > MAX_VALUE_BYTES or len(values) == len(reading.lines_of(bytes(pieces.text[start:end])))
        if not is_whole or not all(isinstance(value, dict) for value in values):
            return False
    return True


def _has_objects(pieces: Pieces) -> bool:
    return any(reading.has_objects(pieces.read(number)) for number in range(len(pieces)))


class Cutter:
    """Puts values together to pieces, from `start` on, as their ends are found. `gap`: the bytes between two values."""

    def __init__(self, text: Content, start: int, piece_bytes: int, gap: int = 1) -> None:
        self._text, self._start, self._piece_bytes, self._gap = text, start, piece_bytes, gap
        self._begun_at = start
        self._values, self._last_end = 0, start
        self._spans: list[tuple[int, int]] = []

    def by_lines(self) -> list[tuple[int, int]]:
        """Give the pieces of a text of lines."""
        for at, block in blocks(self._text, self._start):
            self._add(np.flatnonzero(block == ord("\n")) + at)
        return self._ended(len(self._text))

    def by_commas(self) -> tuple[list[tuple[int, int]], int]:
        """Give the pieces of an array, and where it ends. Raises BadRequest when it does not."""
        scanner = ArrayScanner()
        for at, block in blocks(self._text, self._start):
            commas, end = scanner.scan(block)
            self._add(commas + at)
            if end is not None and block[end] != ord("]"):
                raise BadRequest("this is not JSON: a brace ends the array")
            if end is not None:
                return self._ended(at + end), at + end + 1
        raise BadRequest("this is not JSON: the array does not end")

    def by_objects(self) -> list[tuple[int, int]]:
        """Give the pieces of objects one behind another (`gap` 0); what is behind the last is in the last piece."""
        scanner = ObjectScanner()
        for at, block in blocks(self._text, self._start):
            ends, goes_on = scanner.ends(block)
            self._add(ends + at)
            if not goes_on:
                break
        return self._ended(len(self._text))

    def _add(self, ends: Positions) -> None:
        """Take the ends of values, each of them the place behind it."""
        while len(ends):
            weights = ends - self._begun_at + EVENT_BYTES * np.arange(self._values + 1, self._values + 1 + len(ends))
            fit = int(np.searchsorted(weights, self._piece_bytes, side="right"))
            if fit == len(ends):
                self._values, self._last_end = self._values + fit, int(ends[-1])
                return
            if not fit and not self._values:
                fit = 1  # larger than a piece by itself
            self._cut(int(ends[fit - 1]) if fit else self._last_end)
            ends = ends[fit:]

    def _cut(self, end: int) -> None:
        self._spans.append((self._begun_at, end))
        self._begun_at, self._values = end + self._gap, 0

    def _ended(self, end: int) -> list[tuple[int, int]]:
        if self._values and end - self._begun_at + EVENT_BYTES * (self._values + 1) > self._piece_bytes:
            self._cut(self._last_end)
        return [*self._spans, (self._begun_at, end)]
