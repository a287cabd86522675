"""Damage of the SQLite log's files that SQLite itself does not tell of.

It takes a cut write-ahead log for a short one, and an empty file for a new database: what was acknowledged would be
lost without a word.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ess_ray.adapters.sqlite_file import look_at, told
from ess_ray.core.errors import CorruptData

_MAGIC: Final = b"SQLite format 3\0"
_SHM: Final = struct.Struct("=IIIBBHII2I8s2I")  # the index of the write-ahead log: version, ..., page size, frames, ...
_BACKFILLED_AT: Final = 96
"""Where that index tells how many frames are in the database already."""
_WAL_HEADER_BYTES: Final = 32
_WAL_MAGIC: Final = b"\x37\x7f\x06"
_WAL_SALT: Final = slice(16, 24)


@dataclass(frozen=True, slots=True)
class _Wal:
    """What the index beside the write-ahead log tells of it: committed pages, those moved to the database, its salt."""

    frames: int
    moved: int
    salt: bytes


def find_flaw(path: Path) -> tuple[str, str] | None:
    """Tell which of a log's files is damaged, and how; None when all is well, or there is no log. Changes nothing.

    For a log that nobody owns: SQLite itself takes a cut write-ahead log for a short one, and an empty file for a new
    database. What the index beside it last knew tells how much was committed. Raises Unavailable.
    """
    wal = path.with_name(path.name + "-wal")
    with told(path):
        size, wal_bytes = (file.stat().st_size if file.exists() else 0 for file in (path, wal))
        if not size:
            if wal_bytes:
                return str(path), f"it is missing or empty, though its write-ahead log {wal} has {wal_bytes} bytes"
            return (str(path), "it is empty") if path.exists() else None
        with path.open("rb") as file:
            head = file.read(100)
        page_bytes, pages = int.from_bytes(head[16:18], "big") or 1, int.from_bytes(head[28:32], "big")
        if not head.startswith(_MAGIC):
            return str(path), "it is no SQLite database"
        known = _index_of(path)
        shm = _shm_of(path)
        index = shm.read_bytes() if shm.exists() else b""
    found = _flaw_of(path, wal, known, whole=size < page_bytes * pages)  # shorter for a moment of a checkpoint too
    if found is not None and index:
        # Whoever looks next must see what we saw; SQLite itself never goes by what it finds here.
        with told(path):
            shm.write_bytes(index)
    return found


def _flaw_of(path: Path, wal: Path, known: _Wal | None, *, whole: bool) -> tuple[str, str] | None:
    try:
        look_at(path, whole=whole)
    except CorruptData as error:
        return str(path), error.message
    if known is None or known.frames <= known.moved:
        return None
    with told(path):
        now = _index_of(path)  # SQLite has read the write-ahead log as far as it is whole, and written its index anew
        header = wal.read_bytes()[:_WAL_HEADER_BYTES] if wal.exists() else b""
    if header.startswith(_WAL_MAGIC) and header[_WAL_SALT] != known.salt:
        return None  # begun anew since: the index is of before a power cut
    frames = now.frames if now is not None and now.salt == known.salt else 0
    if frames >= known.frames:
        return None
    return str(wal), f"it is missing, cut or altered: {frames} of {known.frames} committed pages can be read"


def _index_of(path: Path) -> _Wal | None:
    """Read the index of a log's write-ahead log; None when there is none that is whole."""
    try:
        data = _shm_of(path).read_bytes()[: _BACKFILLED_AT + 4]
    except FileNotFoundError:
        return None
    if len(data) < _BACKFILLED_AT + 4 or data[: _SHM.size] != data[_SHM.size : 2 * _SHM.size]:
        return None
    _, _, _, ready, _, _, frames, _, _, _, salt, _, _ = _SHM.unpack(data[: _SHM.size])
    moved = int.from_bytes(data[_BACKFILLED_AT:], sys.byteorder)
    return _Wal(frames, moved, salt) if ready else None


def _shm_of(path: Path) -> Path:
    return path.with_name(path.name + "-shm")
