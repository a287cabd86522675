"""The rules of one event: a JSON value to a row, or the reason why not.

This is the slow path, and the meaning of the fast one: `columns` builds whole columns at once where it can prove that
these rules would give the same, and comes here where it cannot. Decisions that the contract leaves open:

- null means absent, for fields and for attributes; an empty `id` identifies nothing and is absent too;
- attribute values: text as it is, numbers and true/false as their JSON text, a list as its JSON text, objects flattened
  with dots, an empty object is nothing;
- two ways to one attribute (`{"a": {"b": 1}, "a.b": 2}`): the later one wins; `attributes` wins over an unknown
  top-level key;
- lists count as levels of nesting, and what stands under an unknown top-level key counts as if in `attributes`.

May live here: rules of one event. May not: JSON syntax (`body`), columns.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ess_ray.core.errors import TooLarge
from ess_ray.core.event import MAX_ATTRIBUTE_DEPTH, MAX_EVENT_BYTES, MAX_ID_BYTES, normalize_level, parse_timestamp_us
from ess_ray.intake.body import Broken
from ess_ray.intake.limits import IntakeLimits

FIELDS: Final = frozenset(
    {"timestamp", "message", "level", "service", "host", "trace_id", "span_id", "id", "attributes"}
)
STRING_FIELDS: Final = ("service", "host", "trace_id", "span_id")
EXACT_BELOW: Final = 2.0**63
"""A float this large may have been an integer whose digits a fast parser dropped."""


MAX_FLAT_CHARS: Final = 64 * 1024 * 1024
"""Characters of all attributes of a request: dotted keys repeat their prefix, so 10 MiB could become gigabytes."""


class Rejected(Exception):
    """An event that is not taken; the text is the reason, for a person."""


class Inexact(Exception):
    """A number may have lost digits in the fast parser: read the body again, exactly."""


@dataclass(slots=True)
class Reading:
    """What the events of one request share while they are read: how the JSON was parsed, and room for attributes."""

    exact: bool
    chars_left: int = MAX_FLAT_CHARS

    def spend(self, chars: int) -> None:
        """Raise TooLarge once the request's attributes are too much together."""
        self.chars_left -= chars
        if self.chars_left < 0:
            raise TooLarge("the attributes of this request are too large once flattened: send smaller batches")


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
    attributes: dict[str, str]


def read_row(value: Any, now_us: int, limits: IntakeLimits, reading: Reading) -> Row:
    """Read one value as an event.

    Raises Rejected with the reason, Inexact when the parser may have dropped digits, TooLarge (see `Reading`).
    """
    if isinstance(value, Broken):
        raise Rejected(value.reason)
    if not isinstance(value, dict):
        raise Rejected("an event must be a JSON object")
    message = value.get("message")
    if not isinstance(message, str):
        raise Rejected("message is missing" if message is None else f"message must be text, not {_kind(message)}")
    level, severity_number = None, None
    given_level = _text_field(value, "level")
    if given_level is not None:
        level, severity_number = normalize_level(given_level)
    event_id = _text_field(value, "id") or None
    if event_id is not None and len(event_id.encode()) > MAX_ID_BYTES:
        raise Rejected(f"id is longer than {MAX_ID_BYTES} bytes")
    return Row(
        _timestamp_us(value.get("timestamp"), now_us, limits),
        message,
        level,
        severity_number,
        tuple(_text_field(value, name) for name in STRING_FIELDS),
        event_id,
        read_attributes(value, reading),
    )


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "null")


def _text_field(value: dict[str, Any], name: str) -> str | None:
    found = value.get(name)
    if found is None or isinstance(found, str):
        return found
    raise Rejected(f"{name} must be text, not {_kind(found)}")


def _timestamp_us(value: Any, now_us: int, limits: IntakeLimits) -> int:
    if value is None:
        return now_us
    try:
        timestamp_us = parse_timestamp_us(value)
    except (ValueError, OverflowError) as error:
        raise Rejected(f"timestamp cannot be read: {error}") from error
    if timestamp_us < now_us - limits.max_event_age_us:
        raise Rejected(f"timestamp is more than {limits.max_event_age_us // 86_400_000_000} days old")
    if timestamp_us > now_us + limits.max_clock_skew_us:
        raise Rejected(f"timestamp is more than {limits.max_clock_skew_us // 1_000_000} s in the future")
    return timestamp_us


def read_attributes(event: dict[str, Any], reading: Reading) -> dict[str, str]:
    """Give an event's attributes, flat: those of unknown top-level keys first, then those of `attributes`."""
    flat: dict[str, str] = {}
    unknown = {key: value for key, value in event.items() if key not in FIELDS}
    if unknown:
        _flatten(unknown, reading, flat)
    attributes = event.get("attributes")
    if attributes is None:
        return flat
    if not isinstance(attributes, dict):
        raise Rejected(f"attributes must be an object, not {_kind(attributes)}")
    _flatten(attributes, reading, flat)
    return flat


def _flatten(attributes: dict[str, Any], reading: Reading, flat: dict[str, str]) -> None:
    """Add nested attributes to `flat` under dotted keys, in document order, the later of two equal keys winning."""
    spent = 0
    # A stack of iterators, not recursion: the depth is the client's choice.
    stack: list[tuple[str, Any]] = [("", iter(attributes.items()))]
    while stack:
        prefix, items = stack[-1]
        for key, value in items:
            name = f"{prefix}.{key}" if len(stack) > 1 else key
            if isinstance(value, dict):
                if len(stack) >= MAX_ATTRIBUTE_DEPTH:
                    raise Rejected(f"attributes are nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
                stack.append((name, iter(value.items())))
                break
            if value is None:
                continue
            text = value if type(value) is str else attribute_text(value, reading.exact, len(stack))
            flat[name] = text
            # Dotted keys repeat their prefix: count while flattening, before a small body has become a large event.
            spent += len(name) + len(text)
            if spent > MAX_EVENT_BYTES:
                raise Rejected(f"the event is larger than {MAX_EVENT_BYTES} bytes")
        else:
            stack.pop()
    reading.spend(spent)


def attribute_text(value: Any, exact: bool, level: int = 1) -> str:
    """Write a number, true, false or a list as its JSON text. Raises Rejected, Inexact."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        _check_number(value, exact)
        return repr(value)
    if isinstance(value, int):
        return str(value)
    _check_list(value, exact, level + 1)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # deeper than its 254 levels cannot come here, integers beyond 64 bits can
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _check_number(value: float, exact: bool) -> None:
    if abs(value) < EXACT_BELOW:
        return
    if not exact:
        raise Inexact
    if math.isinf(value):
        raise Rejected("a number in attributes is too large for a 64-bit float: send it as text")


def _check_list(value: list[Any], exact: bool, level: int) -> None:
    stack: list[tuple[int, Any]] = [(level, value)]
    while stack:
        level, item = stack.pop()
        if isinstance(item, float):
            _check_number(item, exact)
        elif isinstance(item, dict | list):
            if level > MAX_ATTRIBUTE_DEPTH:
                raise Rejected(f"attributes are nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
            stack += [(level + 1, inner) for inner in (item.values() if isinstance(item, dict) else item)]
