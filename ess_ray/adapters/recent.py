"""The newest records of a log in memory, so that reading what has just been appended touches no disk."""

from __future__ import annotations

from collections import deque
from typing import Final

from ess_ray.ports import StoredRecord

RECORD_OVERHEAD_BYTES: Final = 300
"""What a record costs in memory beside its value and headers."""


class RecentRecords:
    """The newest records of each virtual node, without holes up to its end, bounded in bytes over all of them."""

    def __init__(self, vnode_count: int, max_bytes: int) -> None:
        self._records: list[deque[StoredRecord]] = [deque() for _ in range(vnode_count)]
        self._order: deque[tuple[int, int]] = deque()  # (vnode, bytes), in the order of arrival
        self._max_bytes = max_bytes
        self._bytes = 0

    def add(self, vnode: int, record: StoredRecord, size: int) -> None:
        self._records[vnode].append(record)
        self._order.append((vnode, size + RECORD_OVERHEAD_BYTES))
        self._bytes += size + RECORD_OVERHEAD_BYTES
        while self._bytes > self._max_bytes:
            oldest, gone = self._order.popleft()
            self._records[oldest].popleft()
            self._bytes -= gone

    def read(self, vnode: int, offset: int, max_bytes: int) -> tuple[StoredRecord, ...]:
        """Give records from `offset` on, at least one; nothing when it is too old."""
        records = self._records[vnode]
        if not records or offset < records[0].offset:
            return ()
        found: list[StoredRecord] = []
        taken = 0
        for index in range(offset - records[0].offset, len(records)):
            record = records[index]
            if found and taken + len(record.value) > max_bytes:
                break
            taken += len(record.value)
            found.append(record)
        return tuple(found)
