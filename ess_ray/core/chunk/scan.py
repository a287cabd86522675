"""A query's rows in one object: row group by row group, in answer order, until the limit is proven.

Row groups that the skip index rules out are never read. For each other: tests of small columns first; then the
messages are searched as one text (`core/prefilter`) for rows that can match; then `filter_batch` decides those; then
the other columns are read, where rows matched. May live here: in which order columns are looked at, and rows put into
answer order. May not: matching, pages, what is read next (windows), merging of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk.page import NotInPlace, TextBlock
from ess_ray.core.chunk.read import ObjectReader, Stretch
from ess_ray.core.chunk.windows import Windows
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.merge import CUT_SHARE, EMPTY, Copy, first_copies
from ess_ray.core.prefilter import Condition, Prefilter, Rows, prefilter
from ess_ray.core.query import All, And, Node, Query

SMALL_COLUMNS: Final = frozenset({"timestamp", "observed_timestamp", "level", "severity_number", "service", "host"}) | {
    *("log_id", "vnode", "offset", "row")
}
"""Columns of under one stored byte a row: tested before any larger one is looked at."""


@dataclass(frozen=True)
class ObjectMatches:
    """Matching rows of one object in answer order, at most the query's limit, all distinct (`merge.Copy`)."""

    rows: pa.Table
    rows_matched: int
    duplicates_suppressed: int


@dataclass(frozen=True)
class _Found:
    """The rows of one row group that matched (ascending), and the columns that were read to tell, at those rows."""

    group: int
    rows: pa.Int64Array
    columns: dict[str, pa.ChunkedArray]


def sought_first(query: Query) -> tuple[Condition, ...]:
    """Give what is sought in a block's messages, all of which a row must hold to be tested at all."""
    search = Plan(query).search
    return search.conditions if search is not None else ()


def scan_object(
    reader: ObjectReader, query: Query, cancelled: Callable[[], bool] = lambda: False, probe: bool = False
) -> ObjectMatches:
    """Find a query's rows in one object, newest or oldest row group first, until the limit is proven.

    Columns that the query does not test are read only where rows matched. What is read grows with what the limit still
    wants. `cancelled` is asked between row groups, since nothing can interrupt the native code that matches one.
    `probe`: see `index_first`.
    """
    scan = _Scan(reader, query, cancelled, probe)
    # Row groups follow each other in time, so that a row of one yet unread can precede no row found.
    while not scan.answer.reached(0) and (window := scan.windows.next(scan.answer.kept)):
        if window.stretches:
            scan.streamed(window.stretches)
        else:
            scan.held(window.groups)
    return scan.answer.matches()


class _Scan:
    """A scan under way: what is sought, what is left to read, what was found."""

    def __init__(self, reader: ObjectReader, query: Query, cancelled: Callable[[], bool], probe: bool) -> None:
        self._reader, self._cancelled = reader, cancelled
        self._newest = query.order == "newest"
        self._plan = Plan(query)
        self._tested = self._plan.tested or EVENT_SCHEMA.names
        self.windows = Windows(reader, query, self._tested, probe)
        self.answer = _Answer(query)

    def held(self, groups: list[int]) -> None:
        """Scan row groups that are fetched together, in answer order, as far as the limit needs them."""
        reader, answer = self._reader, self.answer
        reader.fetch(groups, self._tested)
        found: list[_Found] = []
        for place, group in enumerate(groups):
            if answer.reached(sum(len(part.rows) for part in found)):
                self.windows.give_back(groups[place:])  # they are wanted after all if some of the rows are repeats
                break
            if self._cancelled():
                self.windows.end()
                break
            part = self._plan.find(reader, group)
            if len(part.rows):
                found.append(part)
        others = (name for name in EVENT_SCHEMA.names if name not in self._plan.tested)
        reader.fetch([part.group for part in found], others)
        for part in found:
            answer.add(reader, part)
        reader.forget()

    def streamed(self, stretches: list[Stretch]) -> None:
        """Scan row groups as they arrive, each with all its columns. A stream runs forwards: for the newest, what it
        brings is put in front of what it brought, and the limit can end the scan only after a stretch."""
        for stretch in stretches[::-1] if self._newest else stretches:
            with closing(self._reader.stream(stretch)) as arriving:
                for group in arriving:
                    if self._cancelled():
                        self.windows.end()
                        return  # without what waits, since newer rows may be missing before it
                    part = self._plan.find(self._reader, group)
                    if len(part.rows) and self._newest:
                        self.answer.add_before(self._reader, part)
                    elif len(part.rows):
                        self.answer.add(self._reader, part)
                        if self.answer.reached(0):
                            return
            self.answer.settle()
            if self.answer.reached(0):
                return


