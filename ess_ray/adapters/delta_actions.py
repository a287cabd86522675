"""The actions of a commit, as deltalake takes them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from deltalake.transaction import AddAction, RemoveAction

from ess_ray.adapters.delta_snapshot import statistics_of
from ess_ray.ports import ObjectEntry


def actions_of(adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry]) -> list[AddAction | RemoveAction]:
    """Give what adds objects and takes others out."""
    return [*map(_remove, removes), *map(_add, adds)]


def _partition(entry: ObjectEntry) -> dict[str, str | None]:
    return {"tenant": entry.tenant, "date": entry.date, "hour": str(entry.hour)}


def _add(entry: ObjectEntry) -> AddAction:
    return AddAction(entry.key, entry.size, _partition(entry), entry.modified_us // 1000, True, statistics_of(entry))


def _remove(entry: ObjectEntry) -> RemoveAction:
    return RemoveAction(entry.key, True, time.time_ns() // 1_000_000, entry.size, _partition(entry))
