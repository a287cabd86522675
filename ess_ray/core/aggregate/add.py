"""Partial counts -> one, within bounds: nothing is lost from a total, but rare groups may be told together.

May live here: adding up, bounds, which groups come first. May not: rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.aggregate.grouping import Counting, Grouping, counts_schema, key_names

MAX_CELLS: Final = 100_000
"""Buckets times groups in an answer: about 10 MB of JSON, more than anybody draws."""
MAX_HELD_CELLS: Final = 200_000
"""Cells held while counting: a task's or a search's few megabytes. Beyond, the rarest groups are told together."""
MAX_VIEW_CELLS: Final = 1_000_000
"""The same for what is in flight, where cells are kept apart by record: all records of full buffers."""
MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Of cells held, for groups by long texts: a task has 256 MiB, and holds them three times while it adds up."""
MAX_TEXT_BYTES: Final = 8 * 1024 * 1024
"""Of the values in an answer, one at each cell: an event's message alone may have half a megabyte."""
_CELL_BYTES: Final = 32
"""Of a cell, besides its values: a start, a count, and where the values are."""
_KEPT_SHARE: Final = 0.5
"""Of the bounds, what is kept when they are reached: so that it is not all looked through again at once."""
_MIN_FRESH: Final = 50_000
"""Cells that wait before they are added up: fewer cost more calls than they take memory."""

Ids = npt.NDArray[np.int64]


