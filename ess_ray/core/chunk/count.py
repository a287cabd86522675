"""A query's rows in one object, counted: only the columns that tests and keys need are read, row group by row group.

Which row groups are looked at, and which rows match, is decided as in a scan (`Windows`, `Plan`). A row group whose
number of rows and times tell its count is not read. May live here: which columns a count reads, and when. May not:
matching, what is counted by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ess_ray.core.aggregate import Counting, Counts, FieldNames, count_rows, count_told, tellable
from ess_ray.core.aggregate.count import one_start
from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.chunk.scan import Plan
from ess_ray.core.chunk.windows import Windows
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import Query


@dataclass(frozen=True)
class ObjectCounts:
    """The matching rows of one object, counted. Repeats by `event_id` count as often as they are stored."""

    counts: pa.Table
    rows_matched: int


@dataclass(frozen=True)
class _Part:
    """Matching rows of one row group, and the columns that were read at those rows to tell."""

    group: int
    rows: pa.Int64Array
    columns: dict[str, pa.ChunkedArray]


def count_object(
    reader: ObjectReader, query: Query, counting: Counting, cancelled: Callable[[], bool] = lambda: False
) -> ObjectCounts:
    """Count a query's rows in one object, whatever its limit and order.

    `cancelled` is asked between row groups. Ends early, too, when there are more buckets than an answer may have.
    """
    count = _Count(reader, query, counting)
    windows = Windows(reader, count.query)  # few columns are wanted of a row group: nothing is streamed
    while window := windows.next(0):
        count.window(window.groups, cancelled)
        reader.forget()
        if cancelled() or count.counts.too_many_starts:
            break
    return ObjectCounts(count.counts.table(), count.rows_matched)


class _Count:
    """One object being counted."""

    def __init__(self, reader: ObjectReader, query: Query, counting: Counting) -> None:
        self.query = replace(query, limit=sys.maxsize)  # so that windows are as large as they may be
        self.counts = Counts(counting)
        self.rows_matched = 0
        self._reader, self._counting = reader, counting
        self._plan = Plan(self.query)
        self._tested = Query(query.root).columns()

    def window(self, groups: Sequence[int], cancelled: Callable[[], bool]) -> None:
        """Count some row groups, what is read of all of them fetched together."""
        unread = self._tell(groups)
        inside = [group for group in unread if self.query.covers(*self._reader.group_times(group))]
        border = [group for group in unread if group not in inside]
        self._fetch(border, self._tested | {"timestamp"})
        self._fetch(inside, self._tested)
        later: list[_Part] = []
        for group in unread:
            if cancelled():
                return
            found = self._plan.find(self._reader, group)
            if not len(found.rows):
                continue
            self.rows_matched += len(found.rows)
            if self._keys(group) <= self._tested:
                self._add(_Part(group, found.rows, found.columns))
            else:  # the columns read are let go: those of a whole window may be large
                later.append(_Part(group, found.rows, {}))
        self._fetch([part.group for part in later], frozenset().union(*(self._keys(part.group) for part in later)))
        for part in later:
            if cancelled():
                return
            self._add(part)

    def _tell(self, groups: Sequence[int]) -> list[int]:
        """Count the row groups that need not be read, and give the others."""
        times = np.array([self._reader.group_times(group) for group in groups], np.int64)
        told = tellable(times[:, 0], times[:, 1], self.query, self._counting)
        rows = np.array([self._reader.group_rows(group) for group in groups], np.int64)[told]
        if len(rows):
            self.counts.add(count_told(rows, times[told, 0], self._counting))
            self.rows_matched += int(rows.sum())
        return [group for group, known in zip(groups, told.tolist(), strict=True) if not known]

    def _fetch(self, groups: Sequence[int], names: frozenset[str]) -> None:
        if groups and names:
            self._reader.fetch(groups, names)

    def _keys(self, group: int) -> frozenset[str]:
        """Name the columns that counting a row group's rows takes."""
        names = self._counting.columns()
        if isinstance(self._counting, FieldNames) and not self._reader.facts.ids:
            names -= {"event_id"}
        single, _ = one_start(*self._reader.group_times(group), self._counting)
        return names if single else names | {"timestamp"}

    def _add(self, part: _Part) -> None:
        single, start_us = one_start(*self._reader.group_times(part.group), self._counting)
        names = [name for name in EVENT_SCHEMA.names if name in self._keys(part.group)]
        columns = {name: column for name, column in part.columns.items() if name in names}
        unread = [name for name in names if name not in columns]
        if unread:
            columns.update(self._read(part, unread))
        # Without any column, the rows still have to be there to be counted.
        arrays = [columns[name] for name in names] or [part.rows]
        rows = pa.table(arrays, names=names or ["row"])
        self.counts.add(count_rows(rows, self._counting, start_us if single else None))

    def _read(self, part: _Part, names: list[str]) -> dict[str, pa.ChunkedArray]:
        if len(part.rows) == self._reader.group_rows(part.group):
            table = self._reader.read_group(part.group, names)
            return dict(zip(names, table.columns, strict=True))
        return self._reader.read_rows(part.group, names, part.rows)
