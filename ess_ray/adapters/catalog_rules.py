"""What every catalog requires of a commit, whatever stores it: names, numbers, and where virtual nodes stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import Final

from ess_ray.adapters.object_store import check_key
from ess_ray.core.errors import BadRequest, Fenced
from ess_ray.core.tenant import check_tenant
from ess_ray.ports import Advance, ObjectEntry

NO_VIEW: Final = "no view was taken for this commit: start over from view()"
"""Who removes must have looked, and looks again after each try."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


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


def check_advances(advances: Mapping[str, Advance]) -> None:
    """Refuse a step backwards: what was stored would be read and stored again. Raises BadRequest."""
    for name, step in advances.items():
        if not 0 <= step.first <= step.next:
            raise BadRequest(f"{name} cannot step from {step.first} to {step.next}")


def require_first(stands: Mapping[str, int | None], advances: Mapping[str, Advance], seen: Collection[str]) -> None:
    """Require every transaction to stand at its `first`. Raises Fenced.

    One that is not there takes its first step, unless it is among those `seen` before: then the table that the writer
    knew is gone, and what it held must not be taken for stored.
    """
    for name, step in advances.items():
        stand = stands[name]
        if stand is None and name in seen:
            raise Fenced(
                f"the catalog has lost {name}: was the table replaced? Restore it, then take over again",
                transaction=name,
            )
        if stand is not None and stand != step.first:
            raise Fenced(
                f"{name} stands at {stand} in the catalog, this writer began at {step.first}: another writer has moved "
                "it on; read the catalog again",
                transaction=name,
            )


def require_live(keys: Iterable[str], holds: Callable[[str], bool]) -> None:
    """Require the objects to remove to be in the view that the removal builds on. Raises Fenced."""
    missing = [key for key in keys if not holds(key)]
    if missing:
        raise Fenced(f"{missing[0]} is not in the view: start over from view()")
