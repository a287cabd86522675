"""How many rows each template of messages has, from when to when, in which steps of time, and an example.

Templates alone are counted where rows lie: what each row has, whatever else there is. That is exact, and does not
depend on how rows are parted. Which templates are one pattern is decided at the end, over all (`templates.groups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect.cells import COUNT, MAX_VIEW_CELLS, CellCollector, CellsFold, Value, firsts, group_ids
from ess_ray.core.collect.collector import Block, Ints, integer_of
from ess_ray.core.query import Query
from ess_ray.core.statistics import Slots, Slotted
from ess_ray.core.templates import MAX_MESSAGE_BYTES, skeletons_of, template_of

STEPS: Final = 20
"""Of a trend: as many as make a small chart."""
MAX_VIEW_BYTES: Final = 256 * 1024 * 1024
"""Of what is in flight: cells are apart by record, and a record of a few events has a template, of 100 B, for each."""
_TIME_BYTES: Final = 8
_SIGN: Final = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class Patterns(CellCollector):
    """Count rows per template of their messages (`by_0`), and per step: `step_us` long each, the first from `from_us`
    on. Rows before and behind all steps count in the first and the last.

    `example`: the first row's time and message, so that the least one of several is the first.
    """

    name: ClassVar[str] = "patterns"
    values: ClassVar[Mapping[str, Value]] = {
        "count": COUNT,
        "first": Value(pa.int64(), "min"),
        "last": Value(pa.int64(), "max"),
        "example": Value(pa.binary(), "min"),
    }

    from_us: int
    step_us: int

    @property
    def keys(self) -> int:
        """See the protocol."""
        return 1

    @property
    def accumulators(self) -> Mapping[str, Slotted]:
        """See the protocol: slot n is step n."""
        return {"trend": Slotted()}

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol."""
        return frozenset({"timestamp", "message"})

    def fold(self, query: Query, where: Sequence[str] = ()) -> CellsFold:
        """See the protocol."""
        return CellsFold(self, where, MAX_VIEW_CELLS, MAX_VIEW_BYTES) if where else CellsFold(self)

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """See the protocol."""
        batches: list[pa.RecordBatch] = rows.combine_chunks().to_batches() if len(rows) else []
        made = [self._cells_of(batch, where) for batch in batches if batch.num_rows]
        return pa.concat_tables([self.schema(where).empty_table(), *made])

    def _cells_of(self, batch: pa.RecordBatch, where: Sequence[str]) -> pa.Table:
        times = batch.column("timestamp").cast(pa.int64()).to_numpy()
        templates = _templates(batch.column("message"))
        table = pa.table({**{name: batch.column(name) for name in where}, "by_0": templates.indices})
        ids = group_ids(table, table.column_names)
        keys = table.take(pa.array(firsts(ids)))
        grouped = pa.table({"id": ids, "time": times}).group_by("id", use_threads=False)
        found = grouped.aggregate([("time", "min"), ("time", "max")]).sort_by("id")
        first = found.column("time_min").to_numpy()
        # In flight, of one template one example is enough: whoever drops its row, which is stored by now, finds it
        # there, before all others.
        alike = templates.indices.to_numpy() if where else ids
        return self.cells(
            {
                **dict(zip(table.column_names, keys.columns, strict=True)),
                "by_0": templates.dictionary.take(keys.column("by_0").combine_chunks()),
                "count": pa.array(np.bincount(ids), pa.int64()),
                "first": first,
                "last": found.column("time_max"),
                "example": _examples(times, batch.column("message"), alike, ids, len(first)),
                "trend": self._trend(times, ids).packed(len(first)),
            },
            None,
            where,
        )

    def _trend(self, times: Ints, ids: Ints) -> Slots:
        steps = np.clip((times - self.from_us) // self.step_us, 0, STEPS - 1)
        counts = np.bincount(ids * STEPS + steps)
        there = np.flatnonzero(counts)
        return Slots(there // STEPS, there % STEPS, counts[there])

    def to_json(self) -> list[Any]:
        """See the protocol."""
        return [self.from_us, self.step_us]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """See the protocol."""
        match values:
            case [from_us, step_us] if integer_of(step_us) >= 1:
                return cls(integer_of(from_us), integer_of(step_us))
        raise ValueError(f"no steps of a trend: {str(values)[:80]}")


def _templates(messages: pa.StringArray) -> pa.DictionaryArray:
    """Give each message's template, each once in the dictionary."""
    skeletons = skeletons_of(messages)
    named = pa.array(map(template_of, skeletons.dictionary.to_pylist()), pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(named.indices.take(skeletons.indices), named.dictionary)


def _examples(times: Ints, messages: pa.StringArray, alike: Ints, ids: Ints, cells: int) -> pa.BinaryArray:
    """Give the example of each cell in which the first of the rows that are `alike` stands."""
    least = np.full(int(alike.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, alike, times)
    rows = np.flatnonzero(times == least[alike])
    keyed = _keyed(times[rows], messages.take(pa.array(rows)))
    table = pa.table({"alike": alike[rows], "example": keyed, "id": ids[rows]})
    order = table.sort_by([("alike", "ascending"), ("example", "ascending"), ("id", "ascending")])
    first = _firsts_of(order.column("alike").to_numpy())
    chosen = order.take(pa.array(first))
    found = np.full(cells, -1)
    found[chosen.column("id").to_numpy()] = np.arange(len(chosen))
    places = pa.array(found, mask=found < 0)
    return pa.concat_arrays(chosen.column("example").chunks).take(places)


def _keyed(times: Ints, messages: pa.StringArray) -> pa.BinaryArray:
    """Put times before messages, so that earlier ones are less."""
    keys = (times.view(np.uint64) ^ _SIGN).astype(">u8").tobytes()
    offsets = pa.py_buffer(np.arange(0, len(keys) + 1, _TIME_BYTES, dtype=np.int32))
    before = pa.Array.from_buffers(pa.binary(), len(times), [None, offsets, pa.py_buffer(keys)])
    cut = pc.binary_slice(messages.cast(pa.binary()), 0, MAX_MESSAGE_BYTES)
    return pc.binary_join_element_wise(before, cut, b"")


def _firsts_of(ascending: Ints) -> Ints:
    """Give where each number stands first in an ascending array."""
    return np.flatnonzero(np.diff(ascending, prepend=ascending[0] - 1)) if len(ascending) else ascending


def example_in(example: bytes | None) -> str | None:
    """Read the message of a cell's `example`: its first MAX_MESSAGE_BYTES, whole characters."""
    return None if example is None else example[_TIME_BYTES:].decode("utf-8", "ignore")
