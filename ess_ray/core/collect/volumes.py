"""How many rows, and bytes of their messages, lie in each time bucket and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect.cells import COUNT, Value
from ess_ray.core.collect.collector import Block, Ints, Mask
from ess_ray.core.collect.counts import Grouping
from ess_ray.core.query import Query

BYTES: Final = "bytes"
"""The column of its cells."""


@dataclass(frozen=True, slots=True)
class Volumes(Grouping):
    """Count rows as `Grouping` does, and the bytes of their messages as UTF-8."""

    name: ClassVar[str] = "volumes"
    values: ClassVar[Mapping[str, Value]] = {"count": COUNT, BYTES: Value(pa.int64(), "sum")}

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol."""
        return Grouping.columns(self, block) | {"message"}

    def tellable(self, query: Query, first_us: Ints, last_us: Ints) -> Mask:
        """See the protocol: no statistics tell how long messages are."""
        return np.zeros(len(first_us), np.bool_)

    def _counted(self, batch: pa.RecordBatch, block: Block | None, where: Sequence[str]) -> pa.Table:
        keys, start_us = self.key_columns(batch, block)
        columns = {**{name: batch.column(name) for name in where}, **keys}
        lengths = pc.binary_length(batch.column("message")).cast(pa.int64())
        if not columns:
            return self.cells({"count": [batch.num_rows], BYTES: [pc.sum(lengths).as_py() or 0]}, start_us)
        grouped = pa.table({**columns, BYTES: lengths}).group_by(list(columns), use_threads=False)
        added = grouped.aggregate([([], "count_all"), (BYTES, "sum")])
        found = {name: added.column(name) for name in columns}
        figures = {"count": added.column("count_all"), BYTES: added.column(f"{BYTES}_sum")}
        return self.cells({**found, **figures}, start_us, where)
