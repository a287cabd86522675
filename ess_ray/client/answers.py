"""Answers in a program: events as they come, and tables of numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ess_ray.client.endpoints import reasons_of
from ess_ray.client.paging import Outcome
from ess_ray.client.shapes import OnIncomplete, pandas_of, polars_of, table_of, told
from ess_ray.core.errors import BadRequest
from ess_ray.core.event import to_json_rows

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class _Events:
    """What both kinds of events tell of themselves."""

    def __init__(self, on_incomplete: OnIncomplete) -> None:
        self._on_incomplete, self._outcome, self._begun = on_incomplete, Outcome(), False

    @property
    def complete(self) -> bool | None:
        """Whether everything that was acknowledged is in the answer; None until it is read to its end."""
        missing = self._outcome.incomplete
        return None if missing is None else not missing

    @property
    def incomplete(self) -> tuple[str, ...]:
        """What is missing, for people; nothing until the answer is read to its end."""
        return self._outcome.incomplete or ()

    def _begin(self) -> None:
        if self._begun:
            raise BadRequest("an answer is read once: keep .to_arrow(), or search again")
        self._begun = True

    def _table(self, batches: Sequence[pa.RecordBatch]) -> pa.Table:
        assert self._outcome.schema is not None
        return pa.Table.from_batches(batches, self._outcome.schema.remove_metadata())


class Events(_Events):
    """The events of a search, read once, while they come: dicts as answers have them, or columns.

    The search begins with the first event that is asked for. What is missing is told at the end, when all that is there
    was handed out: by Incomplete, a warning, or `complete` and `incomplete` alone, as `incomplete=` says.
    """

    def __init__(
        self, read: Callable[[Outcome], Iterator[pa.RecordBatch]], on_incomplete: OnIncomplete = "raise"
    ) -> None:
        super().__init__(on_incomplete)
        self._read = read

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            yield from to_json_rows(pa.Table.from_batches([batch]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the events as record batches while they come: memory stays that of one. Raises Incomplete at the end."""
        self._begin()
        yield from self._read(self._outcome)
        told(self.incomplete, self._on_incomplete)

    def to_arrow(self) -> pa.Table:
        """Read all events into a pyarrow.Table. Raises Incomplete."""
        return self._table(list(self.batches()))

    def to_polars(self) -> pl.DataFrame:
        """Read all events into a polars.DataFrame. Raises Incomplete."""
        return polars_of(self.to_arrow())

    def to_pandas(self) -> pd.DataFrame:
        """Read all events into a pandas.DataFrame. Raises Incomplete."""
        return pandas_of(self.to_arrow())


class AsyncEvents(_Events):
    """The same on an event loop: `async for`, and methods that are awaited."""

    def __init__(
        self, read: Callable[[Outcome], AsyncIterator[pa.RecordBatch]], on_incomplete: OnIncomplete = "raise"
    ) -> None:
        super().__init__(on_incomplete)
        self._read = read

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for batch in self.batches():
            for event in to_json_rows(pa.Table.from_batches([batch])):
                yield event

    async def batches(self) -> AsyncIterator[pa.RecordBatch]:
        """See `Events`."""
        self._begin()
        async for batch in self._read(self._outcome):
            yield batch
        told(self.incomplete, self._on_incomplete)

    async def to_arrow(self) -> pa.Table:
        """See `Events`."""
        return self._table([batch async for batch in self.batches()])

    async def to_polars(self) -> pl.DataFrame:
        """See `Events`."""
        return polars_of(await self.to_arrow())

    async def to_pandas(self) -> pd.DataFrame:
        """See `Events`."""
        return pandas_of(await self.to_arrow())


class Table:
    """A table of numbers: what `stats` and `pipe` give. An iterable of dicts by column, as often as wanted."""

    def __init__(self, page: Mapping[str, Any], columns: Sequence[Mapping[str, str]], rows: Sequence[Sequence[Any]]):
        self.page = page
        """The answer as it came, with `ignored` and `relative_error`."""
        self.columns = tuple(column["name"] for column in columns)
        self.incomplete = tuple(reasons_of(page))
        """What is missing, for people."""
        self._columns, self._rows = columns, rows

    @property
    def complete(self) -> bool:
        """Whether everything that was acknowledged is counted."""
        return not self.incomplete

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def to_arrow(self) -> pa.Table:
        """Give typed columns."""
        return table_of(self._columns, self._rows)

    def to_polars(self) -> pl.DataFrame:
        """Give a polars.DataFrame."""
        return polars_of(self.to_arrow())

    def to_pandas(self) -> pd.DataFrame:
        """Give a pandas.DataFrame."""
        return pandas_of(self.to_arrow())


def of_pipe(page: Mapping[str, Any]) -> Table:
    """Give a pipe's answer."""
    return Table(page, page["columns"], page["rows"])


def of_stats(page: Mapping[str, Any], by: Sequence[str], stats: Sequence[str], interval: str | None) -> Table:
    """Give an aggregation's buckets as a table: `start`, the groups, `count`, the functions; without `other`."""
    columns = [{"name": "start", "type": "time"}] if interval is not None else []
    columns += [{"name": name, "type": "text"} for name in by]
    columns += [{"name": name, "type": "number"} for name in ("count", *stats)]
    rows = [
        [
            *([bucket["start"]] if interval is not None else []),
            *(bucket["by"][name] for name in by),
            bucket["count"],
            *(bucket["stats"][name] for name in stats),
        ]
        for bucket in page["buckets"]
        if not bucket.get("other")
    ]
    return Table(page, columns, rows)
