"""Events that their protocol tells as `Held`, to columns: by their layouts, with the meaning of `read_held`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import Found
from ess_ray.intake.formats.holders import Around, Held, found_among, found_strings, read_held
from ess_ray.intake.layout_columns import TakenApart, shaped_columns
from ess_ray.intake.layouts import Group, Layout, Shape, Unusual, group_of, keep_layout, layout_of, shape_of
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
            group = around.group or _group_of(around, reading)
            shape, values = _NOTHING, group.values
            if own or beside:
                values = []
                shape = shape_of(own, values)
                if beside:
                    shape = (shape, shape_of(beside, values))
                values += group.values
            key = (shape, body is None, time is None)
            layout = group.layouts.get(key) or _layout_of(held, group, key, reading)
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


def _group_of(around: Around, reading: Reading) -> Group:
    """Give what stands around events, found once. Raises Unusual."""
    if around.group is False:
        raise Unusual
    try:
        around.group = group_of(around.holders, reading.table, around.source is not None)
    except Unusual:
        around.group = False
        raise
    return around.group


def _layout_of(held: Held, group: Group, key: Any, reading: Reading) -> Layout:
    """Find the layout of an event. Raises Unusual where it has none."""
    if key in group.layouts:
        raise Unusual
    layout = None
    try:
        layout = layout_of(held.holders, _fields_of(held, reading))
    except Rejected as error:
        raise Unusual from error
    finally:
        keep_layout(reading.table, group, key, layout)
    return layout


def _fields_of(held: Held, reading: Reading) -> dict[str, Found]:
    """Give what of an event its fields are, by its shape alone. Raises Unusual, Rejected."""
    holders = held.holders
    strings = found_strings(holders, reading, held.around.source)
    fields = {name: found for name, _, found in strings if found is not None}
    if any(not isinstance(found.value, str) for found in fields.values()):
        raise Unusual
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


def level_among(candidates: Iterable[Found]) -> Found | None:
    """Give the first that is a level; of a number only its value tells. Raises Unusual."""
    for found in candidates:
        if type(found.value) in (str, int):
            return found
        if found.name == "level" and not isinstance(found.value, dict):
            raise Unusual
    return None
