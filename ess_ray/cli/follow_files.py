"""`ess push --follow`: what is written to files, pushed as it comes, through rotation and truncation.

Each look pushes what is new of a file with the machinery of any push, so that whatever ends this, the next push goes on
where it was.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

import click

from ess_ray.cli.file_push import Phase
from ess_ray.cli.output import tell
from ess_ray.cli.push_files import STDIN, Pusher, found_files, shown
from ess_ray.cli.upload import REFUSALS
from ess_ray.core.errors import EssError

LOOK_EVERY_S: Final = 0.5
"""How long a line waits at most before it is seen."""
QUIET_S: Final = 2.0
"""After so long without a write the last event is whole: what logs a stack trace does not pause in it."""
LINGER_S: Final = 60.0
"""How long a file whose name another has is still looked at after its last write: who writes to it may not have been
told of the rotation yet."""
PATIENCE_S: Final = 30.0
"""The longest pause before a system that cannot be reached is tried again."""
_DOUBLED: Final = 10
"""So often is the pause doubled: it has long been the longest by then."""


@dataclass
class _Followed:
    """An open file. `seen`: its size and time of change when it was pushed; `quiet`: its last event was pushed too."""

    path: str
    raw: BinaryIO
    status: os.stat_result
    seen: tuple[int, int] = (-1, -1)
    changed_s: float = 0.0
    quiet: bool = False


class Follower:
    """Follows the files that these names mean, also those that are made later. `clock` and `wait` are the time's."""

    def __init__(
        self,
        names: Sequence[str],
        pusher: Pusher,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._names, self._pusher, self._clock, self._wait = names, pusher, clock, wait
        self._open: dict[str, _Followed] = {}
        self._replaced: list[_Followed] = []
        self._left_out: set[tuple[int, int]] = set()
        self._failures = 0

    def run(self) -> None:
        """Look until interrupted. Raises the EssError of a system that refuses, not of one that is away."""
        found_files(self._names)  # a name that is wrong from the start is an error
        try:
            while True:
                self._wait(self.patient_look())
        finally:
            self.close()

    def patient_look(self) -> float:
        """Look once; gives how long to wait until the next time. Raises what the system refuses."""
        try:
            self.look()
        except EssError as error:
            if isinstance(error, REFUSALS):
                raise
            if not self._failures:
                tell(f"{error.message}; this goes on trying")
            self._failures += 1
            return min(PATIENCE_S, LOOK_EVERY_S * 2.0 ** min(self._failures, _DOUBLED))
        if self._failures:
            tell("the system takes events again")
        self._failures = 0
        return LOOK_EVERY_S

    def look(self) -> None:
        """Push what is new in each file."""
        paths: list[str] = []
        for name in self._names:
            with suppress(click.BadParameter):  # it is away, as between the two steps of a rotation
                paths += [found.path for found in found_files([name], _in_silence) if found.path != STDIN]
        self._look_at_replaced()
        for path in dict.fromkeys([*self._open, *paths]):
            self._look_at(path)

    def _look_at(self, path: str) -> None:
        followed = self._open.get(path)
        now: os.stat_result | None
        try:
            now = os.stat(path)
        except OSError:
            now = None
        if followed is not None and (now is None or not os.path.samestat(now, followed.status)):
            # Another file has its name: what was written to it until then is still to be read.
            self._let_go(followed)
            self._open.pop(path, None)
            followed = None
        if now is None:
            return
        if followed is None:
            if (now.st_dev, now.st_ino) in self._left_out:
                return
            if not stat.S_ISREG(now.st_mode):
                self._leave_out(path, now, "it is no regular file: `ess push` reads a pipe to its end")
                return
            # It stays open, as the file that it is, whatever it is renamed to.
            raw = open(path, "rb")  # noqa: SIM115
            followed = self._open[path] = _Followed(path, raw, os.fstat(raw.fileno()))
        self._read_on(followed)

    def _read_on(self, followed: _Followed) -> None:
        """Push what is new of an open file, and its last event once nothing more comes."""
        state = _state(followed)
        if state != followed.seen:
            if self._push(followed, Phase.GROWING):
                followed.seen, followed.changed_s, followed.quiet = state, self._clock(), False
        elif not followed.quiet and self._clock() - followed.changed_s >= QUIET_S:
            followed.quiet = self._push(followed, Phase.QUIET)

    def _let_go(self, followed: _Followed) -> None:
        """Push what is left of a file whose name another has, or none, and look at it for a while."""
        state = _state(followed)
        if (state == followed.seen and followed.quiet) or self._push(followed, Phase.WHOLE):
            followed.seen, followed.changed_s, followed.quiet = state, self._clock(), True
            self._replaced.append(followed)

    def _look_at_replaced(self) -> None:
        """Push what still comes of files that were let go, until nothing does, or they are followed by another name."""
        for followed in list(self._replaced):
            is_found = any(os.path.samestat(followed.status, other.status) for other in self._open.values())
            if not is_found:
                self._read_on(followed)
            if is_found or followed.raw.closed or self._clock() - followed.changed_s > LINGER_S:
                followed.raw.close()
                self._replaced.remove(followed)

    def _push(self, followed: _Followed, phase: Phase) -> bool:
        """Push what is new; False, and told, for what is no text or cannot be read, which is looked at no more."""
        followed.raw.seek(0)
        try:
            self._pusher.file(followed.path, followed.raw, followed.status, "", phase=phase)
        except (ValueError, OSError, EOFError) as error:
            self._leave_out(followed.path, followed.status, error)
            followed.raw.close()
            self._open.pop(followed.path, None)
            return False
        return True

    def _leave_out(self, path: str, status: os.stat_result, why: object) -> None:
        tell(f"left out: {shown(path)}: {why}")
        self._left_out.add((status.st_dev, status.st_ino))

    def close(self) -> None:
        """Close all files."""
        for followed in (*self._open.values(), *self._replaced):
            followed.raw.close()
        self._open.clear()
        self._replaced.clear()


def _in_silence(_: str) -> None:
    """What is left out was told at the start."""


def _state(followed: _Followed) -> tuple[int, int]:
    found = os.fstat(followed.raw.fileno())
    return found.st_size, found.st_mtime_ns
