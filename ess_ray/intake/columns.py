"""Many events at once: JSON values to the columns of RECORD_SCHEMA.

The fast path builds each column in one pass and lets Arrow check the types; whatever it cannot prove to be plain raises
`_Odd`, and the rules of `rows` decide event by event. Both give the same batch (a property test). May live here:
columns. May not: rules (they are in `rows`), JSON syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import (
    ATTRIBUTES,
    MAX_EVENT_BYTES,
    MAX_ID_BYTES,
    RECORD_SCHEMA,
    TIMESTAMP,
    normalize_level,
    parse_timestamp_us,
)
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import (
    EXACT_BELOW,
    FIELDS,
    STRING_FIELDS,
    Inexact,
    Reading,
    Rejected,
    Row,
    attribute_text,
    read_attributes,
    read_row,
)
from ess_ray.record import row_bytes

_STRING: Final = pa.string()
_NUMBER_GROWTH: Final = 5
"""How much longer than its JSON a number's text may be (1e15 becomes 1000000000000000.0)."""
_NANOSECONDS: Final = pa.timestamp("ns", tz="UTC")
_TEXTS: Final = pa.struct([(name, _STRING) for name in ("message", *STRING_FIELDS, "level", "id")])
_SCALARS: Final = {str, int, float, bool}
_TOO_LARGE: Final = f"the event is larger than {MAX_EVENT_BYTES} bytes"


class _Odd(Exception):
    """These events are not plain: read them one by one."""


NOT_PLAIN: Final = (_Odd, Rejected, Inexact, TypeError, ValueError, pa.ArrowException)
"""What the fast path raises for events that are not plain (Arrow's errors are ValueErrors and TypeErrors, too)."""


@dataclass(frozen=True)
class Columns:
    """The valid events as rows of RECORD_SCHEMA, in their order, and (index, reason) of each invalid one."""

    batch: pa.RecordBatch
    rejected: list[tuple[int, str]]


def to_columns(values: Sequence[Any], body_bytes: int, now_us: int, limits: IntakeLimits, exact: bool) -> Columns:
    """Read values as events. Raises Inexact when not `exact` and a number may have lost digits."""
    try:
        batch = plain_columns(values, now_us, limits)
    except NOT_PLAIN:
        return odd_columns(values, now_us, limits, exact)
    if may_be_large(body_bytes):
        return _without_large(batch, list(range(len(values))), [])
    return Columns(batch, [])


def may_be_large(body_bytes: int) -> bool:
    """Tell whether a body of so many bytes could hold an event over the size limit."""
    return body_bytes * _NUMBER_GROWTH > MAX_EVENT_BYTES


def odd_columns(values: Sequence[Any], now_us: int, limits: IntakeLimits, exact: bool) -> Columns:
    """The slow path: each event by the rules of `rows`."""
    reading = Reading(exact)
    rows: list[Row] = []
    indices: list[int] = []
    rejected: list[tuple[int, str]] = []
    for index, value in enumerate(values):
        try:
            rows.append(read_row(value, now_us, limits, reading))
            indices.append(index)
        except Rejected as error:
            rejected.append((index, str(error)))
    return _without_large(_batch_of(rows, now_us), indices, rejected)


def _without_large(batch: pa.RecordBatch, indices: list[int], rejected: list[tuple[int, str]]) -> Columns:
    """Take out the events over the size limit; `indices` says which value each row was."""
    small = pc.less_equal(row_bytes(batch), MAX_EVENT_BYTES)
    if pc.all(small).as_py() is not False:
        return Columns(batch, rejected)
    large = [(indices[row], _TOO_LARGE) for row, fits in enumerate(small.to_pylist()) if not fits]
    return Columns(batch.filter(small), sorted([*rejected, *large]))


def _batch_of(rows: Sequence[Row], now_us: int) -> pa.RecordBatch:
    strings = zip(*(row.strings for row in rows), strict=True) if rows else [()] * len(STRING_FIELDS)
    columns = dict(zip(STRING_FIELDS, (pa.array(column, _STRING) for column in strings), strict=True))
    columns["timestamp"] = pa.array([row.timestamp_us for row in rows], TIMESTAMP)
    columns["message"] = pa.array([row.message for row in rows], _STRING)
    columns["level"] = pa.array([row.level for row in rows], _STRING)
    columns["severity_number"] = pa.array([row.severity_number for row in rows], pa.int32())
    columns["event_id"] = pa.array([row.event_id for row in rows], _STRING)
    columns["attributes"] = _map_of([row.attributes for row in rows])
    return _assemble(columns, len(rows), now_us)


