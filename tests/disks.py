"""A small disk of its own for a test: a file system in memory that can really be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import or_skip
from tests.waiting import again_and_again

SLACK_BYTES = 64 * 1024
"""What others may free between filling and looking."""
AGAIN_S = 0.01
"""Until space that others have freed is taken too: a log frees some all the time."""
FILL_TRIES = 1000
"""A system that runs on the disk writes and frees all the time."""


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount an empty file system of so many bytes at `folder`; it goes with the context.

    Without root: a skip; where mounting is not allowed: a skip, and with CI=true a failure.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if shutil.which("mount") is None:
        or_skip("not on the PATH: mount")
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        or_skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a process that was killed a moment ago may still be leaving.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def take_all(folder: Path, leave_bytes: int) -> Path:
    """Take what is free now, but `leave_bytes`, as far as nobody is faster; gives the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("ab") as file:
        more = free_bytes(folder) - leave_bytes
        while more > 0:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
            except OSError:  # somebody was faster: all or nothing is taken, so less is tried
                more = min(more // 2, free_bytes(folder) - leave_bytes)
            else:
                break
    return ballast


def fill(folder: Path, leave_bytes: int) -> Path:
    """Fill the disk with a file until so much is left; gives the file, whose removal makes the room again."""
    for _ in range(FILL_TRIES):
        ballast = take_all(folder, leave_bytes)
        if free_bytes(folder) - leave_bytes <= SLACK_BYTES:
            return ballast
    raise AssertionError(f"the disk cannot be filled: {free_bytes(folder) - leave_bytes} bytes are left")


@contextmanager
def kept_full(folder: Path, leave_bytes: int = 0) -> Iterator[None]:
    """Have no more than `leave_bytes` free until the context ends, whatever a system frees meanwhile."""
    ballast = fill(folder, leave_bytes)
    try:
        with again_and_again(lambda: take_all(folder, leave_bytes), AGAIN_S):
            yield
    finally:
        ballast.unlink()
