"""Events of Splunk's collector: objects one behind another, or lines, to events; and a large body to pieces of them.

An object that is no event, or no JSON, costs no other while it is sure where it ends. One of which that is not sure
leaves what is behind it in doubt: reading stops there, and what stood before it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

import numpy as np
import orjson

from ess_ray.core.aliases import HEC_SOURCE
from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable, Found
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around, Held, time_of
from ess_ray.intake.formats.json_pieces import MAX_VALUE_BYTES, Cutter
from ess_ray.intake.formats.json_scanner import ObjectScanner, is_whole, lead_of, values_of_array
from ess_ray.intake.formats.json_values import TooDeep, lenient, lines_of
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken

REQUIRED, BLANK, INVALID = "Event field is required", "Event field cannot be blank", "Invalid data format"
UNREADABLE: Final = f"{INVALID}: what stands here and behind it cannot be read"
_TOO_LARGE: Final = f"the event is larger than {MAX_EVENT_BYTES} bytes"
_APART: Final = frozenset({"event", "time", "fields"})
"""What of an envelope is no attribute."""
_BRACKET: Final = re.compile(rb"\s*\[")
_USUAL_LINE_BYTES: Final = 128
"""A line with what a row takes beyond its text: how often what an address says is repeated in rows."""

Events = list[Held | Broken]


# ------------------------------------------------------------------------------------------------------------ reading
def read_lines(text: bytes, parameters: Mapping[str, str]) -> Events:
    """Read each line that is not blank as an event, with what the request's address says of all."""
    envelope = {name: value for name, value in parameters.items() if name != "time"}
    around, time = _around({}, envelope), time_of(parameters.get("time"))
    return [Held(around, line.removesuffix(b"\r").decode("utf-8", "replace"), time) for line in lines_of(text)]


def read_objects(text: bytes, exact: bool) -> Events:
    """Read objects that stand one behind another; the last is UNREADABLE where it is not sure where something ends."""
    ends = ObjectScanner().ends(np.frombuffer(text, np.uint8))[0].tolist()
    events, start = _Envelopes(), 0
    if not exact and (values := _parse_together(text, ends)) is not None:
        for value in values:
            events.add(value)
        start, ends = ends[-1], []
    borders = [start, *ends, len(text)]
    left = (text[begin:end] for begin, end in pairwise(borders) if text[begin:end].strip())
    return [*events.found, *_read_each(left, exact, may_follow=True)]


def _parse_together(text: bytes, ends: list[int]) -> list[Any] | None:
    """Parse objects in one go, which costs half of parsing each; None where they may be none, or others."""
    borders = [0, *ends]
    try:
        values = orjson.loads(b"[%b]" % b",".join([text[start:end] for start, end in pairwise(borders)]))
    except orjson.JSONDecodeError:
        return None
    # A comma in a place of its own would make two of one.
    return values if values and len(values) == len(ends) else None


def read_array(text: bytes, exact: bool) -> Events:
    """Read the events of an array, as `read_objects` does. Raises BadRequest when it is none."""
    try:
        document = _parse(text, exact)
    except BadRequest:
        if (values := values_of_array(text)) is None:
            raise
        return _read_each(values, exact, may_follow=False)
    events = _Envelopes()
    for value in document:
        events.add(value)
    return events.found


def _read_each(values: Iterable[bytes], exact: bool, may_follow: bool) -> Events:
    """Read values that were cut out of a text, up to one that may be more, or less, than a value.

    `may_follow`: an object may have something else before it, which is an event of its own.
    """
    events = _Envelopes()
    for value in values:
        try:
            events.add(_parse(value, exact))
        except TooDeep as error:
            events.found.append(Broken(error.message))
        except BadRequest:
            if not is_whole(value):
                events.found.append(Broken(UNREADABLE))
                break
            events.found.append(Broken(INVALID))
            lead = lead_of(value)
            if may_follow and lead.strip() and lead != value:
                events.found += _read_each([value[len(lead) :]], exact, may_follow=False)
    return events.found


def is_array(text: Content) -> bool:
    """Tell whether a body is an array, which Splunk takes none of and some agents send."""
    return _BRACKET.match(text) is not None


def _parse(text: bytes, exact: bool) -> Any:
    """Parse JSON, leniently; `exact` as in `json_values.read_values`. Raises BadRequest."""
    if not exact:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    return lenient(text)


class _Envelopes:
    """Takes envelopes apart. Those of one request are mostly alike, and are then held once."""

    def __init__(self) -> None:
        self.found: Events = []
        self._last = Around(({}, {}))

    def add(self, value: Any) -> None:
        """Add an event, or why it is none."""
        if not isinstance(value, dict):
            self.found.append(Broken(INVALID))
            return
        event = value.get("event")
        if event is None or event == "":
            self.found.append(Broken(REQUIRED if event is None else BLANK))
            return
        envelope = {} if len(value) == 1 else {name: inner for name, inner in value.items() if name not in _APART}
        fields = value.get("fields")
        if not isinstance(fields, dict | None):
            envelope["fields"] = fields
            fields = None
        if self._last.holders != (fields or {}, envelope):
            self._last = _around(fields or {}, envelope)
        time = time_of(value["time"]) if "time" in value else None
        is_object = isinstance(event, dict)
        own = event if is_object else {}
        self.found.append(Held(self._last, None if is_object else event, time, own))


