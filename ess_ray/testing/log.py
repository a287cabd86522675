"""The event log in the memory of one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from uuid import uuid4

from ess_ray.adapters.log_rules import check_committed, check_records, check_vnode, check_vnode_count
from ess_ray.ports import LogRead, Record, StoredRecord


class MemoryLog:
    """EventLog in memory. Safe from many threads and event loops; every call takes effect at once."""

    def __init__(self, vnode_count: int) -> None:
        self._log_id = str(uuid4())
        self._records: list[list[StoredRecord]] = [[] for _ in range(check_vnode_count(vnode_count))]
        self._starts = dict.fromkeys(range(vnode_count), 0)
        self._lock = threading.Lock()

    async def log_id(self) -> str:
        return self._log_id

    async def vnode_count(self) -> int:
        return len(self._records)

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append all of `records` or, on BadRequest, none."""
        check_records(records, len(self._records))
        offsets = []
        with self._lock:
            for record in records:
                offsets.append(self._end(record.vnode))
                stored = StoredRecord(offsets[-1], bytes(record.value), tuple(record.headers))
                self._records[record.vnode].append(stored)
        return offsets

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        """Read as the port says; beyond the end there is nothing, and the offset stays what it is."""
        check_vnode(vnode, len(self._records))
        with self._lock:
            start = self._starts[vnode]
            offset = max(offset, start)
            records = tuple(_up_to(iter(self._records[vnode][offset - start :]), max_bytes))
        return LogRead(records, records[-1].offset + 1 if records else offset)

    async def start_offsets(self) -> dict[int, int]:
        with self._lock:
            return dict(self._starts)

    async def end_offsets(self) -> dict[int, int]:
        with self._lock:
            return self._ends()

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Trim. Raises BadRequest for an offset beyond the end (nothing is trimmed)."""
        with self._lock:
            check_committed(next_offsets, self._ends())
            for vnode, next_offset in next_offsets.items():
                gone = next_offset - self._starts[vnode]
                if gone > 0:
                    del self._records[vnode][:gone]
                    self._starts[vnode] = next_offset

    async def weaknesses(self) -> list[str]:
        """See `EventLog`: it is asked to keep nothing."""
        return []

    def backlog_bytes(self) -> int:
        """Bytes of values that are not trimmed yet."""
        with self._lock:
            return sum(len(record.value) for records in self._records for record in records)

    def _end(self, vnode: int) -> int:
        return self._starts[vnode] + len(self._records[vnode])

    def _ends(self) -> dict[int, int]:
        return {vnode: self._end(vnode) for vnode in range(len(self._records))}


def _up_to(records: Iterator[StoredRecord], max_bytes: int) -> Iterator[StoredRecord]:
    """Give records while their values fit `max_bytes`, the first in any case."""
    taken = 0
    for record in records:
        if taken and taken + len(record.value) > max_bytes:
            return
        taken += max(len(record.value), 1)  # an empty value has been given, too
        yield record
