"""Making files of a local directory durable: every fsync of the library's files happens here.

A file's bytes and its name are two things to a file system: the file is synced for the first, its folder for the
second, and the parents of every new folder likewise.
"""

from __future__ import annotations

import os
from pathlib import Path

from ess_ray.adapters.private import make_private


def sync_file(path: Path) -> None:
    """Make a file's bytes survive a power cut. Raises OSError (FileNotFoundError when it is not there)."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut. Raises OSError."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(path: Path, root: Path) -> None:
    """Make a folder below `root` (or `root`) and its missing parents, durably and closed to other users.

    Idempotent, safe from many processes. The whole way from `root` down is synced even if it exists: another process
    may have made a part of it a moment ago and not have synced it yet. Raises OSError.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    make_private(path)
    below = [path, *path.parents]
    for folder in dict.fromkeys([*below[: below.index(root) + 1], *made]):
        sync_folder(folder.parent)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
