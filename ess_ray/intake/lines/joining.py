"""Texts to events: which lines are one, how many they may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ess_ray.core.errors import BadRequest
from ess_ray.core.regex import find, invalid_reason
from ess_ray.intake.lines.databases import SLOW_STARTS
from ess_ray.intake.lines.texts import MAX_OPEN_BYTES, MAX_OPEN_LINES, Text
from ess_ray.intake.lines.traces import Joiner

MAX_BLANKS: Final = 3
"""Empty lines within an event: more of them end every trace."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that one event has; what is beyond is the next one's."""

    lines: int = MAX_OPEN_LINES
    bytes: int = MAX_OPEN_BYTES


class Single:
    """Every line is an event."""

    def begin(self, text: str) -> None:
        pass

    def takes(self, text: str) -> bool | None:
        return False


class Quotes:
    """Joins records of a table in which a quoted field has newlines."""

    def __init__(self) -> None:
        self._is_open = False

    def begin(self, text: str) -> None:
        self._is_open = text.count('"') % 2 == 1

    def takes(self, text: str) -> bool | None:
        was_open = self._is_open
        self._is_open ^= text.count('"') % 2 == 1
        return was_open


class SlowQueries:
    """Joins MySQL's comments about a query, and the query."""

    def __init__(self) -> None:
        self._has_user = self._has_query = False

    def begin(self, text: str) -> None:
        self._has_user = text.startswith(SLOW_STARTS[1])
        self._has_query = not text.startswith("#")

    def takes(self, text: str) -> bool | None:
        if text.startswith(SLOW_STARTS[0]):
            return False
        if text.startswith(SLOW_STARTS[1]):
            was_first, self._has_user = not (self._has_user or self._has_query), True
            return was_first
        if not text:
            return None
        self._has_query |= not text.startswith("#")
        return True


class Starts:
    """Joins lines up to the next one that a pattern is found in. Raises BadRequest for a pattern that RE2 refuses."""

    def __init__(self, pattern: str) -> None:
        if (reason := invalid_reason(pattern, ignore_case=False)) is not None:
            raise BadRequest(f"{pattern!r} is no regular expression that RE2 takes: {reason}")
        self._pattern = pattern

    def begin(self, text: str) -> None:
        pass

    def takes(self, text: str) -> bool | None:
        if not text:
            return None
        return find(pa.array([text]), self._pattern, ignore_case=False)[0].as_py() is not True


def join(texts: Iterable[Text], joiner: Joiner, caps: Caps, *, may_go_on: bool = False) -> Iterator[list[Text]]:
    """Give the texts of each event; one that is empty comes alone. `may_go_on`: the last event is kept back, since
    what follows may belong to it."""
    group: list[Text] = []
    maybe: list[Text] = []
    size = 0
    for text in texts:
        size += len(text.text) + 1
        if group:
            fits = len(group) + len(maybe) < caps.lines and size <= caps.bytes and len(maybe) <= MAX_BLANKS
            same = fits and _is_beside(group[-1], text)
            takes = joiner.takes(text.text) if same else False
            if takes:
                group += [*maybe, text]
                maybe = []
                continue
            if takes is None:
                maybe.append(text)
                continue
            yield group
            yield from ([one] for one in maybe)
            group, maybe = [], []
        size = len(text.text) + 1
        if text.is_too_long or (not text.text and text.envelope is None):
            yield [text]
            continue
        joiner.begin(text.text)
        group = [text]
    if group and not may_go_on:
        yield group
        yield from ([one] for one in maybe)


def _is_beside(one: Text, next_one: Text) -> bool:
    """Tell whether two texts may be of one event: of the same stream, and both there."""
    if next_one.is_too_long or (one.envelope is None) != (next_one.envelope is None):
        return False
    if one.envelope is None or next_one.envelope is None:
        return True
    return bool(one.envelope.get("attributes") == next_one.envelope.get("attributes"))
