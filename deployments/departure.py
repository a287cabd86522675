"""The end of a replica: Serve gives one 30 s, and ends it soon after, whatever it still does and without a word to it.

So a replica asks, as long as something lasts that could outlast it, and ends in good order by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

_log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
"""Pause before each look, also the first: what is over sooner, as most searches are, costs the controller nothing."""
GRACE_S: Final = 25.0
"""How long searches run on once the end is known. With LOOK_S before it and the telling of their ends behind it this is
less than the 30 s after which Serve waits for requests alone, 5 s at the most, and then kills."""
LEAVING: Final = "this search replica is about to end: connect again with the last id, and nothing is missed"

Leaving = Callable[[], Awaitable[bool]]
"""Whether this process is about to end."""


class Departure:
    """Whether this replica is about to end. Lives on one event loop.

    `ask` raises nothing. `end` is called once, `grace_s` after that became known: Serve itself tells a replica of its
    end only when no request is under way any more, and one long export keeps it from telling at all.
    """

    def __init__(
        self,
        ask: Leaving,
        end: Callable[[], Awaitable[None]],
        look_s: float = LOOK_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._ask, self._end, self._look_s, self._grace_s = ask, end, look_s, grace_s
        self._lasting = 0
        self._watch: asyncio.Task[None] | None = None
        self.begun = False
        """Whether the end is known: it is looked for while something is `watched`."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look for the end of this replica meanwhile."""
        self._lasting += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._depart(), name="look whether this replica is to end")
        try:
            yield
        finally:
            self._lasting -= 1
            if not self._lasting and not self.begun:
                self._watch.cancel()
                self._watch = None

    async def _depart(self) -> None:
        while not self.begun:
            await asyncio.sleep(self._look_s)
            self.begun = await self._ask()
        _log.info("this replica is to end: what still runs here in %g s will be ended", self._grace_s)
        await asyncio.sleep(self._grace_s)
        try:
            await self._end()
        except Exception:  # noqa: BLE001 (whatever it is: this process is about to go)
            _log.exception("what runs in this replica could not be ended in good order")
