"""One object, walked: row groups in the query's order, what matches in each handed to the search's collector.

Row groups that the skip index rules out are never read, nor those of which statistics tell the collector enough. Of the
others only the columns that tests need are read, and those that the collector wants, where rows matched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk.match import Found, Matcher
from ess_ray.core.chunk.read import ObjectReader, Stretch
from ess_ray.core.chunk.rows import read_rows
from ess_ray.core.chunk.windows import Windows
from ess_ray.core.collect import Block, Collector, Partial
from ess_ray.core.event import EVENT_SCHEMA, in_order
from ess_ray.core.query import Query


def collect_object(
    reader: ObjectReader,
    query: Query,
    collector: Collector,
    cancelled: Callable[[], bool] = lambda: False,
    probe: bool = False,
) -> Partial:
    """Make a partial result of a query's rows in one object.

    An ordered collector's ends as soon as the limit is proven, and what is read grows with what the limit still wants.
    For any other, order and limit mean nothing; it ends when the collector has too much. `cancelled` is asked between
    row groups, since nothing can interrupt the native code that matches one. `probe`: see `index_first`.
    """
    return _Walk(reader, query, collector, cancelled=cancelled, probe=probe).result()


@dataclass(frozen=True)
class _Part:
    """Matching rows of one row group, and of the columns that were read to tell those that are still wanted."""

    group: int
    block: Block
    rows: pa.Int64Array
    columns: dict[str, pa.ChunkedArray]


class _Walk:
    """A walk under way: what is sought, what is left to read, what was found."""

    def __init__(
        self, reader: ObjectReader, query: Query, collector: Collector, *, cancelled: Callable[[], bool], probe: bool
    ) -> None:
        self._ordered = collector.ordered
        # Without an order all rows are wanted: then windows are as large as they may be, and few columns are wanted of
        # a row group, so that nothing is streamed.
        query = query if self._ordered else replace(query, limit=sys.maxsize)
        self._reader, self._query, self._collector, self._cancelled = reader, query, collector, cancelled
        self._newest = self._ordered and query.order == "newest"
        self._matcher = Matcher(query)
        self._tested = Query(query.root).columns()
        self._first = (self._matcher.tested or collector.columns()) if self._ordered else None
        self._windows = Windows(reader, query, self._first, probe)
        self._gather = collector.gather(query)
        self._matched = 0

    def result(self) -> Partial:
        # Row groups follow each other in time, so that a row of one yet unread can precede no row found.
        while self._gather.missing and (window := self._windows.next(self._gather.kept)):
            if window.stretches:
                self._streamed(window.stretches)
            else:
                self._held(window.groups)
                self._reader.forget()
        return replace(self._gather.partial(), rows_matched=self._matched)

    # ---------------------------------------------------------------------------------------- row groups held together
    def _held(self, groups: list[int]) -> None:
        """Walk row groups that are fetched together, in the query's order, as far as the limit needs them."""
        unread = self._untold(groups)
        self._fetch_tested(unread)
        later: list[_Part] = []
        for place, group in enumerate(unread):
            if self._gather.missing <= sum(len(part.rows) for part in later):
                self._windows.give_back(unread[place:])  # they are wanted after all if some of the rows are repeats
                break
            if self._cancelled():
                self._windows.end()
                return
            if len((found := self._find(group)).rows):
                later += self._now_or_later(found)
        self._fetch([part.group for part in later], frozenset[str]().union(*map(self._columns, later)))
        for part in later:
            self._add(part)

    def _untold(self, groups: list[int]) -> list[int]:
        """Take what statistics tell of row groups, and give those that must be read."""
        if self._ordered:
            return groups
        times = np.array([self._reader.group_times(group) for group in groups], np.int64)
        told = self._collector.tellable(self._query, times[:, 0], times[:, 1])
        rows = np.array([self._reader.group_rows(group) for group in groups], np.int64)[told]
        if len(rows):
            self._gather.tell(self._collector.from_statistics(rows, times[told, 0]))
            self._matched += int(rows.sum())
        return [group for group, known in zip(groups, told.tolist(), strict=True) if not known]

    def _fetch_tested(self, groups: Sequence[int]) -> None:
        """Fetch what tells whether rows match: times of row groups within the range only if they are wanted anyway."""
        if self._first is not None:
            self._fetch(groups, self._first)
            return
        inside = [group for group in groups if self._query.covers(*self._reader.group_times(group))]
        self._fetch([group for group in groups if group not in inside], self._tested | {"timestamp"})
        self._fetch(inside, self._tested)

    def _fetch(self, groups: Sequence[int], names: Iterable[str]) -> None:
        if groups and (wanted := in_order(names)):
            self._reader.fetch(groups, wanted)

    def _find(self, group: int) -> Found:
        found = self._matcher.find(self._reader, group)
        self._matched += len(found.rows)
        return found

    def _now_or_later(self, found: Found) -> list[_Part]:
        """Hand over rows whose columns are there; give those that must be read first.

        Without a limit, the columns that were read are let go: those of a whole window may be large.
        """
        part = _Part(found.group, self._block(found.group), found.rows, found.columns)
        if self._columns(part) <= self._tested:
            self._add(part)
            return []
        return [part if self._ordered else replace(part, columns={})]

    # ------------------------------------------------------------------------------------------------------- streaming
    def _streamed(self, stretches: list[Stretch]) -> None:
        """Walk row groups as they arrive, each with all its columns. A stream runs forwards: for the newest, what it
        brings is put in front of what it brought, and the limit can end the walk only after a stretch."""
        for stretch in stretches[::-1] if self._newest else stretches:
            with closing(self._reader.stream(stretch)) as arriving:
                for group in arriving:
                    if self._cancelled():
                        self._windows.end()
                        return  # without what waits, since newer rows may be missing before it
                    found = self._find(group)
                    if not len(found.rows):
                        continue
                    part = _Part(group, self._block(group), found.rows, found.columns)
                    if self._newest:
                        self._gather.add_before(self._rows_of(part), part.block)
                    else:
                        self._add(part)
                        if not self._gather.missing:
                            return
            self._gather.settle()
            if not self._gather.missing:
                return

    # ------------------------------------------------------------------------------------------------------------ rows
    def _block(self, group: int) -> Block:
        return Block(*self._reader.group_times(group), ids=bool(self._reader.facts.ids))

    def _columns(self, part: _Part) -> frozenset[str]:
        return self._collector.columns(part.block)

    def _add(self, part: _Part) -> None:
        if self._gather.missing:
            self._gather.add(self._rows_of(part), part.block)

    def _rows_of(self, part: _Part) -> pa.Table:
        """Give what the collector wants of rows, in the query's order; no more of them than can be of use."""
        names = in_order(self._columns(part))
        indices, columns = part.rows, {name: column for name, column in part.columns.items() if name in names}
        if self._newest:
            indices = indices[::-1]
            columns = {name: column[::-1] for name, column in columns.items()}
        if self._ordered and not part.block.ids:  # then none of the rows can be a repeat
            indices = indices[: self._gather.missing]
            columns = {name: column[: self._gather.missing] for name, column in columns.items()}
        columns.update(self._read(part.group, [name for name in names if name not in columns], indices))
        if not names:  # then the rows still have to be there to be counted
            return pa.table([indices], names=["row"])
        schema = pa.schema([EVENT_SCHEMA.field(name) for name in names])
        return pa.Table.from_arrays([columns[name] for name in names], schema=schema)

    def _read(self, group: int, names: list[str], indices: pa.Int64Array) -> dict[str, pa.ChunkedArray]:
        if not names:
            return {}
        if not self._newest and len(indices) == self._reader.group_rows(group):
            return dict(zip(names, self._reader.read_group(group, names).columns, strict=True))
        return read_rows(self._reader, group, names, indices)
