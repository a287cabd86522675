"""Events that their protocol tells as `Held`, to columns: by their layouts, with the meaning of `read_held`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import Found
from ess_ray.intake.formats.holders import Held, Holders, found_among, found_strings, read_held
from ess_ray.intake.layout_columns import TakenApart, shaped_columns
from ess_ray.intake.layouts import Layout, Shape, Unusual, group_around, layout_of, layout_once, shape_of
from ess_ray.intake.rows import Broken, text_of, without_line_end

_NOTHING: Final[Shape] = ((), ())


def held_columns(events: Sequence[Held | Broken], reading: Reading) -> Decoded:
    """Read events. Raises as `odd_columns` does."""
    return shaped_columns(events, reading, read_held, _take_apart)


def _take_apart(events: Sequence[Held | Broken], odd: set[int], reading: Reading) -> TakenApart:
    taken = TakenApart()
    for index, held in enumerate(events):
        if index in odd or isinstance(held, Broken):
            continue
        around, body, time, own, beside = held
        try:
            group = around.group or group_around(around, around.holders, reading.table, around.source is not None)
            shape, values = _NOTHING, group.values
            if own or beside:
                values = []
                shape = shape_of(own, values)
                if beside:
                    shape = (shape, shape_of(beside, values))
                values += group.values
            key = (shape, body is None, time is None)
            layout = group.layouts.get(key) or layout_once(
                reading.table, group, key, partial(_layout_of, held, reading)
            )
            fields = layout.fields(values)
            time_us = _time_us(fields[0], reading) if time is None else time.us
            message = without_line_end(body) if type(body) is str else _message(held, layout, fields[1], reading)
        except (Unusual, Rejected, ValueError, OverflowError):
            continue
        if time_us is None:
            continue
        taken.indices.append(index)
        taken.times_us.append(time_us)
        taken.messages.append(message)
        taken.fields.extend(fields)
        taken.numbers.append(taken.number_of(layout))
        taken.values.extend(layout.attributes(values))
        taken.shared_chars += group.chars
    return taken


def _time_us(sent: Any, reading: Reading) -> int:
    """Read the time that an event has among its own. Raises ValueError, OverflowError."""
    return reading.now_us if sent is None else parse_timestamp_us(sent)


def _message(held: Held, layout: Layout, found: Any, reading: Reading) -> str:
    """Give the message of an event whose body is no text. Raises Rejected, Inexact."""
    if held.body is not None:
        return text_of(held.body, reading.exact)
    name = layout.named.get("message")
    if name is None:
        return text_of(held.own, reading.exact)
    text: str = found
    return text if name == "message" else without_line_end(text)


def _layout_of(held: Held, reading: Reading) -> Layout:
    """Find the layout of an event. Raises Unusual, Rejected."""
    return layout_of(held.holders, _fields_of(held, reading))


def _fields_of(held: Held, reading: Reading) -> dict[str, Found]:
    """Give what of an event its fields are, by its shape alone. Raises Unusual, Rejected."""
    holders = held.holders
    fields = texts_among(holders, reading, held.around.source)
    if (level := level_among(found_among("level", holders, reading.table))) is not None:
        fields["level"] = level
    time = None if held.time is not None else next(found_among("timestamp", (held.own,), reading.table), None)
    if time is not None:
        if time.value == "" or type(time.value) not in (str, int, float):
            raise Unusual
        fields["timestamp"] = time
    message = None if held.body is not None else _message_among(found_among("message", (held.own,), reading.table))
    if message is not None:
        fields["message"] = message
    return fields


def _message_among(candidates: Iterable[Found]) -> Found | None:
    """Give the first that is a message. Raises Unusual."""
    for found in candidates:
        if isinstance(found.value, str):
            return found
        if found.name == "message":
            raise Unusual
    return None


def texts_among(holders: Holders, reading: Reading, source: Found | None = None) -> dict[str, Found]:
    """Give those of STRING_FIELDS that holders have. Raises Unusual where one is no text, Rejected."""
    fields = {name: found for name, _, found in found_strings(holders, reading, source) if found is not None}
    if any(not isinstance(found.value, str) for found in fields.values()):
        raise Unusual
    return fields


def level_among(candidates: Iterable[Found]) -> Found | None:
    """Give the first that is a level; of a number only its value tells. Raises Unusual."""
    for found in candidates:
        if type(found.value) in (str, int):
            return found
        if found.name == "level" and not isinstance(found.value, dict):
            raise Unusual
    return None
