"""The rules of one event: a JSON value to a row, or the reason why not.

This is the slow path, and the meaning of the fast one: `columns` builds whole columns at once where it can prove that
these rules would give the same, and comes here where it cannot. An agent drops what is refused, and nobody reads its
log: so what is not of the type that a field has is read or kept as text. Decisions that the contract leaves open:

- null means absent, for fields and for attributes; an empty `id` identifies nothing and is absent too;
- a field's own name takes text of any kind, its other names take text alone (`level` and times: numbers, too), since
  they may be somebody's attribute; what a field does not take stays an attribute;
- an object under `service` or `host` is searched for its `name`, all else in it are attributes (`host.ip`);
- what stands under an unknown top-level key counts as if in `attributes` (whose rules are in `attributes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from stringzilla import sha256

from ess_ray.core.event import EVENT_HASH_BYTES, MAX_ID_BYTES, level_of_number, level_of_severity, normalize_level
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.exact_json import dumps_unusual
from ess_ray.intake.attributes import (
    TYPE_LETTERS,
    Attributes,
    Reading,
    Rejected,
    attribute_text,
    check_numbers,
    flatten_into,
)
from ess_ray.intake.digits import Exactness
from ess_ray.intake.fields import Found, find
from ess_ray.record import ORIGINAL_TIMESTAMP

STRING_FIELDS: Final = ("service", "host", "trace_id", "span_id")
FIELDS: Final = frozenset({"timestamp", "message", "level", "severity_number", "id", "attributes", *STRING_FIELDS})
"""The names that an event's JSON has for its fields."""
_HEX: Final = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_DIGITS: Final = re.compile(r"\d{1,2}", re.ASCII)
_INT32: Final = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for a value that cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A valid event, its fields as they are stored."""

    timestamp_us: int
    message: str
    level: str | None
    severity_number: int | None
    strings: tuple[str | None, ...]
    """In the order of STRING_FIELDS."""
    event_id: str | None
    event_hash: bytes | None
    attributes: Attributes
    adjusted: str | None
    """Why the event's time is that of its receipt, if it had another."""


def read_row(value: Any, reading: Reading) -> Row:
    """Read one value as an event.

    Raises Rejected with the reason, Inexact when the parser may have dropped digits, TooLarge (see `Reading`).
    """
    if isinstance(value, Broken):
        raise Rejected(value.reason)
    if not isinstance(value, dict):
        raise Rejected("an event must be a JSON object")
    event = _Event(value, reading)
    timestamp_us, original, adjusted = event.timestamp_us()
    level, severity_number = event.level()
    strings = tuple(event.string(name) for name in STRING_FIELDS)
    message, event_id = event.message(), event.id()
    attributes = event.attributes(original)
    event_hash = hash_event(value) if event_id is not None else None
    return Row(timestamp_us, message, level, severity_number, strings, event_id, event_hash, attributes, adjusted)


def hash_event(event: dict[str, Any]) -> bytes:
    """Hash what a client sent, whatever the order of its keys: the same in every way of parsing it.

    SHA-256, cut: twice as fast as any of the standard library's, which count at hundreds of thousands a second.
    """
    try:
        text = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, a long decimal
        text = dumps_unusual(event, sort_keys=True)
    digest: bytes = sha256(text)
    return digest[:EVENT_HASH_BYTES]


def hash_events(events: Sequence[dict[str, Any]]) -> list[bytes]:
    """Hash many, each as `hash_event` does."""
    try:  # what calling it for each would do, for four fifths of its time
        return [sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS))[:EVENT_HASH_BYTES] for event in events]
    except TypeError:
        return [hash_event(event) for event in events]


