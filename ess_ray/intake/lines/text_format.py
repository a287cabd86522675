"""What a format of log lines is: it reads the text of one event, or says that the text is none of its own.

An event is a dict as clients send it (`intake/rows` has its rules): fields under their own names, or under those of the
field table; what is no field stands in `attributes`, where its name cannot be taken for a field's. `timestamp` is in
microseconds. Without `message` the message is the text itself: what people read as a line is stored as that line, so
that a search finds what was logged. Envelopes that only programs read (JSON, logfmt, CRI, syslog's) give their message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ess_ray.intake.lines.times import LineReader

Event = dict[str, Any]
ReadText = Callable[[str, LineReader], Event | None]

JAVA_LEVELS: Final = "TRACE|DEBUG|INFO|WARN|ERROR|FATAL|OFF|ALL"
PYTHON_LEVELS: Final = "DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|NOTSET"
ISO_STAMP: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d)\b)?"
"""A time as loggers write it, with or without its offset."""
QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A format of text. `read` gives the event of a text, which may have several lines, or None. Raises NoZone."""

    name: str
    read: ReadText


def of_patterns(name: str, *patterns: str) -> TextFormat:
    """Give the format of lines that one of these begins. Groups `at`, `level`, `service`, `host` and `message` are
    fields, all others attributes; what is empty or `-` is absent."""
    compiled = tuple(re.compile(pattern, re.ASCII) for pattern in patterns)

    def read(text: str, times: LineReader) -> Event | None:
        for pattern in compiled:
            if (match := pattern.match(text)) is not None:
                return event_of(match.groupdict(), times)
        return None

    return TextFormat(name, read)


def event_of(found: Mapping[str, str | None], times: LineReader) -> Event:
    """Make an event of what was found under these names; see `of_patterns`."""
    given = {name: value.strip() for name, value in found.items() if value is not None}
    given = {name: value for name, value in given.items() if value not in ("", "-")}
    event: Event = {name: given.pop(name) for name in ("level", "service", "host", "message") if name in given}
    if (at := given.pop("at", None)) is not None and (timestamp_us := times.time_of(at)) is not None:
        event["timestamp"] = timestamp_us
    if given:
        event["attributes"] = {name: number_or_text(value) for name, value in given.items()}
    return event


_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,9})?", re.ASCII)
"""Numbers that JSON writes back as they stand: an identifier such as 007, or of 20 digits, stays text."""


def number_or_text(value: str) -> str | int | float:
    """Read a number, if it is one that keeps its digits."""
    if _NUMBER.fullmatch(value) is None:
        return value
    read = float(value) if "." in value else int(value)
    return read if str(read) == value else value


def level_of_status(status: str | int) -> str | None:
    """Give the level of an HTTP status: the server's failure, the client's, or neither."""
    text = str(status)
    if len(text) != 3 or not text.isascii() or not text.isdigit():
        return None
    return "ERROR" if text >= "500" else "WARN" if text >= "400" else "INFO"
