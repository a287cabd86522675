"""How an export is cut in time: slices in answer order, each no larger than may be held in memory."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ess_ray.core.query import Query
from ess_ray.ports import ObjectColumns
from ess_ray.search.plan import RAMP_BYTES, left_to_read


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """What bounds one slice."""

    memory_bytes: int = 64 * 1024 * 1024
    """Arrow bytes that its rows should take. Two or three slices are in memory: one being sent, one being scanned, and
    for a moment the rows that the latter is merged of."""
    first_rows: int = 16_384
    """Rows of the first slice, while nothing is known of their size: those of a row group."""
    min_rows: int = 256
    """Rows of a slice of the largest events, of which a row group holds 64."""
    max_rows: int = 262_144
    """Rows of a slice of small events: merging more of them would keep the client waiting for longer."""
    min_read_bytes: int = RAMP_BYTES
    max_read_bytes: int = 1024 * 1024 * 1024
    """Left to read in a slice of rare hits: a second of work for 64 CPUs."""


class Appetite:
    """How much the next slice takes, by what the last one gave: as many rows as fill the memory, and bytes to read for
    them, which double as long as not half of the rows come, and are halved when more come than are wanted."""

    def __init__(self, limits: SliceLimits) -> None:
        self._limits = limits
        self.rows, self.read_bytes = limits.first_rows, limits.min_read_bytes

    def fed(self, rows: pa.Table, cut: bool) -> None:
        """Take note of a slice's rows, and whether it had more than were wanted."""
        limits = self._limits
        if len(rows):
            fitting = limits.memory_bytes * len(rows) // max(1, rows.nbytes)
            self.rows = min(max(limits.min_rows, fitting), limits.max_rows)
        if cut:
            self.read_bytes = max(limits.min_read_bytes, self.read_bytes // 2)
        elif 2 * len(rows) <= self.rows:
            self.read_bytes = min(2 * self.read_bytes, limits.max_read_bytes)


def slice_end(chosen: ObjectColumns, query: Query, read_bytes: int) -> int | None:
    """Tell the last timestamp, in answer order, of a slice that begins where the query does; None: all that is left.

    At most `read_bytes` are left to read in it, beyond what opening the objects costs that overlap where it begins:
    with many of those a slice would otherwise be nothing but opening them.
    """
    if not len(chosen.sizes):
        return None
    oldest, newest = int(chosen.min_us.min()), int(chosen.max_us.max())
    oldest = oldest if query.start_us is None else max(oldest, query.start_us)
    newest = newest if query.end_us is None else min(newest, query.end_us - 1)
    first, step = (newest, -1) if query.order == "newest" else (oldest, 1)
    most = _left(chosen, query.bounded(first)) + read_bytes
    fits = bisect_right(
        range(newest - oldest + 1), most, key=lambda us: _left(chosen, query.bounded(first + step * us))
    )
    return None if fits > newest - oldest else first + step * (fits - 1)


def _left(chosen: ObjectColumns, query: Query) -> int:
    overlap = np.ones(len(chosen.sizes), np.bool_)
    if query.start_us is not None:
        overlap &= chosen.max_us >= query.start_us
    if query.end_us is not None:
        overlap &= chosen.min_us < query.end_us
    return int(left_to_read(chosen, query.start_us, query.end_us)[overlap].sum())


def rest_from(query: Query, us: int) -> Query:
    """Give a query without the rows that answer order puts strictly before `us`."""
    return replace(query, end_us=us + 1) if query.order == "newest" else replace(query, start_us=us)


def rest_behind(query: Query, us: int) -> Query:
    """Give a query without the rows up to and with the timestamp `us` in answer order."""
    return rest_from(query, us - 1 if query.order == "newest" else us + 1)
