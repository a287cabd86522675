"""Many events at once: JSON values to the columns of RECORD_SCHEMA.

The fast path builds each column in one pass and lets Arrow check the types; whatever it cannot prove to be plain raises
`_Odd`, and the rules of `rows` decide event by event. Both give the same batch (a property test).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import (
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    RECORD_SCHEMA,
    TIMESTAMP,
    level_of_severity,
    normalize_level,
)
from ess_ray.core.field import ATTRIBUTES_PREFIX, OWN_PREFIX
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.attributes import (
    TYPE_LETTERS,
    Inexact,
    Reading,
    Rejected,
    attribute_text,
    check_numbers,
    flatten,
)
from ess_ray.intake.batches import assemble, map_of, odd_columns, without_large
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.digits import Exactness
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import (
    FIELDS,
    STRING_FIELDS,
    hash_event,
    hash_events,
    journal_priority,
    without_line_end,
)
from ess_ray.intake.trace_ids import stored_trace_ids

_STRING: Final = pa.string()
_NUMBER_GROWTH: Final = 5
"""How much longer than its JSON a number's text may be (1e15 becomes 1000000000000000.0)."""
_NANOSECONDS: Final = pa.timestamp("ns", tz="UTC")
_TEXTS: Final = [(name, _STRING) for name in ("message", *STRING_FIELDS, "id")]
_HASH: Final = RECORD_SCHEMA.field("event_hash").type
_WITHOUT_LEVEL: Final = pa.struct(_TEXTS)
_WITH_LEVEL: Final = pa.struct([*_TEXTS, ("level", _STRING)])
_FEW_LEVELS: Final = 8
"""Levels of a request that are remembered: most requests have the same few."""
_SCALARS: Final = {str, int, float, bool}
_TOO_LARGE: Final = f"the event is larger than {MAX_EVENT_BYTES} bytes"


class _Odd(Exception):
    """These events are not plain: read them one by one."""


NOT_PLAIN: Final = (_Odd, Rejected, Inexact, TypeError, ValueError, pa.ArrowException)
"""What the fast path raises for events that are not plain (Arrow's errors are ValueErrors and TypeErrors, too)."""


def to_columns(
    values: Sequence[Any],
    body_bytes: int,
    reading: Reading,
    odd: Callable[[Sequence[Any], Reading], Decoded] = odd_columns,
    event_of: Callable[[Any], dict[str, Any]] | None = None,
) -> Decoded:
    """Read values as events. Raises Inexact when not `reading.exact` and a number may have lost digits.

    Another way in has its own `odd`, for all where some are not plain; its `event_of` gives the event that is the same
    to the fast path, or raises Rejected.
    """
    try:
        events = values if event_of is None else list(map(event_of, values))
        batch = plain_columns(events, reading.now_us, reading.limits, reading.table, reading.exact)
    except NOT_PLAIN:
        return odd(values, reading)
    # All rows together are the most that one of them can be: it has its share of each buffer that `row_bytes` counts.
    if may_be_large(body_bytes) and batch.nbytes > MAX_EVENT_BYTES:
        return without_large(batch, list(range(len(values))), [], [])
    return Decoded(batch, [], [])


def may_be_large(body_bytes: int) -> bool:
    """Tell whether a body of so many bytes could hold an event over the size limit."""
    return body_bytes * _NUMBER_GROWTH > MAX_EVENT_BYTES


# -------------------------------------------------------------------------------------------------------- fast path
def plain_columns(
    events: Sequence[Any], now_us: int, limits: IntakeLimits, table: FieldTable, exact: Exactness = False
) -> pa.RecordBatch:
    """The fast path: all events are valid, or it raises one of NOT_PLAIN."""
    if set(map(type, events)) != {dict}:
        raise _Odd
    present: set[str] = set().union(*events)
    named = events
    if not present.isdisjoint(table.keys):
        named = _by_own_names(events, present, table)
        present = set().union(*named)
    if "severity_number" in present or any(name.startswith(ATTRIBUTES_PREFIX) for name in present):
        raise _Odd
    with_numbers = type(named[0].get("level")) is int
    # One pass for all columns of text, which refuses what is not text.
    texts = pa.array(named, _WITHOUT_LEVEL if with_numbers else _WITH_LEVEL)
    columns: dict[str, pa.Array] = {name: texts.field(name) for name in ("message", *STRING_FIELDS)}
    if columns["message"].null_count:
        raise _Odd
    for name in ("trace_id", "span_id"):
        columns[name] = stored_trace_ids(columns[name])
    if "timestamp" in present:
        times = [event.get("timestamp") for event in named]
        if "id" in present:  # a time is the same whatever its last digits, but the hash tells them
            check_numbers([time for time in times if type(time) is float], exact)
        columns["timestamp"] = _times(times, now_us, limits)
    else:
        columns["timestamp"] = pa.repeat(pa.scalar(now_us, TIMESTAMP), len(events))
    if "level" in present:
        levels = _numbered_levels(named) if with_numbers else _levels(texts.field("level"))
        columns["level"], columns["severity_number"] = levels
    if "id" in present:
        columns["event_id"], columns["event_hash"] = _ids(texts.field("id"), events)
    if present - FIELDS:
        columns |= _attributes([_merged(event) for event in named], now_us, limits, exact)
    elif "attributes" in present:
        nothing: dict[str, Any] = {}
        given = [event.get("attributes") for event in named]
        columns |= _attributes([nothing if one is None else one for one in given], now_us, limits, exact)
    return assemble(columns, len(events), now_us)


