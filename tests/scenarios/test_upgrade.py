"""A newer ess_ray over what an older one left in the log: everything is there once, repeats across the upgrade too."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from ess_ray.adapters.places import LOG
from ess_ray.adapters.sqlite_log import SqliteLog
from tests.formats import encode_record_1
from tests.systems import running
from tests.worlds import T0_US, batch_of

VNODES = 8


def test_events_of_format_1_in_the_log_are_found_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    names = [f"before {number}" for number in range(300)]

    async def leave() -> None:
        data_dir.mkdir(mode=0o700)
        log = SqliteLog(data_dir / LOG, VNODES)
        for vnode in range(VNODES):
            mine = names[vnode::VNODES]
            batch = batch_of(mine, [None] * len(mine), 0, T0_US)
            await log.append([encode_record_1(batch, vnode, "default")])
        log.close()

    asyncio.run(leave())
    with running(data_dir) as system:
        system.push([{"message": "after"}])
        for _ in ("in flight", "stored"):
            assert Counter(event["message"] for event in system.search("*")) == Counter([*names, "after"])
            system.ess("flush")
        assert system.http.get("/search/healthz").status_code == 200
        assert not list(data_dir.glob("dead-letters/*"))
