"""SqliteLog: the embedded profile's durable log, in one SQLite file that one process owns.

Group commit: callers' appends wait in a queue; one thread takes all that wait, writes them in one transaction, commits
(one fsync), then answers all of them. Between two groups the same thread does one small piece of upkeep: a checkpoint,
a chunk of a trim, giving space back. Reads of recent records come from memory, others from a second connection.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ess_ray.adapters.log_rules import check_committed, check_records, check_vnode, check_vnode_count
from ess_ray.adapters.recent import RecentRecords
from ess_ray.adapters.sqlite_calls import Change, answer_all
from ess_ray.adapters.sqlite_file import PAGE_BYTES, LogFile, LogReader, Row, VnodeState, encode_headers, row_key
from ess_ray.core.errors import DataLoss, EssError, Unavailable
from ess_ray.ports import LogRead, Record, StoredRecord

_log = logging.getLogger(__name__)

GROUP_BYTES: Final = 8 * 1024 * 1024
"""One transaction takes no further call beyond this: about 40 ms of writing, so that nobody waits long for others."""
CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""Written since the last checkpoint until the next: 5 ms of pause each; ten times as much pauses ten times as long."""
TRIM_CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Values removed in one transaction of a trim: about 2 ms, between two groups."""
TRIM_CHUNK_RECORDS: Final = 1_000
"""Records removed in one transaction of a trim, for small ones."""
SHRINK_CHUNK_BYTES: Final = 2 * 1024 * 1024
"""File given back to the disk in one step: it moves pages, so about as long as a trim's chunk."""
RETRY_UPKEEP_S: Final = 1.0
"""Pause after upkeep failed: it comes again by itself, and appends must not wait for a disk that is full."""


@dataclass(frozen=True, slots=True)
class SqliteLimits:
    """What bounds one SqliteLog."""

    recent_bytes: int = 64 * 1024 * 1024
    """Records kept in memory for reading: four seconds at 100k events/s, and the persist pool reads within one."""
    max_waiting_bytes: int = 256 * 1024 * 1024
    """Appends waiting for the disk: beyond, they are refused, since memory would go before the disk comes back."""
    keep_free_bytes: int = 256 * 1024 * 1024
    """Unused file kept for the next records: what fills up between two flushes; more is given back to the disk."""
    max_wal_bytes: int = 128 * 1024 * 1024
    """From here on the write-ahead log is started over by keeping readers out for a moment."""


