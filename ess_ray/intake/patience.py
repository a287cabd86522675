"""How long a push waits for others in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ess_ray.core.errors import Unavailable

DEADLINE_S: Final = 10.0
"""How long a push waits for others in all: keys, owner, its turn and the log, each of which has a limit of its own.
Enough for an election of Kafka's, and well below the 15 s and more that clients wait: they hear that they may repeat.
"""


class Patience:
    """What one push may wait for others. Its own body does not count: that has a pace of its own."""

    def __init__(self, seconds: float = DEADLINE_S) -> None:
        self._seconds = self._left_s = seconds

    @asynccontextmanager
    async def spent(self) -> AsyncIterator[None]:
        """Run a part of the request in the time that is left. Raises Unavailable at its end."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        try:
            async with asyncio.timeout(self._left_s) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(
                f"the event log has not taken this within {self._seconds:g} s: nothing was acknowledged, send it again "
                "in a few seconds"
            ) from error
        self._left_s -= loop.time() - begun_s
