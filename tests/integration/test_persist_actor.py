"""The persist actor over real files, as a plain object in this process: its loops, and what it says when one dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ess_ray.adapters.memory import MemoryLog
from ess_ray.adapters.places import Places
from ess_ray.core.query import Query
from ess_ray.ingest.writer import WriterLimits
from ess_ray.ports import LogRead, Record
from ess_ray.record import encode_records
from ess_ray.runtime.persist import PersistActor
from ess_ray.runtime.wiring import System
from tests.worlds import batch_of

DEADLINE_S = 20.0


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def actor_on(log: MemoryLog, data_dir: Path, **limits: int) -> PersistActor:
    return PersistActor(System(Places(data_dir), "test", writer=WriterLimits(**limits)), "persist-0", lambda: log)


async def append(log: MemoryLog, name: str) -> None:
    await log.append(encode_records(batch_of([name], [None], 0, time.time_ns() // 1000), 0, "default"))


async def test_what_is_appended_is_stored_by_itself_when_it_is_due(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path, seal_age_us=1)
    await actor.assign([0])
    await append(log, "a")
    await until(lambda: actor._writer.counts["rows_stored"], "nothing was stored")
    assert (await actor.ping())["failure"] is None
    await actor.close()


async def test_a_view_waits_for_the_log_end_and_wakes_the_reader(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path)
    await actor.assign([0])
    await append(log, "a")
    view = await actor.view("default", Query(), {0: 1}, DEADLINE_S)
    assert view.rows.column("message").to_pylist() == ["a"]
    await actor.close()


class DyingLog(MemoryLog):
    """A log with a bug: its reads raise what no log may raise."""

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        raise RuntimeError("a bug")


async def test_a_loop_that_dies_is_told_by_ping(tmp_path: Path) -> None:
    log = DyingLog(1)
    actor = actor_on(log, tmp_path)
    await actor.assign([0])
    await append(log, "a")
    deadline = time.monotonic() + DEADLINE_S
    while (failure := (await actor.ping())["failure"]) is None:
        assert time.monotonic() < deadline, "the loop died in silence"
        await asyncio.sleep(0.01)
    assert "the poll loop died: RuntimeError: a bug" in failure
    await actor.close()


async def test_an_undecodable_record_is_kept_as_a_file_and_told(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path)
    await actor.assign([0])
    await log.append([Record(0, b"no arrow", (("who", b"me"),))])
    await append(log, "a")
    assert await actor.flush() == 1
    assert (tmp_path / "dead-letters" / "0-0.record").read_bytes() == b"no arrow"
    assert b"me" in (tmp_path / "dead-letters" / "0-0.record.json").read_bytes()
    assert any("cannot be decoded" in trouble for trouble in (await actor.ping())["trouble"])
    await actor.close()


async def test_storing_goes_on_when_the_disk_comes_back(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path, seal_age_us=1)
    await actor.assign([0])
    events = tmp_path / "events"
    hidden = tmp_path / "hidden"
    events.rename(hidden)
    events.write_text("a file where the folder was")
    await append(log, "a")
    await until(lambda: "flush" in actor._trouble, "the trouble was not told")
    events.unlink()
    hidden.rename(events)
    await until(lambda: actor._writer.counts["rows_stored"] == 1, "it did not go on")
    await until(lambda: "flush" not in actor._trouble, "the trouble stayed")
    assert (await actor.ping())["failure"] is None
    await actor.close()