class _Event:
    """One event being read: what was taken from it as a field is no attribute."""

    def __init__(self, event: dict[str, Any], reading: Reading) -> None:
        self._event, self._reading = event, reading
        self._taken: set[tuple[int, str]] = set()

    def _candidates(self, field_name: str) -> list[Found]:
        names = self._reading.table.names[field_name]
        return [found for found in (find(self._event, name) for name in names) if found is not None]

    def _take(self, found: Found) -> None:
        self._taken.add((id(found.holder), found.key))

    def message(self) -> str:
        for found in self._candidates("message"):
            if found.name == "message" or isinstance(found.value, str):
                self._take(found)
                text = text_of(found.value, self._reading.exact)
                return text if found.name == "message" else without_line_end(text)
        return text_of(self._event, self._reading.exact)

    def level(self) -> tuple[str | None, int | None]:
        """Give the level and its number; a number that was sent counts, and tells the level where there is none."""
        level, number = None, None
        for found in self._candidates("level"):
            if (read := level_of(found, self._reading.exact)) is not None:
                self._take(found)
                level, number = read
                break
        sent = self._event.get("severity_number")
        if isinstance(sent, str) and _DIGITS.fullmatch(sent):
            sent = int(sent)
        if type(sent) is int and sent in _INT32:
            self._take(Found("severity_number", self._event, "severity_number"))
            level, number = level if level is not None else level_of_number(sent), sent
        return level, number

    def string(self, field_name: str) -> str | None:
        text, found = string_of(field_name, self._candidates(field_name), self._reading.exact)
        if found is not None:
            self._take(found)
        return text

    def id(self) -> str | None:
        value = self._event.get("id")
        if value is None:
            return None
        self._take(Found("id", self._event, "id"))
        text = text_of(value, self._reading.exact)
        if len(text.encode()) > MAX_ID_BYTES:
            raise Rejected(f"id is longer than {MAX_ID_BYTES} bytes")
        return text or None

    def timestamp_us(self) -> tuple[int, Any, str | None]:
        """Give the event's time; and, if one that was meant to be it cannot be, that one and why.

        What stands under another name than `timestamp` may be somebody's attribute and stays one: then only why.
        """
        original, why = None, None
        for found in self._candidates("timestamp"):
            if isinstance(found.value, float):  # the time is the same, but the hash tells digits
                check_numbers((found.value,), self._reading.exact)
            try:
                timestamp_us = parse_timestamp_us(found.value)
                check_time(timestamp_us, self._reading)
            except (ValueError, OverflowError) as error:
                if found.name == "timestamp":
                    self._take(found)
                    original, why = found.value, f"stored at the time of receipt: {error}"
                elif why is None and _may_be_a_time(found.value):
                    why = f"stored at the time of receipt: {found.name!r} is kept as an attribute, since its {error}"
                continue
            self._take(found)
            return timestamp_us, original, None
        return self._reading.now_us, original, why

    def attributes(self, original_timestamp: Any) -> Attributes:
        """Give the attributes: those of unknown top-level keys first, then those of `attributes`."""
        flat = Attributes()
        explicit = self._event.get("attributes")
        if isinstance(explicit, dict):
            self._take(Found("attributes", self._event, "attributes"))
        flatten_into(self._event, self._reading, flat, self._taken)
        if isinstance(explicit, dict):
            flatten_into(explicit, self._reading, flat, are_attributes=True)
        if original_timestamp is not None:
            letter = TYPE_LETTERS[type(original_timestamp)]
            flat.add(ORIGINAL_TIMESTAMP, text_of(original_timestamp, self._reading.exact), letter)
        flat.settle()
        return flat


def string_of(field_name: str, candidates: Iterable[Found], exact: Exactness) -> tuple[str | None, Found | None]:
    """Read one of STRING_FIELDS from the first candidate that can be it; gives that one, too."""
    for found in candidates:
        own, value = found.name == field_name, found.value
        if isinstance(value, dict) or not (own or isinstance(value, str)):
            continue
        text = text_of(value, exact)
        if field_name in ("trace_id", "span_id"):
            text = trace_text(text)
        elif not (own or text):
            continue
        return text or (None if field_name in ("trace_id", "span_id") else text), found
    return None, None


def level_of(found: Found, exact: Exactness) -> tuple[str, int | None] | None:
    """Read a level: a name, or a number of syslog's (0 to 7) or pino's (10 to 60). None: it is none."""
    value = journal_priority(found.name, found.value)
    if type(value) is int and (known := level_of_severity(value)) is not None:
        return known
    if isinstance(value, str):
        return normalize_level(value)
    own = found.name == "level" and not isinstance(value, dict)
    return normalize_level(text_of(value, exact)) if own else None


def without_line_end(message: str) -> str:
    """Take the end of the line off that Docker, Fluentd and other readers of lines leave at a message.

    A `message` of that very name is its sender's own, and stays as it is.
    """
    return message.removesuffix("\n").removesuffix("\r") if message.endswith("\n") else message


def journal_priority(name: str, value: Any) -> Any:
    """Read the level that journald writes as text, as the number that it is; any other is given as it is."""
    is_number = name == "PRIORITY" and isinstance(value, str) and _DIGITS.fullmatch(value)
    return int(value) if is_number else value


def trace_text(text: str) -> str:
    """Give an id as it is stored: hexadecimal digits in lower case, nothing for one of zeros."""
    if not text.strip("0"):
        return ""
    return text.lower() if _HEX.fullmatch(text) else text


def text_of(value: Any, exact: Exactness) -> str:
    """Give a value as text: text as it is, anything else as JSON. Raises Rejected, Inexact."""
    return value if isinstance(value, str) else attribute_text(value, exact)


def _may_be_a_time(value: Any) -> bool:
    """Tell whether somebody may have meant this as a time: it is a text or a number."""
    return value != "" and isinstance(value, str | int | float) and not isinstance(value, bool)


def check_time(timestamp_us: int, reading: Reading) -> None:
    """Raise ValueError for a time that no event has."""
    limits = reading.limits
    if timestamp_us < reading.now_us - limits.max_event_age_us:
        raise ValueError(f"timestamp is more than {limits.max_event_age_us // 86_400_000_000} days old")
    if timestamp_us > reading.now_us + limits.max_clock_skew_us:
        raise ValueError(f"timestamp is more than {limits.max_clock_skew_us // 1_000_000} s in the future")
