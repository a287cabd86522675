"""Put rows from many places into one answer: order, repeats, limit, and what may be shown already.

An answer's order is total (`event.ORDER`, reversed for newest), so the same rows always merge alike, whatever finished
first.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import EVENT_SCHEMA, ORDER
from ess_ray.core.query import Order

EMPTY: Final = pa.Table.from_batches([], EVENT_SCHEMA)  # an array here would have pyarrow look for pandas
CUT_SHARE: Final = 0.25
"""Of the limit, rows that must have come before all that waits is sorted and cut again: five rows sorted for each."""


def sort_rows(rows: pa.Table, order: Order) -> pa.Table:
    """Bring rows of EVENT_SCHEMA into answer order."""
    direction = "ascending" if order == "oldest" else "descending"
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, direction) for name in ORDER]))


Copy = tuple[str, bytes | None]
"""What all copies of an event have alike: its client's id, and the hash of what the client sent. The same id with other
content is another event; what was stored without hashes is told apart by ids alone."""


def copies_of(rows: pa.Table) -> list[Copy | None]:
    """Give for each row what its copies have alike; None for a row without an id, which has none."""
    ids, hashes = rows.column("event_id").to_pylist(), rows.column("event_hash").to_pylist()
    return [None if one is None else (one, content) for one, content in zip(ids, hashes, strict=True)]


def first_copies(rows: pa.Table, seen: set[Copy], shown: Set[Copy] = frozenset()) -> tuple[pa.Table, int]:
    """Keep the first copy of every event with an id (rows without one are all kept), and count what was left out.

    `seen` holds what an earlier part of the answer has shown; what is kept here is added to it. `shown` holds more of
    that, and is left as it is.
    """
    ids = rows.column("event_id")
    if ids.null_count == len(ids):
        return rows, 0
    keep: list[bool] = []
    for copy in copies_of(rows):
        keep.append(copy is None or (copy not in seen and copy not in shown))
        if copy is not None:
            seen.add(copy)
    kept = rows.filter(pa.array(keep, pa.bool_()))
    return kept, len(rows) - len(kept)


def top(rows: pa.Table, order: Order, limit: int) -> tuple[pa.Table, int]:
    """Give the first `limit` distinct rows in answer order, and how many repeats were left out.

    Cutting a part of an answer so loses nothing: each row beyond the cut has `limit` distinct events before it in this
    part alone, and merging can only move those further to the front.
    """
    distinct, repeats = first_copies(sort_rows(rows, order), set())
    return distinct.slice(0, limit), repeats


class OrderedMerge:
    """Collects rows in any order and releases them in answer order, each once, at most `limit` of them.

    `release(watermark_us)` gives what can no longer be preceded by anything: rows strictly beyond the watermark, which
    is the best timestamp that anything unfinished can still bring (None: nothing is unfinished). `bound_us` tells, as
    soon as there are enough rows, which timestamps cannot matter any more: those strictly worse. It only gets tighter.
    """

    def __init__(self, order: Order, limit: int) -> None:
        self._order: Order = order
        self._left = limit
        self._seen: set[Copy] = set()
        self._pending: list[tuple[int, pa.Table]] = []  # each with its best timestamp
        self._waiting = self._fresh = 0  # rows pending, and those of them that came since they were last cut
        self.bound_us: int | None = None
        """The timestamp of the last row that is needed of those that are here; None while they are too few."""
        self.duplicates_suppressed = 0

    @property
    def done(self) -> bool:
        """Whether the limit is reached: nothing that is still to come can change the answer."""
        return self._left == 0

    def add(self, rows: pa.Table) -> None:
        """Take rows of EVENT_SCHEMA, in any order."""
        if not len(rows) or self.done:
            return
        self._pending.append((self._best_us(rows), rows))
        self._waiting += len(rows)
        self._fresh += len(rows)
        # Each cut sorts all that waits: a share of it must be fresh, so that many small additions stay linear.
        if self._waiting >= self._left and self._fresh >= self._left * CUT_SHARE:
            self._cut()

    def release(self, watermark_us: int | None) -> pa.Table:
        """Give the rows that are final by now, in answer order."""
        if self.done:
            return EMPTY
        ready: list[pa.Table] = []
        rest: list[tuple[int, pa.Table]] = []
        for best_us, rows in self._pending:
            beyond, behind = self._split(best_us, rows, watermark_us)
            ready += [beyond] if len(beyond) else []
            rest += [(best_us if behind is rows else self._best_us(behind), behind)] if len(behind) else []
        if not ready:
            return EMPTY
        released, repeats = first_copies(sort_rows(pa.concat_tables(ready), self._order), self._seen)
        self.duplicates_suppressed += repeats
        released = released.slice(0, self._left)
        self._left -= len(released)
        self._hold([] if self.done else rest)
        if self.done:
            self.bound_us = _times_us(released)[-1].as_py()
        return released

    def _cut(self) -> None:
        """Let go of rows that cannot be in the answer any more: repeats, and what lies behind enough others."""
        waiting = pa.concat_tables(rows for _, rows in self._pending)
        rows, repeats = first_copies(sort_rows(waiting, self._order), set(), self._seen)
        self.duplicates_suppressed += repeats
        if len(rows) >= self._left:
            rows = rows.slice(0, self._left)
            self.bound_us = _times_us(rows)[-1].as_py()
        self._hold([(_times_us(rows)[0].as_py(), rows)] if len(rows) else [])
        self._fresh = 0

    def _hold(self, pending: list[tuple[int, pa.Table]]) -> None:
        self._pending = pending
        self._waiting = sum(len(rows) for _, rows in pending)
        self._fresh = min(self._fresh, self._waiting)

    def _best_us(self, rows: pa.Table) -> int:
        best = pc.max if self._order == "newest" else pc.min
        return int(best(_times_us(rows)).as_py())

    def _split(self, best_us: int, rows: pa.Table, watermark_us: int | None) -> tuple[pa.Table, pa.Table]:
        """Part rows into those strictly beyond the watermark and the rest."""
        if watermark_us is None:
            return rows, EMPTY
        if not (best_us > watermark_us if self._order == "newest" else best_us < watermark_us):
            return EMPTY, rows
        beyond = (pc.greater if self._order == "newest" else pc.less)(_times_us(rows), watermark_us)
        return rows.filter(beyond), rows.filter(pc.invert(beyond))


def _times_us(rows: pa.Table) -> pa.ChunkedArray:
    return rows.column("timestamp").cast(pa.int64())
