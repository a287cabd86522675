"""Every catalog that the Catalog port's suite runs over, and what may strike at a commit.

`Harness` is the seam: another catalog joins with one more line in `CATALOGS`. `on_commit` strikes between a
writer's check and its commit ("before") and once the commit took effect ("after"), so that overlaps are exact.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.core.errors import Unavailable
from ess_ray.core.timestamps import partition_of
from ess_ray.ports import Advance, Catalog, ObjectEntry, vnode_advances
from ess_ray.testing import MemoryCatalog

T0_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
DEADLINE_S = 30.0


def _local(request: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    folder: Path = request.getfixturevalue("tmp_path")
    return DeltaCatalog(folder / "events", on_commit=on_commit)


def _memory(_: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    return MemoryCatalog(on_commit=on_commit)


def _s3(request: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    return DeltaCatalog(request.getfixturevalue("s3_location"), on_commit=on_commit)


CATALOGS: dict[str, Callable[[pytest.FixtureRequest, Callable[[str], None]], Catalog]] = {
    "delta": _local,
    "delta-s3": _s3,
    "memory": _memory,
}
CANNOT_EXCLUDE = frozenset({"delta-s3"})
"""Catalogs that cannot keep commits out: the port leaves it to them."""


class Harness:
    """One catalog, and what happens to the next commit (once)."""

    def __init__(self, name: str, request: pytest.FixtureRequest) -> None:
        self.name = name
        self.strikes: dict[str, Callable[[], None]] = {}
        self.catalog = CATALOGS[name](request, self._on_commit)

    def _on_commit(self, moment: str) -> None:
        strike = self.strikes.pop(moment, None)
        if strike is not None:
            strike()

    def stand(self, vnode: int, log_id: str = "log") -> int | None:
        return self.catalog.writer().next_offsets(log_id, [vnode])[vnode]

    def keys_now(self) -> list[str]:
        return sorted(entry.key for entry in self.catalog.snapshot().objects(None, None, None))


def entry(min_us: int = T0_US, max_us: int | None = None, tenant: str = "default", **changes: Any) -> ObjectEntry:
    last_us = min_us if max_us is None else max_us
    date, hour = partition_of(min_us)
    key = f"tenant={tenant}/date={date}/hour={hour:02d}/{min_us}-{last_us}-{uuid.uuid4().hex}-f900-x0.parquet"
    made = ObjectEntry(key, 4096, tenant, date, hour, 7, min_us, last_us, T0_US)
    return replace(made, **changes)


def broken() -> None:
    raise Unavailable("the connection broke")


def stored(world: Harness, count: int = 2) -> list[ObjectEntry]:
    entries = [entry(T0_US + i) for i in range(count)]
    world.catalog.writer().commit(entries, [], vnode_advances("log", {0: Advance(0, count)}))
    return entries
