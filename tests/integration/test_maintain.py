"""The maintenance task over a real directory: old orphans go, what is live stays, a checkpoint comes when it is due."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from ess_ray.adapters.places import Places
from ess_ray.core.chunk import encode_object
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Advance, vnode_advances
from ess_ray.runtime.maintain import compact_now, maintain
from ess_ray.runtime.wiring import System
from ess_ray.table.maintenance import GARBAGE_AGE_US


def test_maintenance_deletes_old_orphans_and_writes_a_checkpoint(tmp_path: Path) -> None:
    system = System(Places(tmp_path), "test")
    store, writer = system.store(), system.catalog().writer()
    key = f"tenant=default/date=2026-09-21/hour=14/1-2-{'0' * 32}-f8-x0.parquet"
    store.put(key, b"orphan")
    fresh = key.replace("0" * 32, "1" * 32)
    store.put(fresh, b"just put, not committed yet")
    old_s = (store.now_us() - GARBAGE_AGE_US) / 1e6 - 1
    os.utime(tmp_path / "events" / key, (old_s, old_s))
    for number in range(101):
        writer.commit([], [], vnode_advances("log", {0: Advance(number, number + 1)}))
    done = maintain(system)
    assert (done["deleted_objects"], done["deleted_bytes"]) == (1, len(b"orphan"))
    assert store.head(key) is None
    assert store.head(fresh) is not None
    assert done["checkpoint_version"] is not None
    assert list((tmp_path / "events" / "_delta_log").glob("*.checkpoint.parquet"))
    assert system.catalog().snapshot().next_offset("log", 0) == 101
    done = maintain(system)
    assert (done["deleted_objects"], done["deleted_bytes"], done["checkpoint_version"]) == (0, 0, None)
    assert (done["merged_objects"], done["expired_objects"], done["skipped"]) == (0, 0, [])


def test_maintenance_compacts_and_takes_out_what_is_too_old(
    tmp_path: Path, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    system = System(Places(tmp_path), "test", compaction=CompactionPolicy({"short": 1}))
    store, writer = system.store(), system.catalog().writer()
    for number, tenant in enumerate(["default", "default", "short"]):
        encoded = encode_object(make_events([t0_us + number], first=number), [])
        entry = entry_of(Sealed(tenant, encoded), t0_us)
        store.put(entry.key, encoded.data)
        writer.commit([entry], [], vnode_advances("log", {0: Advance(number, number + 1)}))
    done = maintain(system)
    assert (done["merged_objects"], done["new_objects"], done["expired_objects"]) == (2, 1, 1)
    (entry,) = system.catalog().snapshot().objects(None, None, None)
    assert (entry.tenant, entry.rows) == ("default", 2)
    assert compact_now(system, eager=True)["merged_objects"] == 0
    assert len(store.list("tenant=")) == 4, "a day later they go"
