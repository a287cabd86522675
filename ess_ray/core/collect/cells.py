"""Results that are cells: one per time bucket and group, with a number of rows and what else was made of them.

A partial result has one row a cell: `start_us` (the bucket, null without an interval), a string column a key (`by_0`,
...; null: the row has no such field), `other` (true: what small groups were added to), `count`, a collector's further
values, and lists of slots of its accumulators (`core.statistics`). Cells with the same keys are made one, value by
value; within bounds: nothing is lost from a total, but rare groups may be told together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect.collector import Bound, Collector, Fold
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import Query
from ess_ray.core.statistics import SLOT_BYTES, SLOTS, Slotted, slot_counts, unpacked

MAX_CELLS: Final = 100_000
"""Buckets times groups in an answer: about 10 MB of JSON, more than anybody draws."""
MAX_HELD_CELLS: Final = 200_000
"""Cells held while counting: a task's or a search's few megabytes. Beyond, the rarest groups are told together."""
MAX_VIEW_CELLS: Final = 1_000_000
"""The same for what is in flight, where cells are kept apart by record: all records of full buffers."""
MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Of cells held, for groups by long texts: a task has 256 MiB, and holds them three times while it adds up."""
MAX_SLOT_BYTES: Final = 64 * 1024 * 1024
"""Of cells held that have no groups which could be told together, only time buckets: beyond, nothing is answered."""
MAX_TEXT_BYTES: Final = 8 * 1024 * 1024
"""Of the values in an answer, one at each cell: an event's message alone may have half a megabyte."""
_CELL_BYTES: Final = 32
"""Of a cell, besides its values: a start, a count, and where the values are."""
_MAX_MARKS: Final = 1 << 22
"""Bytes of marks for what keys may be together; where more are possible, they are told apart by sorting them."""
_KEPT_SHARE: Final = 0.5
"""Of the bounds, what is kept when they are reached: so that it is not all looked through again at once."""
_MIN_FRESH: Final = 50_000
"""Cells that wait before they are added up: fewer cost more calls than they take memory."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Value:
    """A value that cells have: its type, and Arrow's function that makes one of those of cells with the same keys."""

    kind: pa.DataType
    joined_by: str


Worth = Callable[[pa.Table], Sequence[float | None]]
"""Tells by what groups are ranked, the largest first, of a table with `count` and slots of each: None comes last."""

COUNT: Final = Value(pa.int64(), "sum")


class CellCollector(Collector):
    """A collector whose partial results are cells."""

    __slots__ = ()

    values: ClassVar[Mapping[str, Value]] = {"count": COUNT}
    """What cells have besides their keys, by column; `count` is always one."""

    @property
    @abstractmethod
    def keys(self) -> int:
        """How many key columns its cells have."""

    @property
    def accumulators(self) -> Mapping[str, Slotted]:
        """What its cells have slots of, by column."""
        return {}

    @property
    def bucket_us(self) -> int | None:
        """The width of its time buckets; None: it has none."""
        return None

    def schema(self, where: Sequence[str] = ()) -> pa.Schema:
        """See the protocol."""
        return pa.schema(
            [
                *(pa.field(name, EVENT_SCHEMA.field(name).type) for name in where),
                pa.field("start_us", pa.int64()),
                *(pa.field(name, pa.string()) for name in key_names(self)),
                pa.field("other", pa.bool_()),
                *(pa.field(name, value.kind) for name, value in self.values.items()),
                *(pa.field(name, SLOTS) for name in self.accumulators),
            ]
        )

    def rows_of(self, table: pa.Table) -> int:
        """See the protocol."""
        return pc.sum(table.column("count")).as_py() or 0

    def fold(self, query: Query, where: Sequence[str] = ()) -> CellsFold:
        """See the protocol."""
        return CellsFold(self, where, MAX_VIEW_CELLS if where else MAX_HELD_CELLS)

    def cells(self, columns: Mapping[str, Any], start_us: int | None, where: Sequence[str] = ()) -> pa.Table:
        """Make a partial result of its columns; `start_us` is that of every cell where `columns` does not tell it."""
        schema = self.schema(where)
        count = len(columns["count"])
        given = {
            "start_us": pa.repeat(pa.scalar(start_us, pa.int64()), count),
            "other": pa.repeat(pa.scalar(False), count),
            **columns,
        }
        return pa.table([given[name] for name in schema.names], schema=schema)


def key_names(collector: CellCollector) -> list[str]:
    """Name the key columns of its cells."""
    return [f"by_{at}" for at in range(collector.keys)]


