"""A table of which rows are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.chunk import OffsetRange, StoredRequest, encode_object
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.deletion import Rewriting
from ess_ray.table.deletion_book import Cut, Deletion, DeletionBook
from ess_ray.testing import MemoryObjectStore
from tests.compactions import HOUR_US, LONG_AGO_US, T0_US, Make, World


class Rig(World):
    """A table with a book of deletions beside it."""

    def __init__(self, make: Make) -> None:
        super().__init__(make)
        self.book = DeletionBook(MemoryObjectStore(clock_us=lambda: self.now_us))

    def store_rows(
        self,
        messages: Sequence[str],
        hour: int = 0,
        requests: Sequence[StoredRequest] = (),
        modified_us: int = LONG_AGO_US,
        tenant: str = "default",
        **columns: Any,
    ) -> ObjectEntry:
        """Store one object of events a millisecond apart; offsets go on from object to object."""
        first, end = self.next_offset, self.next_offset + len(messages)
        times = [T0_US + hour * HOUR_US + n * 1000 for n in range(len(messages))]
        rows = self.make(times, list(messages), 0, first, **columns)
        encoded = encode_object(rows, [OffsetRange("log", 0, first, end)], requests)
        entry = entry_of(Sealed(tenant, encoded), modified_us)
        self.store.put(entry.key, encoded.data)
        self.catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(first, end)}))
        self.next_offset = end
        return entry

    def wish(self, query: str, start_us: int | None = None, end_us: int | None = None, **more: Any) -> Deletion:
        """Ask for a deletion that covers all that is stored by now."""
        made = self.book.create("default", query, start_us, end_us)
        wish = replace(made, cut=Cut("log", {0: self.next_offset, 1: self.next_offset}), **more)
        self.book.write(wish)
        return wish

    def delete(self, query: str, start_us: int | None = None, end_us: int | None = None) -> Deletion:
        return self.go_on(self.wish(query, start_us, end_us))

    def go_on(self, wish: Deletion) -> Deletion:
        """Carry a deletion out as a new process would: from what the book holds."""
        return Rewriting(self.catalog, self.store, self.book, self.book.read(wish.id)).run()

    def texts(self) -> list[str]:
        rows = [self.rows(entry) for entry in self.entries() if entry.rows]
        return sorted(text for table in rows for text in table.column("message").to_pylist())

    def all_rows(self) -> pa.Table:
        tables = [self.rows(entry) for entry in sorted(self.entries(), key=lambda e: e.min_us) if entry.rows]
        return pa.concat_tables(tables)


@pytest.fixture
def rig(make_events: Make) -> Rig:
    return Rig(make_events)
