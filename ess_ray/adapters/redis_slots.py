"""InvocationSlots in Redis (or Valkey), shared by all replicas: a sorted set of leases, each with its end by Redis'
clock.

May live here: the key, the script. May not: what a slot is for.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from redis import asyncio as aioredis
from redis import exceptions as redis_errors

from ess_ray.core.errors import Unavailable

TIMEOUT_S: Final = 5.0
# Leases that ended are dropped first: those of a replica that died.
_TAKE: Final = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now_ms + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisSlots:
    """InvocationSlots of one function, for one event loop. All methods raise Unavailable when Redis does not answer.

    `lease_s`: longer than any invocation takes, since leases are not renewed.
    """

    def __init__(self, url: str, function: str, cap: int, lease_s: float) -> None:
        self.cap = cap
        self._key, self._lease_ms = f"ess:lambda:{function}:slots", round(lease_s * 1000)
        self._redis: Any = aioredis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._script = self._redis.register_script(_TAKE)

    async def take(self) -> str | None:
        """See the port."""
        slot = uuid4().hex
        try:
            taken = await self._script(keys=[self._key], args=[self.cap, slot, self._lease_ms])
        except redis_errors.RedisError as error:
            raise Unavailable(
                f"Redis does not tell how many Lambda invocations run: {error}; check that it is up"
            ) from error
        return slot if taken else None

    async def give_back(self, slot: str) -> None:
        """See the port."""
        try:
            await self._redis.zrem(self._key, slot)
        except redis_errors.RedisError as error:
            raise Unavailable(f"Redis does not take back a Lambda slot: {error}; it ends by itself") from error

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._redis.aclose()
