"""Columns of a row group whose texts stay dictionaries, as they are stored: for tests, and until rows are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.event import EVENT_SCHEMA

MAX_SPARSE_SHARE: Final = 0.25
"""Of a row group's rows: for more, texts are decoded once for all instead of for each row taken."""


def read_rows(
    reader: ObjectReader, group: int, columns: Sequence[str], rows: pa.Int64Array
) -> dict[str, pa.ChunkedArray]:
    """Read some rows of a row group's columns, in the order of `rows`: as `read_group(...).take(rows)`, but faster.

    Repeated texts stay dictionaries until the rows are taken, which halves the cost of decoding a row group.
    """
    if len(rows) > reader.group_rows(group) * MAX_SPARSE_SHARE:
        table = reader.read_group(group, columns).take(rows)
        return dict(zip(columns, table.columns, strict=True))
    stored = [name for name in EVENT_SCHEMA.names if name in columns and name in reader.footer.leaves]
    reader.fetch([group], stored)
    table = reader.decode(group, stored, as_dictionaries=True).take(rows)
    taken = dict(zip(stored, table.columns, strict=True))
    fields = [EVENT_SCHEMA.field(name) for name in columns]
    return {f.name: plain(taken[f.name], f.type) if f.name in taken else _nulls(len(rows), f) for f in fields}


def read_coded(reader: ObjectReader, group: int, columns: Sequence[str]) -> pa.Table:
    """Read a row group's columns as `read_group` does, but texts that are stored as dictionaries stay so."""
    stored = [name for name in columns if name in reader.footer.leaves]
    reader.fetch([group], stored)
    table = reader.decode(group, stored, as_dictionaries=True)
    length = reader.group_rows(group)
    arrays = (table.column(f.name) if f.name in stored else _nulls(length, f) for f in map(EVENT_SCHEMA.field, columns))
    return pa.table(list(arrays), list(columns))


def _nulls(length: int, field: pa.Field) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(length, field.type)])


def plain(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """Turn dictionaries into the texts they stand for."""
    if column.type.equals(wanted):
        return column
    if pa.types.is_map(wanted):
        return pa.chunked_array([_plain_map(chunk) for chunk in column.chunks], wanted)
    return column.cast(wanted)


def _plain_map(array: pa.MapArray) -> pa.MapArray:
    flat = pa.concat_arrays([array])  # from offset 0, so that offsets, nulls and items belong together
    nulls = flat.is_null() if flat.null_count else None
    keys, items = flat.keys.cast(pa.string()), flat.items.cast(pa.string())
    return pa.MapArray.from_arrays(flat.offsets, keys, items, mask=nulls)
