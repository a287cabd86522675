"""A file system of a test's own, small enough to be filled. Root only: elsewhere the test is skipped, visibly.

May live here: mounting, filling, emptying. May not: what a system does then.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

SIZE_BYTES: Final = 4 * 1024**3
"""Of memory, taken only as far as it is written: a run's million events take a tenth of it."""
_STEP_BYTES: Final = 4096


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system."""

    folder: Path

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all free space but `leave_bytes`; others may write meanwhile."""
        with self._filler.open("ab") as file:
            while (free := self._free_bytes() - leave_bytes) >= _STEP_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
                except OSError:  # somebody was faster: what is left now
                    continue

    def empty(self) -> None:
        """Give the space back. Idempotent."""
        self._filler.unlink(missing_ok=True)

    def _free_bytes(self) -> int:
        told = os.statvfs(self.folder)
        return told.f_bavail * told.f_frsize


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one at `folder`, which is made, until the context ends."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder.mkdir(parents=True)
    options = f"size={SIZE_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        # Lazy: a process of a system that was killed may have a file open for another moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
