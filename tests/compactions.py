"""A table whose objects are compacted: store and catalog in memory, or whatever a test puts in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pyarrow as pa

from ess_ray.core.chunk import OffsetRange, StoredRequest, encode_object, open_object
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, Catalog, ObjectEntry, ObjectStore, vnode_advances
from ess_ray.table import compaction
from ess_ray.table.compaction import (
    QUIET_US,
    merge,
    plan,
)
from ess_ray.testing import MemoryCatalog, MemoryObjectStore

Make = Callable[..., pa.Table]
MIB = 1024 * 1024
DAY_US = 86_400 * 1_000_000
HOUR_US = 3_600 * 1_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US
LONG_AGO_US = T0_US - 2 * QUIET_US


class World:
    """Store and catalog in memory; the clock stands until it is moved."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.now_us = T0_US + 10 * HOUR_US
        self.fault: Callable[[str], None] | None = None
        self.store: ObjectStore = MemoryObjectStore(clock_us=lambda: self.now_us)
        self.catalog: Catalog = MemoryCatalog(on_commit=self._on_commit, clock_us=lambda: self.now_us)
        self.next_offset = 0

    def _on_commit(self, moment: str) -> None:
        if self.fault is not None:
            self.fault(moment)

    def add(
        self,
        times_us: Sequence[int],
        requests: Sequence[StoredRequest] = (),
        modified_us: int = LONG_AGO_US,
        vnode: int = 0,
        tenant: str = "default",
    ) -> ObjectEntry:
        """Store and commit one object of rows at these times; offsets go on from object to object."""
        first, end = self.next_offset, self.next_offset + len(times_us)
        messages = [f"m{offset}" for offset in range(first, end)]
        encoded = encode_object(
            self.make(list(times_us), messages, vnode, first), [OffsetRange("log", vnode, first, end)], requests
        )
        entry = entry_of(Sealed(tenant, encoded), modified_us)
        self.store.put(entry.key, encoded.data)
        self.catalog.writer().commit([entry], [], vnode_advances("log", {99: Advance(first, end)}))
        self.next_offset = end
        return entry

    def entries(self, tenant: str | None = None) -> list[ObjectEntry]:
        return self.catalog.snapshot().objects(tenant, None, None)

    def rows(self, entry: ObjectEntry) -> pa.Table:
        reader = open_object(self.store, entry.key, entry.size)
        return pa.concat_tables([reader.read_group(group) for group in range(reader.groups)])

    def messages(self) -> Counter[str]:
        return Counter(name for entry in self.entries() for name in self.rows(entry).column("message").to_pylist())

    def everything(self) -> Counter[str]:
        return Counter(f"m{offset}" for offset in range(self.next_offset))

    def merge(self) -> compaction.Merge:
        (chosen,) = plan(self.catalog.snapshot(), self.now_us, eager=True).values()
        done = merge(self.store, chosen, self.now_us)
        assert done is not None
        return done
