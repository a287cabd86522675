"""The maintenance task over a real directory: old orphans go, what is live stays, a checkpoint comes when it is due."""

from __future__ import annotations

import os
from pathlib import Path

from ess_ray.maintenance import GARBAGE_AGE_US
from ess_ray.ports import Advance
from ess_ray.runtime.maintain import maintain
from ess_ray.runtime.wiring import System


def test_maintenance_deletes_old_orphans_and_writes_a_checkpoint(tmp_path: Path) -> None:
    system = System(tmp_path, "test")
    store, writer = system.store(), system.catalog().writer()
    key = f"tenant=default/date=2026-09-21/hour=14/1-2-{'0' * 32}-f8-x0.parquet"
    store.put(key, b"orphan")
    fresh = key.replace("0" * 32, "1" * 32)
    store.put(fresh, b"just put, not committed yet")
    old_s = (store.now_us() - GARBAGE_AGE_US) / 1e6 - 1
    os.utime(tmp_path / "events" / key, (old_s, old_s))
    for number in range(101):
        writer.commit("log", [], {0: Advance(number, number + 1)})
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
