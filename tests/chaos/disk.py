"""A small file system that is kept full for as long as a fault lasts, whatever others free meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests import disks

SIZE_BYTES: Final = 4 * 1024**3
"""Of memory, taken only as far as it is written: a run's million events take a tenth of it."""


class SmallDisk:
    """A mounted file system. `fill` and `empty` may be called in turn, from one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._full = ExitStack()

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all free space but `leave_bytes`, and from then on whatever others free, until it is emptied."""
        self._full.enter_context(disks.kept_full(self.folder, leave_bytes))

    def empty(self) -> None:
        """Give the space back. Idempotent."""
        self._full.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one at `folder`, which is made, until the context ends. Skips where that cannot be."""
    with disks.small_disk(folder, SIZE_BYTES):
        disk = SmallDisk(folder)
        try:
            yield disk
        finally:
            disk.empty()