def _around(fields: dict[str, Any], envelope: dict[str, Any]) -> Around:
    source = envelope.get(HEC_SOURCE)
    is_named = isinstance(source, str) and source
    return Around((fields, envelope), Found(HEC_SOURCE, envelope, HEC_SOURCE) if is_named else None)


# ------------------------------------------------------------------------------------------------------------- pieces
@dataclass(frozen=True)
class Pieces:
    """A large body, cut. See `format.Pieces`. `parameters`: those of an address whose body is lines, else None."""

    text: Content
    spans: Sequence[tuple[int, int]]
    body_hash: str
    parameters: Mapping[str, str] | None
    is_array: bool

    def __len__(self) -> int:
        return len(self.spans)

    def size(self, number: int) -> int:
        """Give the bytes of a piece."""
        start, end = self.spans[number]
        return end - start

    def read(self, number: int, exact: bool = False) -> Events:
        """Read a piece's events. Raises BadRequest for an array that is none."""
        start, end = self.spans[number]
        with memoryview(self.text) as view:
            piece = bytes(view[start:end])
        if len(piece) > MAX_VALUE_BYTES:  # more than a piece holds only where it is a single value
            is_whole = self.parameters is not None or self.is_array or piece.rstrip().endswith(b"}")
            return [Broken(_TOO_LARGE if is_whole else UNREADABLE)]
        if self.parameters is not None:
            return read_lines(piece, self.parameters)
        return read_array(b"[" + piece + b"]", exact) if self.is_array else read_objects(piece, exact)

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a piece's events, received at `now_us`; an index counts the piece's own from 0."""
        for exact in (False, True):
            events = self.read(number, exact)
            try:
                return _columns(events, now_us, limits, exact, table)
            except Inexact:
                continue
            except TooLarge as error:  # other pieces are stored already, and this one never can be
                return _columns([Broken(error.message) for _ in events], now_us, limits, exact, table)
        raise AssertionError("what is read exactly is never inexact")


def cut(text: Content, parameters: Mapping[str, str] | None, piece_bytes: int) -> Pieces:
    """Cut a body into pieces of whole events: lines with `parameters`, else objects or an array.

    Nothing is behind the piece in which something cannot be read. Raises BadRequest for an array that is none.
    """
    digest = sha256(text)
    if parameters is not None:  # the same lines from another source are other events
        told = orjson.dumps(dict(parameters), option=orjson.OPT_SORT_KEYS)
        digest.update(told)
        repeats = 1 + len(told) // _USUAL_LINE_BYTES
        spans = Cutter(text, 0, max(1, piece_bytes // repeats)).by_lines()
        return Pieces(text, spans, digest.hexdigest(), parameters, False)
    if is_array(text):
        return _array(text, digest.hexdigest(), piece_bytes)
    spans = Cutter(text, 0, piece_bytes, gap=0).by_objects()
    return _readable(Pieces(text, spans, digest.hexdigest(), None, False))


def _readable(pieces: Pieces) -> Pieces:
    """Give the pieces up to the one in which something cannot be read. Raises BadRequest for an array that is none."""
    for number in range(len(pieces)):
        events = pieces.read(number)
        if events and events[-1] == Broken(UNREADABLE):
            return replace(pieces, spans=pieces.spans[: number + 1])
    return pieces


def _array(text: Content, digest: str, piece_bytes: int) -> Pieces:
    opening = _BRACKET.match(text)
    assert opening is not None  # it is an array
    spans, end = Cutter(text, opening.end(), piece_bytes).by_commas()
    if text[end:].strip():
        raise BadRequest("this is not JSON: something stands behind the array's end")
    if len(spans) > 1 and not text[slice(*spans[-1])].strip():
        raise BadRequest("this is not JSON: a comma stands before the array's end")
    return _readable(Pieces(text, spans, digest, None, True))


def decode(
    text: bytes, parameters: Mapping[str, str] | None, now_us: int, limits: IntakeLimits, table: FieldTable
) -> Decoded:
    """Read a body of one piece. Raises BadRequest for an array that is none, TooLarge (once flattened)."""
    for exact in (False, True):
        try:
            return _columns(_read(text, parameters, exact), now_us, limits, exact, table)
        except Inexact:
            continue
    raise AssertionError("what is read exactly is never inexact")


def _read(text: bytes, parameters: Mapping[str, str] | None, exact: bool) -> Events:
    if parameters is not None:
        return read_lines(text, parameters)
    return read_array(text, exact) if is_array(text) else read_objects(text, exact)


def _columns(
    events: Sequence[Held | Broken], now_us: int, limits: IntakeLimits, exact: bool, table: FieldTable
) -> Decoded:
    decoded = held_columns(events, Reading(now_us, limits, exact, table=table))
    return Decoded(decoded.batch, list(_unreadable_first(decoded.rejected)), decoded.adjusted)


def _unreadable_first(rejected: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Give what decides the answer first: only so many are named."""
    yield from (named for named in rejected if named[1] == UNREADABLE)
    yield from (named for named in rejected if named[1] != UNREADABLE)
