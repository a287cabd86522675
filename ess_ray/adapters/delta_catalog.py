"""The catalog as a Delta table: the fence on which exactly-once rests, and what readers see.

Writers check and commit through private `DeltaTable` objects and Delta's own conflict detection; readers follow the
commits' files.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from ess_ray.adapters.catalog_rules import NO_VIEW, check_advances, check_entries, require_first, require_live
from ess_ray.adapters.delta_actions import actions_of
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_flaws import find_flaws
from ess_ray.adapters.delta_log import LOG_FOLDER, TableLog, Transactions
from ess_ray.adapters.delta_making import NO_HOOKS, PARTITION_COLUMNS, bring_up_to_date, create, is_of_an_older_version
from ess_ray.adapters.delta_s3 import S3Log
from ess_ray.adapters.delta_snapshot import (
    SUM,
    Commit,
    DeltaSnapshot,
    ForeignCommit,
    read_block,
    read_commit,
    sum_of,
)
from ess_ray.adapters.delta_sound import opened
from ess_ray.adapters.delta_sums import tidy_sums, write_sums
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.errors import CorruptData, EssError, Fenced, Unavailable, UnknownOutcome
from ess_ray.ports import Advance, ObjectEntry, Removed, vnode_transaction

CHECKPOINT_EVERY: Final = 100
"""Commits between checkpoints: what a reader replays when it opens the table."""
MAX_REFUSALS: Final = 8
"""Tries of one commit that removals overtake: removals are seconds apart at least, so a third is rare already."""
_REMOVAL_OVERTOOK: Final = "concurrent transaction deleted data"
_COMMIT_ID: Final = "essCommitId"
_DECORATION: Final = re.compile("\x1b\\[[0-9;]*m|\u21b3")
"""Colours and arrows."""


def table_log(at: Path | S3Location) -> TableLog:
    """Give the files of the log of the table in a directory or a bucket."""
    return S3Log(at) if isinstance(at, S3Location) else LogFiles(at)


class DeltaCatalog:
    """The table of objects in a directory or a bucket, made if it is not there. Safe from many threads and processes.

    `on_commit` is called with "before" between a writer's check and its commit and with "after" once deltalake has
    committed, before the commit is durable; what it raises becomes UnknownOutcome. Raises Unavailable when the
    place cannot be used, BadRequest when it holds another table. `mends`: whether a damaged checkpoint, whose commits
    are still there, is put aside; else the table cannot be used then.
    """

    def __init__(
        self, at: Path | S3Location, on_commit: Callable[[str], None] | None = None, *, mends: bool = True
    ) -> None:
        self._files = table_log(at)
        self._files.mends = mends
        self._on_commit = on_commit or (lambda moment: None)
        self._reader = _Reader(self._files)
        self._removals = _Removals(self._files)
        with _usable(self._files):
            create(self._files)

    def writer(self) -> DeltaCatalogWriter:
        """Give a writer with table objects of its own."""
        return DeltaCatalogWriter(self._files, self._removals, self._on_commit)

    def snapshot(self) -> DeltaSnapshot:
        """Freeze the newest version, following what was committed since the last call. Raises Unavailable."""
        return self._reader.snapshot()

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every commit to this directory out, of any process; in a bucket nothing does that.

        A commit by the same thread would wait for ever.
        """
        return self._files.exclusive()

    def checkpoint(self, every: int = CHECKPOINT_EVERY) -> int | None:
        """Write a checkpoint if `every` commits came since the last, then clean up commits over a day old.

        For the maintenance task alone. Everything that replaces the cleaned commits is durable before they go. Gives
        the checkpoint's version, None if none was due. Raises Unavailable.
        """
        with _usable(self._files):
            table = opened(self._files)
            version, last = table.version(), self._files.checkpoint_version()
            if version - last < every:
                return None
            self._files.sync_commits(last, version)
            table.create_checkpoint()
            self._files.sync_checkpoint(version)
            write_sums(self._files, version)
            opened(self._files).cleanup_metadata()
            tidy_sums(self._files)
            return version


