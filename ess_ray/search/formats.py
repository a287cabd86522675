"""Rows as the bytes of a file, piece by piece: NDJSON, CSV, Parquet, an Arrow stream."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from ess_ray import exact_json
from ess_ray.core import answer_stream, attribute
from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA, SHOWN_COLUMNS, to_json_rows
from ess_ray.language.names import field_named

GROUP_ROWS: Final = 65_536
"""Rows gathered for a row group of Parquet: enough that its columns compress well."""
GROUP_BYTES: Final = 32 * 1024 * 1024
"""Arrow bytes that close a row group before: what an encoder holds."""


class Encoder(Protocol):
    """Makes one file. Calls may come from different threads, one at a time."""

    def add(self, rows: pa.Table) -> bytes:
        """Take rows; gives the bytes that are final by now."""
        ...

    def finish(self, incomplete: Sequence[str] = ()) -> bytes:
        """Give the file's last bytes; `incomplete`: what is missing in it, where the format has a place for that."""
        ...


class NdjsonEncoder:
    """One event a line, as answers show it."""

    def add(self, rows: pa.Table) -> bytes:
        """See the protocol."""
        return b"".join(exact_json.dumps(event) + b"\n" for event in to_json_rows(rows))

    def finish(self, incomplete: Sequence[str] = ()) -> bytes:
        """See the protocol."""
        return b""


class CsvEncoder:
    """A header, then one event a record: chosen fields, or those that answers show, `attributes` as JSON text.

    Text stands in quotes, quotes in it are doubled; what is absent is empty without quotes. Values are what was stored:
    one that a spreadsheet would take for a formula is not changed.
    """

    def __init__(self, columns: Sequence[str] = ()) -> None:
        """`columns`: names of fields, columns and attributes alike; the header has them as they are given.

        Raises BadRequest for a name that no field can have, and for too many.
        """
        if len(columns) > MAX_CSV_COLUMNS:
            raise BadRequest(f"a CSV file has at most {MAX_CSV_COLUMNS} chosen columns")
        chosen = {name: _csv_column(name) for name in columns}
        self._columns = chosen or {name: _shown_column(name) for name in _CSV_FIELDS}
        self._begun = False

    def add(self, rows: pa.Table) -> bytes:
        """See the protocol."""
        events = to_json_rows(rows)
        table = pa.table({name: cells(events) for name, cells in self._columns.items()})
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, csv.WriteOptions(include_header=not self._begun))
        self._begun = True
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def finish(self, incomplete: Sequence[str] = ()) -> bytes:
        """See the protocol."""
        return b"" if self._begun else self.add(EVENT_SCHEMA.empty_table())


MAX_CSV_COLUMNS: Final = 200
"""As many as a spreadsheet's reader can still find: each is looked up in every event."""
_CSV_FIELDS: Final = [*(name for name in SHOWN_COLUMNS if name != "event_id"), "id"]
_NUMBERS: Final = {field.name: field.type for field in EVENT_SCHEMA if pa.types.is_integer(field.type)}
_Events = Sequence[Mapping[str, Any]]


def _shown_column(name: str) -> Callable[[_Events], pa.Array]:
    """Give what takes a column, by the name that answers show, out of events as they show them."""
    if name == "attributes":
        return lambda events: pa.array([exact_json.dumps(event[name]).decode() for event in events], pa.string())
    kind = _NUMBERS.get(name, pa.string())
    return lambda events: pa.array([event[name] for event in events], kind)


def _csv_column(name: str) -> Callable[[_Events], pa.Array]:
    """Give what takes a field, named as in queries, out of events as answers show them. Raises BadRequest."""
    if name == "attributes":
        return _shown_column(name)
    field = field_named(name)
    if field.attribute:
        key = field.name
        return lambda events: pa.array([_cell(event["attributes"].get(key)) for event in events], pa.string())
    shown = "id" if field.name == "event_id" else field.name
    if shown not in _CSV_FIELDS:
        raise BadRequest(f"{name} is not shown in answers, and cannot be a column")
    return _shown_column(shown)


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else exact_json.dumps(value).decode()


_TYPED_MAPS: Final = {
    "attribute_numbers": (attribute.NUMBER, pa.float64()),
    "attribute_booleans": (attribute.BOOLEAN, pa.bool_()),
}
"""Columns of attributes by their type, beside `attributes`, which has all of them as text."""
PARQUET_SCHEMA: Final = pa.schema(
    [*EVENT_SCHEMA, *(pa.field(name, pa.map_(pa.string(), kind)) for name, (_, kind) in _TYPED_MAPS.items())]
)


