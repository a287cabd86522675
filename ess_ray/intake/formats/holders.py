"""Rows of protocols that put objects around an event: Loki its labels and metadata, Splunk its fields and envelope.

A field is looked for by its names in their order, and under each name in the event itself before what stands around
it. What was taken as a field is no attribute besides. Attributes: the event's own first, then those around it; of one
name the first keeps it, the others are `name#2` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.attributes import TYPE_LETTERS, Attributes, Reading, Rejected, flatten_into
from ess_ray.intake.fields import FieldTable, Found, find
from ess_ray.intake.layouts import Group
from ess_ray.intake.rows import (
    STRING_FIELDS,
    Broken,
    Row,
    check_time,
    level_of,
    string_of,
    text_of,
    without_line_end,
)
from ess_ray.record import ORIGINAL_TIMESTAMP

_LAST_NAME: Final = "ident"
"""The name of a service before which an envelope's `source` is looked at."""
Taken = set[tuple[int, str]]
Holders = tuple[dict[str, Any], ...]


@dataclass(eq=False)
class Around:
    """What stands around events: objects, the nearest first. `source`: where an envelope names a service, if so."""

    holders: Holders
    source: Found | None = None
    shared: _Shared | Broken | None = field(default=None, init=False)
    """Made of them by the first event that has nothing of its own to look at."""
    group: Group | Literal[False] | None = field(default=None, init=False)
    """Made of them by the first event; False where they are not plain."""


class Time(NamedTuple):
    """The protocol's own time, in microseconds; or what was sent in its place, and why that is none. What was sent is a
    value of JSON's, or one whose text is told."""

    us: int | None
    sent: Any
    why: str = ""


