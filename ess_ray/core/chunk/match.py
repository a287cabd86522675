"""Which rows of a row group match a query: its tests in the order that reads and decodes least.

Tests of small columns first; then the messages are searched as one text (`core/prefilter`) for rows that can match;
then `filter_batch` decides those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk.page import NotInPlace, TextBlock
from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.chunk.rows import plain, read_coded
from ess_ray.core.event import EVENT_SCHEMA, in_order
from ess_ray.core.filter import filter_batch
from ess_ray.core.prefilter import Condition, Prefilter, Rows, prefilter
from ess_ray.core.query import All, And, Node, Query

SMALL_COLUMNS: Final = frozenset({"timestamp", "observed_timestamp", "level", "severity_number", "service", "host"}) | {
    *("log_id", "vnode", "offset", "row")
}
"""Columns of under one stored byte a row: tested before any larger one is looked at."""


@dataclass(frozen=True)
class Found:
    """The rows of one row group that matched (ascending), and the columns that were read to tell, at those rows."""

    group: int
    rows: pa.Int64Array
    columns: dict[str, pa.ChunkedArray]


def sought_first(query: Query) -> tuple[Condition, ...]:
    """Give what is sought in a block's messages, all of which a row must hold to be tested at all."""
    search = Matcher(query).search
    return search.conditions if search is not None else ()


class Matcher:
    """A query taken apart once a scan: tests of small columns, all others, and the search for their candidates."""

    def __init__(self, query: Query) -> None:
        tests = list(_conjuncts(query.root))
        small = [test for test in tests if Query(test).columns() <= SMALL_COLUMNS]
        others = [test for test in tests if test not in small]
        self._small = replace(query, root=_all_of(small))
        self._others = Query(_all_of(others))
        self._other_names = in_order(self._others.columns())
        self.search: Prefilter | None = prefilter(others)
        self.tested = query.columns()
        """The columns that deciding a row may need."""

    def find(self, reader: ObjectReader, group: int) -> Found:
        """Find the matching rows of one row group."""
        rows = self._by_small_columns(reader, group)
        if self._other_names and (rows is None or len(rows)):
            return self._by_others(reader, group, rows)
        if rows is None:
            rows = np.arange(reader.group_rows(group), dtype=np.int64)
        return Found(group, pa.array(rows, pa.int64()), {})

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
        names = in_order(query.columns()) or ["timestamp"]
        return _positions(read_coded(reader, group, names), query)

    def _by_others(self, reader: ObjectReader, group: int, rows: Rows | None) -> Found:
        names = self._other_names
        columns: dict[str, pa.ChunkedArray] = {}
        if "message" in names:
            blocks = reader.message_blocks(group)
            if self.search is not None:
                rows = _both(rows, _candidates(self.search, blocks))
            if rows is not None and not len(rows):
                return Found(group, pa.array([], pa.int64()), {})
            columns["message"] = reader.messages(group, blocks)
        besides = [name for name in names if name != "message"]
        if besides:
            columns.update(zip(besides, read_coded(reader, group, besides).columns, strict=True))
        if rows is None:
            rows = np.arange(reader.group_rows(group), dtype=np.int64)
        elif len(rows) < reader.group_rows(group):
            chosen = pa.array(rows, pa.int64())
            columns = {name: column.take(chosen) for name, column in columns.items()}
        kept = filter_batch(pa.table([columns[name] for name in names], names), self._others)
        found = {name: plain(columns[name].take(kept), EVENT_SCHEMA.field(name).type) for name in names}
        return Found(group, pa.array(rows[kept.to_numpy()], pa.int64()), found)


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