def with_typed_maps(rows: pa.Table, wanted: Collection[str] = tuple(_TYPED_MAPS)) -> pa.Table:
    """Add the columns of attributes that were numbers (as floats), and true or false, when they were pushed.

    `wanted`: only those of them that it names.
    """
    rows = rows.combine_chunks()
    for name, (letter, kind) in _TYPED_MAPS.items():
        if name not in wanted:
            continue
        held, types = (rows.column(column).chunks for column in ("attributes", "attribute_types"))
        maps = [_typed_map(*chunks, letter, kind) for chunks in zip(held, types, strict=True)]
        rows = rows.append_column(name, pa.chunked_array(maps, pa.map_(pa.string(), kind)))
    return rows


def _typed_map(held: pa.MapArray, types: pa.StringArray, letter: int, kind: pa.DataType) -> pa.MapArray:
    keys, texts, counts = attribute.entries_of(held, types, letter)
    values = (
        pa.array(map(_float_of, texts.to_pylist()), kind) if letter == attribute.NUMBER else pc.equal(texts, "true")
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.MapArray.from_arrays(offsets, keys, values)


def _float_of(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


class ParquetEncoder:
    """A Parquet file of EVENT_SCHEMA and the columns of `with_typed_maps`, zstd.

    Row groups are written as they fill; the footer comes last.
    """

    def __init__(self, group_rows: int = GROUP_ROWS) -> None:
        self._out, self._group_rows = _Drained(), group_rows
        self._writer = pq.ParquetWriter(self._out, PARQUET_SCHEMA, compression="zstd")
        self._waiting: list[pa.Table] = []

    def add(self, rows: pa.Table) -> bytes:
        """See the protocol."""
        self._waiting.append(rows)
        size = sum(table.nbytes for table in self._waiting)
        if size >= GROUP_BYTES or sum(map(len, self._waiting)) >= self._group_rows:
            self._write()
        return self._out.drain()

    def finish(self, incomplete: Sequence[str] = ()) -> bytes:
        """See the protocol."""
        self._write()
        self._writer.close()
        return self._out.drain()

    def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            self._writer.write_table(with_typed_maps(pa.concat_tables(rows)), row_group_size=self._group_rows)


class ArrowEncoder:
    """An Arrow stream of the columns that Parquet has, or of some of them; its end tells whether it is whole."""

    def __init__(self, columns: Sequence[str] = ()) -> None:
        """`columns`: names of PARQUET_SCHEMA, in the order wanted. Raises BadRequest for others, and for repeats."""
        self._schema = typed_schema(columns)
        self._writer = answer_stream.StreamWriter(self._schema)

    def add(self, rows: pa.Table) -> bytes:
        """See the protocol."""
        return self._writer.add(typed_rows(rows, self._schema))

    def finish(self, incomplete: Sequence[str] = ()) -> bytes:
        """See the protocol."""
        return self._writer.end(incomplete)


def typed_schema(columns: Sequence[str] = ()) -> pa.Schema:
    """Give the schema of some columns of PARQUET_SCHEMA, without names all. Raises BadRequest."""
    unknown = [name for name in columns if name not in PARQUET_SCHEMA.names]
    if unknown:
        raise BadRequest(
            f"{', '.join(unknown)}: no such column; there are {', '.join(PARQUET_SCHEMA.names)}, and fields of other "
            "names are in `attributes`"
        )
    if len(set(columns)) < len(columns):
        raise BadRequest("a column is named twice")
    return pa.schema([PARQUET_SCHEMA.field(name) for name in columns]) if columns else PARQUET_SCHEMA


def typed_rows(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give the columns of a `typed_schema` of rows of EVENT_SCHEMA."""
    return with_typed_maps(rows, schema.names).select(schema.names)


class _Drained(io.RawIOBase):
    """A file that is only written to, and emptied as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._at += len(self._parts[-1])
        return len(self._parts[-1])

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of exports: what makes it, and what it is called on the web."""

    make: Callable[[], Encoder]
    media_type: str


ARROW: Final = "arrow"
FORMATS: Final[Mapping[str, Format]] = {
    "ndjson": Format(NdjsonEncoder, "application/x-ndjson"),
    "csv": Format(CsvEncoder, "text/csv; charset=utf-8"),
    "parquet": Format(ParquetEncoder, "application/vnd.apache.parquet"),
    ARROW: Format(ArrowEncoder, answer_stream.MEDIA_TYPE),
}
"""By name, which is also a file's suffix."""


def encoder_of(name: str, columns: Sequence[str] = ()) -> Encoder:
    """Make the encoder of a format; `columns` are for CSV and Arrow, the others have all fields. Raises BadRequest."""
    if name == ARROW:
        return ArrowEncoder(columns)
    if columns and name != "csv":
        raise BadRequest(f"columns are chosen for CSV and Arrow: {name} has all fields")
    return CsvEncoder(columns) if columns else FORMATS[name].make()
