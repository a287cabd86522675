"""Room on the disk that the embedded log and, beside it, objects and table stand on: who is refused before it is full.

What was acknowledged must still become objects, so storing comes first, then merging, and new events last: pushes are
refused while there is room for the other two.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ess_ray.core.errors import Unavailable
from ess_ray.limits import DiskLimits

_log = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024
APPEND_COPIES: Final = 3
"""What is appended lies in SQLite's write-ahead log, then in its database, then in objects, before any of it goes."""
RESUME_BYTES: Final = 16 * _MIB
"""Beyond what must be free, until pushes are taken again: else every flush would let a few through, and tell so."""
MIN_FREE_FILES: Final = 1_000
"""Names that the file system can still take: a flush makes a file for each tenant and hour, and a commit one more."""

State = Literal["ok", "low", "refusing"]


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has: bytes, and names for files (None: as many as it has bytes for)."""

    free_bytes: int
    total_bytes: int
    free_files: int | None = None


def space_of(folder: Path) -> Space:
    """Look at the file system of a folder: what a user without privileges may still fill. Raises OSError."""
    found = os.statvfs(folder)
    free_files = found.f_favail if found.f_files else None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, free_files)


@dataclass(frozen=True, slots=True)
class Room:
    """One look at the disk, and what comes of it."""

    folder: str
    free_bytes: int
    total_bytes: int
    warn_below_bytes: int
    refuse_below_bytes: int
    state: State
    free_files: int | None = None

    @property
    def told(self) -> str | None:
        """Say what is wrong and what to do; None when nothing is."""
        if self.state == "ok":
            return None
        names = "" if self.free_files is None or self.free_files >= MIN_FREE_FILES else f" and {self.free_files} files"
        found = f"the disk of {self.folder} has {_mib(self.free_bytes)}{names} left"
        advice = "free some, or let old events go (maintenance.max_bytes, maintenance.retention_days)"
        if self.state == "low":
            return f"{found}: below {_mib(self.refuse_below_bytes)} pushes are refused; {advice}"
        return (
            f"{found}, and {_mib(self.refuse_below_bytes)} are kept for storing what was acknowledged: pushes are "
            f"refused until there is room, which is noticed by itself; {advice}"
        )


def judge(
    folder: Path,
    space: Space,
    limits: DiskLimits,
    backlog_bytes: int = 0,
    coming_bytes: int = 0,
    *,
    is_refusing: bool = False,
) -> Room:
    """Say what comes of a file system's space, with so much in the log that must become objects on it, and so much that
    would be appended. An object is smaller than the records that it is made of, so that the backlog counts once."""
    needed = limits.reserve_bytes + backlog_bytes
    wanted = needed + APPEND_COPIES * coming_bytes + (RESUME_BYTES if is_refusing else 0)
    out_of_files = space.free_files is not None and space.free_files < MIN_FREE_FILES
    state: State = "ok" if space.free_bytes >= max(limits.warn_bytes, needed) else "low"
    if out_of_files or space.free_bytes < wanted:
        state = "refusing"
    return Room(str(folder), space.free_bytes, space.total_bytes, limits.warn_bytes, needed, state, space.free_files)


class DiskWatch:
    """Looks at a folder's disk, and remembers whether pushes are refused. Not thread-safe.

    `keeps_objects`: whether what the log holds becomes objects on this disk. Every change of state is logged.
    """

    def __init__(
        self,
        folder: Path,
        limits: DiskLimits,
        *,
        keeps_objects: bool = True,
        space: Callable[[Path], Space] = space_of,
    ) -> None:
        self._folder, self._limits, self._keeps_objects, self._space = folder, limits, keeps_objects, space
        self._state: State = "ok"

    def look(self, backlog_bytes: int, coming_bytes: int = 0) -> Room:
        """Look now; see `judge`. Raises Unavailable when the file system does not tell."""
        try:
            space = self._space(self._folder)
        except OSError as error:
            raise Unavailable(f"the disk of {self._folder} cannot be looked at: {error.strerror or error}") from error
        kept = backlog_bytes if self._keeps_objects else 0
        refusing = self._state == "refusing"
        room = judge(self._folder, space, self._limits, kept, coming_bytes, is_refusing=refusing)
        self._tell(room)
        return room

    def admit(self, backlog_bytes: int, coming_bytes: int) -> None:
        """Raise Unavailable when an append would take what must stay free."""
        room = self.look(backlog_bytes, coming_bytes)
        if room.state == "refusing":
            raise Unavailable(f"{room.told}. Nothing was acknowledged, send it again later")

    def _tell(self, room: Room) -> None:
        before, self._state = self._state, room.state
        if room.state == before:
            return
        if room.state == "ok":
            _log.info("the disk of %s has room again: %s free", room.folder, _mib(room.free_bytes))
        else:
            _log.log(logging.ERROR if room.state == "refusing" else logging.WARNING, "%s", room.told)


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"
