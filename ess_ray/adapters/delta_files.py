"""The files of a Delta table's log in a local directory: reading commits, syncing them, keeping commits out.

deltalake writes these files; it syncs none of them, and refreshing through it costs a quarter of a second at 100,000
objects.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from ess_ray.adapters.delta_log import ASIDE, LOG_FOLDER, POINTER, TableLog, checkpoint_name, commit_name
from ess_ray.adapters.durable import make_folder, sync_file, sync_folder
from ess_ray.adapters.object_store import LocalObjectStore

LOCK_NAME: Final = "_ess_commit.lock"
"""Beside `_delta_log`: Delta readers look at the files that the log names, and hide what starts with `_`."""


class LogFiles(TableLog):
    """The log of the table in `root`. All methods raise OSError; missing files are told by None or left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / LOG_FOLDER
        self.address = str(root)

    def open(self) -> DeltaTable:
        return DeltaTable(self.root)

    def create(self, make: Callable[[Path], None]) -> None:
        make_folder(self.root, self.root)
        if not DeltaTable.is_deltatable(self.root):
            # Alone: deltalake does not refuse a creation that loses a race, it commits a second metadata as version 1.
            with self.exclusive():
                if not DeltaTable.is_deltatable(self.root):
                    make(self.root)
        self._sync_creation()

    def read(self, version: int) -> bytes | None:
        """Read a commit; None when there is none of that version (not yet, or not any more)."""
        try:
            return self._commit(version).read_bytes()
        except FileNotFoundError:
            return None

    def read_dated(self, versions: Sequence[int]) -> Iterable[tuple[int, bytes, int]]:
        for version in versions:
            try:
                with self._commit(version).open("rb") as file:
                    yield version, file.read(), os.fstat(file.fileno()).st_mtime_ns // 1000
            except FileNotFoundError:
                continue

    def sync_commits(self, synced: int, version: int) -> None:
        """Make the commits after `synced`, up to `version`, durable: a hole before ours would lose ours with it.

        Commits of others are synced too, since their writers may not have come to it. What has been cleaned up
        meanwhile is covered by a checkpoint, which was synced before.
        """
        for number in range(max(synced, self.checkpoint_version() - 1) + 1, version + 1):
            try:
                sync_file(self._commit(number))
            except FileNotFoundError:
                if number == version:
                    raise
        sync_folder(self.folder)

    def sync_checkpoint(self, version: int) -> None:
        """Make a checkpoint and the pointer to it durable."""
        sync_file(self.folder / checkpoint_name(version))
        sync_file(self.folder / POINTER)
        sync_folder(self.folder)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Hold while committing: any number of commits at once, but none beside `exclusive`."""
        with self._flock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every commit on this directory out, of any process; a commit by the same thread waits for ever."""
        with self._flock(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _flock(self, kind: int) -> Iterator[None]:
        # An open file of its own for every holder: threads of one process exclude each other too. Closing releases.
        descriptor = os.open(self.root / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _sync_creation(self) -> None:
        """Make the table's first commit and its folders durable. Idempotent."""
        first = self._commit(0)
        if first.exists():
            sync_file(first)
        make_folder(self.folder, self.root)
        sync_folder(self.folder)

    def _names(self) -> Iterable[str]:
        return os.listdir(self.folder) if self.folder.is_dir() else ()

    def read_file(self, name: str) -> bytes | pa.Buffer | None:
        path = self.folder / name
        try:
            # Checkpoints are mapped: of their columns only two are read.
            return pa.memory_map(str(path)).read_buffer() if path.suffix == ".parquet" else path.read_bytes()
        except FileNotFoundError:
            return None

    def write_file(self, name: str, data: bytes) -> None:
        LocalObjectStore(self.folder).put(name, data)

    def remove_file(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def put_aside(self, name: str) -> str:
        folder = self.root / ASIDE
        make_folder(folder, self.root)
        to = folder / f"{name}.{time.time_ns() // 1000}"
        (self.folder / name).rename(to)
        for changed in (folder, self.folder):
            sync_folder(changed)
        return str(to)

    def _commit(self, version: int) -> Path:
        return self.folder / commit_name(version)
