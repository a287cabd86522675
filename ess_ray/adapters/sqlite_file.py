"""The SQLite file below the embedded log: its lock, schema, statements, upkeep, and what its errors mean.

One row per record, keyed by virtual node and offset in one integer: reading and trimming are ranges of one tree. One
row per virtual node says where it starts and ends, so that offsets go on after everything was trimmed.

Every write and every checkpoint goes through the one connection of LogFile. SQLite before 3.51.3 has a race between two
connections that write and checkpoint at the same moment, which corrupts the file; readers (LogReader) cannot meet it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from ess_ray.adapters.private import make_private
from ess_ray.core.errors import BadRequest, CorruptData, EssError, Unavailable
from ess_ray.ports import StoredRecord

FORMAT: Final = 1
"""`user_version` of the file: a newer one is refused."""
APPLICATION_ID: Final = 0x45535352
"""`application_id` of the file ("ESSR"): another program's database is refused."""
PAGE_BYTES: Final = 8192
"""Measured with records of 16 KB: 10 % fewer CPU cycles than 4 KiB pages; 32 KiB pages write twice the bytes."""
PAGE_CACHE_BYTES: Final = 32 * 1024 * 1024
"""SQLite's cache of the writer: a group (8 MiB) must fit, or its pages are spilled and written twice."""
KEPT_WAL_BYTES: Final = 64 * 1024 * 1024
"""The write-ahead log is cut down to this when it starts over; below, its blocks are reused, which syncs faster."""
BUSY_TIMEOUT_S: Final = 1.0
"""How long to wait for a lock that somebody's `sqlite3` shell holds, before the log counts as unavailable."""
OFFSET_BITS: Final = 48
"""Of a row's key; the virtual node stands above them."""

_SCHEMA: Final = (
    "CREATE TABLE log (log_id TEXT NOT NULL, vnode_count INTEGER NOT NULL)",
    "CREATE TABLE records (id INTEGER PRIMARY KEY, headers BLOB NOT NULL, value BLOB NOT NULL)",
    # start: the first offset to read; trimmed: below it no row is left; next: the offset of the next record;
    # bytes: of the rows in [trimmed, next), kept up to date because summing them would read the whole file.
    "CREATE TABLE vnodes (vnode INTEGER PRIMARY KEY, start INTEGER NOT NULL, trimmed INTEGER NOT NULL, "
    "next INTEGER NOT NULL, bytes INTEGER NOT NULL)",
)


@dataclass(slots=True)
class VnodeState:
    """Where one virtual node stands; `bytes` are values and headers of the records that have not been removed."""

    start: int
    trimmed: int
    next: int
    bytes: int


Row = tuple[int, bytes, bytes]
"""(key, encoded headers, value) of one record."""


def row_key(vnode: int, offset: int) -> int:
    """Give the key of a record's row."""
    return vnode << OFFSET_BITS | offset


# ----------------------------------------------------------------------------------------------------- headers
_HEADER = struct.Struct("<HI")


def encode_headers(headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Write headers as (name length, value length, name, value), one after the other. Raises BadRequest."""
    parts = []
    for name, value in headers:
        encoded = name.encode()
        if len(encoded) > 0xFFFF:
            raise BadRequest(f"a header's name has {len(encoded)} bytes; at most {0xFFFF}")
        parts += [_HEADER.pack(len(encoded), len(value)), encoded, value]
    return b"".join(parts)


def decode_headers(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Read what `encode_headers` wrote. Raises CorruptData."""
    headers, at = [], 0
    try:
        while at < len(data):
            name_bytes, value_bytes = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            end = at + name_bytes + value_bytes
            if end > len(data):
                raise ValueError("cut short")
            headers.append((data[at : at + name_bytes].decode(), data[at + name_bytes : end]))
            at = end
    except (ValueError, struct.error) as error:
        raise CorruptData(f"a log record's headers do not read: {error}") from error
    return tuple(headers)


# ------------------------------------------------------------------------------------------------------ errors
@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, telling what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # a misuse of the module: our bug, to be seen as it is
            raise
        raise _meaning(error, code & 0xFF, path) from error
    except OSError as error:
        raise Unavailable(
            f"the event log {path} is not accessible ({error}): check its folder and its rights"
        ) from error


def _meaning(error: sqlite3.Error, code: int, path: Path) -> EssError:
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
        return CorruptData(
            f"the event log {path} is damaged ({error}): stop the system and restore the file, or move it away "
            "to begin a new log (what was not stored as objects yet is lost then)"
        )
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"the disk of the event log {path} is full: free some space; it goes on by itself then")
    name = getattr(error, "sqlite_errorname", "")
    return Unavailable(
        f"the event log {path} cannot be used just now ({error}, {name}): check its disk, then try again"
    )


