"""The files of a Delta table's log in a local directory: reading commits, syncing them, keeping commits out.

deltalake writes these files; it syncs none of them, and refreshing through it costs a quarter of a second at 100,000
objects. May live here: the log's folder, by version. May not: what commits mean (delta_snapshot), or committing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.adapters.delta_snapshot import read_transactions
from ess_ray.adapters.durable import make_folder, sync_file, sync_folder
from ess_ray.core.errors import CorruptData

LOCK_NAME: Final = "_ess_commit.lock"
"""Beside `_delta_log`: Delta readers look at the files that the log names, and hide what starts with `_`."""
_COMMIT: Final = re.compile(r"(\d{20})\.json", re.ASCII)
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint\.parquet", re.ASCII)


class LogFiles:
    """The log of the table in `root`. All methods raise OSError; missing files are told by None or left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "_delta_log"

    def read(self, version: int) -> bytes | None:
        """Read a commit; None when there is none of that version (not yet, or not any more)."""
        try:
            return self._commit(version).read_bytes()
        except FileNotFoundError:
            return None

    def versions(self) -> list[int]:
        """List the commits that are there, in order."""
        found = (_COMMIT.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match is not None)

    def written_us(self, version: int) -> int | None:
        """Tell when a commit was written, by the store's clock; None when it is not there."""
        try:
            return self._commit(version).stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return None

    def checkpoint_version(self) -> int:
        """Tell the version of the newest checkpoint, -1 without one. Commits below it may be gone."""
        try:
            return int(json.loads((self.folder / "_last_checkpoint").read_bytes())["version"])
        except FileNotFoundError:
            return -1
        except (ValueError, KeyError, TypeError):
            # The pointer is only a hint, for whoever wrote it: the names tell the same.
            return max(self._checkpoints(), default=-1)

    def transactions(self, version: int) -> dict[str, int]:
        """Read every application transaction as of a version: deltalake tells one at a time, at 2 to 4 ms each.

        Raises CorruptData when commits are missing that no checkpoint covers.
        """
        start = self.checkpoint_version()
        if start > version:
            start = max((at for at in self._checkpoints() if at <= version), default=-1)
        found: dict[str, int] = {}
        if start >= 0:
            with pq.ParquetFile(self._checkpoint(start)) as checkpoint:
                column = checkpoint.read(columns=["txn.appId", "txn.version"]).column("txn")
            for row in column.filter(pc.is_valid(pc.struct_field(column, "appId"))).to_pylist():
                found[row["appId"]] = row["version"]
        for number in range(start + 1, version + 1):
            data = self.read(number)
            if data is None:
                raise CorruptData(
                    f"commit {number} is missing in {self.folder}, and no checkpoint covers it: restore it"
                )
            found.update(read_transactions(data))
        return found

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
        sync_file(self._checkpoint(version))
        sync_file(self.folder / "_last_checkpoint")
        sync_folder(self.folder)

    def sync_creation(self) -> None:
        """Make the table's first commit and its folders durable. Idempotent."""
        first = self._commit(0)
        if first.exists():
            sync_file(first)
        make_folder(self.folder, self.root)
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

    def _checkpoints(self) -> list[int]:
        found = (_CHECKPOINT.fullmatch(name) for name in os.listdir(self.folder))
        return [int(match[1]) for match in found if match is not None]

    def _checkpoint(self, version: int) -> Path:
        return self.folder / f"{version:020d}.checkpoint.parquet"

    def _commit(self, version: int) -> Path:
        return self.folder / f"{version:020d}.json"