class CellsFold(Fold):
    """Makes partial results of one collector one."""

    def __init__(
        self,
        collector: CellCollector,
        where: Sequence[str] = (),
        max_cells: int = MAX_HELD_CELLS,
        max_bytes: int | None = None,
    ) -> None:
        """`max_bytes`: of cells held; None: MAX_HELD_BYTES."""
        self._collector, self._max_cells = collector, max_cells
        self._max_bytes = MAX_HELD_BYTES if max_bytes is None else max_bytes
        self._held = collector.schema(where).empty_table()
        self._fresh: list[pa.Table] = []
        self._waiting = self._waiting_bytes = 0
        self._starts = 0
        self._too_large = False

    def _add(self, table: pa.Table) -> None:
        self._fresh.append(table)
        self._waiting += len(table)
        self._waiting_bytes += table.nbytes
        enough_cells = self._waiting >= max(len(self._held), _MIN_FRESH)
        if enough_cells or self._waiting_bytes >= max(self._held.nbytes, self._max_bytes // 2):
            self._settle()

    def _table(self) -> pa.Table:
        self._settle()
        return self._held

    @property
    def bound(self) -> Bound:
        """Done when there are, as far as they were made one, more or larger buckets than may be: more is vain."""
        return Bound(done=self._starts > MAX_CELLS or self._too_large)

    def _settle(self) -> None:
        if not self._fresh:
            return
        cells = joined(pa.concat_tables([self._held, *self._fresh]), self._collector)
        self._fresh, self._waiting, self._waiting_bytes = [], 0, 0
        self._held = _bounded(cells, self._collector, self._max_cells, self._max_bytes)
        if len(self._held) > MAX_CELLS and self._collector.bucket_us is not None:
            self._starts = pc.count_distinct(self._held.column("start_us")).as_py()
        if self._collector.accumulators and not self._collector.keys:
            self._too_large = _slot_bytes(self._held, self._collector).sum() > MAX_SLOT_BYTES


@dataclass(frozen=True)
class Top:
    """The largest groups' cells, and those of `other`; each cell's group has a rank, the largest 0, `other` the last.

    `too_long`: groups are missing that are large enough, because their values are too long.
    """

    cells: pa.Table
    ranks: pa.Int64Array
    too_long: bool


def top_groups(cells: pa.Table, collector: CellCollector, top: int, worth: Worth | None = None) -> Top:
    """Keep the `top` groups with the most rows, or of the most worth, and tell the rest together, as `other`.

    Of equal ones those with the smaller values are kept.
    """
    if not collector.keys or not len(cells):
        return Top(cells, pa.array(np.zeros(len(cells), np.int64)), False)
    ranks = _ranks(cells, collector, worth)
    long = np.cumsum(np.bincount(ranks, _text_bytes(cells, collector)))[ranks] > MAX_TEXT_BYTES
    too_long = pc.any(pc.and_(pa.array(long & (ranks < top)), pc.invert(cells.column("other")))).as_py()
    kept = _told_together(cells, collector, long | (ranks >= top))
    return Top(kept, pa.array(_ranks(kept, collector, worth)), too_long)


def group_count(counts: pa.Table, collector: CellCollector) -> int:
    """Count the different groups that are told by themselves."""
    alone = counts.filter(pc.invert(counts.column("other")))
    return int(group_ids(alone, key_names(collector)).max() + 1) if len(alone) else 0


def joined(cells: pa.Table, collector: CellCollector) -> pa.Table:
    """Make cells with the same keys one."""
    apart = {*collector.values, *collector.accumulators}
    names = [name for name in cells.schema.names if name not in apart]
    if not len(cells):
        return cells
    if collector.accumulators:
        ids = group_ids(cells, names)
        keys = cells.select(names).take(pa.array(firsts(ids)))
        values = _values_of(cells, collector, ids)
        arrays = [*keys.columns, *values.columns]
    else:
        functions = [(name, value.joined_by) for name, value in collector.values.items()]
        grouped = cells.group_by(names, use_threads=False).aggregate(functions)
        arrays = [grouped.column(name) for name in [*names, *(f"{name}_{function}" for name, function in functions)]]
    return pa.table(arrays, schema=cells.schema).combine_chunks()


def _values_of(cells: pa.Table, collector: CellCollector, ids: Ids) -> pa.Table:
    """Make what cells of one id have, besides keys, one: a row an id, in their order."""
    functions = [(name, value.joined_by) for name, value in collector.values.items()]
    plain = cells.select(list(collector.values)).append_column("id", pa.array(ids))
    grouped = plain.group_by("id", use_threads=False).aggregate(functions).sort_by("id")
    columns = {name: grouped.column(f"{name}_{function}") for name, function in functions}
    for name, accumulator in collector.accumulators.items():
        slots = accumulator.put_together(unpacked(cells.column(name)).in_cells(ids))
        columns[name] = slots.packed(len(grouped))
    return pa.table(columns)


def _bounded(cells: pa.Table, collector: CellCollector, max_cells: int, max_bytes: int) -> pa.Table:
    """Tell the rarest groups together when cells are too many or too large; a count without keys has no groups."""
    if not collector.keys:
        return cells
    sizes = _text_bytes(cells, collector) + _slot_bytes(cells, collector) + _value_bytes(cells, collector) + _CELL_BYTES
    if len(cells) <= max_cells and sizes.sum() <= max_bytes:
        return cells
    ranks = _ranks(cells, collector)
    fits = np.cumsum(np.bincount(ranks)) <= max_cells * _KEPT_SHARE
    fits &= np.cumsum(np.bincount(ranks, sizes)) <= max_bytes * _KEPT_SHARE
    return _told_together(cells, collector, ~fits[ranks])


def _told_together(cells: pa.Table, collector: CellCollector, rare: npt.NDArray[np.bool_]) -> pa.Table:
    """Make some cells ones of `other`."""
    if not rare.any():
        return cells
    mask = pa.array(rare)
    for name in key_names(collector):
        at = cells.schema.get_field_index(name)
        kept = pc.if_else(mask, pa.scalar(None, pa.string()), cells.column(name))
        cells = cells.set_column(at, cells.schema.field(at), kept)
    at = cells.schema.get_field_index("other")
    return joined(cells.set_column(at, cells.schema.field(at), pc.or_(mask, cells.column("other"))), collector)


def _ranks(cells: pa.Table, collector: CellCollector, worth: Worth | None = None) -> Ids:
    """Rank each cell's group: 0 has the most rows, or is of the most worth; `other` comes behind all."""
    names = key_names(collector)
    ids = group_ids(cells, ["other", *names])
    if worth is None:
        totals = pa.array(np.bincount(ids, cells.column("count").to_numpy()).astype(np.int64))
    else:
        totals = pa.array(worth(_values_of(cells, collector, ids)), pa.float64())
    groups = cells.select(["other", *names]).take(pa.array(firsts(ids))).append_column("total", totals)
    keys = [("other", "ascending"), ("total", "descending"), *((name, "ascending") for name in names)]
    order = pc.sort_indices(groups, sort_keys=keys).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[ids]


def group_ids(rows: pa.Table, names: Sequence[str]) -> Ids:
    """Number the group of each row or cell by the values of some columns, from 0 on without holes; null is a value."""
    ids: Ids = np.zeros(len(rows), np.int64)
    for name in names:
        chunks = rows.column(name).chunks
        if not chunks:
            continue
        encoded = pa.concat_arrays(chunks).dictionary_encode(null_encoding="encode")
        codes = encoded.indices.to_numpy().astype(np.int64)
        pairs = ids * len(encoded.dictionary) + codes
        possible = (int(ids.max()) + 1) * len(encoded.dictionary) if len(ids) else 0
        if possible <= _MAX_MARKS:
            marks = np.zeros(possible, np.int64)
            marks[pairs] = 1
            ids = (np.cumsum(marks) - 1)[pairs]
        else:
            _, ids = np.unique(pairs, return_inverse=True)
    return ids


def firsts(ids: Ids) -> Ids:
    """Give where each id stands first, by ids without holes."""
    first = np.empty(int(ids.max()) + 1 if len(ids) else 0, np.int64)
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    return first


def _text_bytes(cells: pa.Table, collector: CellCollector) -> npt.NDArray[np.float64]:
    """Give the length of each cell's values."""
    sizes = np.zeros(len(cells))
    for name in key_names(collector):
        sizes += pc.fill_null(pc.binary_length(cells.column(name)), 0).to_numpy()
    return sizes


def _slot_bytes(cells: pa.Table, collector: CellCollector) -> npt.NDArray[np.float64]:
    """Give what each cell's slots take."""
    sizes = np.zeros(len(cells))
    for name in collector.accumulators:
        sizes += slot_counts(cells.column(name)) * float(SLOT_BYTES)
    return sizes


def _value_bytes(cells: pa.Table, collector: CellCollector) -> npt.NDArray[np.float64]:
    """Give the length of each cell's texts that are no keys."""
    sizes = np.zeros(len(cells))
    for name, value in collector.values.items():
        if pa.types.is_binary(value.kind):
            sizes += pc.fill_null(pc.binary_length(cells.column(name)), 0).to_numpy()
    return sizes