def _by_own_names(events: Sequence[dict[str, Any]], present: set[str], table: FieldTable) -> list[dict[str, Any]]:
    """Give events whose fields have their own names, as far as the first of a field's other names tells at once."""
    wanted = []
    for field, names in table.names.items():
        others = [(name, *name.partition(".")[::2]) for name in names if name != field]
        others = [(name, head, rest) for name, head, rest in others if name in present or (rest and head in present)]
        if others:
            wanted.append((field, others))
    return [_with_own_names(event, wanted) for event in events]


def _with_own_names(event: dict[str, Any], wanted: list[tuple[str, list[tuple[str, str, str]]]]) -> dict[str, Any]:
    named = event
    for field, others in wanted:
        if event.get(field) is not None:
            continue
        for name, head, rest in others:
            value, inner = event.get(name), event.get(head)
            if value is None and (not rest or type(inner) is not dict or (value := inner.get(rest)) is None):
                continue
            if not (type(value) is str and value) and field not in ("timestamp", "level"):
                raise _Odd  # perhaps somebody's attribute
            named = dict(event) if named is event else named
            if event.get(name) is not None:
                del named[name]
            else:
                named[head] = {key: one for key, one in named[head].items() if key != rest}
            named[field] = without_line_end(value) if field == "message" else journal_priority(name, value)
            break
    return named


def _merged(event: dict[str, Any]) -> dict[str, Any]:
    """Give an event's unknown keys and attributes as one object, right while no attribute's name is there twice."""
    merged = {key: value for key, value in event.items() if value is not None and key not in FIELDS}
    attributes = event.get("attributes")
    if type(attributes) is dict and merged.keys().isdisjoint(attributes):
        merged.update(attributes)
    elif attributes is not None:
        raise _Odd
    return merged


def _attributes(
    attributes: list[dict[str, Any]], now_us: int, limits: IntakeLimits, exact: Exactness
) -> dict[str, pa.Array]:
    """Give the columns `attributes` and `attribute_types`."""
    if set(map(type, attributes)) != {dict}:
        raise _Odd
    values = list(chain.from_iterable(map(dict.values, attributes)))
    types = list(map(type, values))
    kinds = set(types)
    if float in kinds:
        check_numbers([value for value in values if type(value) is float], exact)
    if kinds <= _SCALARS:
        column = map_of(attributes, values if kinds <= {str} else scalar_texts(values))
        if _has_own_names(column.keys):
            raise _Odd
        if kinds <= {str}:
            return {"attributes": column}
        return {"attributes": column, "attribute_types": _types(column, types)}
    reading = Reading(now_us, limits, exact=exact)
    flat = [flatten(one, reading) for one in attributes]
    return {
        "attributes": map_of([one.texts for one in flat]),
        "attribute_types": pa.array([one.types for one in flat], _STRING),
    }


def _has_own_names(keys: pa.StringArray) -> bool:
    """Tell whether a key begins as names of ours do. Nearly always one look through all of their text says no."""
    text = keys.buffers()[2]
    if text is None or OWN_PREFIX.encode() not in text.to_pybytes():
        return False
    return pc.any(pc.starts_with(keys, OWN_PREFIX)).as_py() is True