class DeltaCatalogWriter:
    """A CatalogWriter: private table objects, one commit at a time."""

    def __init__(self, files: TableLog, removals: _Removals, on_commit: Callable[[str], None]) -> None:
        self._files, self._removals, self._on_commit = files, removals, on_commit
        self._one_at_a_time = threading.Lock()
        self._table: DeltaTable | None = None
        self._transactions: Transactions | None = None
        self._pinned: tuple[DeltaTable, DeltaSnapshot] | None = None
        self._seen: set[str] = set()
        self._synced = -1

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Reopen the table and read where each virtual node stands. Raises Unavailable.

        Who writes asks this first: a table that an older version made gets the columns and settings that it lacks.
        """
        names = {vnode: vnode_transaction(log_id, vnode) for vnode in vnodes}
        stands = self._read_anew(names.values())
        return {vnode: stands[name] for vnode, name in names.items()}

    def stand(self, transaction: str) -> int | None:
        """Reopen the table and read where a transaction stands; see `next_offsets`. Raises Unavailable."""
        return self._read_anew((transaction,))[transaction]

    def _read_anew(self, names: Collection[str]) -> dict[str, int | None]:
        with self._one_at_a_time, _usable(self._files):
            table, stands = self._reopened(names)
            if is_of_an_older_version(table):
                bring_up_to_date(self._files)
                _, stands = self._reopened(names)
            return stands

    def snapshot(self) -> DeltaSnapshot:
        """Reopen the table and freeze its newest version. Raises Unavailable."""
        return _Reader(self._files).snapshot()

    def view(self) -> DeltaSnapshot:
        """Open the table anew and pin its version for the next commit that removes objects. Raises Unavailable."""
        with self._one_at_a_time, _usable(self._files):
            table = opened(self._files)
            view = _snapshot_of(table, self._files)
            self._pinned = (table, view)
            return view

    def commit(
        self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], transactions: Mapping[str, Advance]
    ) -> int:
        """Check, then commit from the very table object that was checked; gives the version, durable.

        Raises Fenced or BadRequest (nothing was committed), Unavailable (the table could not be read: nothing was
        committed), UnknownOutcome.
        """
        check_entries(adds)
        check_advances(transactions)
        with self._one_at_a_time, _usable(self._files), self._files.committing():
            version = self._replace(adds, removes, transactions) if removes else self._add(adds, transactions)
            self._seen.update(transactions)
            return version

    def _replace(
        self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], transactions: Mapping[str, Advance]
    ) -> int:
        """Commit from the pinned table object, which nothing ever refreshes."""
        pinned, self._pinned = self._pinned, None
        if pinned is None:
            raise Fenced(NO_VIEW)
        table, view = pinned
        require_live([entry.key for entry in removes], view.holds)
        require_first({name: view.stand(name) for name in transactions}, transactions, self._seen)
        return self._apply(table, adds, removes, transactions)

    def _add(self, adds: Sequence[ObjectEntry], transactions: Mapping[str, Advance]) -> int:
        """Commit from the newest version, and again where removals overtake it."""
        for refusals in range(MAX_REFUSALS):
            table, stands = self._refreshed(transactions)
            try:
                require_first(stands, transactions, self._seen)
            except Fenced as error:
                if refusals:
                    raise UnknownOutcome(f"after a refused commit: {error.message}") from error
                raise
            # From here to the commit nothing may refresh `table`: what commits in between must be a conflict.
            try:
                return self._apply(table, adds, (), transactions)
            except UnknownOutcome as error:
                if not (transactions and _REMOVAL_OVERTOOK in error.message):
                    raise
                # deltalake takes every commit for a reader of the whole table, so that any removal refuses it. The
                # next try checks again; without transactions it could not, and might bring a removed object back.
        raise UnknownOutcome(f"removals overtook this commit {MAX_REFUSALS} times: read the catalog, then commit again")

    def removed(self) -> list[Removed]:
        """Name the objects taken out by commits of the last day (and more, until a clean-up). Raises Unavailable."""
        with _usable(self._files):
            return self._removals.read()

    def _refreshed(self, names: Collection[str]) -> tuple[DeltaTable, dict[str, int | None]]:
        """Give the writer's table at its newest version, and where transactions stand in that version."""
        if self._table is not None:
            try:
                self._table.update_incremental()
                return self._table, self._stands(self._table, names)
            except (DeltaError, OSError, CorruptData):
                pass  # files that this object still counts on were cleaned up: only reopening helps
        return self._reopened(names)

    def _reopened(self, names: Collection[str]) -> tuple[DeltaTable, dict[str, int | None]]:
        """The same, of a new table object, and with nothing remembered of the old one."""
        self._table, self._transactions = None, None
        table = opened(self._files)
        stands = self._stands(table, names)
        self._table = table
        return table, stands

    def _stands(self, table: DeltaTable, names: Collection[str]) -> dict[str, int | None]:
        # As of the very version that the table object shows, whatever was committed since.
        self._transactions = self._files.transactions_from(self._transactions, table.version())
        stands = {name: self._transactions.versions.get(name) for name in names}
        self._seen.update(name for name, at in stands.items() if at is not None)
        return stands

    def _apply(
        self,
        table: DeltaTable,
        adds: Sequence[ObjectEntry],
        removes: Sequence[ObjectEntry],
        transactions: Mapping[str, Advance],
    ) -> int:
        """The commit itself; whatever goes wrong, its outcome is unknown and the table object is given up."""
        commit_id, steps = uuid4().hex, {name: step.next for name, step in transactions.items()}
        summed = sum_of(Commit(list(adds), [entry.key for entry in removes], steps))
        try:
            self._on_commit("before")
            table.create_write_transaction(
                actions_of(adds, removes),
                "append",
                table.schema(),
                partition_by=list(PARTITION_COLUMNS),
                commit_properties=CommitProperties(
                    custom_metadata={_COMMIT_ID: commit_id, SUM: summed},
                    app_transactions=[Transaction(name, version) for name, version in steps.items()],
                ),
                post_commithook_properties=NO_HOOKS,
            )
            self._on_commit("after")
            version = self._find(commit_id, table.version() + 1)
            self._files.sync_commits(self._synced, version)
        except Exception as error:
            self._table = None
            raise UnknownOutcome(f"the commit ended with: {_said(error)}; read the catalog again") from error
        self._synced = version
        return version

    def _find(self, commit_id: str, version: int) -> int:
        """Find our own commit at or after `version`: deltalake does not say which it became."""
        needle = commit_id.encode()
        while (data := self._files.read(version)) is not None:
            if needle in data:
                return version
            version += 1
        raise Unavailable(f"the commit is not in the table's log up to version {version - 1}")


