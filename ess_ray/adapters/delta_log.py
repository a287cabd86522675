"""What the Delta catalog needs of the place where its table lies: the log's files by version, and what makes them last.

Two places: a local directory (delta_files: fsyncs, a lock) and a bucket (delta_s3: neither, since a PUT is durable when
it is answered).
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from ess_ray.adapters.delta_snapshot import read_transactions
from ess_ray.core.errors import CorruptData

LOG_FOLDER: Final = "_delta_log"
POINTER: Final = "_last_checkpoint"
ASIDE: Final = "_damaged"
"""Folder of the table's root for what was put aside: Delta readers hide what begins with `_`."""
_COMMIT: Final = re.compile(r"(\d{20})\.json", re.ASCII)
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint\.parquet", re.ASCII)
_SUMS: Final = re.compile(r"_ess_(\d{20})\.sum", re.ASCII)


def commit_name(version: int) -> str:
    """Name a commit's file."""
    return f"{version:020d}.json"


def checkpoint_name(version: int) -> str:
    """Name a checkpoint's file."""
    return f"{version:020d}.checkpoint.parquet"


def sums_name(version: int) -> str:
    """Name the file with the sums of a checkpoint (`delta_sums`): other readers of the table pass over it."""
    return f"_ess_{version:020d}.sum"


@dataclass(frozen=True)
class Transactions:
    """The application transactions as of one version of the table: the newest version of each, by its name."""

    version: int
    versions: Mapping[str, int]