def _types(column: pa.MapArray, types: list[type]) -> pa.Array:
    """Give the column `attribute_types`: a letter for each value, cut where the events' attributes are cut."""
    letters = "".join(map(TYPE_LETTERS.__getitem__, types)).encode()
    offsets = column.offsets
    not_text = np.cumsum(np.frombuffer(b"s" + letters, np.uint8) != ord("s"))
    until = not_text[offsets.to_numpy()]
    valid = until[1:] > until[:-1]
    there = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(len(column), offsets.buffers()[1], pa.py_buffer(letters), there)


def scalar_texts(values: list[Any]) -> list[str]:
    """Write each as `attribute_text` does, with the usual kinds inlined: the call alone would cost as much again.

    Their digits were looked at before.
    """
    return [
        value
        if (kind := type(value)) is str
        else str(value)
        if kind is int
        else repr(value)
        if kind is float
        else attribute_text(value, exact=True)
        for value in values
    ]


def _levels(given: pa.StringArray) -> tuple[pa.Array, pa.Array]:
    coded = given.dictionary_encode()
    levels = tuple(coded.dictionary.to_pylist())
    few = len(levels) <= _FEW_LEVELS and sum(map(len, levels)) <= _FEW_LEVELS * MAX_ID_BYTES
    names, numbers = _few_levels(levels) if few else _stored_levels(levels)
    return names.take(coded.indices), numbers.take(coded.indices)


def _stored_levels(levels: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    stored = [normalize_level(level) for level in levels]
    return pa.array([name for name, _ in stored], _STRING), pa.array([number for _, number in stored], pa.int32())


_few_levels = lru_cache(maxsize=256)(_stored_levels)


def _numbered_levels(events: Sequence[dict[str, Any]]) -> tuple[pa.Array, pa.Array]:
    """Read levels some of which are numbers."""
    given = [event.get("level") for event in events]
    if not set(map(type, given)) <= {str, int, type(None)}:
        raise _Odd
    known = {level: _level_of(level) for level in set(given)}
    names, numbers = zip(*map(known.__getitem__, given), strict=True)
    return pa.array(names, _STRING), pa.array(numbers, pa.int32())


def _level_of(level: str | int | None) -> tuple[str | None, int | None]:
    if level is None:
        return None, None
    if isinstance(level, str):
        return normalize_level(level)
    if (known := level_of_severity(level)) is None:
        raise _Odd
    return known


def _ids(given: pa.StringArray, events: Sequence[dict[str, Any]]) -> tuple[pa.Array, pa.Array]:
    """Give the columns `event_id` and `event_hash`."""
    bytes_of = pc.min_max(pc.binary_length(given)).as_py()
    if bytes_of["min"] is None:
        return given, pa.nulls(len(given), _HASH)
    if bytes_of["max"] > MAX_ID_BYTES:
        raise _Odd
    if given.null_count == 0 and bytes_of["min"]:
        return given, pa.array(hash_events(events), _HASH)
    ids = pc.if_else(pc.equal(given, ""), None, given)
    there = zip(ids.is_valid().to_pylist(), events, strict=True)
    return ids, pa.array([hash_event(event) if has_id else None for has_id, event in there], _HASH)


def _times(times: list[Any], now_us: int, limits: IntakeLimits) -> pa.Array:
    given = [time for time in times if time is not None]
    kinds = set(map(type, given))
    if kinds == {str} and all(map(_is_rfc3339, given)):
        column = _parsed(times)
    elif bool in kinds:
        raise _Odd
    else:
        column = pa.array([None if time is None else parse_timestamp_us(time) for time in times], TIMESTAMP)
    if len(given) < len(times):
        column = column.fill_null(pa.scalar(now_us, TIMESTAMP))
    moments = column.view(pa.int64()).to_numpy()
    if moments.min() < now_us - limits.max_event_age_us or moments.max() > now_us + limits.max_clock_skew_us:
        raise _Odd
    return column


def _is_rfc3339(time: str) -> bool:
    """Tell whether Arrow reads `time` as we do, if it reads it: it takes times without seconds and `+05`, we do not."""
    return len(time) > 19 and time[16] == ":" and (time[-1] == "Z" or time[-3] == ":")


def _parsed(times: list[str | None]) -> pa.Array:
    column = pa.array(times, _STRING)
    try:
        return column.cast(TIMESTAMP)
    except pa.ArrowInvalid:
        pass
    try:
        # More than six digits of a second: what Go and most collectors write. Cut, as `parse_timestamp_us` does.
        return column.cast(_NANOSECONDS).cast(TIMESTAMP, safe=False)
    except pa.ArrowInvalid:
        return pa.array([None if time is None else parse_timestamp_us(time) for time in times], TIMESTAMP)