class _Answer:
    """Rows of an object's answer as they are gathered, and whether they are enough."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._rows: list[pa.Table] = []
        self._seen: set[Copy] = set()
        self._before: list[pa.Table] = []
        self._matched = self._repeats = self._kept = self._waiting = 0

    @property
    def kept(self) -> int:
        """How many rows it has."""
        return self._kept

    def reached(self, more: int) -> bool:
        """Tell whether the limit is reached, with so many rows found that are not added yet."""
        return self._kept + more >= self._query.limit

    def add(self, reader: ObjectReader, found: _Found) -> None:
        """Read the other columns of the rows found and append them in answer order."""
        self._matched += len(found.rows)
        if not self.reached(0):
            self._append(self._rows_of(reader, found))

    def add_before(self, reader: ObjectReader, found: _Found) -> None:
        """Do so with rows that precede those given before, since `settle`: a stream brings the newest last.

        Rows that so many others precede by now that they cannot be in the answer are let go of.
        """
        self._matched += len(found.rows)
        rows = self._rows_of(reader, found)
        self._before.append(rows)
        self._waiting += len(rows)
        if self._waiting >= (1 + CUT_SHARE) * self._missing:
            waiting, repeats = first_copies(pa.concat_tables(self._before[::-1]), set(), self._seen)
            self._repeats += repeats
            self._before = [waiting.slice(0, self._missing)]
            self._waiting = len(self._before[0])

    def settle(self) -> None:
        """Append what `add_before` was given."""
        for rows in self._before[::-1]:
            self._append(rows)
        self._before, self._waiting = [], 0

    @property
    def _missing(self) -> int:
        return self._query.limit - self._kept

    def _rows_of(self, reader: ObjectReader, found: _Found) -> pa.Table:
        indices, columns = found.rows, found.columns
        if self._query.order == "newest":
            indices = indices[::-1]
            columns = {name: column[::-1] for name, column in columns.items()}
        if not reader.facts.ids:  # then none of the rows can be a repeat, and more than are missing are of no use
            indices = indices[: self._missing]
            columns = {name: column[: self._missing] for name, column in columns.items()}
        others = [name for name in EVENT_SCHEMA.names if name not in columns]
        columns = {**columns, **reader.read_rows(found.group, others, indices)}
        return pa.Table.from_arrays([columns[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA)

    def _append(self, rows: pa.Table) -> None:
        rows, repeats = first_copies(rows, self._seen)
        self._repeats += repeats
        self._kept += len(rows)
        self._rows.append(rows)

    def matches(self) -> ObjectMatches:
        rows = pa.concat_tables(self._rows).slice(0, self._query.limit) if self._rows else EMPTY
        return ObjectMatches(rows, self._matched, self._repeats)


class Plan:
    """A query taken apart once a scan: tests of small columns, all others, and the search for their candidates."""

    def __init__(self, query: Query) -> None:
        tests = list(_conjuncts(query.root))
        small = [test for test in tests if Query(test).columns() <= SMALL_COLUMNS]
        others = [test for test in tests if test not in small]
        self._small = replace(query, root=_all_of(small))
        self._others = Query(_all_of(others))
        self._other_names = _in_order(self._others.columns())
        self.search: Prefilter | None = prefilter(others)
        self.tested = query.columns()
        """The columns that deciding a row may need."""

    def find(self, reader: ObjectReader, group: int) -> _Found:
        """Find the matching rows of one row group."""
        rows = self._by_small_columns(reader, group)
        if self._other_names and (rows is None or len(rows)):
            return self._by_others(reader, group, rows)
        if rows is None:
            rows = np.arange(reader.group_rows(group), dtype=np.int64)
        return _Found(group, pa.array(rows, pa.int64()), {})

    def _by_small_columns(self, reader: ObjectReader, group: int) -> Rows | None:
        """Give the rows that pass the small columns' tests and the time range; None for all."""
        query = self._small
        if query.start_us is not None or query.end_us is not None:
            first_us, last_us = reader.group_times(group)
            begun = query.start_us is None or query.start_us <= first_us
            if begun and (query.end_us is None or last_us < query.end_us):
                query = Query(query.root)
        if isinstance(query.root, All) and query.start_us is None and query.end_us is None:
            return None
        # NOT NOT * and its like test no column; the rows must still be counted out.
        names = _in_order(query.columns()) or ["timestamp"]
        return _positions(reader.read_group(group, names), query)

    def _by_others(self, reader: ObjectReader, group: int, rows: Rows | None) -> _Found:
        names = self._other_names
        columns: dict[str, pa.ChunkedArray] = {}
        if "message" in names:
            blocks = reader.message_blocks(group)
            if self.search is not None:
                rows = _both(rows, _candidates(self.search, blocks))
            if rows is not None and not len(rows):
                return _Found(group, pa.array([], pa.int64()), {})
            columns["message"] = reader.messages(group, blocks)
        besides = [name for name in names if name != "message"]
        if besides:
            columns.update(zip(besides, reader.read_group(group, besides).columns, strict=True))
        if rows is None:
            rows = np.arange(reader.group_rows(group), dtype=np.int64)
        elif len(rows) < reader.group_rows(group):
            chosen = pa.array(rows, pa.int64())
            columns = {name: column.take(chosen) for name, column in columns.items()}
        schema = pa.schema([EVENT_SCHEMA.field(name) for name in names])
        kept = filter_batch(pa.Table.from_arrays([columns[name] for name in names], schema=schema), self._others)
        return _Found(
            group, pa.array(rows[kept.to_numpy()], pa.int64()), {name: columns[name].take(kept) for name in names}
        )


