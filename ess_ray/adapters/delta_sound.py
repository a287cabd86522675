"""Opening a table whose newest checkpoint may be damaged: by the commits that hold the same, while they are there."""

from __future__ import annotations

import logging

from deltalake import DeltaTable

from ess_ray.adapters.delta_flaws import find_flaws
from ess_ray.adapters.delta_log import POINTER, TableLog, checkpoint_name, sums_name
from ess_ray.adapters.delta_sums import checkpoint_flaw, pointed_at, pointer_flaw, sums_flaw
from ess_ray.core.errors import CorruptData, NotFound

_log = logging.getLogger(__name__)


def opened(log: TableLog) -> DeltaTable:
    """Open the newest version, by files that are as they were written. Raises DeltaError, CorruptData."""
    make_sound(log)
    return log.open()


def make_sound(log: TableLog) -> None:
    """Put a newest checkpoint or pointer that is not as it was written aside, where commits hold the same, and tell it.

    Costs reading the checkpoint: little beside opening the table. Raises CorruptData where nothing else holds what it
    held, or where nothing may be changed here (`log.mends`).
    """
    if not _is_altered(log):
        return
    for flaw in find_flaws(log):
        if flaw.newest_commit is not None or flaw.name.endswith(".json"):
            continue  # a commit: whoever reads it tells
        if not flaw.spare or (not log.mends and flaw.name.endswith(".parquet")):
            raise CorruptData("the newest checkpoint of the table is not as it was written")
        if log.mends:
            try:
                where = put_aside(log, flaw.name)
            except (NotFound, FileNotFoundError):
                continue  # another process did
            _log.error(
                "%s: %s: %s: healed, commits hold the same; it is now %s", log.address, flaw.name, flaw.found, where
            )


def put_aside(log: TableLog, name: str) -> str:
    """Move a file of the log out of it, durably, and along with a checkpoint what tells of it; gives where it is now.

    Raises NotFound or OSError when it is not there.
    """
    to = log.put_aside(name)
    for version in (version for version in log.sums() if checkpoint_name(version) == name):
        log.remove_file(sums_name(version))
    if name.endswith(".parquet"):
        log.remove_file(POINTER)  # only a hint: the next checkpoint writes it anew
    return to


def _is_altered(log: TableLog) -> bool:
    """Tell whether what the newest version would be read by is damaged, as far as sums tell."""
    pointer = log.read_file(POINTER)
    if pointer is None:
        version = max(log.checkpoints(), default=-1)
    elif pointer_flaw(log, pointer) is not None:
        return True
    else:
        version = pointed_at(pointer)
    if version < 0:
        return False
    checkpoint = log.read_file(checkpoint_name(version))
    if checkpoint is None:
        return pointer is not None
    return checkpoint_flaw(log, version, checkpoint) is not None or sums_flaw(log, version) is not None
