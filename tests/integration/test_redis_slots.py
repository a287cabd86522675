"""Redis' slots on a real server: shared by replicas, back after a death, taken once however often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ess_ray.adapters.redis_slots import RedisSlots
from ess_ray.core.errors import Unavailable
from tests.redis_server import RedisServer, redis_server

KEY = "ess:lambda:scan:slots"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


async def test_slots_are_shared_and_those_of_the_dead_come_back(server: RedisServer) -> None:
    one, other = (RedisSlots(server.url, "scan", cap=2, lease_s=600) for _ in range(2))
    assert await one.take() is not None
    assert await other.take() is not None
    assert await one.take() is None
    for name in server.client.zrange(KEY, 0, -1):  # as if their holder had died long ago
        server.client.zadd(KEY, {name: 1})
    assert await other.take() is not None
    await one.close()
    await other.close()


async def test_a_request_whose_answer_was_lost_takes_its_slot_once(server: RedisServer) -> None:
    slots = RedisSlots(server.url, "scan", cap=1, lease_s=600)
    request = ([KEY], [1, "a-slot", 600_000])
    assert [await slots._script(*request) for _ in range(2)] == [1, 1]
    assert server.client.zcard(KEY) == 1
    await slots.close()


async def test_a_restart_of_redis_is_waited_out(server: RedisServer) -> None:
    slots = RedisSlots(server.url, "scan", cap=1, lease_s=600, retry_s=60.0)
    assert await slots.take() is not None
    server.process.kill()
    server.process.wait()
    taking = asyncio.create_task(slots.take())
    await asyncio.to_thread(server.restart, keep=False)
    assert await taking is not None, "nothing outlives a restart of this server, so the slot is free"
    await slots.close()


async def test_a_redis_that_stays_away_is_told(server: RedisServer) -> None:
    slots = RedisSlots(server.url, "scan", cap=1, lease_s=600, retry_s=0.2)
    await asyncio.to_thread(server.close)
    with pytest.raises(Unavailable, match="check that it is up"):
        await slots.take()
    with pytest.raises(Unavailable, match="ends by itself"):
        await slots.give_back("any")
    await slots.close()
