"""One OTLP log record to a row, however it was encoded: the mapping of the protocol's fields to ours.

- time: `time_unix_nano`, else `observed_time_unix_nano`, else that of receipt; 0 means absent. OTLP's own observed time
  is an attribute, `otel.observed_timestamp`: ours is always that of receipt.
- level: `severity_text`, else what `severity_number` means, else what an attribute says; the number is stored as sent.
- message: a body of text; of a map the text under `message`, `msg` or `body`, the rest being attributes below `body.`;
  else the body's JSON. Without a body the event's name; then an attribute that is a message elsewhere; then the
  attributes' JSON.
- service, host, trace and span ids: by the names that count everywhere (`fields`), of the record, its scope and its
  resource in turn, so that an order of names goes before whose they are.
- attributes: the record's, then what is left of its body and its own fields, the scope's, the resource's. Of one name
  the first keeps it, the others are `name#2` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from ess_ray.core.event import MAX_ID_BYTES, level_of_number, normalize_level
from ess_ray.intake.attributes import Attributes, Reading, Rejected, flatten_into
from ess_ray.intake.fields import Found, find
from ess_ray.intake.formats.holders import found_among, strings_among
from ess_ray.intake.layouts import Group
from ess_ray.intake.names import free_name
from ess_ray.intake.rows import (
    STRING_FIELDS,
    Broken,
    Row,
    check_time,
    hash_event,
    level_of,
    text_of,
    trace_text,
    without_line_end,
)
from ess_ray.record import ORIGINAL_TIMESTAMP

RECORD_UID: Final = "log.record.uid"
"""OpenTelemetry's name for what identifies a record: the same one sent again is one event."""
OBSERVED: Final = "otel.observed_timestamp"
_MESSAGES: Final = ("message", "msg", "body")
"""What a map that is a body calls its text."""
_INT32: Final = range(-(2**31), 2**31)


@dataclass(eq=False)
class Origin:
    """What the records of one scope share: attributes of the resource and of the scope, its name and version."""

    resource: dict[str, Any]
    scope: dict[str, Any]
    shared: _Shared | Broken | None = field(default=None, init=False)
    """Made of them by the first record that needs it."""
    group: Group | Literal[False] | None = field(default=None, init=False)
    """Made of them by the first record; False where they are not plain."""


class Log(NamedTuple):
    """A log record as its encoding tells it: numbers are 0 and texts empty where they are absent. A time that is no
    number is what was sent."""

    origin: Origin
    time_ns: int | str = 0
    observed_ns: int | str = 0
    severity_number: int = 0
    severity_text: str = ""
    body: Any = None
    attributes: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    dropped_attributes_count: int = 0
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


@dataclass(frozen=True, slots=True)
class _Shared:
    """What becomes of an origin for every record that has no field of its own to look at first."""

    strings: tuple[str | None, ...]
    taken: set[tuple[int, str]]
    flat: Attributes
    chars: int


def read_log(log: Log | Broken, reading: Reading) -> Row:
    """Read one record. Raises Rejected with the reason, TooLarge (see `Reading`)."""
    if isinstance(log, Broken):
        raise Rejected(log.reason)
    return _Record(log, reading).row()


