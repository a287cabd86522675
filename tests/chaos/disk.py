"""A small file system that is kept full for as long as a fault lasts, whatever others free meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import disks
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
        free = disks.free_bytes(self.folder) - leave_bytes
        if free >= _STEP_BYTES:
            with self._filler.open("ab") as file, contextlib.suppress(OSError):  # somebody was faster: next time
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one at `folder`, which is made, until the context ends. Skips where that cannot be."""
    with disks.small_disk(folder, SIZE_BYTES):
        disk = SmallDisk(folder)
        try:
            yield disk
        finally:
            disk.empty()