class TableLog(ABC):
    """The log of one table. Missing files are told by None or left out; all else raises OSError or Unavailable."""

    address: str
    """Where the table is, for messages."""
    mends = True
    """Whether whoever opens the table may put a damaged checkpoint aside; not whoever only looks."""

    @abstractmethod
    def open(self) -> DeltaTable:
        """Open a table object of its own, at the newest version. Raises DeltaError."""

    @abstractmethod
    def create(self, make: Callable[[Path], None]) -> None:
        """Let `make` write an empty table into the folder it is given, unless there is a table; then it is durable.

        Of many that try at once, in any processes, one makes it.
        """

    @abstractmethod
    def read(self, version: int) -> bytes | None:
        """Read a commit; None when there is none of that version (not yet, or not any more)."""

    @abstractmethod
    def read_dated(self, versions: Sequence[int]) -> Iterable[tuple[int, bytes, int]]:
        """Read those of the commits that are there, in order: (version, data, when it was written in us)."""

    @abstractmethod
    def sync_commits(self, synced: int, version: int) -> None:
        """Make the commits after `synced`, up to `version`, durable."""

    @abstractmethod
    def sync_checkpoint(self, version: int) -> None:
        """Make a checkpoint and the pointer to it durable."""

    @abstractmethod
    def committing(self) -> AbstractContextManager[None]:
        """Hold while committing: any number of commits at once, but none beside `exclusive`, where there is that."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every commit out, of any process, where the place can; elsewhere do nothing."""

    @abstractmethod
    def _names(self) -> Iterable[str]:
        """List the files of the log."""

    @abstractmethod
    def read_file(self, name: str) -> bytes | pa.Buffer | None:
        """Read a file of the log whole; None when it is not there."""

    @abstractmethod
    def write_file(self, name: str, data: bytes) -> None:
        """Write a file of the log durably and at once, in place of one of this name."""

    @abstractmethod
    def remove_file(self, name: str) -> None:
        """Take a file out of the log; a missing one is no error."""

    @abstractmethod
    def put_aside(self, name: str) -> str:
        """Move a file of the log out of it, durably, into ASIDE, never over another one; tells where it is now.

        Raises NotFound or OSError when it is not there (any more).
        """

    def versions(self) -> list[int]:
        """List the commits that are there, in order."""
        found = (_COMMIT.fullmatch(name) for name in self._names())
        return sorted(int(match[1]) for match in found if match is not None)

    def checkpoint_version(self) -> int:
        """Tell the version of the newest checkpoint, -1 without one. Commits below it may be gone."""
        pointer = self.read_file(POINTER)
        if pointer is None:
            return -1
        try:
            return int(json.loads(bytes(pointer))["version"])
        except (ValueError, KeyError, TypeError):
            # The pointer is only a hint, for whoever wrote it: the names tell the same.
            return max(self.checkpoints(), default=-1)

    def partition_columns(self) -> list[str]:
        """Tell what the table is partitioned by. Raises DeltaError when its log cannot be read.

        deltalake tells it too, but reads every object of the table first: a quarter of a second at 100,000 of them.
        """
        version = self.checkpoint_version()
        if version >= 0:
            found = self._actions_of_checkpoint(version, "metaData", "partitionColumns")
        else:
            lines = (self.read(0) or b"").splitlines()
            found = [json.loads(line)["metaData"] for line in lines if line.startswith(b'{"metaData"')]
        return list(found[-1]["partitionColumns"]) if found else list(self.open().metadata().partition_columns)

    def transactions_from(self, known: Transactions | None, version: int) -> Transactions:
        """Read every application transaction as of a version, from an earlier version on if one is known.

        Costs one read for each commit in between; commits never change. Raises CorruptData as `transactions` does.
        """
        if known is not None and known.version <= version:
            data = [data for _, data, _ in self.read_dated(range(known.version + 1, version + 1))]
            if len(data) == version - known.version:
                return Transactions(version, reduce(or_, map(read_transactions, data), dict(known.versions)))
        return Transactions(version, self.transactions(version))

    def transactions(self, version: int) -> dict[str, int]:
        """Read every application transaction as of a version.

        deltalake tells one at a time, and reads every commit since the checkpoint for each: 2 to 4 ms on a disk, a
        hundred requests on S3. Raises CorruptData when commits are missing that no checkpoint covers.
        """
        start = self.checkpoint_version()
        if 0 <= start <= version and (found := self._transactions_since(start, version)) is not None:
            return found
        # The pointer is only a hint, and may tell of a newer checkpoint, or be lost.
        start = max((at for at in self.checkpoints() if at <= version), default=-1)
        found = self._transactions_since(start, version)
        if found is None:
            raise CorruptData(
                f"commits between {start} and {version} are missing in {self.address}, and no checkpoint covers them: "
                "restore them"
            )
        return found

    def _transactions_since(self, start: int, version: int) -> dict[str, int] | None:
        """Read a checkpoint (-1: none) and the commits after it, up to `version`; None when any is missing."""
        found = self._transactions_of_checkpoint(start) if start >= 0 else {}
        data = [data for _, data, _ in self.read_dated(range(start + 1, version + 1))]
        if found is None or len(data) < version - start:
            return None
        return reduce(or_, map(read_transactions, data), found)

    def _transactions_of_checkpoint(self, version: int) -> dict[str, int] | None:
        rows = self._actions_of_checkpoint(version, "txn", "appId", "version")
        return None if rows is None else {row["appId"]: row["version"] for row in rows}

    def _actions_of_checkpoint(self, version: int, kind: str, first: str, *others: str) -> list[dict[str, Any]] | None:
        """Read fields of the actions of a kind, of which `first` is never null; None without that checkpoint."""
        data = self.read_file(checkpoint_name(version))
        if data is None:
            return None
        with pq.ParquetFile(pa.BufferReader(data)) as checkpoint:
            column = checkpoint.read(columns=[f"{kind}.{name}" for name in (first, *others)]).column(kind)
        found: list[dict[str, Any]] = column.filter(pc.is_valid(pc.struct_field(column, first))).to_pylist()
        return found

    def checkpoints(self) -> list[int]:
        """List the versions of the checkpoints that are there."""
        found = (_CHECKPOINT.fullmatch(name) for name in self._names())
        return [int(match[1]) for match in found if match is not None]

    def sums(self) -> list[int]:
        """List the versions of the checkpoints whose sums are there."""
        found = (_SUMS.fullmatch(name) for name in self._names())
        return [int(match[1]) for match in found if match is not None]
