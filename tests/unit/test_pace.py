"""How many invocations at a time: halved by a refusal, once a pause; and Redis' slots, shared and given back."""

from __future__ import annotations

import random
from pathlib import Path

from ess_ray.adapters.redis_slots import RedisSlots
from ess_ray.search.pace import FIRST_PAUSE_S, LAST_PAUSE_S, Pace
from tests.redis_server import redis_server


def test_a_flock_of_refusals_halves_once_and_answers_raise_it_again() -> None:
    now = [0.0]
    pace = Pace(100, lambda: now[0], random.Random(1))
    for _ in range(30):
        pace.refused()
    assert pace.limit == 50
    assert FIRST_PAUSE_S <= pace.pause_s() <= 2 * FIRST_PAUSE_S
    now[0] += 1
    assert pace.pause_s() == 0
    for _ in range(51):
        pace.went_through()
    assert pace.limit == 51
    for _ in range(100):
        pace.refused()
        now[0] += 2 * LAST_PAUSE_S
    assert pace.limit == 1
    for _ in range(100_000):
        pace.went_through()
    assert pace.limit == 100


async def test_redis_slots_are_shared_and_come_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        one, other = (RedisSlots(server.url, "scan", 2, lease_s=600) for _ in range(2))
        first, second = await one.take(), await other.take()
        assert first is not None
        assert second is not None
        assert await one.take() is None
        await other.give_back(first)
        await other.give_back(first)
        assert await one.take() is not None
        assert await other.take() is None
        for name in server.client.zrange("ess:lambda:scan:slots", 0, -1):  # as if their holder had died long ago
            server.client.zadd("ess:lambda:scan:slots", {name: 1})
        assert await other.take() is not None
        await one.close()
        await other.close()
