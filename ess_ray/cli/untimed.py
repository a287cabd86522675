"""Which lines of an input have no time that was found, and which its format does not understand: neither is passed over
in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

KEPT_CHARS: Final = 120
"""Of an example: its time stands near its start."""
_LOOKS_DATED: Final = re.compile(r"\W{0,2}\d(?:.{0,32}?\d?\d:\d\d|\d{7}T\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Example:
    """A line, from 1, and its start."""

    position: int
    line: str


UNREAD_EXAMPLES: Final = 3
"""Lines that a format does not understand are shown with their numbers: mostly they are alike."""


@dataclass
class Unread:
    """Counts the events that the input's format does not understand, and which are stored as plain messages."""

    count_of: int = 0
    examples: list[Example] = field(default_factory=list)

    def count(self, position: int, text: str) -> None:
        self.count_of += 1
        if len(self.examples) < UNREAD_EXAMPLES:
            self.examples.append(Example(position, text.partition("\n")[0][:KEPT_CHARS]))


@dataclass
class Untimed:
    """Counts lines by whether they have a time of their own.

    `astray` are those without one that no line before gave theirs, or that begin as if they had one: the rest goes on
    with what the line before began, as stack traces do.
    """

    timed: int = 0
    lines: int = 0
    astray: int = 0
    at_push: int = 0
    """Lines that nothing but the time of the push could be taken for."""
    _first: Example | None = None
    _first_astray: Example | None = None

    def count(self, position: int, line: str, *, has_time: bool, follows: bool) -> None:
        """Take a line; `follows`: a line with a known time stands before it."""
        if has_time:
            self.timed += 1
            return
        self.lines += 1
        self.at_push += not follows
        if self._first is None:
            self._first = Example(position, line[:KEPT_CHARS])
        if not follows or _LOOKS_DATED.match(line) is not None:
            self.astray += 1
            if self._first_astray is None:
                self._first_astray = Example(position, line[:KEPT_CHARS])

    def told(self) -> tuple[int, Example | None]:
        """Give how many lines are to be told, and the first: all where no line has a time, else those astray."""
        return (self.astray, self._first_astray) if self.timed else (self.lines, self._first)
