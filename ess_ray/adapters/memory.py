"""The log and the object store in the memory of one process: real adapters, gone with the process.

They keep every promise of their ports but durability; tests of policy run on them, and they pass the same conformance
suites as the durable ones. The catalog's twin is in `memory_catalog`, the result store in `memory_results`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.adapters.log_rules import check_committed, check_records, check_vnode, check_vnode_count
from ess_ray.core.errors import BadRequest, NotFound
from ess_ray.ports import LogRead, ObjectInfo, Record, StoredRecord


# ---------------------------------------------------------------------------------------------------------- log
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


# -------------------------------------------------------------------------------------------------------- store
_KEY = re.compile(r"[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*/?)?", re.ASCII)
PIECE_BYTES: Final = 64 * 1024
"""Of what is streamed: small, so that readers meet the borders of pieces."""


class MemoryObjectStore:
    """ObjectStore in memory, its clock given. Safe from many threads."""

    coalesce_bytes = 0

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        _check_key(key, _KEY)
        owned = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else data.to_pybytes()
        with self._lock:
            self._objects[key] = (owned, self._clock_us())

    def head(self, key: str) -> ObjectInfo | None:
        _check_key(key, _KEY)
        found = self._objects.get(key)
        return ObjectInfo(key, len(found[0]), found[1]) if found is not None else None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """As the port says. Raises BadRequest for a negative offset or length."""
        if offset < 0 or length < 0:
            raise BadRequest(f"offset {offset} and length {length} must not be negative")
        return self._get(key)[offset : offset + length]

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """As the port says. Raises BadRequest for a negative offset or length."""
        data = self.get_range(key, offset, length)
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]

    def get_suffix(self, key: str, length: int) -> bytes:
        """As the port says. Raises BadRequest for a negative length."""
        if length < 0:
            raise BadRequest(f"length {length} must not be negative")
        data = self._get(key)
        return data[max(len(data) - length, 0) :]

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        _check_key(prefix, _PREFIX)
        with self._lock:
            found = [(key, *value) for key, value in self._objects.items() if key.startswith(prefix)]
        return [ObjectInfo(key, len(data), modified_us) for key, data, modified_us in sorted(found)]

    def delete(self, key: str) -> None:
        _check_key(key, _KEY)
        with self._lock:
            self._objects.pop(key, None)

    def now_us(self) -> int:
        return self._clock_us()

    def _get(self, key: str) -> bytes:
        _check_key(key, _KEY)
        found = self._objects.get(key)
        if found is None:
            raise NotFound(f"there is no object {key}")
        return found[0]


def _check_key(key: str, pattern: re.Pattern[str]) -> None:
    """Refuse what a folder could take for another key: no `..`, no empty or `.` step, no leading `/`."""
    if pattern.fullmatch(key) is None or ".." in key or "." in key.split("/"):
        raise BadRequest(f"{key!r} is no key: use [A-Za-z0-9._=/-] without `..`, relative to the store's root")