# -------------------------------------------------------------------------------------------------------- lock
class _OwnerLock:
    """An exclusive flock beside the database, so that one process owns it; the kernel lets go of it at kill -9."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise Unavailable(
                f"the event log {path.with_suffix('')} belongs to the process {owner or '(unknown)'}: "
                "stop that system first (`ess down`), or use another data directory"
            ) from error
        with suppress(OSError):  # the number is for people; a full disk must not keep us from starting
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


# -------------------------------------------------------------------------------------------------------- file
def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


class LogFile:
    """The one writing connection. Not thread-safe: whoever opened it hands it to one thread.

    Raises Unavailable (another owner, no access, full disk), CorruptData, and BadRequest for another number of virtual
    nodes than the file was made with. After any error nothing of that call is in the file, unless the disk failed in
    the very moment of the commit: read `states` again.
    """

    def __init__(self, path: Path, vnode_count: int) -> None:
        self.path = path
        with told(path):
            make_private(path.parent)
            self._owner = _OwnerLock(path.with_name(path.name + ".lock"))
        try:
            with told(path):
                self._db = _connect(path)
                self._level = ""
        except EssError:
            self._owner.release()
            raise
        try:
            with told(path):
                self._prepare(vnode_count)
        except BaseException:
            self.close()
            raise

    def _prepare(self, vnode_count: int) -> None:
        db = self._db
        # These two count for a new file only, and before anything is written.
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise BadRequest(f"the disk of {self.path} cannot hold a write-ahead log: use a local disk")
        self._synchronous("FULL")
        db.execute("PRAGMA wal_autocheckpoint=0")  # `checkpoint` does it, after the callers are answered
        db.execute(f"PRAGMA journal_size_limit={KEPT_WAL_BYTES}")
        db.execute(f"PRAGMA cache_size=-{PAGE_CACHE_BYTES // 1024}")
        db.execute("PRAGMA secure_delete=OFF")  # some builds zero what is trimmed: four times the cost of a trim
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables:
            self._create(vnode_count)
        elif application != APPLICATION_ID:
            raise BadRequest(f"{self.path} is another program's database: use another data directory")
        elif version != FORMAT:
            raise BadRequest(f"{self.path} has format {version}, this ess_ray reads {FORMAT}: use the newer ess_ray")
        self.log_id: str
        self.log_id, count = db.execute("SELECT log_id, vnode_count FROM log").fetchone()
        if count != vnode_count:
            raise BadRequest(
                f"the log {self.path} has {count} virtual nodes for life, not {vnode_count}: "
                f"set the number of virtual nodes to {count}, or begin with a new data directory",
                vnode_count=count,
            )

    def _create(self, vnode_count: int) -> None:
        with self._transaction():
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute("INSERT INTO log VALUES (?, ?)", (str(uuid4()), vnode_count))
            self._db.executemany("INSERT INTO vnodes VALUES (?, 0, 0, 0, 0)", [(v,) for v in range(vnode_count)])
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version={FORMAT}")
        # The names of the file and of its folder must outlive a power cut as well as their contents.
        for folder in (self.path.parent, self.path.parent.parent):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite rolls back by itself after some errors
                self._db.execute("ROLLBACK")
            raise

    def _synchronous(self, level: Literal["FULL", "NORMAL"]) -> None:
        """NORMAL commits without an fsync: for upkeep, which the next append's fsync carries, or is done again."""
        if level != self._level:
            self._db.execute(f"PRAGMA synchronous={level}")
            self._level = level

    def states(self) -> list[VnodeState]:
        """Read where every virtual node stands, by number."""
        with told(self.path):
            rows = self._db.execute("SELECT start, trimmed, next, bytes FROM vnodes ORDER BY vnode").fetchall()
        return [VnodeState(*row) for row in rows]

    def write(self, rows: Sequence[Row], states: Sequence[tuple[int, VnodeState]]) -> None:
        """Add rows and set states (start, next, bytes) in one transaction: durable when this returns."""
        changed = [(state.start, state.next, state.bytes, vnode) for vnode, state in states]
        with told(self.path):
            self._synchronous("FULL")
        with told(self.path), self._transaction():
            self._db.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
            self._db.executemany("UPDATE vnodes SET start = ?, next = ?, bytes = ? WHERE vnode = ?", changed)

    def trim(self, vnode: int, state: VnodeState, max_bytes: int, max_records: int) -> VnodeState:
        """Remove one chunk of the rows below `state.start`, at least one; gives the new state."""
        first, below = row_key(vnode, state.trimmed), row_key(vnode, state.start)
        with told(self.path):
            self._synchronous("NORMAL")
        with told(self.path), self._transaction():
            freed = trimmed = 0
            sizes = self._db.execute(
                "SELECT id, length(headers) + length(value) FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (first, below, max_records),
            )
            for key, size in sizes.fetchall():
                if trimmed and freed + size > max_bytes:
                    below = key
                    break
                freed += size
                trimmed += 1
            if trimmed == max_records:
                below = first + trimmed  # offsets have no holes
            self._db.execute("DELETE FROM records WHERE id >= ? AND id < ?", (first, below))
            new = VnodeState(state.start, below - row_key(vnode, 0), state.next, state.bytes - freed)
            self._db.execute(
                "UPDATE vnodes SET trimmed = ?, bytes = ? WHERE vnode = ?", (new.trimmed, new.bytes, vnode)
            )
        return new

    def checkpoint(self) -> None:
        """Move committed pages into the database as far as readers let us.

        When all were moved, the next write starts the WAL over, unless a reader uses it in that moment.
        """
        with told(self.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def start_wal_over(self) -> None:
        """Checkpoint everything and cut the WAL to nothing. No reader may be active: it would be waited for."""
        with told(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def wal_bytes(self) -> int:
        """Size of the WAL file."""
        with told(self.path):
            wal = self.path.with_name(self.path.name + "-wal")
            return wal.stat().st_size if wal.exists() else 0

    def free_bytes(self) -> int:
        """Bytes of the file that nothing uses: trimmed, and not written again yet."""
        with told(self.path):
            return int(self._db.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES

    def shrink(self, max_bytes: int) -> None:
        """Give up to `max_bytes` of unused file back to the disk."""
        with told(self.path):
            self._synchronous("NORMAL")
            self._db.execute(f"PRAGMA incremental_vacuum({max(max_bytes // PAGE_BYTES, 1)})").fetchall()

    def close(self) -> None:
        """Close and let go of the lock. Readers must be closed before: SQLite cleans up with the last connection."""
        try:
            with told(self.path):
                self._db.close()
        finally:
            self._owner.release()


class LogReader:
    """A second connection, for reading beside the writer. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with told(path):
            self._db = _connect(path)
            self._db.execute("PRAGMA query_only=ON")
            self._db.execute("PRAGMA wal_autocheckpoint=0")

    def read(self, vnode: int, offset: int, end: int, max_bytes: int) -> list[StoredRecord]:
        """Read records in [offset, end) while their values fit `max_bytes`, the first in any case."""
        found: list[StoredRecord] = []
        taken = 0
        with told(self._path):
            cursor = self._db.execute(
                "SELECT id, headers, value FROM records WHERE id >= ? AND id < ? ORDER BY id",
                (row_key(vnode, offset), row_key(vnode, end)),
            )
            try:
                for key, headers, value in cursor:
                    if found and taken + len(value) > max_bytes:
                        break
                    taken += len(value)
                    found.append(StoredRecord(key - row_key(vnode, 0), value, decode_headers(headers)))
            finally:
                cursor.close()  # ends the read transaction, which would keep the WAL from starting over
        return found

    def close(self) -> None:
        with told(self._path):
            self._db.close()


def look_at(path: Path, *, whole: bool = False) -> tuple[str, list[VnodeState]] | None:
    """Read a log's id and where its virtual nodes stand, beside an owner or without one; None when there is no log.

    `whole`: read all of it, to see whether it is in order. Raises Unavailable, CorruptData.
    """
    if not path.exists():
        return None
    with told(path):
        # Read only: the last connection that may write would move the write-ahead log's pages and delete it.
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                raise CorruptData(f"{path} is not an event log of ess_ray: restore the file, or move it away")
            db.execute("BEGIN")  # id and states of one moment
            if whole and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise CorruptData(f"the event log {path} is damaged ({found}): restore the file, or move it away")
            (log_id,) = db.execute("SELECT log_id FROM log").fetchone()
            rows = db.execute("SELECT start, trimmed, next, bytes FROM vnodes ORDER BY vnode").fetchall()
            db.execute("ROLLBACK")
        finally:
            db.close()
    return str(log_id), [VnodeState(*row) for row in rows]
