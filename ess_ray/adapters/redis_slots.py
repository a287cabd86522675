"""InvocationSlots in Redis (or Valkey), shared by all replicas: a sorted set of leases, each with its end by Redis'
clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import tenacity
from redis import asyncio as aioredis
from redis import exceptions as redis_errors

from ess_ray.core.errors import Unavailable

TIMEOUT_S: Final = 5.0
RETRY_S: Final = 15.0
"""So long Redis may be away before a search fails: a restart takes a second or two, a fail-over ten."""
_RETRIED: Final = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)
# Leases that ended are dropped first: those of a replica that died. A slot that is there already was taken by a request
# whose answer was lost.
_TAKE: Final = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now_ms + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisSlots:
    """InvocationSlots of one function, for one event loop. All methods raise Unavailable when Redis does not answer
    for `retry_s`.

    `lease_s`: longer than any invocation takes, since leases are not renewed.
    """

    def __init__(self, url: str, function: str, *, cap: int, lease_s: float, retry_s: float = RETRY_S) -> None:
        self.cap, self._retry_s = cap, retry_s
        self._key, self._lease_ms = f"ess:lambda:{function}:slots", round(lease_s * 1000)
        self._redis: Any = aioredis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._script = self._redis.register_script(_TAKE)

    async def take(self) -> str | None:
        """See the port."""
        slot = uuid4().hex
        try:
            taken = await self._patiently(self._script, [self._key], [self.cap, slot, self._lease_ms])
        except (redis_errors.RedisError, OSError) as error:
            raise Unavailable(
                f"Redis does not tell how many Lambda invocations run: {error}; check that it is up"
            ) from error
        return slot if taken else None

    async def give_back(self, slot: str) -> None:
        """See the port."""
        try:
            await self._patiently(self._redis.zrem, self._key, slot)
        except (redis_errors.RedisError, OSError) as error:
            raise Unavailable(f"Redis does not take back a Lambda slot: {error}; it ends by itself") from error

    async def _patiently(self, request: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Make a request that may be made twice, until it is answered. Raises what the last try did."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_RETRIED),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
            stop=tenacity.stop_after_delay(self._retry_s),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                answer = await request(*arguments)
        return answer

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._redis.aclose()
