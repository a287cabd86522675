"""Logs of Datadog's agents and libraries to rows.

A log is an object; its `status` is its level, the tags under `ddtags` are attributes of their own names, those without
a value stay together under `ddtags`. Where its `message` is an object, that is the event, and what stands beside it is
around it. What the address says of all logs (`Defaults`) is around each, and the last that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.columns import to_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around, Held, Time, time_of
from ess_ray.intake.names import kept_apart
from ess_ray.intake.rows import FIELDS, Broken

TAGS: Final = "ddtags"
_LEVEL: Final = "status"
_AFTER: Final = "lvl"
"""The name of a level behind which `status` is looked at."""
_NAMED: Final = ("level", "service", "host", "trace_id", "span_id")
"""Fields that a tag may hold."""
_USUAL: Final = ((_LEVEL, "level"), ("hostname", "host"))
_OURS: Final = FIELDS - {"message", "timestamp", *_NAMED}
"""Names that mean more in our own events than in Datadog's, where they are attributes."""


@dataclass(frozen=True)
class Defaults:
    """What a request says of all its logs, outside of its body. `time_ms`: of those that have no time."""

    named: Mapping[str, str] = field(default_factory=dict)
    time_ms: int | None = None


def table_of(table: FieldTable) -> FieldTable:
    """Give the names of fields in a tenant's logs from Datadog's agents: with `status` among those of the level."""
    names = tuple(name for name in table.names["level"] if name != _LEVEL)
    at = names.index(_AFTER) + 1
    return FieldTable({**table.names, "level": (*names[:at], _LEVEL, *names[at:])})


def tags_of(tags: Any) -> dict[str, str]:
    """Read tags, `k:v,k2:v2`: of a name that is there again the second is `k#2`, and those without a value stay
    together under `ddtags`."""
    if isinstance(tags, list):
        tags = ",".join(tag for tag in tags if isinstance(tag, str))
    pairs: list[tuple[str, str]] = []
    others: list[str] = []
    for tag in tags.split(","):
        name, colon, value = tag.strip().partition(":")
        if not (colon and name):
            if tag.strip():
                others.append(tag.strip())
            continue
        pairs.append((name, value))
    if others:
        pairs.append((TAGS, ",".join(others)))
    return kept_apart(pairs)


def columns_of(values: Sequence[Any], body_bytes: int, reading: Reading, defaults: Defaults) -> Decoded:
    """Read logs; `reading.table` is one of `table_of`. Raises Inexact, TooLarge (see `to_columns`)."""
    logs = _Logs(defaults, reading.table)
    return to_columns(values, body_bytes, reading, logs.odd_columns, logs.event_of)


class _Logs:
    """The logs of one request. Its tags are mostly the same in all of them, and then read once."""

    def __init__(self, defaults: Defaults, table: FieldTable) -> None:
        self._defaults, self._time_ms = dict(defaults.named), defaults.time_ms
        self._times, self._heads = table.heads["timestamp"], [(name, table.heads[name]) for name in _NAMED]
        self._usual = [(sent, own, table.heads[own] - {sent}) for sent, own in _USUAL]
        self._last: tuple[Any, dict[str, str], tuple[str, ...]] = (None, {}, ())
        self._known: tuple[dict[str, str], Around] | None = None

    def event_of(self, log: Any) -> dict[str, Any]:
        """Give the event of ours that means the same. Raises Rejected where there may be none."""
        if type(log) is not dict or type(log.get("message")) is not str or not _OURS.isdisjoint(log):
            raise Rejected("")
        event = self._with_own_names(log)
        tags = log.get(TAGS)
        if tags is not None:
            named, fields = self._tags(tags)
            if any(log.get(name) is None for name in fields):
                raise Rejected("")  # a tag may be this log's field
            del event[TAGS]
            event["attributes"] = named
        if self._defaults:
            if not log.keys().isdisjoint(self._defaults) or TAGS in self._defaults:
                raise Rejected("")
            event |= self._defaults
        if self._time_ms is not None and self._times.isdisjoint(log):
            event["timestamp"] = self._time_ms
        return event

    def _with_own_names(self, log: dict[str, Any]) -> dict[str, Any]:
        """Give the log with our names of what agents nearly always send, which would else be looked for in each."""
        event = dict(log)
        for sent, own, others in self._usual:
            if type(value := log.get(sent)) is str and value and others.isdisjoint(log):
                del event[sent]
                event[own] = value
        return event

    def odd_columns(self, logs: Sequence[Any], reading: Reading) -> Decoded:
        """Read logs some of which are not plain. Raises as `to_columns` does."""
        return held_columns([self.held(log) for log in logs], reading)

    def held(self, log: Any) -> Held | Broken:
        """Give the event that a log is, as the rules take it."""
        if isinstance(log, Broken):
            return log
        if isinstance(log, str):
            return Held(Around(self._around({})), log, self._time({}))
        if not isinstance(log, dict):
            return Broken("a log must be a JSON object")
        own, tags = dict(log), {}
        if isinstance(log.get(TAGS), str | list):
            tags = self._tags(own.pop(TAGS))[0]
        message = own.get("message")
        if not isinstance(message, dict):
            if self._known is None or self._known[0] != tags:
                self._known = (tags, Around(self._around(tags)))
            return Held(self._known[1], None, self._time(own), own)
        del own["message"]
        time = time_of(own.pop("timestamp", None)) or (self._time(message) if self._times.isdisjoint(own) else None)
        return Held(Around((own, *self._around(tags))), None, time, message)

    def _tags(self, tags: Any) -> tuple[dict[str, str], tuple[str, ...]]:
        """Give tags by name, and the fields that they may hold. Raises Rejected where these are no tags."""
        if tags != self._last[0]:
            if not isinstance(tags, str | list):
                raise Rejected("")
            named = tags_of(tags)
            fields = tuple(name for name, heads in self._heads if not heads.isdisjoint(named))
            self._last = (tags, named, fields)
        return self._last[1], self._last[2]

    def _around(self, tags: dict[str, str]) -> tuple[dict[str, Any], ...]:
        defaults: dict[str, Any] = dict(self._defaults)
        more = tags_of(defaults.pop(TAGS)) if TAGS in defaults else {}
        return tuple(holder for holder in (tags, more, defaults) if holder)

    def _time(self, own: dict[str, Any]) -> Time | None:
        if self._time_ms is None or not self._times.isdisjoint(own):
            return None
        return Time(self._time_ms * 1_000, self._time_ms)
