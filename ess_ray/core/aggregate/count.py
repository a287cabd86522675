"""A batch of rows -> a partial count; and counts that are known without the rows.

May live here: counting rows that are at hand. May not: choosing them, adding counts up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.aggregate.buckets import Ints
from ess_ray.core.aggregate.grouping import (
    ATTRIBUTE,
    COLUMN,
    FIELD_COLUMNS,
    Counting,
    FieldNames,
    Grouping,
    counts_schema,
    key_names,
)
from ess_ray.core.event import RECORD_SCHEMA
from ess_ray.core.filter import field_text
from ess_ray.core.query import All, Query


def one_start(first_us: int, last_us: int, counting: Counting) -> tuple[bool, int | None]:
    """Tell whether times in [first_us, last_us] lie in one bucket, and its start (None: there are no buckets)."""
    if not isinstance(counting, Grouping) or counting.interval_us is None:
        return True, None
    first, last = counting.starts(np.array([first_us, last_us], np.int64)).tolist()
    return first == last, first


def tellable(first_us: Ints, last_us: Ints, query: Query, counting: Counting) -> npt.NDArray[np.bool_]:
    """Tell which blocks are counted by their number of rows and their times alone, since all their rows match."""
    if not (isinstance(query.root, All) and isinstance(counting, Grouping)) or counting.by:
        return np.zeros(len(first_us), np.bool_)
    told = np.ones(len(first_us), np.bool_)
    if query.start_us is not None:
        told &= first_us >= query.start_us
    if query.end_us is not None:
        told &= last_us < query.end_us
    if counting.interval_us is not None:
        told &= counting.starts(first_us) == counting.starts(last_us)
    return told


def count_told(rows: Ints, first_us: Ints, counting: Counting) -> pa.Table:
    """Count blocks that are `tellable`, by their numbers of rows and their first times: a cell each."""
    if not isinstance(counting, Grouping) or counting.interval_us is None:
        return _cells({"count": rows}, counting, None)
    return _cells({"count": rows, "start_us": counting.starts(first_us)}, counting, None)


def count_rows(rows: pa.Table, counting: Counting, start_us: int | None = None, where: Sequence[str] = ()) -> pa.Table:
    """Count rows of (some columns of) EVENT_SCHEMA, all of which match.

    `rows` has what `counting.columns()` names, and the timestamp unless all lie in one bucket, which starts at
    `start_us`. For field names, a column that is not there holds nothing. `where` names columns by which cells are
    kept apart besides.
    """
    if not len(rows):
        return counts_schema(counting, where).empty_table()
    if isinstance(counting, FieldNames):
        return pa.concat_tables([_field_names(batch, where) for batch in _batches(rows)])
    return pa.concat_tables([_grouped(batch, counting, start_us, where) for batch in _batches(rows)])


def rows_of(counts: pa.Table, counting: Counting) -> int:
    """Tell how many rows a count is of."""
    if isinstance(counting, FieldNames):  # every row has a timestamp
        named = pc.and_(pc.equal(counts.column("by_0"), "timestamp"), pc.equal(counts.column("by_1"), COLUMN))
        counts = counts.filter(named)
    return pc.sum(counts.column("count")).as_py() or 0


def _batches(rows: pa.Table) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches()
    return batches


def _grouped(batch: pa.RecordBatch, counting: Grouping, start_us: int | None, where: Sequence[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {name: batch.column(name) for name in where}
    if counting.interval_us is not None and start_us is None:
        times = batch.column("timestamp").cast(pa.int64()).to_numpy()
        columns["start_us"] = pa.array(counting.starts(times))
    for name, field in zip(key_names(counting), counting.by, strict=True):
        columns[name] = field_text(field, batch)
    if not columns:
        return _cells({"count": [batch.num_rows]}, counting, start_us)
    grouped = pa.table(columns).group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
    found = {name: grouped.column(name) for name in columns}
    return _cells({**found, "count": grouped.column("count_all")}, counting, start_us, where)


def _field_names(batch: pa.RecordBatch, where: Sequence[str]) -> pa.Table:
    table = pa.Table.from_batches([batch])
    optional = [name for name in FIELD_COLUMNS if RECORD_SCHEMA.field(name).nullable and name in batch.schema.names]
    grouped = table.group_by(list(where), use_threads=False)
    counted = grouped.aggregate([([], "count_all"), *((name, "count") for name in optional)])
    found = []
    for name in FIELD_COLUMNS:
        if RECORD_SCHEMA.field(name).nullable and name not in optional:
            continue
        counts = counted.column(f"{name}_count" if name in optional else "count_all")
        keys = {"by_0": pa.repeat(name, len(counted)), "by_1": pa.repeat(COLUMN, len(counted))}
        places = {place: counted.column(place) for place in where}
        found.append(_cells({**places, **keys, "count": counts}, FieldNames(), None, where))
    if "attributes" in batch.schema.names:
        found.append(_attribute_names(batch, where))
    cells = pa.concat_tables(found)
    return cells.filter(pc.greater(cells.column("count"), 0))


def _attribute_names(batch: pa.RecordBatch, where: Sequence[str]) -> pa.Table:
    held = batch.column("attributes")
    offsets = held.offsets.to_numpy()
    keys = held.keys.slice(offsets[0], offsets[-1] - offsets[0]).dictionary_encode()
    rows = np.repeat(np.arange(len(held)), np.diff(offsets))
    codes = keys.indices.to_numpy().astype(np.int64)
    if held.null_count:  # a null map may have pairs beneath it
        there = held.is_valid().to_numpy(zero_copy_only=False)[rows]
        rows, codes = rows[there], codes[there]
    names = max(1, len(keys.dictionary))
    pairs = np.unique(rows * names + codes)  # a foreign map may hold a key twice
    columns = {name: batch.column(name).take(pa.array(pairs // names)) for name in where}
    columns["by_0"] = keys.dictionary.take(pa.array(pairs % names))
    grouped = pa.table(columns).group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
    found = {name: grouped.column(name) for name in columns}
    kinds = {"by_1": pa.repeat(ATTRIBUTE, len(grouped))}
    return _cells({**found, **kinds, "count": grouped.column("count_all")}, FieldNames(), None, where)


def _cells(columns: dict[str, Any], counting: Counting, start_us: int | None, where: Sequence[str] = ()) -> pa.Table:
    """Make a table of counts; `start_us` is that of every cell where `columns` does not tell it."""
    schema = counts_schema(counting, where)
    count = len(columns["count"])
    given = {
        "start_us": pa.repeat(pa.scalar(start_us, pa.int64()), count),
        "other": pa.repeat(pa.scalar(False), count),
        **columns,
    }
    return pa.table([given[name] for name in schema.names], schema=schema)