class Held(NamedTuple):
    """An event as its protocol tells it. Without a `body` its message is found among its own fields; without a time
    that is, too. `beside`: what stands around this event alone, nearer than all else."""

    around: Around
    body: Any
    time: Time | None = None
    own: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    beside: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    @property
    def holders(self) -> Holders:
        """All objects, the nearest first."""
        return (self.own, self.beside, *self.around.holders)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What becomes of an `Around` for every event that has no fields of its own."""

    strings: tuple[str | None, ...]
    level: tuple[str | None, int | None]
    flat: Attributes
    chars: int


def read_held(held: Held | Broken, reading: Reading) -> Row:
    """Read one event. Raises Rejected with the reason, Inexact, TooLarge (see `Reading`)."""
    if isinstance(held, Broken):
        raise Rejected(held.reason)
    taken: Taken = set()
    timestamp_us, original, adjusted = _timestamp_us(held, reading, taken)
    if not held.own and not held.beside and original is None:
        shared = _shared(held.around, reading)
        reading.spend(shared.chars)
        message = _message(held, reading, taken)
        return Row(timestamp_us, message, *shared.level, shared.strings, None, None, shared.flat, adjusted)
    holders = held.holders
    strings = strings_among(holders, reading, taken, held.around.source)
    level, number = _level(holders, reading, taken)
    message = _message(held, reading, taken)
    flat = _flat(holders, reading, taken)
    if original is not None:
        flat.add(ORIGINAL_TIMESTAMP, text_of(original, reading.exact), TYPE_LETTERS[type(original)])
    flat.settle()
    return Row(timestamp_us, message, level, number, strings, None, None, flat, adjusted)


def strings_among(
    holders: Holders, reading: Reading, taken: Taken, source: Found | None = None
) -> tuple[str | None, ...]:
    """Give STRING_FIELDS, each of the first name that any holder has, and remember what was taken."""
    texts: list[str | None] = []
    for _, text, found in found_strings(holders, reading, source):
        if found is not None:
            taken.add((id(found.holder), found.key))
        texts.append(text)
    return tuple(texts)


def found_strings(
    holders: Holders, reading: Reading, source: Found | None = None
) -> Iterator[tuple[str, str | None, Found | None]]:
    """Give STRING_FIELDS: name, text and where that is."""
    for field_name in STRING_FIELDS:
        among = found_among(field_name, holders, reading.table)
        if source is not None and field_name == "service":
            among = _with_source(list(among), source)
        yield field_name, *string_of(field_name, among, reading.exact)


def found_among(field_name: str, holders: Holders, table: FieldTable) -> Iterator[Found]:
    """Give what may be a field: by the order of its names, under each by that of the holders."""
    heads = table.heads[field_name]
    holders = tuple(holder for holder in holders if not holder.keys().isdisjoint(heads))
    for name in table.names[field_name]:
        for holder in holders:
            if (found := find(holder, name)) is not None:
                yield found


def _with_source(among: Sequence[Found], source: Found) -> Iterator[Found]:
    yield from (found for found in among if found.name != _LAST_NAME)
    yield source
    yield from (found for found in among if found.name == _LAST_NAME)


def _shared(around: Around, reading: Reading) -> _Shared:
    """Give what all events have that stand in it. Raises Rejected when it is too much for any of them."""
    if around.shared is None:
        try:
            around.shared = _share(around, reading)
        except Rejected as error:
            around.shared = Broken(str(error))
    if isinstance(around.shared, Broken):
        raise Rejected(around.shared.reason)
    return around.shared


def _share(around: Around, reading: Reading) -> _Shared:
    taken: Taken = set()
    strings = strings_among(around.holders, reading, taken, around.source)
    level = _level(around.holders, reading, taken)
    flat = _flat(around.holders, reading, taken)
    flat.settle()
    return _Shared(strings, level, flat, sum(len(name) + len(text) for name, text in flat.texts.items()))


def _level(holders: Holders, reading: Reading, taken: Taken) -> tuple[str | None, int | None]:
    for found in found_among("level", holders, reading.table):
        if (read := level_of(found, reading.exact)) is not None:
            taken.add((id(found.holder), found.key))
            return read
    return None, None


def _flat(holders: Holders, reading: Reading, taken: Taken) -> Attributes:
    flat = Attributes()
    for holder in holders:
        flatten_into(holder, reading, flat, taken)
    return flat


def _message(held: Held, reading: Reading, taken: Taken) -> str:
    if isinstance(held.body, str):
        return without_line_end(held.body)
    if held.body is not None:
        return text_of(held.body, reading.exact)
    for found in found_among("message", (held.own,), reading.table):
        if found.name == "message" or isinstance(found.value, str):
            taken.add((id(found.holder), found.key))
            text = text_of(found.value, reading.exact)
            return text if found.name == "message" else without_line_end(text)
    return text_of(held.own, reading.exact)


def _timestamp_us(held: Held, reading: Reading, taken: Taken) -> tuple[int, Any, str | None]:
    """Give the event's time; and, if one that was meant to be it cannot be, that one and why."""
    if held.time is not None:
        try:
            if held.time.us is None:
                raise ValueError(held.time.why)
            check_time(held.time.us, reading)
        except ValueError as error:
            sent = held.time.sent
            return reading.now_us, sent if type(sent) in TYPE_LETTERS else str(sent), _instead(error)
        return held.time.us, None, None
    original, why = None, None
    for found in found_among("timestamp", (held.own,), reading.table):
        try:
            timestamp_us = parse_timestamp_us(found.value)
            check_time(timestamp_us, reading)
        except (ValueError, OverflowError) as error:
            if found.name == "timestamp":
                taken.add((id(found.holder), found.key))
                original, why = found.value, _instead(error)
            continue
        taken.add((id(found.holder), found.key))
        return timestamp_us, original, None
    return reading.now_us, original, why


def _instead(error: Exception) -> str:
    return f"stored at the time of receipt: {error}"


def time_of(sent: Any) -> Time | None:
    """Read a time that may be seconds, milliseconds and so on, or RFC 3339; None where nothing was sent."""
    if sent is None or sent == "":
        return None
    try:
        return Time(parse_timestamp_us(sent), sent)
    except (ValueError, OverflowError) as error:
        return Time(None, sent, str(error))
