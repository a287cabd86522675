"""How many invocations at a time a function lets through, learnt from its refusals; and slots within one process."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final
from uuid import uuid4

FIRST_PAUSE_S: Final = 0.05
"""After a refusal; doubled by each further one, with as much again by chance, so that searches do not come in step."""
LAST_PAUSE_S: Final = 5.0
BACK_OFF: Final = 0.5
"""Of the limit that is left after a refusal: as in TCP, and once a pause, since refusals come in flocks."""


class Pace:
    """Additive increase, multiplicative decrease of a limit of at most `cap`. Not for several threads.

    It begins at `cap`: Lambda takes a burst, and says so when it does not.
    """

    def __init__(self, cap: int, clock_s: Callable[[], float], chance: random.Random) -> None:
        self._cap, self._clock_s, self._chance = cap, clock_s, chance
        self._limit = float(cap)
        self._pause_s = FIRST_PAUSE_S
        self._not_before_s = clock_s()

    @property
    def limit(self) -> int:
        """Invocations that may be under way, at least 1."""
        return max(1, int(self._limit))

    def pause_s(self) -> float:
        """How long nothing may be invoked."""
        return max(0.0, self._not_before_s - self._clock_s())

    def went_through(self) -> None:
        """An invocation answered: by a whole limit of those the limit grows by one, and pauses begin small again."""
        self._limit = min(self._cap, self._limit + 1 / self._limit)
        self._pause_s = FIRST_PAUSE_S

    def refused(self) -> None:
        """An invocation was refused for there being too many."""
        if self.pause_s():
            return  # one of the flock that this pause is for
        self._limit = max(1.0, self._limit * BACK_OFF)
        self._not_before_s = self._clock_s() + self._pause_s * (1 + self._chance.random())
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)


class LocalSlots:
    """InvocationSlots of one process. Not for several threads."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._taken: set[str] = set()

    async def take(self) -> str | None:
        """See the port."""
        if len(self._taken) >= self.cap:
            return None
        slot = uuid4().hex
        self._taken.add(slot)
        return slot

    async def give_back(self, slot: str) -> None:
        """See the port."""
        self._taken.discard(slot)
