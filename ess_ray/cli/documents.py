"""Where the events stand in a JSON document: each is sent as it was written, so that no number changes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.intake.formats.json_scanner import is_whole, values_of_array
from ess_ray.intake.formats.json_values import lenient

# Numbers stay text: only where a value ends is wanted.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_HOLDERS: Final = ("events", "Records")
_ENVELOPE: Final = re.compile(rf'\s*\{{\s*"(?:{"|".join(_HOLDERS)})"\s*:\s*(\[.*\])\s*\}}\s*', re.DOTALL)

Span = tuple[int, int]


def spans_of(text: str) -> list[Span]:
    """Give (start, end) of each event: of an array, of `{"events": [...]}` (or Records), or of objects, one or several.

    What stands there in an array may be no JSON, where it is sure where it ends. Raises ValueError.
    """
    start = _skip(text, 0)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("not JSON that can be read: it is nested too deep") from error
    except ValueError as error:
        spans = _sure_spans(text)
        if spans:
            return spans
        raise ValueError(
            f"not JSON: {error}; if it is one object a line or a plain log, say --format ndjson or lines"
        ) from error
    if _skip(text, end) != len(text):
        return list(_objects(text, start))
    if isinstance(value, dict):
        holder = events_under(value)
        if holder is None:
            return [(start, end)]
        # Of several members of one name the last counts.
        start = [at for name, at in _members(text, start) if name == holder][-1]
    elif not isinstance(value, list):
        raise ValueError('the JSON is neither an array of events, nor {"events": [...]}, nor one event')
    del value
    return list(_elements(text, start))


def events_under(value: Mapping[str, object]) -> str | None:
    """Name the member of an object that holds its events (Amazon's files call it Records); None: it is one itself."""
    if "message" in value:
        return None
    return next((name for name in _HOLDERS if isinstance(value.get(name), list)), None)


def _objects(text: str, at: int) -> Iterator[Span]:
    """Give objects that stand one behind another, as `jq .` writes them. Raises ValueError at anything else."""
    while at < len(text):
        end = at
        if text[at] == "{":
            with contextlib.suppress(ValueError):
                _, end = _DECODER.raw_decode(text, at)
        if end == at:
            raise ValueError("not JSON: something stands behind it; if it is one object a line, say --format ndjson")
        yield at, end
        at = _skip(text, end)


def _sure_spans(text: str) -> list[Span]:
    """Give the elements of an array in which one is no JSON; none where it is not sure where they end."""
    envelope = _ENVELOPE.fullmatch(text)
    start, end = envelope.span(1) if envelope else (0, len(text))
    values = values_of_array(text[start:end].encode("utf-8", "replace")) or []
    spans, at = [], text.find("[", start) + 1
    for value in values:
        try:
            lenient(value)
        except BadRequest:
            if not is_whole(value):
                return []
        end = at + len(value.decode())
        spans.append((_skip(text, at), end))
        at = end + 1
    return spans


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def _elements(text: str, at: int) -> Iterator[Span]:
    """Give the elements of an array that was read before, and so is whole."""
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Give the names of an object that was read before, and where their values begin."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, end) + 1)
        yield name, at
        _, end = _DECODER.raw_decode(text, at)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