class _Reader:
    """Follows the table: deltalake reads it once, then every commit's file is read as it comes."""

    def __init__(self, files: TableLog) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._newest: DeltaSnapshot | None = None

    def snapshot(self) -> DeltaSnapshot:
        with self._lock, _usable(self._files):
            newest = self._newest or _snapshot_of(opened(self._files), self._files)
            try:
                newest = self._follow(newest)
                if newest.version < self._files.checkpoint_version():
                    # The commit after ours has been cleaned up: what it did is only in a checkpoint now.
                    raise ForeignCommit("the table's log has a gap behind this reader")
            except ForeignCommit:
                newest = _snapshot_of(opened(self._files), self._files)
            self._newest = newest
            return newest

    def _follow(self, newest: DeltaSnapshot) -> DeltaSnapshot:
        while (data := self._files.read(newest.version + 1)) is not None:
            newest = newest.after(read_commit(data))
        return newest


class _Removals:
    """Removals in the commits that are still there; each commit is read once."""

    def __init__(self, files: TableLog) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._by_version: dict[int, tuple[Removed, ...]] = {}

    def read(self) -> list[Removed]:
        with self._lock:
            known, self._by_version = self._by_version, {}
            versions = self._files.versions()
            self._by_version = {version: known[version] for version in versions if version in known}
            # A commit that was cleaned up between listing and reading is left out: over a day old.
            for version, data, at_us in self._files.read_dated([v for v in versions if v not in known]):
                gone = read_commit(data).removes if b'"remove":' in data else ()
                self._by_version[version] = tuple(Removed(key, at_us) for key in gone)
            return [gone for version in versions for gone in self._by_version.get(version, ())]


def _snapshot_of(table: DeltaTable, files: TableLog) -> DeltaSnapshot:
    """Freeze a table object's version."""
    version, block = table.version(), read_block(pa.table(table.get_add_actions(flatten=True)))
    return DeltaSnapshot(version, block, np.ones(len(block), np.bool_), {}, files.transactions(version))


@contextmanager
def _usable(files: TableLog) -> Iterator[None]:
    """Turn what deltalake, Arrow and the operating system refuse into Unavailable, with what they said.

    Files of the table's log that are damaged are named, since none of these does.
    """
    try:
        yield
    except CorruptData as error:
        if flaws := _flaws(files):
            raise CorruptData(f"{error.message}: {flaws}") from error
        raise
    except (DeltaError, OSError, pa.ArrowException) as error:
        said = _flaws(files) or _said(error)
        raise Unavailable(f"the catalog in {files.address} cannot be used just now: {said}") from error


def _flaws(files: TableLog) -> str:
    try:
        flaws = [f"{LOG_FOLDER}/{flaw.name}: {flaw.found}" for flaw in find_flaws(files)]
    except (EssError, OSError):  # the place itself is away: what failed before tells so
        return ""
    return f"{'; '.join(flaws)} (`ess verify` says what to do)" if flaws else ""


def _said(error: BaseException) -> str:
    """Give what an error says in one line. deltalake puts causes on lines of their own, coloured, then a backtrace."""
    told = _DECORATION.sub("", str(error)).partition("\nstack backtrace")[0]
    return ": ".join(line for part in told.splitlines() if (line := part.strip()))
