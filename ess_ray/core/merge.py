"""Put rows from many places into one answer: order, repeats, limit, and what may be shown already.

An answer's order is total (`event.ORDER`, reversed for newest), so the same rows always merge alike, whatever finished
first. May live here: pure merging of Arrow tables. May not: scheduling, I/O, or deciding what to scan.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.event import EVENT_SCHEMA, ORDER
from ess_ray.core.query import Order

EMPTY: Final = EVENT_SCHEMA.empty_table()


def sort_rows(rows: pa.Table, order: Order) -> pa.Table:
    """Bring rows of EVENT_SCHEMA into answer order."""
    direction = "ascending" if order == "oldest" else "descending"
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, direction) for name in ORDER]))


def first_copies(rows: pa.Table, seen: set[str]) -> tuple[pa.Table, int]:
    """Keep the first row of every `event_id` (rows without one are all kept), and count what was left out.

    `seen` holds the ids that an earlier part of the answer has shown; the ids kept here are added to it.
    """
    ids = rows.column("event_id")
    if ids.null_count == len(ids):
        return rows, 0
    keep: list[bool] = []
    for event_id in ids.to_pylist():
        keep.append(event_id is None or event_id not in seen)
        if event_id is not None:
            seen.add(event_id)
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
    is the best timestamp that anything unfinished can still bring (None: nothing is unfinished).
    """

    def __init__(self, order: Order, limit: int) -> None:
        self._order: Order = order
        self._left = limit
        self._seen: set[str] = set()
        self._pending: list[pa.Table] = []
        self.duplicates_suppressed = 0

    @property
    def done(self) -> bool:
        """Whether the limit is reached: nothing that is still to come can change the answer."""
        return self._left == 0

    def add(self, rows: pa.Table) -> None:
        if len(rows):
            self._pending.append(rows)

    def release(self, watermark_us: int | None) -> pa.Table:
        if not self._pending or self.done:
            return EMPTY
        rows = sort_rows(pa.concat_tables(self._pending), self._order)
        ready = len(rows) if watermark_us is None else self._count_beyond(rows, watermark_us)
        released, repeats = first_copies(rows.slice(0, ready), self._seen)
        self.duplicates_suppressed += repeats
        released = released.slice(0, self._left)
        self._left -= len(released)
        self._pending = [rows.slice(ready)] if ready < len(rows) and self._left else []
        return released

    def _count_beyond(self, rows: pa.Table, watermark_us: int) -> int:
        times = rows.column("timestamp").cast(pa.int64())
        beyond = pc.greater(times, watermark_us) if self._order == "newest" else pc.less(times, watermark_us)
        return int(pc.sum(beyond).as_py() or 0)
