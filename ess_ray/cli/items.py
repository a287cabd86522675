"""What is read of an input: events ready to send, and how they are to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.lines.objects import meant_by
from ess_ray.intake.lines.parser import time_of
from ess_ray.intake.lines.times import LineReader

Form = str
"""`json` (a document), `ndjson` (objects alone), or a name of `intake.lines.catalog`; `auto` before it is known."""
PATH: Final = "log.file.path"
"""The attribute that names an event's file."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event to send: its JSON without newlines, its time if it has one, its line or index from 1."""

    position: int
    body: bytes
    timestamp_us: int | None
    more: bool = False
    """The next one is of the same lines: where this one is taken, that one must be."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A part of the input that is no event, and is not sent."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """Fields for events that do not have them."""

    service: str | None = None
    host: str | None = None
    level: str | None = None

    def given(self) -> dict[str, str]:
        """Give those that there are: what a line of text seems to say is less than what the user says."""
        return self.missing_in({})

    def missing_in(self, event: dict[str, Any]) -> dict[str, str]:
        """Give what an event lacks of them."""
        return {
            name: value
            for name, value in (("service", self.service), ("host", self.host), ("level", self.level))
            if value is not None and event.get(name) is None
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text is read. `form` is never `auto`; `crlf`: a CR before a newline is no part of a line.

    `pattern` and `multiline`: a format, and what begins an event, as the user says them. `path`: of the file, for its
    events. `may_go_on`: it grows, so that the last event, which may be the start of something longer, is left.
    `only_ended`: a line without an end is left.
    """

    form: Form
    defaults: Defaults
    reader: LineReader
    crlf: bool = False
    pattern: str | None = None
    multiline: str | None = None
    path: str | None = None
    may_go_on: bool = False
    only_ended: bool = False


def loads(text: bytes) -> Any:
    """Parse JSON. Raises ValueError. What orjson refuses (lone surrogates, NaN) the standard library may still take."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text.decode("utf-8", "replace"))
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def dumps(event: dict[str, Any]) -> bytes:
    """Write JSON that reads back as `event`, lone surrogates and large numbers too."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return json.dumps(event).encode("ascii")


def object_item(position: int, event: dict[str, Any], reading: Reading, raw: bytes) -> Item:
    """Give an object as it was written. What it gets besides stands behind that: of two members the last counts, and
    numbers of any size, and NaN, stay as they stand."""
    besides = {**meant_by(event), **reading.defaults.missing_in(event)}
    if reading.path is not None and PATH not in event:
        besides[PATH] = reading.path
    if besides:
        raw = raw.rstrip()[:-1] + (b"," if event else b"") + dumps(besides)[1:]
    given = event.get("timestamp")
    if given is None or besides:
        return Item(position, raw, time_of({**event, **besides}))
    try:
        return Item(position, raw, parse_timestamp_us(given))
    except (ValueError, OverflowError):
        return Item(position, raw, None)  # the server says what is wrong with it, beside its other rules
