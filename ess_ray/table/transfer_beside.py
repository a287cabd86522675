"""What lies beside a table and goes with a copy of it: deletions, so that nothing comes back, and records of alerts.

A deletion that is not over in the source is carried out in the target anew, over all that was copied, by the system
that starts there or runs. So its record is kept there before the table is copied, since whatever dies may leave a part
of a table on which somebody starts, and again after it, since who runs there may have carried it out meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ess_ray.core.errors import CorruptData, NotFound
from ess_ray.damage import Damaged, reading_from
from ess_ray.ports import ObjectStore, Snapshot
from ess_ray.table.deletion_book import Deletion, DeletionBook

Check = Callable[[str, bytes], object]
"""Raises CorruptData for a record that cannot be read."""
TOO_LATE: Final = (
    "it was carried out after an earlier copy, which may hold events that it deleted, and what it sought is not known "
    "any more: ask for it again where they were copied to"
)


def read_deletions(source: DeletionBook) -> tuple[list[Deletion], list[Damaged]]:
    """Give the deletions of a source, and those that cannot be read. To be asked before the table is.

    What is `done` then is not in a snapshot that is taken later. Raises Unavailable.
    """
    found: list[Deletion] = []
    damaged: list[Damaged] = []
    for deletion_id in source.ids():
        try:
            found.append(source.read(deletion_id))
        except NotFound:
            continue  # it was deleted since
        except CorruptData as error:
            damaged.append(Damaged(f"deletions/{deletion_id}.json", error.message))
    return found, damaged


def copy_deletions(
    found: Iterable[Deletion], target: DeletionBook, before: Snapshot
) -> tuple[list[Deletion], list[Damaged]]:
    """Keep deletions in the target that it lacks, or that are to run there anew; gives those that were written, and
    those that cannot run there. Idempotent.

    `before`: what the target's table held before anything of this copy. Raises Unavailable.
    """
    written: list[Deletion] = []
    failed: list[Damaged] = []
    for one in found:
        kept = _kept(one, _there(target, one.id), before)
        if kept is None:
            continue
        target.write(kept)
        written.append(kept)
        if kept.state == "failed" != one.state:
            failed.append(Damaged(f"deletions/{one.id}.json", TOO_LATE))
    return written, failed


def _there(target: DeletionBook, deletion_id: str) -> Deletion | None:
    """Give a deletion as the target has it; None where it has none, or one that is damaged."""
    try:
        return target.read(deletion_id)
    except (NotFound, CorruptData):
        return None


def _kept(one: Deletion, there: Deletion | None, before: Snapshot) -> Deletion | None:
    """Give the record that the target is to have; None where it has that."""
    if one.finished or (one.state == "done" and there is not None):
        if there is not None:
            return None
        is_late = one.state == "done" and len(before.objects(one.tenant, one.start_us, one.end_us)) > 0
        return replace(one, state="failed", incomplete=(TOO_LATE,)) if is_late else one
    if there is not None and there.state == "running":
        return None
    return replace(one, state="running", done_us=None, gone_by_us=None, bytes_gone=False)


def copy_newer(source: ObjectStore, target: ObjectStore, check: Check) -> tuple[int, list[Damaged]]:
    """Copy the records that the target lacks, or has from before the source's; of two, the one that was written last
    counts. Gives how many were written, and those that cannot be read, which are not copied. Idempotent.

    Raises Unavailable.
    """
    written, damaged = 0, list[Damaged]()
    there = {info.key: info.modified_us for info in target.list("")}
    for info in source.list(""):
        if info.key in there and there[info.key] >= info.modified_us:
            continue
        try:
            with reading_from(source, info.key):
                data = source.get_range(info.key, 0, info.size)
            check(info.key, data)
        except NotFound:
            continue  # it was deleted since
        except CorruptData as error:
            damaged.append(Damaged(info.key, error.message))
            continue
        target.put(info.key, data)
        written += 1
    return written, damaged
