"""The log, the object store and the result store in the memory of one process: real adapters, gone with the process.

MemoryResultStore is what the embedded profile runs on. MemoryLog and MemoryObjectStore keep every promise of their
ports but durability; tests of policy run on them, and they pass the same conformance suites as the durable ones.

May live here: in-memory adapters. May not: policy, threads, files. (The catalog's twin is in `memory_catalog`.)
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.adapters.log_rules import check_committed, check_records, check_vnode, check_vnode_count
from ess_ray.adapters.result_rules import MAX_ANSWER_BYTES, check_page, conflict, fitting, not_found
from ess_ray.core.errors import BadRequest, NotFound
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import MAX_LIMIT
from ess_ray.ports import AnswerState, LogRead, ObjectInfo, Record, StoredRecord

MAX_TOTAL_BYTES: Final = 1024 * 1024 * 1024
"""Arrow bytes of all answers of one process: four of the largest, on a machine that runs everything else as well."""
MAX_ANSWERS: Final = 10_000
"""Answers kept at once, so that empty ones are bounded too: three new queries a second for an hour."""
BUCKET_BYTES: Final = 1_000
"""A bucket of an aggregation as Python values, about: dictionaries and short texts."""
SLICE_WASTE: Final = 1.25
"""An appended slice may keep this many times its own bytes alive in its parent's buffers; beyond, it is copied out."""


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


# ------------------------------------------------------------------------------------------------------ results
@dataclass
class _Answer:
    """One answer: its pages as they were appended, and for each the position of the row after its last."""

    state: AnswerState
    question: str
    written_us: int
    tables: list[pa.Table] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    bytes: int = 0
    full: bool = False
    cancel_requested: bool = False

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def finished(self) -> bool:
        return self.state.state != "running"


class MemoryResultStore:
    """ResultStore in memory, for one event loop. Rows are immutable Arrow tables, so a page once given never changes.

    An answer expires `ttl_s` after it was last written to. One answer holds at most `max_rows` rows and `max_bytes`
    Arrow bytes, all of them together, with their buckets, `max_total_bytes` and `max_answers`: the finished answers
    that were written longest ago go first, and when only running ones are left, the one that asks for more is cut as if
    it were full.
    """

    def __init__(
        self,
        clock_us: Callable[[], int],
        ttl_s: float = 3600.0,
        *,
        max_rows: int = MAX_LIMIT,
        max_bytes: int = MAX_ANSWER_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
        max_answers: int = MAX_ANSWERS,
    ) -> None:
        self._clock_us = clock_us
        self._ttl_us = round(ttl_s * 1_000_000)
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._max_total_bytes, self._max_answers = max_total_bytes, max_answers
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()  # the longest untouched first
        self._total_bytes = 0

    async def create(self, tenant: str, query_id: str, state: AnswerState, question: str = "") -> None:
        """Begin an answer. Raises Conflict when the tenant has one under this id already."""
        self._expire()
        key = (tenant, query_id)
        if key in self._answers:
            raise conflict(query_id)
        self._answers[key] = _Answer(state, question, self._clock_us())
        self._total_bytes += BUCKET_BYTES * len(state.buckets or ())
        self._make_room(0)

    async def question(self, tenant: str, query_id: str) -> str:
        return self._find(tenant, query_id).question

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        """Add rows at the end, each once. False when some were not kept; then no later row is kept either."""
        answer = self._touch(tenant, query_id)
        wanted = rows.slice(0, 0) if answer.full else rows.slice(0, self._max_rows - answer.rows)
        self._make_room(min(wanted.nbytes, self._max_bytes - answer.bytes))
        room = min(self._max_bytes - answer.bytes, self._max_total_bytes - self._total_bytes)
        kept = _own(fitting(wanted, room))
        if len(kept):
            answer.tables.append(kept)
            answer.ends.append(answer.rows + len(kept))
            answer.bytes += kept.nbytes
            self._total_bytes += kept.nbytes
        answer.full |= len(kept) < len(rows)
        return not answer.full

    async def update(self, tenant: str, query_id: str, state: AnswerState) -> None:
        """Replace the state. Raises NotFound."""
        answer = self._touch(tenant, query_id)
        grown = BUCKET_BYTES * (len(state.buckets or ()) - len(answer.state.buckets or ()))
        self._make_room(max(0, grown))
        self._total_bytes += grown
        answer.state = state

    async def state(self, tenant: str, query_id: str) -> AnswerState:
        return self._find(tenant, query_id).state

    async def request_cancel(self, tenant: str, query_id: str) -> None:
        """Keep the wish beside the answer. Raises NotFound."""
        self._find(tenant, query_id).cancel_requested = True

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        self._expire()
        return {key for key in answers if key in self._answers and self._answers[key].cancel_requested}

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        """As the port says; rows of EVENT_SCHEMA, none beyond the end. Raises BadRequest for negative numbers."""
        check_page(start, limit)
        answer = self._find(tenant, query_id)
        found = []
        for index in range(bisect_right(answer.ends, start), len(answer.tables)):
            table = answer.tables[index]
            skipped = max(start - (answer.ends[index] - len(table)), 0)
            part = table.slice(skipped, limit)
            found.append(part)
            limit -= len(part)
            if limit <= 0:
                break
        return pa.concat_tables(found) if found else EVENT_SCHEMA.empty_table()

    async def drop_all(self, tenant: str) -> int:
        keys = [key for key in self._answers if key[0] == tenant]
        for key in keys:
            self._drop(key)
        return len(keys)

    # ------------------------------------------------------------------------------------------------ what is kept
    def _find(self, tenant: str, query_id: str) -> _Answer:
        self._expire()
        answer = self._answers.get((tenant, query_id))
        if answer is None:
            raise not_found(query_id)
        return answer

    def _touch(self, tenant: str, query_id: str) -> _Answer:
        answer = self._find(tenant, query_id)
        answer.written_us = self._clock_us()
        self._answers.move_to_end((tenant, query_id))
        return answer

    def _expire(self) -> None:
        oldest_us = self._clock_us() - self._ttl_us
        while self._answers:
            key, answer = next(iter(self._answers.items()))
            if answer.written_us > oldest_us:
                return
            self._drop(key)

    def _make_room(self, more_bytes: int) -> None:
        if self._has_room(more_bytes):
            return
        for key in list(self._answers)[:-1]:  # the last is the one that wants the room
            if self._answers[key].finished:
                self._drop(key)
                if self._has_room(more_bytes):
                    return

    def _has_room(self, more_bytes: int) -> bool:
        return self._total_bytes + more_bytes <= self._max_total_bytes and len(self._answers) <= self._max_answers

    def _drop(self, key: tuple[str, str]) -> None:
        answer = self._answers.pop(key)
        self._total_bytes -= answer.bytes + BUCKET_BYTES * len(answer.state.buckets or ())


def _own(rows: pa.Table) -> pa.Table:
    """Give rows whose buffers hold little else: a slice of a large table would keep all of it alive, uncounted."""
    if rows.get_total_buffer_size() <= rows.nbytes * SLICE_WASTE:
        return rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return pa.ipc.open_stream(sink.getvalue()).read_all()
