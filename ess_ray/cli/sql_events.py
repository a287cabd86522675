"""`events` as DuckDB sees it: a dataset whose scans are exports of a running system, cut to what a statement asks for.

DuckDB hands over which columns it needs and what it filters by. Times are taken out of the filter, so that the system
prunes by them; the rest is applied here to what comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from ess_ray.client import Client, Events
from ess_ray.core.errors import EssError, Unsupported
from ess_ray.core.event import HIDDEN_COLUMNS, TIMESTAMP
from ess_ray.core.timestamps import format_timestamp
from ess_ray.search.formats import PARQUET_SCHEMA

SCHEMA: Final = pa.schema([field for field in PARQUET_SCHEMA if field.name not in HIDDEN_COLUMNS])
"""What a statement finds in `events`."""
_TIME: Final = "timestamp"
_LEAST_US, _MOST_US = 0, 253_402_300_799_999_999
"""Times that RFC 3339 can say: 1970 to 9999."""


class EventsTable(ds.Dataset):  # type: ignore[misc]
    """The events of a query, read by one scan: a second one would be another snapshot."""

    def __init__(self, client: Client, query: str, start: str | int, end: str | int | None) -> None:
        self._client, self._query, self._bounds = client, query, (start, end)
        self.events: Events | None = None
        """The answer that was read."""
        self.error: EssError | None = None
        """What ended it, which DuckDB tells as text alone."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return SCHEMA

    def scanner(
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None, **_: Any
    ) -> ds.Scanner:
        """Scan once: asks the system for these columns, those of the filter, and its times."""
        if self.events is not None:
            self.error = Unsupported("events is read once in a statement: this is our fault, please report it")
            raise self.error
        wanted = SCHEMA.names if columns is None else list(columns)
        named = "" if filter is None else str(filter)
        read = [name for name in SCHEMA.names if name in wanted or name in named] or [_TIME]
        start, end = self._range(filter)
        self.events = self._client.search(self._query, start=start, end=end, columns=read, incomplete="ignore")
        schema = pa.schema([SCHEMA.field(name) for name in read])
        return ds.Scanner.from_batches(self._batches(self.events), schema=schema, columns=columns, filter=filter)

    def _range(self, filter: pc.Expression | None) -> tuple[str | int, str | int | None]:
        """Give the bounds to ask for: those of the filter where they are, and the command's where it named some."""
        start, end = self._bounds
        if filter is None:
            return start, end
        first_us, last_us = times_of(filter)
        start = format_timestamp(first_us) if start == 0 and first_us > _LEAST_US else start
        end = format_timestamp(last_us + 1) if end is None and last_us < _MOST_US else end
        return start, end

    def _batches(self, events: Events) -> Iterator[pa.RecordBatch]:
        try:
            for batch in events.batches():
                yield batch.replace_schema_metadata(None)
        except EssError as error:
            self.error = error
            raise


def times_of(filter: pc.Expression) -> tuple[int, int]:
    """Give the first and the last microsecond that a filter can let pass, at least; an empty range where it is none.

    It is asked of Arrow's own simplification by guarantees, so that every form of filter counts that it understands.
    """
    if _none_pass(filter, _LEAST_US, _MOST_US):
        return _LEAST_US, _LEAST_US
    first, last = _LEAST_US, _MOST_US
    low, high = _LEAST_US, _MOST_US  # the largest `first` with nothing before it
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _none_pass(filter, _LEAST_US, middle - 1) else (low, middle - 1)
    first = low
    low, high = first, _MOST_US
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _none_pass(filter, middle + 1, _MOST_US) else (middle + 1, high)
    last = low
    return first, last


def _none_pass(filter: pc.Expression, first_us: int, last_us: int) -> bool:
    """Tell whether it is certain that no row between two times passes."""
    at = pc.field(_TIME)
    within = (at >= pa.scalar(first_us, TIMESTAMP)) & (at <= pa.scalar(last_us, TIMESTAMP))
    form = ds.ParquetFileFormat()
    files = pyarrow.fs.LocalFileSystem()
    part = form.make_fragment("none", files, partition_expression=within)  # never opened
    return not list(ds.FileSystemDataset([part], SCHEMA, form, files).get_fragments(filter=filter))
