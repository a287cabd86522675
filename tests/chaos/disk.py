"""A file system of a test's own, small enough to be filled. Root only: elsewhere the test is skipped, visibly.

May live here: mounting, filling, emptying. May not: what a system does then.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.clients import Threads

SIZE_BYTES: Final = 4 * 1024**3
"""Of memory, taken only as far as it is written: a run's million events take a tenth of it."""
_STEP_BYTES: Final = 4096
AGAIN_S: Final = 0.01
"""Until space that others have freed is taken too: a log frees some all the time."""


class SmallDisk:
    """A mounted file system. `fill` and `empty` may be called in turn, from one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self._threads: Threads | None = None

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all free space but `leave_bytes`, and from then on whatever others free, until it is emptied."""
        self._take(leave_bytes)
        self._threads = Threads(lambda: self._keep_full(leave_bytes))
        self._threads.start()

    def empty(self) -> None:
        """Give the space back. Idempotent."""
        if self._threads is not None:
            self._threads.stop()
            self._threads = None
        self._filler.unlink(missing_ok=True)

    def _keep_full(self, leave_bytes: int) -> None:
        assert self._threads is not None
        while not self._threads.stopping.wait(AGAIN_S):
            self._take(leave_bytes)

    def _take(self, leave_bytes: int) -> None:
        told = os.statvfs(self.folder)
        free = told.f_bavail * told.f_frsize - leave_bytes
        if free >= _STEP_BYTES:
            with self._filler.open("ab") as file, contextlib.suppress(OSError):  # somebody was faster: next time
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one at `folder`, which is made, until the context ends."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder.mkdir(parents=True)
    options = f"size={SIZE_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        disk.empty()
        # Lazy: a process of a system that was killed may have a file open for another moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
