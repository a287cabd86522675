"""What every catalog requires of a commit, whatever stores it: names, numbers, and where virtual nodes stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Final

from ess_ray.adapters.object_store import check_key
from ess_ray.core.errors import BadRequest, Fenced
from ess_ray.core.tenant import check_tenant
from ess_ray.ports import Advance, ObjectEntry

MAINTENANCE_BUCKETS: Final = 256
"""Maintenance transactions: a partition belongs to one by its hash; few enough to stay in the table for ever."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def transaction_of(log_id: str, vnode: int) -> str:
    """Name the application transaction whose version is the next offset of a virtual node."""
    return f"log/{log_id}/vnode/{vnode}"


def maintenance_of(bucket: int) -> str:
    """Name the application transaction that removals of a bucket count up. Raises BadRequest."""
    if not 0 <= bucket < MAINTENANCE_BUCKETS:
        raise BadRequest(f"maintenance bucket {bucket} does not exist: they run from 0 to {MAINTENANCE_BUCKETS - 1}")
    return f"maint-{bucket}"


def check_entries(entries: Iterable[ObjectEntry]) -> None:
    """Refuse what must not become a partition or a path (deltalake takes `..` and `a/b`). Raises BadRequest."""
    for entry in entries:
        check_key(entry.key)
        if not entry.key.startswith(f"tenant={check_tenant(entry.tenant)}/"):
            raise BadRequest(f"the object {entry.key} does not lie under its tenant {entry.tenant!r}")
        if _DATE.fullmatch(entry.date) is None or not _is_date(entry.date):
            raise BadRequest(f"the object {entry.key} has the date {entry.date!r}: it must be YYYY-MM-DD")
        if not 0 <= entry.hour < 24:
            raise BadRequest(f"the object {entry.key} has the hour {entry.hour}: it must be 0 to 23")
        if entry.min_us > entry.max_us or min(entry.rows, entry.size) < 0:
            raise BadRequest(f"the object {entry.key} has impossible statistics: {entry}")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_advances(advances: Mapping[int, Advance]) -> None:
    """Refuse a step backwards: what was stored would be read and stored again. Raises BadRequest."""
    for vnode, step in advances.items():
        if not 0 <= step.first <= step.next_offset:
            raise BadRequest(f"virtual node {vnode} cannot step from offset {step.first} to {step.next_offset}")


def require_first(stands: Mapping[int, int | None], advances: Mapping[int, Advance], seen: frozenset[int]) -> None:
    """Require every virtual node to stand at its `first`. Raises Fenced.

    One without any transaction takes its first commit, unless it is among those `seen` with one: then the table that
    the writer knew is gone, and what it held must not be taken for stored.
    """
    for vnode, step in advances.items():
        stand = stands[vnode]
        if stand is None and vnode in seen:
            raise Fenced(
                f"virtual node {vnode}: the catalog has lost its transaction: was the table replaced? Restore it, then "
                "take the virtual node over again",
                vnode=vnode,
            )
        if stand is not None and stand != step.first:
            raise Fenced(
                f"virtual node {vnode} stands at offset {stand} in the catalog, this writer began at {step.first}: "
                "another writer has moved it on; read the catalog again",
                vnode=vnode,
            )


def require_live(keys: Iterable[str], holds: Callable[[str], bool]) -> None:
    """Require the objects to remove to be in the view that the removal builds on. Raises Fenced."""
    missing = [key for key in keys if not holds(key)]
    if missing:
        raise Fenced(f"{missing[0]} is not in the maintenance view: start over from maintenance_view()")
