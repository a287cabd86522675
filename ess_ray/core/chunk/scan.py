"""A query's rows in one object: row group by row group, in answer order, until the limit is proven.

Row groups that the skip index rules out are never read. For each other: tests of small columns first; then the
messages are searched as one text (`core/prefilter`) for rows that can match; then `filter_batch` decides those; then
the other columns are read, where rows matched. May live here: in which order columns are looked at, and how much is
read ahead. May not: matching, pages, merging of objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk.page import NotInPlace, TextBlock
from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.index import Index, can_tell
from ess_ray.core.literals import AllOf, AnyOf, Formula, Holds, Text, needs
from ess_ray.core.merge import EMPTY, first_copies
from ess_ray.core.prefilter import Prefilter, Rows, prefilter
from ess_ray.core.query import All, And, Node, Query

SMALL_COLUMNS: Final = frozenset({"timestamp", "observed_timestamp", "level", "severity_number", "service", "host"}) | {
    *("log_id", "vnode", "offset", "row")
}
"""Columns of under one stored byte a row: tested before any larger one is looked at."""
ID_COLUMNS: Final = frozenset({"trace_id", "span_id", "event_id"})
MIN_SELECTIVE_BYTES: Final = 8
"""Of a text: shorter ones are mostly words, which are everywhere."""
PROBE_LIMIT: Final = 256
"""Rows: so few are in the newest row group, if one row in 64 matches. Then looking there costs less than the index."""
RAMP_MARGIN: Final = 1.25
"""Rows read ahead for each that a limit is expected to need: hits are not spread evenly."""
MIN_FEW_GROUPS: Final = 4
FEW_GROUPS_SHARE: Final = 1 / 16
"""Of an object's row groups: when the index leaves so few, what is sought is rare, and they are read at once."""


@dataclass(frozen=True)
class ObjectMatches:
    """Matching rows of one object in answer order, at most the query's limit, all distinct by `event_id`."""

    rows: pa.Table
    rows_matched: int
    duplicates_suppressed: int


@dataclass(frozen=True)
class _Found:
    """The rows of one row group that matched (ascending), and the columns that were read to tell, at those rows."""

    group: int
    rows: pa.Int64Array
    columns: dict[str, pa.ChunkedArray]


def index_first(query: Query, probe: bool = False) -> bool:
    """Guess whether few row groups hold what a query seeks: an id, or a text of MIN_SELECTIVE_BYTES; only costs depend
    on it: then the skip index is read before anything else. Where a `probe` for few rows begins, only for an id: a text
    may be a phrase that is everywhere."""
    return _is_selective(_needs(query), texts=not (probe and query.limit <= PROBE_LIMIT))


def _is_selective(formula: Formula, texts: bool) -> bool:
    match formula:
        case AllOf(parts):
            return any(_is_selective(part, texts) for part in parts)
        case AnyOf(parts):
            return all(_is_selective(part, texts) for part in parts)
        case Text(folded):
            return texts and len(folded) >= MIN_SELECTIVE_BYTES
        case Holds(field, folded):
            return folded is not None and (field.attribute or field.name in ID_COLUMNS)


def scan_object(
    reader: ObjectReader, query: Query, cancelled: Callable[[], bool] = lambda: False, probe: bool = False
) -> ObjectMatches:
    """Find a query's rows in one object, newest or oldest row group first, until the limit is proven.

    Columns that the query does not test are read only where rows matched. What is read grows with what the limit still
    wants. `cancelled` is asked between row groups, since nothing can interrupt the native code that matches one.
    `probe`: see `index_first`.
    """
    plan, answer = Plan(query), _Answer(query)
    groups = Groups(reader, query, probe)
    # Row groups follow each other in time, so that a row of one yet unread can precede no row found.
    while not answer.reached(0) and (window := groups.next(answer.kept)):
        reader.fetch(window, plan.tested or EVENT_SCHEMA.names)
        found: list[_Found] = []
        for place, group in enumerate(window):
            if answer.reached(sum(len(part.rows) for part in found)):
                groups.give_back(window[place:])  # they are wanted after all if some of the rows found are repeats
                break
            if cancelled():
                groups.end()
                break
            part = plan.find(reader, group)
            if len(part.rows):
                found.append(part)
        reader.fetch([part.group for part in found], (name for name in EVENT_SCHEMA.names if name not in plan.tested))
        for part in found:
            answer.add(reader, part)
        reader.forget()
    return answer.matches()


