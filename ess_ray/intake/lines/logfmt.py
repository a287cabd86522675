"""logfmt: `time=... level=info msg="..." key=value`, as Go's slog, Heroku, Grafana and many others write it."""

from __future__ import annotations

import re
from typing import Final

import orjson

from ess_ray.core.aliases import SENT_AS
from ess_ray.intake.lines.text_format import Event, TextFormat, number_or_text
from ess_ray.intake.lines.times import LineReader
from ess_ray.intake.names import kept_apart

_PAIR: Final = re.compile(r'([A-Za-z_@][^\s="]*)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?= |$)', re.DOTALL)
_KNOWN: Final = frozenset({*SENT_AS} | {name for names in SENT_AS.values() for name in names})
MIN_PAIRS: Final = 2
"""A line with one `=` in it may be anything."""


def _read(text: str, times: LineReader) -> Event | None:
    first, newline, trace = text.partition("\n")
    pairs = _pairs(first)
    if pairs is None or _KNOWN.isdisjoint(pairs):
        return None
    event: Event = dict(pairs)
    for name in ("timestamp", *SENT_AS["timestamp"]):
        value = pairs.get(name)
        if isinstance(value, str) and (at_us := times.time_of(value)) is not None:
            # Read here, since a time without an offset is of the reader's zone, which nobody else knows.
            del event[name]
            event["timestamp"] = at_us
            break
    if newline:
        called = next((one for one in ("message", *SENT_AS["message"]) if isinstance(pairs.get(one), str)), None)
        event["message"] = text if called is None else f"{event.pop(called)}\n{trace}"
    return event


def _pairs(text: str) -> dict[str, str | int | float | bool] | None:
    """Give all pairs of a line that holds nothing else; a key without a value is true."""
    pairs: list[tuple[str, str | int | float | bool]] = []
    at = values = 0
    text = text.rstrip(" ")
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return None
        key, value = match.groups()
        if value is None:
            pairs.append((key, True))
        else:
            values += 1
            read = _unquoted(value) if value[:1] == '"' else value if key in _KNOWN else number_or_text(value)
            pairs.append((key, read))
        at = match.end()
        while text[at : at + 1] == " ":
            at += 1
    return kept_apart(pairs) if values >= MIN_PAIRS and 2 * values >= len(pairs) else None


def _unquoted(value: str) -> str:
    try:
        return str(orjson.loads(value))
    except orjson.JSONDecodeError:  # escapes that Go has and JSON has not
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)


LOGFMT: Final = TextFormat("logfmt", _read)
