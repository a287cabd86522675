"""The listener as its actor runs it: on a system's settings and keys, told by a ping, drained at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ess_ray.adapters.places import Places
from ess_ray.intake.listening.listening import KEYS
from ess_ray.metrics import Tally
from ess_ray.runtime.listener import ListenerActor
from ess_ray.runtime.wiring import System
from tests.listening import PATIENCE_S, AwayLog, at


async def told_when(actor: ListenerActor, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so(told := await actor.ping()):
        assert time.monotonic() < deadline_s, told
        await asyncio.sleep(0.01)
    return told


async def open_door(actor: ListenerActor) -> dict[str, Any]:
    told = await told_when(actor, lambda told: bool(told["has_looked"]))
    (door,) = told["protocols"]
    return dict(door)


def actor_on(log: AwayLog, data_dir: Path, **settings: Any) -> ListenerActor:
    system = System(Places(data_dir), "test", listeners=(at("syslog_tcp", **settings),))
    return ListenerActor(system, lambda: log, Tally)


def port_of(actor: ListenerActor) -> int:
    (door,) = actor._listening._doors
    return int(door.server.port)  # type: ignore[union-attr]


async def test_what_comes_is_stored_and_told(tmp_path: Path) -> None:
    log = AwayLog()
    actor = actor_on(log, tmp_path)
    assert (await open_door(actor))["state"] == "on"
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(actor))
    writer.write(b"<13>hello\n")
    await writer.drain()
    told = await told_when(actor, lambda told: bool(told["protocols"][0]["events"]))
    assert (told["failure"], told["problems"], told["waits"]) == (None, [], None)
    assert told["protocols"][0]["connections"] == 1
    writer.close()
    await writer.wait_closed()
    await actor.drain(5.0)
    assert (await actor.ping())["protocols"][0]["state"] == "off"


async def test_a_log_that_is_away_is_told_and_at_the_end_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    log = AwayLog()
    log.is_away = True
    actor = actor_on(log, tmp_path)
    await open_door(actor)
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(actor))
    writer.write(b"<13>hello\n")
    await writer.drain()
    await told_when(actor, lambda told: told["waits"] is not None)
    await actor.drain(0.2)
    assert (await actor.ping())["protocols"][0]["rejected"] == {"ended": 1}
    writer.close()
    await writer.wait_closed()


async def test_with_a_key_in_the_book_it_is_off_until_a_tenant_is_named(tmp_path: Path) -> None:
    System(Places(tmp_path), "test").keys().create("acme", ["push"])
    closed, named = actor_on(AwayLog(), tmp_path), actor_on(AwayLog(), tmp_path, tenant="acme")
    assert (await open_door(closed))["why"] == KEYS
    assert (await open_door(named))["state"] == "on"
    await closed.drain(1.0)
    await named.drain(1.0)