@lru_cache(maxsize=16)
def _needs(query: Query) -> Formula:
    """Give what the skip index is asked for, once a query: a task scans many objects."""
    return needs(query)


class Groups:
    """The row groups left to scan, in answer order, cut into windows: what is fetched at once.

    The first window has as many as could fill the limit; each further one as many as the rows found so far make likely
    to fill it, at least as many as all before, so that there are few. Where the index is a request of its own and
    unlikely to rule much out, it is not read before a first window has left the limit unfilled, and only if what is
    then likely to be read has more bytes than the index.
    """

    def __init__(self, reader: ObjectReader, query: Query, probe: bool) -> None:
        self._reader, self._query = reader, query
        groups = list(range(reader.groups))
        if query.start_us is not None or query.end_us is not None:
            groups = [group for group in groups if query.overlaps(*reader.group_times(group))]
        self._left = groups[::-1] if query.order == "newest" else groups
        self._scanned = 0
        self._few = False
        self._pruned = False
        if reader.knows_index or index_first(query, probe):
            self._prune()

    def _prune(self) -> None:
        self._pruned = True
        sought = _needs(self._query)
        if not self._left or not can_tell(sought) or not self._reader.index:
            return
        kept = set(Index(self._reader.index, self._reader.groups).keep(sought))
        few = max(min(MIN_FEW_GROUPS, len(self._left) // 2), self._reader.groups * FEW_GROUPS_SHARE)
        self._left = [group for group in self._left if group in kept]
        self._few = len(self._left) <= few

    def end(self) -> None:
        """Leave out all that is left."""
        self._left = []

    def give_back(self, groups: list[int]) -> None:
        """Take back the end of the window given last, which was not scanned."""
        self._left = [*groups, *self._left]
        self._scanned -= sum(map(self._reader.group_rows, groups))

    def next(self, found: int) -> list[int]:
        """Give the next window, with so many rows of the answer found so far; empty at the end."""
        wanted = self._wanted(self._query.limit - found)
        unfilled = bool(self._scanned) and not self._pruned
        if unfilled and (not found or self._bytes_of(wanted) > self._reader.facts.index_bytes):
            self._prune()
            wanted = self._wanted(self._query.limit - found)
        least_bytes = (
            self._reader.gap_bytes if self._scanned else 0
        )  # fewer would cost as much, where requests are dear
        window: list[int] = []
        rows = size = 0
        for group in self._left:
            start, end = self._reader.group_span(group)
            enough = rows >= wanted and size >= least_bytes
            if window and (enough or size + end - start > self._reader.window_bytes):
                break
            window.append(group)
            size += end - start
            rows += self._reader.group_rows(group)
        self._left = self._left[len(window) :]
        self._scanned += rows
        return window

    def _bytes_of(self, rows: float) -> float:
        """Estimate what so many of the rows left take in the store."""
        if not self._left:
            return 0
        left = [self._reader.group_span(group) for group in (self._left[0], self._left[-1])]
        size = max(end for _, end in left) - min(start for start, _ in left)
        return min(1.0, rows / sum(map(self._reader.group_rows, self._left))) * size

    def _wanted(self, missing: int) -> float:
        """Give how many rows are likely to hold as many matches as are missing."""
        if self._few:
            return math.inf
        if not self._scanned:
            return missing
        found = self._query.limit - missing
        return max(self._scanned, RAMP_MARGIN * missing * self._scanned / max(1, found))


class _Answer:
    """Rows of an object's answer as they are gathered, and whether they are enough."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._rows: list[pa.Table] = []
        self._seen: set[str] = set()
        self._matched = self._repeats = self._kept = 0

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
        if self.reached(0):
            return
        indices, columns = found.rows, found.columns
        if self._query.order == "newest":
            indices = indices[::-1]
            columns = {name: column[::-1] for name, column in columns.items()}
        if not reader.facts.ids:  # then none of the rows can be a repeat, and more than are missing are of no use
            missing = self._query.limit - self._kept
            indices = indices[:missing]
            columns = {name: column[:missing] for name, column in columns.items()}
        others = [name for name in EVENT_SCHEMA.names if name not in columns]
        columns = {**columns, **reader.read_rows(found.group, others, indices)}
        arrays = [columns[name] for name in EVENT_SCHEMA.names]
        rows, repeats = first_copies(pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA), self._seen)
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
        self._search: Prefilter | None = prefilter(others)
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
            if self._search is not None:
                rows = _both(rows, _candidates(self._search, blocks))
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
