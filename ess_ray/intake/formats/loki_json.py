"""Loki's push requests in JSON: text to lines, in the form of today and in the first one (`labels` and `entries`).

What is wrong with one entry, or with one stream, costs no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.holders import Around, Held, Time, time_of
from ess_ray.intake.formats.json_nested import Span, cut_nested, parse
from ess_ray.intake.formats.json_pieces import MAX_VALUE_BYTES
from ess_ray.intake.formats.loki_labels import read_labels
from ess_ray.intake.rows import Broken

_VALUES, _ENTRIES = "values", "entries"
_ARRAYS: Final = (("streams",), (_VALUES, _ENTRIES))
USUAL_ENTRY_BYTES: Final = 32
"""An entry has a time of 19 digits and a line: how often a stream's labels are repeated in rows."""
_NANOSECONDS: Final = re.compile(r"-?\d{1,30}", re.ASCII)


def read_json(text: bytes) -> list[Held | Broken]:
    """Read a request's lines. Raises BadRequest when it is none."""
    document = parse(text)
    return [held for stream in _array(document, "streams") for held in _of_stream(stream)]


def cut_json(text: Content, piece_bytes: int) -> list[Span]:
    """Cut a request into pieces: of streams, and of a large one's entries. Raises BadRequest, TooLarge."""
    return cut_nested(text, _ARRAYS, "Loki", piece_bytes, USUAL_ENTRY_BYTES)


def read_span(text: Content, span: Span) -> list[Held | Broken]:
    """Read the lines of a piece. Raises BadRequest when they are none."""
    if span.end - span.start > MAX_VALUE_BYTES:  # more than a piece holds only where it is a single value
        return [Broken(f"the event is larger than {MAX_EVENT_BYTES} bytes")]
    with memoryview(text) as view:
        elements = parse(b"[" + bytes(view[span.start : span.end]) + b"]")
    if not span.around:
        return [held for stream in elements for held in _of_stream(stream)]
    return list(_of_array(span.around[0], span.name, elements))


def _array(holder: Any, name: str) -> list[Any]:
    if not isinstance(holder, dict):
        raise BadRequest(f"this is not a push request of Loki's: {name} must be an array in an object")
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"this is not a push request of Loki's: {name} must be an array")
    return value


def _of_stream(stream: Any) -> Iterator[Held | Broken]:
    for name in (_VALUES, _ENTRIES):
        try:
            elements = _array(stream, name)
        except BadRequest as error:
            yield Broken(error.message)
            return
        yield from _of_array(stream, name, elements)


def _of_array(stream: dict[str, Any], name: str, elements: Sequence[Any]) -> Iterator[Held | Broken]:
    if not elements:
        return
    try:
        around = Around((_labels(stream),))
    except ValueError as error:
        yield from (Broken(str(error)) for _ in elements)
        return
    read = _value if name == _VALUES else _entry
    for element in elements:
        try:
            yield read(element, around)
        except ValueError as error:
            yield Broken(str(error))


def _labels(stream: dict[str, Any]) -> dict[str, Any]:
    labels = stream.get("stream")
    if labels is None and isinstance(text := stream.get("labels"), str):
        return dict(read_labels(text))
    if not isinstance(labels, dict | None):
        raise ValueError("the labels under `stream` must be an object")
    return labels or {}


def _value(value: Any, around: Around) -> Held:
    """Read `[time, line]` or `[time, line, metadata]`. Raises ValueError."""
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("an entry must be an array of its time, its line and perhaps metadata")
    time, line, *more = value
    if not isinstance(time, str):
        raise ValueError("the time must be text: nanoseconds in quotes")
    metadata = more[0] if more else None
    if not isinstance(metadata, dict | None):
        raise ValueError("an entry's metadata must be an object")
    return Held(around, _line(line), _nanoseconds(time), metadata or {})


def _entry(entry: Any, around: Around) -> Held:
    """Read `{"ts", "line"}`, the first form's. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError("an entry must be an object")
    time = entry.get("ts")
    if not isinstance(time, str | None):
        raise ValueError("the time `ts` must be text")
    metadata = entry.get("structuredMetadata")
    return Held(around, _line(entry.get("line")), time_of(time), metadata if isinstance(metadata, dict) else {})


def _line(line: Any) -> Any:
    return "" if line is None else line


def _nanoseconds(text: str) -> Time | None:
    if _NANOSECONDS.fullmatch(text):
        ns = int(text)
        return Time(ns // 1_000, text) if ns else None
    return Time(None, text, "the time is no number of nanoseconds") if text else None