class Counts:
    """Adds partial counts of one kind up, in any order. Not for several threads."""

    def __init__(self, counting: Counting, where: Sequence[str] = (), max_cells: int = MAX_HELD_CELLS) -> None:
        self._counting, self._where, self._max_cells = counting, where, max_cells
        self._held = counts_schema(counting, where).empty_table()
        self._fresh: list[pa.Table] = []
        self._waiting = self._waiting_bytes = 0
        self._starts = 0

    def add(self, counts: pa.Table) -> None:
        """Take a partial count."""
        self._fresh.append(counts)
        self._waiting += len(counts)
        self._waiting_bytes += counts.nbytes
        enough_cells = self._waiting >= max(len(self._held), _MIN_FRESH)
        if enough_cells or self._waiting_bytes >= max(self._held.nbytes, MAX_HELD_BYTES // 2):
            self._settle()

    def table(self) -> pa.Table:
        """Give the sum of what was added, one row a cell."""
        self._settle()
        return self._held

    @property
    def too_many_starts(self) -> bool:
        """Whether it has, as far as it was added up, more buckets than an answer may have: adding more is vain."""
        return self._starts > MAX_CELLS

    def _settle(self) -> None:
        if not self._fresh:
            return
        cells = _sum(pa.concat_tables([self._held, *self._fresh]))
        self._fresh, self._waiting, self._waiting_bytes = [], 0, 0
        self._held = _bounded(cells, self._counting, self._max_cells)
        if len(self._held) > MAX_CELLS and self._counting.interval_us is not None:
            self._starts = pc.count_distinct(self._held.column("start_us")).as_py()


def coarser(counts: pa.Table, grouping: Grouping) -> pa.Table:
    """Count in the larger buckets of `grouping`: its interval is a multiple of what was counted in."""
    starts = grouping.starts(counts.column("start_us").to_numpy())
    at = counts.schema.get_field_index("start_us")
    return _sum(counts.set_column(at, "start_us", pa.array(starts, pa.int64())))


@dataclass(frozen=True)
class Top:
    """The largest groups' cells, and those of `other`; each cell's group has a rank, the largest 0, `other` the last.

    `too_long`: groups are missing that are large enough, because their values are too long.
    """

    cells: pa.Table
    ranks: pa.Int64Array
    too_long: bool


def top_groups(counts: pa.Table, counting: Counting, top: int) -> Top:
    """Keep the `top` groups with the most rows and tell the rest together, as `other`.

    Of equally large ones those with the smaller values are kept.
    """
    if not counting.keys or not len(counts):
        return Top(counts, pa.array(np.zeros(len(counts), np.int64)), False)
    ranks = _ranks(counts, counting)
    long = np.cumsum(np.bincount(ranks, _text_bytes(counts, counting)))[ranks] > MAX_TEXT_BYTES
    cells = _told_together(counts, counting, long | (ranks >= top))
    too_long = pc.any(pc.and_(pa.array(long & (ranks < top)), pc.invert(counts.column("other")))).as_py()
    return Top(cells, pa.array(_ranks(cells, counting)), too_long)


def group_count(counts: pa.Table, counting: Counting) -> int:
    """Count the different groups that are told by themselves."""
    alone = counts.filter(pc.invert(counts.column("other")))
    return int(_group_ids(alone, key_names(counting)).max() + 1) if len(alone) else 0


def _sum(cells: pa.Table) -> pa.Table:
    """Add cells with the same keys."""
    names = [name for name in cells.schema.names if name != "count"]
    grouped = cells.group_by(names, use_threads=False).aggregate([("count", "sum")])
    arrays = [grouped.column(name) for name in [*names, "count_sum"]]
    return pa.table(arrays, schema=cells.schema).combine_chunks()


def _bounded(cells: pa.Table, counting: Counting, max_cells: int) -> pa.Table:
    """Tell the rarest groups together when cells are too many or too large; a count without keys has no groups."""
    if not counting.keys:
        return cells
    sizes = _text_bytes(cells, counting) + _CELL_BYTES
    if len(cells) <= max_cells and sizes.sum() <= MAX_HELD_BYTES:
        return cells
    ranks = _ranks(cells, counting)
    fits = np.cumsum(np.bincount(ranks)) <= max_cells * _KEPT_SHARE
    fits &= np.cumsum(np.bincount(ranks, sizes)) <= MAX_HELD_BYTES * _KEPT_SHARE
    return _told_together(cells, counting, ~fits[ranks])


def _told_together(cells: pa.Table, counting: Counting, rare: npt.NDArray[np.bool_]) -> pa.Table:
    """Make some cells ones of `other`."""
    if not rare.any():
        return cells
    mask = pa.array(rare)
    for name in key_names(counting):
        at = cells.schema.get_field_index(name)
        kept = pc.if_else(mask, pa.scalar(None, pa.string()), cells.column(name))
        cells = cells.set_column(at, cells.schema.field(at), kept)
    at = cells.schema.get_field_index("other")
    return _sum(cells.set_column(at, cells.schema.field(at), pc.or_(mask, cells.column("other"))))


def _ranks(cells: pa.Table, counting: Counting) -> Ids:
    """Rank each cell's group: 0 has the most rows; `other` comes behind all."""
    names = key_names(counting)
    ids = _group_ids(cells, ["other", *names])
    _, first = np.unique(ids, return_index=True)
    totals = np.bincount(ids, cells.column("count").to_numpy()).astype(np.int64)
    groups = cells.select(["other", *names]).take(pa.array(first)).append_column("total", pa.array(totals))
    keys = [("other", "ascending"), ("total", "descending"), *((name, "ascending") for name in names)]
    order = pc.sort_indices(groups, sort_keys=keys).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[ids]


def _group_ids(cells: pa.Table, names: Sequence[str]) -> Ids:
    """Number each cell's group, from 0 on without holes; null is a value."""
    ids: Ids = np.zeros(len(cells), np.int64)
    for name in names:
        encoded = pa.concat_arrays(cells.column(name).chunks).dictionary_encode(null_encoding="encode")
        codes = encoded.indices.to_numpy().astype(np.int64)
        _, ids = np.unique(ids * len(encoded.dictionary) + codes, return_inverse=True)
    return ids


def _text_bytes(cells: pa.Table, counting: Counting) -> npt.NDArray[np.float64]:
    """Give the length of each cell's values."""
    sizes = np.zeros(len(cells))
    for name in key_names(counting):
        sizes += pc.fill_null(pc.binary_length(cells.column(name)), 0).to_numpy()
    return sizes
