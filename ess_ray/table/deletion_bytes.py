"""The bytes of deleted events: when the objects that held them leave the store, and what is in the way of it.

Replaced objects stay for a short grace, for searches that began before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ess_ray.core.chunk import ObjectReader, collect_object, key_parts, open_object
from ess_ray.core.collect import ROWS
from ess_ray.core.errors import CorruptData, EssError, NotFound
from ess_ray.core.query import Query
from ess_ray.damage import reading_from
from ess_ray.ports import Catalog, ObjectInfo, ObjectStore
from ess_ray.table.deletion_book import Cut, Deletion, DeletionBook
from ess_ray.table.maintenance import GARBAGE_AGE_US, collect

GRACE_US: Final = 60 * 1_000_000
"""How long objects that held deleted rows stay for searches that began before: of the tenant alone, since an object
holds one tenant's events, and whose kept answers are dropped anyway. An export that takes longer is broken off, and
says so."""
MARGIN_US: Final = 120 * 1_000_000
"""From the end of the grace until the objects are deleted at the latest: who does it looks every few seconds, and waits
for a CPU behind the scans that are under way."""
CLOCK_STEP_US: Final = 1_000_000
"""What a store may round its times to."""
NOT_DELETED: Final = "objects that hold deleted events could not be deleted from the store, it is tried again"


def first_gone_by_us(catalog: Catalog, store: ObjectStore, deletion: Deletion, now_us: int) -> int:
    """Tell by when all bytes will be gone, as far as it can be told when the last row left the table at `now_us`."""
    return max([now_us + GRACE_US, *(at_us for _, at_us in _orphans(catalog, store, deletion))]) + MARGIN_US


def concerns(deletion: Deletion) -> Callable[[str], bool]:
    """Give a test of keys: whether an object may have held rows of a deletion, as its name tells."""
    query = Query(start_us=deletion.start_us, end_us=deletion.end_us)

    def told(key: str) -> bool:
        try:
            parts = key_parts(key)
        except CorruptData:
            return False
        return parts.tenant == deletion.tenant and query.overlaps(parts.min_us, parts.max_us)

    return told


def _orphans(catalog: Catalog, store: ObjectStore, deletion: Deletion) -> list[tuple[str, int]]:
    """Find objects that no commit names and that hold rows that are to go, and when each may be deleted.

    A writer that died left them. Whoever put one may be about to commit it: so they go by their age alone.
    """
    listed: Sequence[ObjectInfo] = store.list(f"tenant={deletion.tenant}/")
    snapshot = catalog.snapshot()
    removed = {one.key for one in catalog.writer().removed()}
    concerned = concerns(deletion)
    unnamed = [one for one in listed if one.key not in removed and concerned(one.key) and not snapshot.holds(one.key)]
    return [(one.key, one.modified_us + GARBAGE_AGE_US) for one in unnamed if _may_hold(store, one, deletion)]


def _may_hold(store: ObjectStore, info: ObjectInfo, deletion: Deletion) -> bool:
    assert deletion.cut is not None
    try:
        with reading_from(store, info.key):
            reader = open_object(store, info.key, info.size)
            return not is_beyond(reader, deletion.cut) and matches(reader, deletion.sought())
    except NotFound:
        return False
    except EssError:
        return True  # nobody can tell


def clear(catalog: Catalog, store: ObjectStore, book: DeletionBook, deletion: Deletion) -> Deletion:
    """Delete from the store what a deletion took out, once nobody should still read it; gives the record as kept then.

    To be called from `due_us` on. Idempotent; safe beside everything. The rows' words are let go from the record when
    all is gone. Raises Unavailable.
    """
    before = set(_removed_here(catalog, store, deletion))
    collected = collect(catalog, store, GRACE_US, concerns(deletion))
    orphans = _orphans(catalog, store, deletion)
    # Those that were taken out meanwhile do not count: they held nothing any more.
    left = before & set(_removed_here(catalog, store, deletion))
    now_us = store.now_us()
    if not left and not orphans:
        done = replace(deletion, bytes_gone=True, query="", incomplete=_without(deletion.incomplete))
    else:
        reason = (f"{NOT_DELETED}: {'; '.join(collected.failed) or 'they are not old enough'}",) if left else ()
        later = [at + MARGIN_US for _, at in orphans] + ([now_us + GRACE_US + MARGIN_US] if left else [])
        done = replace(deletion, gone_by_us=max(later), incomplete=(*_without(deletion.incomplete), *reason))
    if done != deletion:
        book.write(done)
    return done


def due_us(deletion: Deletion) -> int:
    """Tell from when on `clear` has something to do."""
    assert deletion.gone_by_us is not None
    return deletion.gone_by_us - MARGIN_US + CLOCK_STEP_US


def _without(reasons: Sequence[str]) -> tuple[str, ...]:
    return tuple(reason for reason in reasons if not reason.startswith(NOT_DELETED))


def _removed_here(catalog: Catalog, store: ObjectStore, deletion: Deletion) -> list[str]:
    there: Mapping[str, ObjectInfo] = {one.key: one for one in store.list(f"tenant={deletion.tenant}/")}
    concerned = concerns(deletion)
    gone = {one.key: one.removed_us for one in catalog.writer().removed()}
    done_us = deletion.done_us or 0
    return [key for key, at_us in gone.items() if key in there and at_us <= done_us and concerned(key)]


# ---------------------------------------------------------------------------------------------------- which objects
def is_beyond(reader: ObjectReader, cut: Cut) -> bool:
    """Tell whether all rows of an object came after the cut."""
    ranges = reader.facts.ranges
    ends = [(cut.end_of(part.log_id, part.vnode), part.first) for part in ranges]
    return bool(ends) and all(end is not None and first >= end for end, first in ends)


def matches(reader: ObjectReader, sought: Query) -> bool:
    """Tell whether an object holds a row that a search would find: by its index where that rules it out."""
    found = collect_object(reader, replace(sought, limit=1), ROWS)
    reader.forget()
    return found.rows_matched > 0
