"""Rows to batches of RECORD_SCHEMA, and the slow path of every way in: values that are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import ATTRIBUTES, MAX_EVENT_BYTES, RECORD_SCHEMA, TIMESTAMP
from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.rows import STRING_FIELDS, Row, read_row
from ess_ray.record import row_bytes

_STRING: Final = pa.string()
_HASH: Final = RECORD_SCHEMA.field("event_hash").type
_TOO_LARGE: Final = f"the event is larger than {MAX_EVENT_BYTES} bytes"


def odd_columns(values: Sequence[Any], reading: Reading, read: Callable[[Any, Reading], Row] = read_row) -> Decoded:
    """The slow path: each event by the rules of `rows`, or by those of another way in. `read` raises as they do."""
    rows = read_each(values, range(len(values)), reading, read)
    return without_large(rows.batch, rows.indices, rows.rejected, rows.adjusted)


@dataclass(frozen=True)
class ReadRows:
    """Events that were read one by one, whatever their size. `indices`: which of the values each row was."""

    batch: pa.RecordBatch
    indices: list[int]
    rejected: list[Named]
    adjusted: list[Named]


def read_each(
    values: Sequence[Any], indices: Sequence[int], reading: Reading, read: Callable[[Any, Reading], Row]
) -> ReadRows:
    """Read those values that have these indices, each as an event."""
    rows: list[Row] = []
    good: list[int] = []
    rejected: list[Named] = []
    adjusted: list[Named] = []
    for index in indices:
        try:
            row = read(values[index], reading)
        except Rejected as error:
            rejected.append((index, str(error)))
            continue
        rows.append(row)
        good.append(index)
        if row.adjusted is not None:
            adjusted.append((index, row.adjusted))
    return ReadRows(_batch_of(rows, reading.now_us), good, rejected, adjusted)


def without_large(batch: pa.RecordBatch, indices: list[int], rejected: list[Named], adjusted: list[Named]) -> Decoded:
    """Take out the events over the size limit; `indices` says which value each row was."""
    small = pc.less_equal(row_bytes(batch), MAX_EVENT_BYTES)
    if pc.all(small).as_py() is not False:
        return Decoded(batch, rejected, adjusted)
    large = {indices[row] for row, fits in enumerate(small.to_pylist()) if not fits}
    named = sorted([*rejected, *((index, _TOO_LARGE) for index in large)])
    return Decoded(batch.filter(small), named, [each for each in adjusted if each[0] not in large])


def _batch_of(rows: Sequence[Row], now_us: int) -> pa.RecordBatch:
    strings = zip(*(row.strings for row in rows), strict=True) if rows else [()] * len(STRING_FIELDS)
    columns = dict(zip(STRING_FIELDS, (pa.array(column, _STRING) for column in strings), strict=True))
    columns["timestamp"] = pa.array([row.timestamp_us for row in rows], TIMESTAMP)
    columns["message"] = pa.array([row.message for row in rows], _STRING)
    columns["level"] = pa.array([row.level for row in rows], _STRING)
    columns["severity_number"] = pa.array([row.severity_number for row in rows], pa.int32())
    columns["event_id"] = pa.array([row.event_id for row in rows], _STRING)
    columns["event_hash"] = pa.array([row.event_hash for row in rows], _HASH)
    columns["attributes"] = map_of([row.attributes.texts for row in rows])
    columns["attribute_types"] = pa.array([row.attributes.types for row in rows], _STRING)
    return assemble(columns, len(rows), now_us)


def assemble(columns: Mapping[str, pa.Array], count: int, now_us: int) -> pa.RecordBatch:
    """Put columns together to a batch of events that were received at `now_us`; those that are not given are null."""
    given = {**columns, "observed_timestamp": pa.repeat(pa.scalar(now_us, TIMESTAMP), count)}
    arrays = [given[f.name] if f.name in given else pa.nulls(count, f.type) for f in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORD_SCHEMA)


def map_of(attributes: Sequence[dict[str, str]], values: list[str] | None = None) -> pa.Array:
    """Build the map column; `values` gives all values in order where they were converted. No attributes: null."""
    if not any(attributes):
        return pa.nulls(len(attributes), ATTRIBUTES)
    keys = list(chain.from_iterable(attributes))
    if values is None:
        values = list(chain.from_iterable(map(dict.values, attributes)))
    offsets = [0, *accumulate(map(len, attributes))]
    # `string` columns have 32-bit offsets: a body is bounded, and flattening by the event's size.
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(keys, _STRING), pa.array(values, _STRING))
