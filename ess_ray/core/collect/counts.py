"""How many rows lie in each time bucket and group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from ess_ray.core.collect.buckets import UTC_CLOCK, LocalClock, bucket_starts
from ess_ray.core.collect.cells import CellCollector, joined, key_names
from ess_ray.core.collect.collector import Block, Ints, Mask, integer_of
from ess_ray.core.filter import field_text
from ess_ray.core.query import All, Field, Query


@dataclass(frozen=True, slots=True)
class Grouping(CellCollector):
    """Count rows per bucket of `interval_us` (by `clock`, see `buckets`; None: no buckets) and per values of `by`.

    A value is the field's text, one for equal numbers; a row without the field is in a group of its own. An attribute's
    array is one value, and what is called `name#2` is another field: each row counts once. Repeats by `id` count as
    often as they are stored.
    """

    name: ClassVar[str] = "counts"

    interval_us: int | None = None
    by: tuple[Field, ...] = ()
    clock: LocalClock = UTC_CLOCK

    @property
    def keys(self) -> int:
        """See the protocol."""
        return len(self.by)

    @property
    def bucket_us(self) -> int | None:
        """See the protocol."""
        return self.interval_us

    def starts(self, times_us: Ints) -> Ints:
        """Give the start of the bucket that each time lies in; there must be buckets."""
        assert self.interval_us is not None
        return bucket_starts(times_us, self.interval_us, self.clock)

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol: those of the keys, and the time where a block may lie in several buckets."""
        names = frozenset("attributes" if field.attribute else field.name for field in self.by)
        names = names | {"attribute_types"} if "attributes" in names else names
        return names if self._one_bucket(block)[0] else names | {"timestamp"}

    def _one_bucket(self, block: Block | None) -> tuple[bool, int | None]:
        """Tell whether a block lies in one bucket, and its start (None: there are no buckets)."""
        if self.interval_us is None:
            return True, None
        if block is None:
            return False, None
        first, last = self.starts(np.array([block.first_us, block.last_us], np.int64)).tolist()
        return first == last, first

    def key_columns(self, batch: pa.RecordBatch, block: Block | None) -> tuple[dict[str, pa.Array], int | None]:
        """Give the columns that tell each row's cell, by their names in cells, and the start that all rows have."""
        columns: dict[str, pa.Array] = {}
        single, start_us = self._one_bucket(block)
        if not single:
            times = batch.column("timestamp").cast(pa.int64()).to_numpy()
            columns["start_us"] = pa.array(self.starts(times))
        for name, field in zip(key_names(self), self.by, strict=True):
            columns[name] = field_text(field, batch)
        return columns, start_us if single else None

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """See the protocol."""
        batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches() if len(rows) else []
        empty = self.schema(where).empty_table()
        return pa.concat_tables([empty, *(self._counted(batch, block, where) for batch in batches)])

    def _counted(self, batch: pa.RecordBatch, block: Block | None, where: Sequence[str]) -> pa.Table:
        keys, start_us = self.key_columns(batch, block)
        columns = {**{name: batch.column(name) for name in where}, **keys}
        if not columns:
            return self.cells({"count": [batch.num_rows]}, start_us)
        grouped = pa.table(columns).group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
        found = {name: grouped.column(name) for name in columns}
        return self.cells({**found, "count": grouped.column("count_all")}, start_us, where)

    def tellable(self, query: Query, first_us: Ints, last_us: Ints) -> Mask:
        """See the protocol: blocks all of whose rows match, in one bucket, without groups."""
        if self.by or not isinstance(query.root, All):
            return np.zeros(len(first_us), np.bool_)
        told = np.ones(len(first_us), np.bool_)
        if query.start_us is not None:
            told &= first_us >= query.start_us
        if query.end_us is not None:
            told &= last_us < query.end_us
        if self.interval_us is not None:
            told &= self.starts(first_us) == self.starts(last_us)
        return told

    def from_statistics(self, rows: Ints, first_us: Ints) -> pa.Table:
        """See the protocol: a cell each."""
        if self.interval_us is None:
            return self.cells({"count": rows}, None)
        return self.cells({"count": rows, "start_us": self.starts(first_us)}, None)

    def widened(self, interval_us: int) -> Self:
        """Give the same with another width of buckets."""
        return replace(self, interval_us=interval_us)

    def coarser(self, table: pa.Table) -> pa.Table:
        """Put counts of smaller buckets, of which this width is a multiple, into buckets of this one."""
        starts = self.starts(table.column("start_us").to_numpy())
        at = table.schema.get_field_index("start_us")
        return joined(table.set_column(at, "start_us", pa.array(starts, pa.int64())), self)

    def to_json(self) -> list[Any]:
        """See the protocol."""
        by = [(field.name, field.attribute) for field in self.by]
        return [self.interval_us, by, self.clock.since_us, self.clock.ahead_us]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """See the protocol."""
        match values:
            case [int() | None as interval_us, [*by], [*since_us], [*ahead_us]]:
                if interval_us is not None and integer_of(interval_us) < 1:
                    raise ValueError(f"an interval of {interval_us} us")
                if not since_us or len(since_us) != len(ahead_us):
                    raise ValueError("a clock without a time for each of its offsets")
                clock = LocalClock(tuple(map(integer_of, since_us)), tuple(map(integer_of, ahead_us)))
                return cls(interval_us, tuple(Field(str(name), bool(attribute)) for name, attribute in by), clock)
        raise ValueError(f"nothing to count by: {str(values)[:80]}")
