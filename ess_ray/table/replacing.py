"""Objects of the table replaced or taken out: who does it, and what is done when somebody else was first.

A partition's removals count up one transaction, and each commit builds on the view that its choice was made of. So of
two that choose at the same time one is refused, and chooses again of what is there then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from ess_ray.core.errors import EssError, Fenced, UnknownOutcome
from ess_ray.ports import Advance, CatalogWriter, ObjectEntry, Snapshot

_log = logging.getLogger(__name__)

BUCKETS: Final = 256
"""Transactions of removals: a partition belongs to one by its hash; few enough to stay in the table for ever."""
MAX_TRIES: Final = 4
"""Commits of one replacement: every removal of anybody refuses all that began before it, so a few refusals are normal.
"""

Partition = tuple[str, str, int]
"""(tenant, date, hour)"""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Objects that are put already, and those of a view that they replace."""

    adds: Sequence[ObjectEntry]
    removes: Sequence[ObjectEntry]


Choose = Callable[[Snapshot], Replacement | None]
"""What is to be replaced of what is there just now; None: nothing any more."""


def partition(entry: ObjectEntry) -> Partition:
    """Give the partition of an object."""
    return entry.tenant, entry.date, entry.hour


def bucket_of(where: Partition) -> int:
    """Give the bucket of the removals of a partition: the same in every process and version."""
    tenant, date, hour = where
    return crc32(f"{tenant}/{date}/{hour:02d}".encode()) % BUCKETS


def count_up(view: Snapshot, bucket: int) -> dict[str, Advance]:
    """Give the step of a bucket's transaction that excludes all other removals of the bucket since the view."""
    name = f"maint-{bucket}"
    return {name: Advance.by_one(view.stand(name))}


def replace_objects(writer: CatalogWriter, bucket: int, choose: Choose, who: str, tries: int = MAX_TRIES) -> bool:
    """Commit what `choose` makes of the newest view, and choose again of a new one when the commit was refused.

    False when nothing was left to choose: an earlier try may have been committed though its answer was lost. `who`: for
    messages. Raises UnknownOutcome when so many `tries` were not enough, and what the catalog and `choose` raise.
    """
    last: EssError | None = None
    for _ in range(tries):
        view = writer.view()
        chosen = choose(view)
        if chosen is None:
            return False
        try:
            writer.commit(chosen.adds, chosen.removes, count_up(view, bucket))
            return True
        except (Fenced, UnknownOutcome) as error:
            last = error
            _log.info("%s looks again: %s", who, error.message)
    raise UnknownOutcome(f"{tries} commits of {who} were refused, it is tried again with the next run: {last}")