def _assemble(columns: dict[str, pa.Array], count: int, now_us: int) -> pa.RecordBatch:
    columns["observed_timestamp"] = pa.repeat(pa.scalar(now_us, TIMESTAMP), count)
    arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORD_SCHEMA)


def _map_of(attributes: Sequence[dict[str, str]], values: list[str] | None = None) -> pa.Array:
    """Build the map column; `values` gives all values in order where they were converted. No attributes: null."""
    if not any(attributes):
        return pa.nulls(len(attributes), ATTRIBUTES)
    keys = list(chain.from_iterable(attributes))
    if values is None:
        values = list(chain.from_iterable(map(dict.values, attributes)))
    offsets = [0, *accumulate(map(len, attributes))]
    # `string` columns have 32-bit offsets: a body is 10 MiB, and flattening is bounded by the event's size.
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(keys, _STRING), pa.array(values, _STRING))


# -------------------------------------------------------------------------------------------------------- fast path
def plain_columns(events: Sequence[Any], now_us: int, limits: IntakeLimits) -> pa.RecordBatch:
    """The fast path: all events are valid, or it raises one of NOT_PLAIN."""
    if set(map(type, events)) != {dict}:
        raise _Odd
    present: set[str] = set().union(*events)
    texts = pa.array(events, _TEXTS)  # one pass for all columns of text, which refuses what is not text
    columns: dict[str, pa.Array] = {name: texts.field(name) for name in ("message", *STRING_FIELDS)}
    if columns["message"].null_count:
        raise _Odd
    if "timestamp" in present:
        columns["timestamp"] = _times([event.get("timestamp") for event in events], now_us, limits)
    else:
        columns["timestamp"] = pa.repeat(pa.scalar(now_us, TIMESTAMP), len(events))
    if "level" in present:
        columns["level"], columns["severity_number"] = _levels(texts.field("level"))
    if "id" in present:
        columns["event_id"] = _ids(texts.field("id"))
    if present - FIELDS:
        columns["attributes"] = _attributes([_merged(event) for event in events], events)
    elif "attributes" in present:
        nothing: dict[str, Any] = {}
        given = [event.get("attributes") for event in events]
        columns["attributes"] = _attributes([nothing if one is None else one for one in given], events)
    return _assemble(columns, len(events), now_us)


def _merged(event: dict[str, Any]) -> dict[str, Any]:
    """Give an event's unknown keys and attributes as one object, right as long as no attribute is nested or null."""
    merged = {key: value for key, value in event.items() if value is not None and key not in FIELDS}
    attributes = event.get("attributes")
    if type(attributes) is dict and merged.keys().isdisjoint(attributes):
        merged.update(attributes)
    elif attributes is not None:
        raise _Odd  # of two equal keys, the one that goes may have been nested: its parts stay
    return merged


def _attributes(attributes: list[dict[str, Any]], events: Sequence[dict[str, Any]]) -> pa.Array:
    if set(map(type, attributes)) != {dict}:
        raise _Odd
    values = list(chain.from_iterable(map(dict.values, attributes)))
    kinds = set(map(type, values))
    if kinds <= {str}:
        return _map_of(attributes, values)
    if kinds <= _SCALARS:
        return _map_of(attributes, _scalar_texts(values))
    reading = Reading(exact=False)
    return _map_of([read_attributes(event, reading) for event in events])


def _scalar_texts(values: list[Any]) -> list[str]:
    """Write each as `attribute_text` does, with the usual kinds inlined: the call alone would cost as much again."""
    return [
        value
        if (kind := type(value)) is str
        else str(value)
        if kind is int
        else repr(value)
        if kind is float and -EXACT_BELOW < value < EXACT_BELOW
        else attribute_text(value, exact=False)
        for value in values
    ]


def _levels(given: pa.StringArray) -> tuple[pa.Array, pa.Array]:
    coded = given.dictionary_encode()
    stored = [normalize_level(level) for level in coded.dictionary.to_pylist()]
    names = pa.array([name for name, _ in stored], _STRING)
    numbers = pa.array([number for _, number in stored], pa.int32())
    return names.take(coded.indices), numbers.take(coded.indices)


def _ids(given: pa.StringArray) -> pa.Array:
    longest = pc.max(pc.binary_length(given)).as_py()
    if longest is not None and longest > MAX_ID_BYTES:
        raise _Odd
    return pc.if_else(pc.equal(given, ""), None, given)


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
    bounds = pc.min_max(column.cast(pa.int64())).as_py()
    if bounds["min"] < now_us - limits.max_event_age_us or bounds["max"] > now_us + limits.max_clock_skew_us:
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