class SqliteLog:
    """EventLog in one SQLite file. Methods of the port may be called from any event loop of the owning process.

    Opening raises Unavailable when another process owns the file, BadRequest when it was made with another number of
    virtual nodes, CorruptData when it is damaged. Offsets of a virtual node have no holes. An append that is cancelled
    may still become durable. When the disk fails nothing is acknowledged, and the log goes on when the disk does.

    `admit` is asked before each append, with the bytes that the log holds and those that wait or come, so that a disk
    is never filled: what it raises is the append's answer.
    """

    def __init__(
        self,
        path: Path,
        vnode_count: int,
        limits: SqliteLimits | None = None,
        admit: Callable[[int, int], None] = lambda backlog_bytes, coming_bytes: None,
    ) -> None:
        self._limits = limits or SqliteLimits()
        self._admit = admit
        self._file = LogFile(path, check_vnode_count(vnode_count))
        try:
            self._states = self._file.states()
        except BaseException:
            self._file.close()
            raise
        self._path = path
        self._lock = threading.Lock()  # over _states and _recent: the writer changes them, everybody reads them
        self._recent = RecentRecords(vnode_count, self._limits.recent_bytes)
        self._reader: LogReader | None = None
        self._reading = threading.Lock()  # held while a read may keep the WAL from starting over
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._wake = threading.Condition()  # over what follows
        self._waiting: deque[Change] = deque()
        self._waiting_bytes = 0
        self._closed: Unavailable | None = None
        self._file_closed = False
        # The writer thread's own:
        self._group: list[Change] = []
        self._in_doubt = False
        self._unmoved_bytes = CHECKPOINT_BYTES  # a killed owner left its WAL as it was
        self._shrinking = True
        self._keep_free_bytes = self._limits.keep_free_bytes
        self._upkeep_from_s = 0.0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------------ the port
    async def log_id(self) -> str:
        return self._file.log_id

    async def vnode_count(self) -> int:
        return len(self._states)

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append all records of the call in one transaction, or none. Raises BadRequest, Unavailable, CorruptData."""
        check_records(records, len(self._states))
        if not records:
            return []
        headers = [encode_headers(record.headers) for record in records]
        size = sum(len(record.value) + len(head) for record, head in zip(records, headers, strict=True))
        self._admit(self.backlog_bytes(), self._waiting_bytes + size)
        return await self._change(records, headers, {}, size)

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        """Read as the port says; beyond the end there is nothing, and the offset stays what it is.

        Raises DataLoss when records that should be there are not, CorruptData, Unavailable.
        """
        check_vnode(vnode, len(self._states))
        with self._lock:
            state = self._states[vnode]
            offset = max(offset, state.start)
            if offset >= state.next:
                return LogRead((), offset)
            found = self._recent.read(vnode, offset, max_bytes)
        if not found:
            if self._closed is not None:
                raise copy.copy(self._closed)
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._readers, self._read_file, vnode, offset, max_bytes)
        return LogRead(found, found[-1].offset + 1 if found else offset)

    async def start_offsets(self) -> dict[int, int]:
        with self._lock:
            return {vnode: state.start for vnode, state in enumerate(self._states)}

    async def end_offsets(self) -> dict[int, int]:
        """As the port says: they move on after the commit and before its callers are answered."""
        return self._ends()

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Move the starts, durably; the rows go little by little after that. Raises BadRequest beyond the end."""
        check_committed(next_offsets, self._ends())
        with self._lock:
            starts = {v: offset for v, offset in next_offsets.items() if offset > self._states[v].start}
        if starts:
            await self._change((), (), starts, 0)

    async def weaknesses(self) -> list[str]:
        """See `EventLog`: it is one file on one disk, as it was asked to be."""
        return []

    def backlog_bytes(self) -> int:
        """Bytes of values and headers that have not been removed from the file yet."""
        with self._lock:
            return sum(state.bytes for state in self._states)

    def spare_room(self, spare: bool) -> None:
        """Keep no unused file while `spare`: others on the disk need it more than the next records do. Idempotent."""
        keep_bytes = 0 if spare else self._limits.keep_free_bytes
        with self._wake:
            self._shrinking |= keep_bytes < self._keep_free_bytes
            self._keep_free_bytes = keep_bytes
            self._wake.notify()

    def close(self) -> None:
        """Write what waits, then close the file and let go of it. Blocks; idempotent."""
        with self._wake:
            self._closed = self._closed or Unavailable(f"the event log {self._path} is closed: open it again")
            self._wake.notify()
        self._thread.join()
        self._readers.shutdown()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if not self._file_closed:
            self._file_closed = True
            self._file.close()

    def _ends(self) -> dict[int, int]:
        with self._lock:
            return {vnode: state.next for vnode, state in enumerate(self._states)}

    async def _change(
        self, records: Sequence[Record], headers: Sequence[bytes], starts: Mapping[int, int], size: int
    ) -> list[int]:
        loop = asyncio.get_running_loop()
        change = Change(records, headers, starts, size, loop, loop.create_future())
        with self._wake:
            if self._closed is not None:
                raise copy.copy(self._closed)
            if self._waiting_bytes + size > self._limits.max_waiting_bytes and self._waiting:
                raise Unavailable(
                    f"{self._waiting_bytes} bytes wait for the disk of the event log: send this again in a few seconds"
                )
            self._waiting.append(change)
            self._waiting_bytes += size
            self._wake.notify()
        return await change.future

    # ------------------------------------------------------------------------------------------------ the writer thread
    def _run(self) -> None:
        try:
            while self._take():
                if self._group:
                    self._commit()
                if self._upkeep_wait_s() == 0:
                    self._upkeep()
        except BaseException as error:
            self._give_up(error)
            raise

    def _take(self) -> bool:
        """Wait for changes or for upkeep to do, and take a group. False when closed and nothing waits."""
        with self._wake:
            while not self._waiting:
                if self._closed is not None:
                    return False
                wait_s = self._upkeep_wait_s()
                if wait_s == 0:
                    return True
                self._wake.wait(wait_s)
            size = 0
            while self._waiting and (not self._group or size + self._waiting[0].bytes <= GROUP_BYTES):
                change = self._waiting.popleft()
                size += change.bytes
                self._group.append(change)
            self._waiting_bytes -= size
        return True

    def _commit(self) -> None:
        answers: Sequence[list[int] | EssError]
        try:
            if self._in_doubt:
                self._look_again()
            answers = self._write(self._group)
        except EssError as error:
            self._in_doubt = True
            answers = [copy.copy(error) for _ in self._group]
        group, self._group = self._group, []
        answer_all(group, answers)

    def _look_again(self) -> None:
        """After a failed commit: what the file holds is what is true, whatever the answer was."""
        states = self._file.states()
        with self._lock:
            if [state.next for state in states] != [state.next for state in self._states]:
                self._recent = RecentRecords(len(states), self._limits.recent_bytes)  # it must have no holes
            self._states = states
        self._in_doubt = False

    def _write(self, group: Sequence[Change]) -> list[list[int]]:
        states: dict[int, VnodeState] = {}  # only this thread changes self._states, so no lock for reading them

        def state_of(vnode: int) -> VnodeState:
            if vnode not in states:
                states[vnode] = replace(self._states[vnode])
            return states[vnode]

        rows: list[Row] = []
        stored: list[tuple[int, StoredRecord, int]] = []
        answers: list[list[int]] = []
        for change in group:
            offsets = []
            for record, headers in zip(change.records, change.headers, strict=True):
                state = state_of(record.vnode)
                size = len(record.value) + len(headers)
                rows.append((row_key(record.vnode, state.next), headers, record.value))
                stored.append((record.vnode, StoredRecord(state.next, record.value, tuple(record.headers)), size))
                offsets.append(state.next)
                state.next += 1
                state.bytes += size
            for vnode, start in change.starts.items():
                state_of(vnode).start = max(start, state_of(vnode).start)
            answers.append(offsets)
        self._file.write(rows, list(states.items()))
        # Beside the values a commit writes the page of each end, and the pages that the small parts stand on.
        self._unmoved_bytes += sum(size for _, _, size in stored) + (2 * len(states) + 1) * PAGE_BYTES
        with self._lock:
            for vnode, state in states.items():
                self._states[vnode] = state
            for vnode, record_stored, size in stored:
                self._recent.add(vnode, record_stored, size)
        return answers

    def _give_up(self, error: BaseException) -> None:
        """The writer has ended by a bug: nobody may wait for it for ever."""
        reason = Unavailable(f"the event log's writer has ended ({type(error).__name__}: {error}): restart the system")
        with self._wake:
            self._closed = reason
            lost = [*self._group, *self._waiting]
            self._waiting.clear()
        answer_all(lost, [copy.copy(reason) for _ in lost])

    # --------------------------------------------------------------------------------------------------------- upkeep
    def _upkeep_wait_s(self) -> float | None:
        """Give how long upkeep should wait: 0 for now, None when there is none."""
        due = self._unmoved_bytes >= CHECKPOINT_BYTES or self._shrinking or self._to_trim() is not None
        return max(self._upkeep_from_s - time.monotonic(), 0) if due else None

    def _to_trim(self) -> int | None:
        return next((vnode for vnode, state in enumerate(self._states) if state.trimmed < state.start), None)

    def _upkeep(self) -> None:
        """Do the most urgent piece, a few milliseconds long."""
        try:
            if self._in_doubt:
                self._look_again()
            vnode = self._to_trim()
            if self._unmoved_bytes >= CHECKPOINT_BYTES:
                self._checkpoint()
            elif vnode is not None:
                new = self._file.trim(vnode, self._states[vnode], TRIM_CHUNK_BYTES, TRIM_CHUNK_RECORDS)
                with self._lock:
                    self._states[vnode] = new
                self._unmoved_bytes += 4 * PAGE_BYTES
                self._shrinking = True
            elif self._file.free_bytes() > self._keep_free_bytes:
                self._file.shrink(SHRINK_CHUNK_BYTES)
                self._unmoved_bytes += SHRINK_CHUNK_BYTES  # at the most: it moves pages
            else:
                self._shrinking = False
        except EssError as error:
            self._in_doubt = True
            self._upkeep_from_s = time.monotonic() + RETRY_UPKEEP_S
            _log.warning("upkeep of the event log failed, and is tried again: %s", error.message)

    def _checkpoint(self) -> None:
        self._file.checkpoint()
        self._unmoved_bytes = 0
        if self._file.wal_bytes() >= self._limits.max_wal_bytes:
            with self._reading:
                self._file.start_wal_over()

    # --------------------------------------------------------------------------------------------------------- reading
    def _read_file(self, vnode: int, offset: int, max_bytes: int) -> tuple[StoredRecord, ...]:
        """Read from the file, in the reader's thread."""
        with self._reading:
            while True:
                with self._lock:
                    state = self._states[vnode]
                    offset = max(offset, state.start)
                    end = state.next
                if offset >= end:
                    return ()
                if self._reader is None:
                    self._reader = LogReader(self._path)
                found = self._reader.read(vnode, offset, end, max_bytes)
                if [record.offset for record in found] == list(range(offset, offset + len(found))) and found:
                    return tuple(found)
                with self._lock:
                    trimmed_meanwhile = self._states[vnode].start > offset
                if not trimmed_meanwhile:
                    raise DataLoss(
                        f"virtual node {vnode}: the event log {self._path} has lost records from offset {offset} on",
                        vnode=vnode,
                    )
