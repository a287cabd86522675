"""Statistics of fields in each time bucket and group, beside the number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from ess_ray.core.collect.cells import CellCollector, firsts, group_ids, joined
from ess_ray.core.collect.collector import Block
from ess_ray.core.collect.counts import Grouping
from ess_ray.core.field import Field
from ess_ray.core.filter import field_text
from ess_ray.core.statistics import (
    Accumulator,
    Told,
    Values,
    decode_accumulators,
    encode_accumulators,
    unpacked,
)


@dataclass(frozen=True, slots=True)
class Statistics(CellCollector):
    """Count rows as `grouping` does, and keep of their values what `kept` says. Values are those of `field_text`."""

    name: ClassVar[str] = "statistics"

    grouping: Grouping
    kept: tuple[Accumulator, ...]

    @property
    def keys(self) -> int:
        """See the protocol."""
        return self.grouping.keys

    @property
    def bucket_us(self) -> int | None:
        """See the protocol."""
        return self.grouping.bucket_us

    @property
    def accumulators(self) -> Mapping[str, Accumulator]:
        """See the protocol."""
        return {f"slots_{at}": accumulator for at, accumulator in enumerate(self.kept)}

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol."""
        valued = replace(self.grouping, interval_us=None, by=tuple(accumulator.field for accumulator in self.kept))
        return self.grouping.columns(block) | valued.columns(block)

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """See the protocol."""
        batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches() if len(rows) else []
        made = [self._cells_of(batch, block, where) for batch in batches if batch.num_rows]
        return pa.concat_tables([self.schema(where).empty_table(), *made])

    def _cells_of(self, batch: pa.RecordBatch, block: Block | None, where: Sequence[str]) -> pa.Table:
        keys, start_us = self.grouping.key_columns(batch, block)
        columns = {**{name: batch.column(name) for name in where}, **keys}
        ids = np.zeros(batch.num_rows, np.int64)
        if columns:
            table = pa.table(columns)
            ids = group_ids(table, table.column_names)
            columns = dict(zip(table.column_names, table.take(pa.array(firsts(ids))).columns, strict=True))
        counts = np.bincount(ids)
        values: dict[Field, Values] = {}
        for name, accumulator in self.accumulators.items():
            field = accumulator.field
            if field not in values:
                values[field] = Values(field_text(field, batch), ids)
            columns[name] = accumulator.put_together(accumulator.take(values[field])).packed(len(counts))
        return self.cells({**columns, "count": pa.array(counts, pa.int64())}, start_us, where)

    def widened(self, interval_us: int) -> Self:
        """Give the same with another width of buckets."""
        return replace(self, grouping=replace(self.grouping, interval_us=interval_us))

    def coarser(self, table: pa.Table) -> pa.Table:
        """Put cells of smaller buckets, of which this width is a multiple, into buckets of this one."""
        starts = self.grouping.starts(table.column("start_us").to_numpy())
        at = table.schema.get_field_index("start_us")
        return joined(table.set_column(at, "start_us", pa.array(starts, pa.int64())), self)

    def told(self, cells: pa.Table, seconds: Sequence[float | None]) -> Told:
        """Read what cells hold; `seconds`: how many each is of."""
        slots = {each: unpacked(cells.column(name)) for name, each in self.accumulators.items()}
        return Told(cells.column("count").to_pylist(), slots, seconds)

    def to_json(self) -> list[Any]:
        """See the protocol."""
        return [self.grouping.to_json(), encode_accumulators(self.kept)]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """See the protocol."""
        match values:
            case [[*grouping], [*kept]]:
                return cls(Grouping.from_json(grouping), decode_accumulators(kept))
        raise ValueError(f"no statistics: {str(values)[:80]}")
