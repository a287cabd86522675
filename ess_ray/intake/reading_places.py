"""Places for messages that are read whole, whatever they turn out to be: few, shared among peers, not for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class ReadingPlaces:
    """So many places, of which one peer has two thirds at the most. On one event loop."""

    def __init__(self, most: int, hurried_s: float) -> None:
        """`hurried_s`: how long a place may be kept while somebody waits for one."""
        self._most, self._most_a_peer = most, max(1, 2 * most // 3)
        self._hurried_s = hurried_s
        self._taken: Counter[str] = Counter()
        self._readers: dict[asyncio.Timeout, float] = {}
        self._waiting = 0
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def place(self, peer: str) -> AsyncIterator[None]:
        """Wait for a place, and have it. Raises TimeoutError when it was kept too long for those who wait."""
        async with self._news:
            await self._wait(peer)
            taken = counted(self._taken, peer)
            taken.__enter__()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._readers[limit] = asyncio.get_running_loop().time()
                if self._waiting:
                    self._hurry()
                yield
        finally:
            self._readers.pop(limit, None)
            taken.__exit__(None, None, None)
            async with self._news:
                self._news.notify_all()

    async def _wait(self, peer: str) -> None:
        self._waiting += 1
        try:
            if not self._is_free(peer):
                self._hurry()
            await self._news.wait_for(lambda: self._is_free(peer))
        finally:
            self._waiting -= 1

    def _is_free(self, peer: str) -> bool:
        return self._taken.total() < self._most and self._taken[peer] < self._most_a_peer

    def _hurry(self) -> None:
        """Have those who read end in time for those who wait."""
        for limit, begun_s in self._readers.items():
            if limit.when() is None:
                limit.reschedule(begun_s + self._hurried_s)


@contextmanager
def counted(counter: Counter[str], peer: str) -> Iterator[None]:
    """Count something of a peer while it is under way."""
    counter[peer] += 1
    try:
        yield
    finally:
        counter[peer] -= 1
        if not counter[peer]:
            del counter[peer]
