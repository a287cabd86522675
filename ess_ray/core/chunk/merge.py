"""The rows of many objects in one order, a few row groups in memory at a time: what compaction reads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk.hash import ContentHash
from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.chunk.reading import reading
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA, ORDER

_ROW_BYTES: Final = 256
"""Arrow bytes of a row beyond its encoded ones: fixed-width columns, offsets, and texts that stand in dictionaries on
disk. About 150 were measured; the rest is room for longer ones."""
_SORT: Final = [(name, "ascending") for name in ORDER]

Key = tuple[Any, ...]
"""A row's place in ORDER, or its first part: a shorter tuple stands before all that begin with it."""


def open_bytes(reader: ObjectReader) -> int:
    """Estimate the memory that one object takes while it is merged: its largest row group, as Arrow holds it."""
    groups = [reader.metadata.row_group(group) for group in range(reader.groups)]
    return max((group.total_byte_size + group.num_rows * _ROW_BYTES for group in groups), default=0)


def merged(readers: Sequence[ObjectReader]) -> Iterator[pa.Table]:
    """Give all rows of objects that are sorted by ORDER, in ORDER, as tables of any length.

    At most one row group of each object is held, and only of objects whose times overlap. Raises NotFound, and
    CorruptData, naming the object, when it cannot be read, is not sorted or its rows are not those that its hash was
    made of: only after the last row, so that nothing may be made of the rows before the end.
    """
    inputs = [_Input(reader) for reader in readers if reader.groups]
    while unread := [one for one in inputs if one.unread]:
        nearest = min(unread, key=lambda one: one.frontier)
        if not nearest.held:
            with reading(nearest.key):
                nearest.load()
            continue
        bound = nearest.frontier
        parts = [part for one in inputs if (part := one.take(bound)) is not None]
        yield _in_order(parts)
    if rest := [part for one in inputs if (part := one.take(None)) is not None]:
        yield _in_order(rest)


def _in_order(parts: Sequence[pa.Table]) -> pa.Table:
    if len(parts) == 1:
        return parts[0]
    table = pa.concat_tables(parts).combine_chunks()
    return table.take(pc.sort_indices(table, sort_keys=_SORT)).combine_chunks()


class _Input:
    """One object: the rows of its current row group that were not given yet, and how far its rows are known."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self.key = reader.key
        self._next = 0
        self._rows = EVENT_SCHEMA.empty_table()
        self._hash = ContentHash(reader.facts.format_version)
        with reading(self.key):
            self.frontier: Key = (reader.group_times(0)[0],)
        """All rows that are not loaded yet stand behind this."""

    @property
    def unread(self) -> bool:
        return self._next < self._reader.groups

    @property
    def held(self) -> int:
        return len(self._rows)

    def load(self) -> None:
        """Take the next row group into memory."""
        self._rows = self._reader.read_group(self._next).combine_chunks()
        self._reader.forget()
        self._next += 1
        self._hash.add(self._rows)
        times = self._rows.column("timestamp").chunk(0).cast(pa.int64()).to_numpy()
        first, last = self._key(0), self._key(self.held - 1)
        if first < self.frontier or (times[1:] < times[:-1]).any():
            raise CorruptData(f"{self.key}: row group {self._next - 1} is not in the order of its events")
        self.frontier = last
        if not self.unread and self._hash.hexdigest() != self._reader.facts.content_hash:
            raise CorruptData(f"{self.key}: its rows are not those that were written (content hash)")

    def take(self, bound: Key | None) -> pa.Table | None:
        """Give and forget the held rows up to and including `bound` (None: all); None when there are none."""
        count = self.held if bound is None else bisect_right(range(self.held), bound, key=self._key)
        if not count:
            return None
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken

    def _key(self, row: int) -> Key:
        time_us, *rest = (self._rows.column(name)[row] for name in ORDER)
        return (time_us.value, *(scalar.as_py() for scalar in rest))
