"""Which row groups of an object a scan reads next, and how many of them at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ess_ray.core.chunk.read import ObjectReader, Stretch
from ess_ray.core.index import Index, can_tell
from ess_ray.core.literals import AllOf, AnyOf, Formula, Holds, Text, needs
from ess_ray.core.query import Query

ID_COLUMNS: Final = frozenset({"trace_id", "span_id", "event_id"})
MIN_SELECTIVE_BYTES: Final = 8
"""Of a text: shorter ones are mostly words, which are everywhere."""
PROBE_LIMIT: Final = 256
"""Rows: so few are in the newest row group, if one row in 64 matches. Then looking there costs less than the index."""
RAMP_MARGIN: Final = 1.25
"""Rows read ahead for each that a limit is expected to need: hits are not spread evenly."""
REST_SHARE: Final = 1 / 2
"""Of the row groups left: when so many are likely to be needed, a stream brings all, which may be a request less."""
MIN_FEW_GROUPS: Final = 4
FEW_GROUPS_SHARE: Final = 1 / 16
"""Of an object's row groups: when the index leaves so few, what is sought is rare, and they are read at once."""


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


def index_tells(query: Query) -> bool:
    """Tell whether a skip index can rule anything out for a query."""
    return can_tell(_needs(query))


def left_by_index(reader: ObjectReader, query: Query) -> int | None:
    """Tell how many bytes the row groups have that may hold what a query seeks, by their times and the skip index; 0:
    no row of the object matches. None where the index cannot tell."""
    groups = _within(reader, query)
    if not groups:
        return 0
    kept = _kept(reader, query)
    if kept is None:
        return None
    return sum(end - start for start, end in (reader.group_span(group) for group in groups if group in kept))


def _within(reader: ObjectReader, query: Query) -> list[int]:
    """Give the row groups in which times of the query's range may lie."""
    groups = range(reader.groups)
    if query.start_us is None and query.end_us is None:
        return list(groups)
    return [group for group in groups if query.overlaps(*reader.group_times(group))]


def _kept(reader: ObjectReader, query: Query) -> frozenset[int] | None:
    """Give the row groups that the skip index does not rule out; None where it cannot tell."""
    sought = _needs(query)
    if not can_tell(sought) or not reader.index:
        return None
    return frozenset(Index(reader.index, reader.groups, reader.has_types).keep(sought))


@lru_cache(maxsize=16)
def _needs(query: Query) -> Formula:
    """Give what the skip index is asked for, once a query: a task scans many objects."""
    return needs(query)


@dataclass(frozen=True)
class Window:
    """Row groups to scan next, in answer order. With `stretches` (in the object's order) they are streamed."""

    groups: list[int]
    stretches: list[Stretch]


class Windows:
    """The row groups left to scan, in answer order, cut into windows: what is fetched at once.

    The first window has as many as could fill the limit; each further one as many as the rows found so far make likely
    to fill it, at least as many as all before, so that there are few. Where the index is a request of its own and
    unlikely to rule much out, it is not read before a first window has left the limit unfilled, and only if what is
    then likely to be read has more bytes than the index. A window that is not streamed is bounded by what a reader may
    hold.
    """

    def __init__(
        self, reader: ObjectReader, query: Query, streamed: Collection[str] | None = None, probe: bool = False
    ) -> None:
        """`streamed`: the columns that are wanted of every row group, where those of a window may be streamed."""
        self._reader, self._query, self._columns = reader, query, streamed
        groups = _within(reader, query)
        self._left = groups[::-1] if query.order == "newest" else groups
        self._scanned = 0
        self._few = False
        self._pruned = False
        if reader.knows_index or index_first(query, probe):
            self._prune()

    def _prune(self) -> None:
        self._pruned = True
        if not self._left or (kept := _kept(self._reader, self._query)) is None:
            return
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

    def next(self, found: int) -> Window | None:
        """Give the next window, with so many rows of the answer found so far; None at the end."""
        wanted = self._wanted(self._query.limit - found)
        unfilled = bool(self._scanned) and not self._pruned
        if unfilled and (not found or self._bytes_of(wanted) > self._reader.facts.index_bytes):
            self._prune()
            wanted = self._wanted(self._query.limit - found)
        window, stretches = self._streamed(wanted)
        if not stretches:
            window = self._first(wanted, self._reader.window_bytes)
        self._left = self._left[len(window) :]
        self._scanned += sum(map(self._reader.group_rows, window))
        return Window(window, stretches) if window else None

    def _streamed(self, wanted: float) -> tuple[list[int], list[Stretch]]:
        """Give the first row groups that have `wanted` rows, and how they are streamed, if they are."""
        if self._columns is None or not self._reader.streams:
            return [], []
        window = self._first(wanted, math.inf)
        if self._scanned and len(window) >= REST_SHARE * len(self._left):
            window = self._left
        return window, self._reader.stretches(window, self._columns)

    def _first(self, wanted: float, max_bytes: float) -> list[int]:
        """Give the first row groups that have `wanted` rows, in bounds; one in any case."""
        # Fewer bytes than a request costs would cost as much, once it is no probe.
        least_bytes = self._reader.gap_bytes if self._scanned else 0
        window: list[int] = []
        rows = size = 0
        for group in self._left:
            start, end = self._reader.group_span(group)
            enough = rows >= wanted and size >= least_bytes
            if window and (enough or size + end - start > max_bytes):
                break
            window.append(group)
            size += end - start
            rows += self._reader.group_rows(group)
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