def _candidates(search: Prefilter, blocks: Iterable[TextBlock]) -> Rows | None:
    """Give the candidate rows of a row group's blocks, None when any row may match."""
    found: list[Rows] = []
    start = 0
    known = False
    for block in blocks:
        try:
            rows = search.candidates(block)
        except NotInPlace:
            return None  # damaged lengths: Arrow's reader will say what is wrong
        known |= rows is not None
        found.append((np.arange(block.rows, dtype=np.int64) if rows is None else rows) + start)
        start += block.rows
    return np.concatenate(found) if known else None


def _both(first: Rows | None, second: Rows | None) -> Rows | None:
    if first is None or second is None:
        return second if first is None else first
    return np.intersect1d(first, second, assume_unique=True)


def _positions(table: pa.Table, query: Query) -> Rows:
    positions: Rows = filter_batch(table, query).to_numpy()
    return positions


def _conjuncts(node: Node) -> Iterator[Node]:
    """Give the tests all of which must hold."""
    if isinstance(node, And):
        for child in node.children:
            yield from _conjuncts(child)
    elif not isinstance(node, All):
        yield node


def _all_of(tests: Sequence[Node]) -> Node:
    return And(tuple(tests)) if len(tests) > 1 else tests[0] if tests else All()


def _in_order(names: Iterable[str]) -> list[str]:
    wanted = frozenset(names)
    return [name for name in EVENT_SCHEMA.names if name in wanted]
