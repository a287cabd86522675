"""Which fields rows have: for each, the number of rows that have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect.cells import CellCollector
from ess_ray.core.collect.collector import Block, WithoutParameters
from ess_ray.core.event import HIDDEN_COLUMNS, RECORD_SCHEMA

COLUMN, ATTRIBUTE = "column", "attribute"
"""The kinds of field: the second key of its cells, the first is the field's name."""
FIELD_COLUMNS: Final = tuple(name for name in RECORD_SCHEMA.names if name not in {"attributes", *HIDDEN_COLUMNS})
"""The columns that count as fields: what was pushed. (log_id, vnode, offset, row) every row has."""
_OPTIONAL: Final = frozenset(field.name for field in RECORD_SCHEMA if field.nullable) - HIDDEN_COLUMNS


@dataclass(frozen=True, slots=True)
class FieldNames(WithoutParameters, CellCollector):
    """Count, for each field, the rows that have it: by name, and by COLUMN or ATTRIBUTE.

    A column counts where it is not null, an attribute where its key is there.
    """

    name: ClassVar[str] = "field names"

    @property
    def keys(self) -> int:
        """See the protocol."""
        return 2

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol: those that may be null; whether they are must be read."""
        return _OPTIONAL if block is None or block.ids else _OPTIONAL - {"event_id"}

    def rows_of(self, table: pa.Table) -> int:
        """See the protocol: every row has a timestamp."""
        named = pc.and_(pc.equal(table.column("by_0"), "timestamp"), pc.equal(table.column("by_1"), COLUMN))
        return pc.sum(table.filter(named).column("count")).as_py() or 0

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """See the protocol. A column that is not there holds nothing."""
        batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches() if len(rows) else []
        empty = self.schema(where).empty_table()
        return pa.concat_tables([empty, *(self._names(batch, where) for batch in batches)])

    def _names(self, batch: pa.RecordBatch, where: Sequence[str]) -> pa.Table:
        table = pa.Table.from_batches([batch])
        optional = [name for name in FIELD_COLUMNS if name in _OPTIONAL and name in batch.schema.names]
        grouped = table.group_by(list(where), use_threads=False)
        counted = grouped.aggregate([([], "count_all"), *((name, "count") for name in optional)])
        found = []
        for name in FIELD_COLUMNS:
            if name in _OPTIONAL and name not in optional:
                continue
            counts = counted.column(f"{name}_count" if name in optional else "count_all")
            keys = {"by_0": pa.repeat(name, len(counted)), "by_1": pa.repeat(COLUMN, len(counted))}
            places = {place: counted.column(place) for place in where}
            found.append(self.cells({**places, **keys, "count": counts}, None, where))
        if "attributes" in batch.schema.names:
            found.append(self._attribute_names(batch, where))
        cells = pa.concat_tables(found)
        return cells.filter(pc.greater(cells.column("count"), 0))

    def _attribute_names(self, batch: pa.RecordBatch, where: Sequence[str]) -> pa.Table:
        held = batch.column("attributes")
        offsets = held.offsets.to_numpy()
        keys = held.keys.slice(offsets[0], offsets[-1] - offsets[0]).dictionary_encode()
        rows = np.repeat(np.arange(len(held)), np.diff(offsets))
        codes = keys.indices.to_numpy().astype(np.int64)
        if held.null_count:  # a null map may have pairs beneath it
            there = held.is_valid().to_numpy(zero_copy_only=False)[rows]
            rows, codes = rows[there], codes[there]
        names = max(1, len(keys.dictionary))
        pairs = np.unique(rows * names + codes)  # a foreign map may hold a key twice
        columns = {name: batch.column(name).take(pa.array(pairs // names)) for name in where}
        columns["by_0"] = keys.dictionary.take(pa.array(pairs % names))
        grouped = pa.table(columns).group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
        found = {name: grouped.column(name) for name in columns}
        kinds = {"by_1": pa.repeat(ATTRIBUTE, len(grouped))}
        return self.cells({**found, **kinds, "count": grouped.column("count_all")}, None, where)