class _Record:
    """One record being read: what was taken from its attributes as a field is no attribute."""

    def __init__(self, log: Log, reading: Reading) -> None:
        self._log, self._reading = log, reading
        self._taken: set[tuple[int, str]] = set()
        keys, heads = log.attributes.keys(), reading.table.heads
        self._has_strings = not all(keys.isdisjoint(heads[name]) for name in STRING_FIELDS)

    def row(self) -> Row:
        timestamp_us, original, adjusted = self._timestamp_us()
        level, severity_number = self._level()
        event_id = self._id()
        message, rest = self._message()
        flat, shared = Attributes(), self._shared()
        if self._has_strings:
            origin = self._log.origin
            strings = strings_among((self._log.attributes, origin.scope, origin.resource), self._reading, self._taken)
            self._own_attributes(flat, rest)
            for attributes in (origin.scope, origin.resource):
                flatten_into(attributes, self._reading, flat, self._taken)
        else:
            strings = shared.strings
            self._own_attributes(flat, rest)
            self._add_shared(flat, shared)
        if original is not None:
            flat.add(ORIGINAL_TIMESTAMP, str(original), "n" if isinstance(original, int) else "s")
        flat.settle()
        strings = (*strings[:2], *self._trace_ids(strings[2:]))
        event_hash = None if event_id is None else hash_event(_as_sent(self._log))
        return Row(timestamp_us, message, level, severity_number, strings, event_id, event_hash, flat, adjusted)

    def _timestamp_us(self) -> tuple[int, int | str | None, str | None]:
        """Give the record's time; and, if it cannot be that, what was sent and why."""
        sent = self._log.time_ns or self._log.observed_ns
        if sent in {0, ""}:
            return self._reading.now_us, None, None
        try:
            if isinstance(sent, str):
                raise ValueError("the time is no number of nanoseconds")
            check_time(sent // 1_000, self._reading)
        except ValueError as error:
            return self._reading.now_us, sent, f"stored at the time of receipt: {error}"
        return sent // 1_000, None, None

    def _level(self) -> tuple[str | None, int | None]:
        number = self._log.severity_number or None
        if self._log.severity_text.strip():
            level, usual = normalize_level(self._log.severity_text)
            return level, usual if number is None else number
        if number is not None:
            return level_of_number(number), number
        for found in self._candidates("level"):
            if (read := level_of(found, self._reading.exact)) is not None:
                self._take(found)
                return read
        return None, None

    def _id(self) -> str | None:
        found = find(self._log.attributes, RECORD_UID)
        if found is None:
            return None
        self._take(found)
        text = text_of(found.value, self._reading.exact)
        if len(text.encode()) > MAX_ID_BYTES:
            return sha256(text.encode()).hexdigest()
        return text or None

    def _message(self) -> tuple[str, dict[str, Any]]:
        """Give the message, and what is left of a body that is a map."""
        body = self._log.body
        if isinstance(body, str):
            return without_line_end(body), {}
        if body is None:
            return self._message_without_body(), {}
        if isinstance(body, dict):
            for name in _MESSAGES:
                if isinstance(text := body.get(name), str):
                    return without_line_end(text), {key: value for key, value in body.items() if key != name}
        return text_of(body, self._reading.exact), {}

    def _message_without_body(self) -> str:
        if self._log.event_name:
            return self._log.event_name
        for found in self._candidates("message"):
            if isinstance(found.value, str):
                self._take(found)
                return without_line_end(found.value)
        return text_of(self._log.attributes, self._reading.exact) if self._log.attributes else ""

    def _trace_ids(self, found: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """Give trace and span id: the record's own before what an attribute says."""
        sent = (self._log.trace_id, self._log.span_id)
        return tuple((text and trace_text(text)) or other for text, other in zip(sent, found, strict=True))

    def _own_attributes(self, flat: Attributes, rest: dict[str, Any]) -> None:
        flatten_into(self._log.attributes, self._reading, flat, self._taken)
        if rest:
            flatten_into({"body": rest}, self._reading, flat)
        for name, value in own_fields(self._log).items():
            flat.add(name, str(value), "s" if isinstance(value, str) else "n")

    def _add_shared(self, flat: Attributes, shared: _Shared) -> None:
        self._reading.spend(shared.chars)
        if flat.texts.keys().isdisjoint(shared.flat.texts):
            flat.texts.update(shared.flat.texts)
            flat.letters += shared.flat.letters
            return
        for attributes in (self._log.origin.scope, self._log.origin.resource):
            flatten_into(attributes, self._reading, flat, shared.taken)

    def _shared(self) -> _Shared:
        """Give what all records of the origin share. Raises Rejected when it is too much for any of them."""
        origin = self._log.origin
        if origin.shared is None:
            try:
                origin.shared = _share(origin, self._reading)
            except Rejected as error:
                origin.shared = Broken(str(error))
        if isinstance(origin.shared, Broken):
            raise Rejected(origin.shared.reason)
        return origin.shared

    def _candidates(self, field_name: str) -> Iterator[Found]:
        return found_among(field_name, (self._log.attributes,), self._reading.table)

    def _take(self, found: Found) -> None:
        self._taken.add((id(found.holder), found.key))


def own_fields(log: Log) -> dict[str, Any]:
    """Give those of a record's fields that become attributes, as far as it has them."""
    fields: dict[str, Any] = {}
    if log.event_name:
        fields["event_name"] = log.event_name
    if log.flags:
        fields["flags"] = log.flags
    if log.dropped_attributes_count:
        fields["dropped_attributes_count"] = log.dropped_attributes_count
    if log.observed_ns:
        fields[OBSERVED] = log.observed_ns
    return fields


def _share(origin: Origin, reading: Reading) -> _Shared:
    taken: set[tuple[int, str]] = set()
    strings = strings_among((origin.scope, origin.resource), reading, taken)
    flat = Attributes()
    for attributes in (origin.scope, origin.resource):
        flatten_into(attributes, reading, flat, taken)
    flat.settle()
    return _Shared(strings, taken, flat, sum(len(name) + len(text) for name, text in flat.texts.items()))


def _as_sent(log: Log) -> dict[str, Any]:
    """Give all of a record as a JSON object, the same for every encoding: what its hash is made of."""
    return {"resource": log.origin.resource, "scope": log.origin.scope, "record": log[1:]}


def scope_attributes(attributes: Mapping[str, Any], name: str, version: str) -> dict[str, Any]:
    """Give a scope's attributes with its name and version among them, as far as it has them."""
    named = {key: value for key, value in (("scope.name", name), ("scope.version", version)) if value}
    scope = dict(attributes)
    for key, value in named.items():
        scope[free_name(key, scope)] = value
    return scope


def int32(number: int) -> int:
    """Give a severity number that fits its column; one that does not is none."""
    return number if number in _INT32 else 0
