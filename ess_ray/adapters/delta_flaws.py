"""Which files of a table's log are not as they were written, and of which of them the table can do without.

deltalake takes an empty commit for one that did nothing, and names no file when it cannot read one: here each is read
by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.adapters.delta_log import POINTER, TableLog, checkpoint_name, commit_name, sums_name
from ess_ray.adapters.delta_snapshot import ForeignCommit, read_commit
from ess_ray.adapters.delta_sums import checkpoint_flaw, pointed_at, pointer_flaw, sums_flaw
from ess_ray.core.errors import CorruptData


@dataclass(frozen=True, slots=True)
class LogFlaw:
    """One file of a table's log that is missing, cut or altered."""

    name: str
    found: str
    spare: bool = False
    """Whether everything that it holds stands in other files too."""
    newest_commit: int | None = None
    """Its version, where it is the newest commit: then the version before is whole."""


def find_flaws(log: TableLog) -> list[LogFlaw]:
    """Read what a reader of the newest version reads, each file by itself; empty when all is well, or nothing is there.

    Reads the newest checkpoint and the commits after it, each held against its sum where it has one; one that the disk
    does not give is such a flaw, too. Raises OSError (the folder itself), Unavailable.
    """
    versions, checkpoints = log.versions(), sorted(log.checkpoints(), reverse=True)
    if not versions and not checkpoints:
        return []
    base, broken = -1, list[tuple[int, str]]()
    for version in checkpoints:
        found = _checkpoint_flaw(log, version)
        if found is None:
            base = version
            break
        broken.append((version, found))
    last = max(versions, default=base)
    commits = {version: found for version in range(base + 1, last + 1) if (found := _commit_flaw(log, version))}
    flaws = [_pointer_flaw(log, checkpoints)]
    flaws += [LogFlaw(sums_name(at), found, spare=True) for at in log.sums() if (found := sums_flaw(log, at))]
    covered = base
    for version, found in broken:
        spare = not any(at <= version for at in commits) and version <= last
        flaws.append(LogFlaw(checkpoint_name(version), found, spare))
        covered = covered if spare else max(covered, version)  # what it alone could tell is not asked of commits too
    only = len(commits) == 1
    flaws += [
        LogFlaw(commit_name(version), found, newest_commit=version if only and version == last > 0 else None)
        for version, found in commits.items()
        if version > covered
    ]
    return [flaw for flaw in flaws if flaw is not None]


def _pointer_flaw(log: TableLog, checkpoints: list[int]) -> LogFlaw | None:
    try:
        data = log.read_file(POINTER)
    except OSError as error:
        return LogFlaw(POINTER, _unreadable(error), spare=True)
    if data is None:
        return None
    if (found := pointer_flaw(log, data)) is not None:
        return LogFlaw(POINTER, found, spare=True)
    if (version := pointed_at(data)) in checkpoints:
        return None
    return LogFlaw(POINTER, f"it points to the checkpoint of version {version}, which is not there", spare=True)


def _checkpoint_flaw(log: TableLog, version: int) -> str | None:
    try:
        data = log.read_file(checkpoint_name(version))
    except OSError as error:
        return _unreadable(error)
    if data is None:
        return "it is missing"
    if (found := checkpoint_flaw(log, version, data)) is not None:
        return found
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except Exception as error:  # noqa: BLE001 (damaged bytes may break a decoder anywhere)
        return f"it does not read as Parquet: {error}"
    return None


def _commit_flaw(log: TableLog, version: int) -> str | None:
    try:
        data = log.read(version)
    except OSError as error:
        return _unreadable(error)
    if data is None:
        return "it is missing, though later ones are there"
    try:
        read_commit(data)
    except ForeignCommit:
        return None  # JSON that others wrote: deltalake's to read
    except CorruptData as error:
        return f"it does not read as a commit: it is cut or altered ({type(error.__cause__).__name__})"
    # Whoever writes a commit says so in it: one without is empty, or cut before its end.
    return None if b'"commitInfo"' in data else "it is empty, or cut"


def _unreadable(error: OSError) -> str:
    return f"it cannot be read ({error.strerror or error})"
