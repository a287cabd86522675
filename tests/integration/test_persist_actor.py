"""The persist actor over real files, as a plain object in this process: its loops, and what it says when one dies."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ess_ray.adapters.places import Places
from ess_ray.core.errors import NewerFormat
from ess_ray.core.event import FORMAT_VERSION
from ess_ray.core.query import Query
from ess_ray.limits import WriterLimits
from ess_ray.ports import LogRead, Record, VnodeRange
from ess_ray.record import FORMAT, KnownRequest, RequestKey, encode_records
from ess_ray.runtime.persist import PersistActor
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, System
from ess_ray.testing import MemoryLog
from tests.formats import with_header
from tests.waiting import until
from tests.worlds import batch_of

DEADLINE_S = 20.0


def actor_on(log: MemoryLog, data_dir: Path, **limits: int) -> PersistActor:
    return PersistActor(System(Places(data_dir), "test", writer=WriterLimits(**limits)), "persist-0", lambda: log)


async def stored(actor: PersistActor) -> int:
    return int((await actor.ping())["counts"].get("rows_stored", 0))


async def trouble(actor: PersistActor) -> list[str]:
    return [told for told in (await actor.ping())["trouble"] if "cannot store" in told]


async def append(log: MemoryLog, name: str) -> None:
    await log.append(encode_records(batch_of([name], [None], 0, time.time_ns() // 1000), 0, "default"))


async def test_what_is_appended_is_stored_by_itself_when_it_is_due(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path, seal_age_us=1)
    await actor.assign([0])
    await append(log, "a")
    await until(lambda: stored(actor), "nothing was stored")
    assert (await actor.ping())["failure"] is None
    await actor.close()


async def test_a_view_waits_for_the_log_end_and_wakes_the_reader(tmp_path: Path) -> None:
    log = MemoryLog(1)
    actor = actor_on(log, tmp_path)
    await actor.assign([0])
    await append(log, "a")
    view = await actor.view("default", Query(), {0: 1}, DEADLINE_S)
    assert view.table.column("message").to_pylist() == ["a"]
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

    async def failure() -> str | None:
        told: str | None = (await actor.ping())["failure"]
        return told

    assert "the poll loop died: RuntimeError: a bug" in await until(failure, "the loop died in silence")
    await actor.close()


async def test_a_record_of_a_newer_format_stops_its_virtual_node_with_a_reason(tmp_path: Path) -> None:
    log = MemoryLog(2)
    actor = actor_on(log, tmp_path)
    await actor.assign([0, 1])
    (record,) = encode_records(batch_of(["newer"], [None], 0, time.time_ns() // 1000), 0, "default")
    await log.append([with_header(record, FORMAT, b"%d" % (FORMAT_VERSION + 1))])
    (other,) = encode_records(batch_of(["other"], [None], 0, time.time_ns() // 1000), 1, "default")
    await log.append([other])
    with pytest.raises(NewerFormat, match="upgrade"):  # not everything is stored, and that must not be said
        await actor.flush()
    told = await actor.ping()
    assert told["failure"] is None
    assert told["counts"].get("dead_letters", 0) == 0
    assert told["trouble"] == [
        "persist-0: virtual node 0 is stopped: the record at offset 0 of virtual node 0 is of format 3, this ess_ray "
        "reads up to 2: upgrade it; the record waits in the log"
    ]
    assert told["positions"] == {0: (0, 0), 1: (1, 1)}
    view = await actor.view("default", Query(), {0: 1, 1: 1}, DEADLINE_S)  # waits for nothing that cannot come
    assert view.ranges[0] == VnodeRange(0, 0)
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
    await until(lambda: trouble(actor), "the trouble was not told")
    events.unlink()
    hidden.rename(events)
    await until(lambda: stored(actor), "it did not go on")
    assert await stored(actor) == 1

    async def is_well() -> bool:
        return not await trouble(actor)

    await until(is_well, "the trouble stayed")
    assert (await actor.ping())["failure"] is None
    await actor.close()


class Pool:
    """Persist actors of this process, found as those of a pool are: by the supervisor's word, through handles."""

    def __init__(self, **actors: PersistActor) -> None:
        self.owned: dict[int, str] = {}
        self._parts: dict[str, Any] = {**actors, SUPERVISOR_ACTOR: self}

    async def owners(self) -> dict[int, str]:
        return dict(self.owned)

    def find(self, name: str) -> Any:
        part = self._parts[name]
        return SimpleNamespace(
            **{
                asked: SimpleNamespace(remote=getattr(part, asked, None))
                for asked in ("owners", "known_request", "view")
            }
        )


async def test_a_view_since_some_offsets_has_only_what_came_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog(2)
    actor = actor_on(log, tmp_path)
    pool = Pool(only=actor)
    pool.owned = {0: "only", 1: "only"}
    monkeypatch.setattr(System, "actor", pool.find)
    await actor.assign([0, 1])
    for vnode, name in ((0, "a"), (0, "b"), (0, "c"), (1, "another")):
        await log.append(encode_records(batch_of([name], [None], 0, time.time_ns() // 1000), vnode, "default"))
    views = PoolViews(System(Places(tmp_path), "test"))
    (view,) = await views.views("default", Query(limit=1, order="oldest"), {0: 3}, DEADLINE_S, since={0: 1})
    assert view.table.column("message").to_pylist() == ["b"]
    assert dict(view.matched) == {0: 2}, "before the limit"
    assert view.ranges == {0: VnodeRange(0, 3)}, "of what the owner holds"
    assert view.scanned_rows == 2
    await actor.close()


async def test_who_knows_a_key_is_asked_anew_when_the_virtual_node_went_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog(1)
    old, new = actor_on(log, tmp_path), actor_on(log, tmp_path)
    pool = Pool(old=old, new=new)
    monkeypatch.setattr(System, "actor", pool.find)
    views = PoolViews(System(Places(tmp_path), "test"))
    await old.assign([0])
    pool.owned = {0: "old"}
    batch = batch_of(["a"], [None], 0, time.time_ns() // 1000)
    await log.append(encode_records(batch, 0, "default", RequestKey("default", "key", "body", 0, 1)))
    assert await views.known_request(0, "default", "key") == KnownRequest("body", frozenset({(0, 1)}), whole=True)
    assert await views.known_request(0, "default", "another") is None
    await new.assign([0])
    pool.owned = {0: "new"}
    await old.assign([])
    assert await views.known_request(0, "default", "key") == KnownRequest("body", frozenset({(0, 1)}), whole=True)
    await new.assign([])
    assert await views.known_request(0, "default", "key") is None, "nobody can tell just now"
    for actor in (old, new):
        await actor.close()
