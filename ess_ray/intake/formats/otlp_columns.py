"""OTLP's log records to columns: by their layouts, with the meaning of `read_log`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from ess_ray.core.event import level_of_number, normalize_level
from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import Found, find
from ess_ray.intake.formats.held_columns import level_among, texts_among
from ess_ray.intake.formats.holders import found_among
from ess_ray.intake.formats.otlp_rows import RECORD_UID, Log, own_fields, read_log
from ess_ray.intake.layout_columns import TakenApart, shaped_columns
from ess_ray.intake.layouts import Layout, Unusual, group_around, layout_of, layout_once, shape_of
from ess_ray.intake.rows import Broken, text_of, without_line_end

Level = tuple[str | None, int | None]


def log_columns(logs: Sequence[Log | Broken], reading: Reading) -> Decoded:
    """Read log records. Raises as `odd_columns` does."""
    return shaped_columns(logs, reading, read_log, _take_apart)


def _take_apart(logs: Sequence[Log | Broken], odd: set[int], reading: Reading) -> TakenApart:
    taken = TakenApart()
    level_of = lru_cache(maxsize=None)(_level_of)
    for index, log in enumerate(logs):
        if index in odd or isinstance(log, Broken):
            continue
        try:
            level = level_of(log.severity_text, log.severity_number)
            time_us, message = _time_us(log, reading), _message(log, reading)
            layout, values, chars = _layout_and_values(log, level is not None, reading)
        except (Unusual, Rejected):
            continue
        fields = layout.fields(values)
        if log.trace_id or log.span_id:
            fields = (*fields[:5], *map(_own_id, (log.trace_id, log.span_id), fields[5:]))
        taken.indices.append(index)
        taken.times_us.append(time_us)
        taken.messages.append(message)
        taken.levels.append(level)
        taken.fields.extend(fields)
        taken.numbers.append(taken.number_of(layout))
        taken.values.extend(layout.attributes(values))
        taken.shared_chars += chars
    return taken


def _level_of(text: str, sent_number: int) -> Level | None:
    """Give the level that a record has besides its attributes; None without one."""
    number = sent_number or None
    if text.strip():
        level, usual = normalize_level(text)
        return level, usual if number is None else number
    return None if number is None else (level_of_number(number), number)


def _time_us(log: Log, reading: Reading) -> int:
    """Give a record's time. Raises Unusual for one that is no number."""
    sent = log.time_ns or log.observed_ns
    if type(sent) is int and type(log.observed_ns) is int:
        return sent // 1_000 if sent else reading.now_us
    raise Unusual


def _message(log: Log, reading: Reading) -> str:
    """Give the message of a record with a body that is no map. Raises Unusual, Rejected."""
    body = log.body
    if type(body) is str:
        return without_line_end(body)
    if body is None or isinstance(body, dict):
        raise Unusual
    return text_of(body, reading.exact)


def _own_id(sent: str, found: Any) -> Any:
    return sent if sent.strip("0") else found


def _layout_and_values(log: Log, has_level: bool, reading: Reading) -> tuple[Layout, list[Any], int]:
    """Give a record's layout, its values, and the characters around it. Raises Unusual."""
    origin = log.origin
    group = origin.group or group_around(origin, (origin.scope, origin.resource), reading.table, RECORD_UID)
    values: list[Any] = []
    shape = shape_of(log.attributes, values)
    own = own_fields(log)
    values += own.values()
    values += group.values
    key = (shape, tuple(own), has_level)
    layout = group.layouts.get(key) or layout_once(
        reading.table, group, key, partial(_layout_of, log, has_level, reading)
    )
    return layout, values, group.chars


def _layout_of(log: Log, has_level: bool, reading: Reading) -> Layout:
    """Find the layout of a record. Raises Unusual where it has none, so with names that clash; Rejected."""
    if find(log.attributes, RECORD_UID) is not None:
        raise Unusual
    holders = (log.attributes, own_fields(log), log.origin.scope, log.origin.resource)
    return layout_of(holders, _fields_of(log, has_level, reading), may_clash=False)


def _fields_of(log: Log, has_level: bool, reading: Reading) -> dict[str, Found]:
    """Give what of the attributes is a field, by their shape alone. Raises Unusual, Rejected."""
    holders = (log.attributes, log.origin.scope, log.origin.resource)
    fields = texts_among(holders, reading)
    level = None if has_level else level_among(found_among("level", (log.attributes,), reading.table))
    return fields if level is None else {**fields, "level": level}
