"""Where the events stand in a JSON document: each is sent as it was written, so that no number changes.

May live here: finding the elements of an array, alone or as `events`. May not: what an event is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

# Numbers stay text: only where a value ends is wanted.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE: Final = re.compile(r"[ \t\n\r]*")

Span = tuple[int, int]


def spans_of(text: str) -> list[Span]:
    """Give (start, end) of each event: of an array, of `{"events": [...]}` (or Records), or of one object.

    Raises ValueError.
    """
    start = _skip(text, 0)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("not JSON that can be read: it is nested too deep") from error
    except ValueError as error:
        raise ValueError(
            f"not JSON: {error}; if it is one object a line or a plain log, say --format ndjson or lines"
        ) from error
    if _skip(text, end) != len(text):
        raise ValueError("not JSON: something stands behind it; if it is one object a line, say --format ndjson")
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
    return next((name for name in ("events", "Records") if isinstance(value.get(name), list)), None)


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
