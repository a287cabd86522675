"""Whose search runs next: so many of a tenant at a time, the others wait in the order in which they were asked."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from ess_ray.core.errors import TooFast


class Place:
    """One search's place: it runs, or waits behind others. Give it back when the search has ended."""

    def __init__(self, turns: Turns, tenant: str) -> None:
        self._turns, self._tenant = turns, tenant
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done as soon as it may run."""
        self.given_back = False

    @property
    def waits(self) -> bool:
        """Whether others run before it."""
        return not self.turn.done()

    @property
    def position(self) -> int | None:
        """Tell how many of the same tenant's wait until it runs, itself among them; None once it may run."""
        return self._turns.position(self._tenant, self) if self.waits else None

    def give_back(self) -> None:
        """Let the next one run. Idempotent."""
        self._turns.give_back(self._tenant, self)


class Turns:
    """At most `most_running` of each tenant run, at most `most_waiting` wait. Lives on one event loop."""

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self._most_running, self._most_waiting = most_running, most_waiting
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Place]] = {}

    def enter(self, tenant: str) -> Place:
        """Take a place. Raises TooFast where too many wait already."""
        place, waiting = Place(self, tenant), self._waiting.setdefault(tenant, deque())
        if self._running[tenant] < self._most_running:
            self._run(tenant, place)
        elif len(waiting) < self._most_waiting:
            waiting.append(place)
        else:
            raise TooFast(
                f"{self._running[tenant]} of your searches run and {len(waiting)} wait for their turn, which are the "
                "most in this replica (search.max_running, search.max_queued): ask again when some have ended, or "
                "cancel some",
                running=self._running[tenant],
                queued=len(waiting),
            )
        self._tidy(tenant)
        return place

    def position(self, tenant: str, place: Place) -> int:
        return self._waiting[tenant].index(place) + 1

    def give_back(self, tenant: str, place: Place) -> None:
        waiting = self._waiting.get(tenant, deque())
        if place in waiting:
            waiting.remove(place)
        elif not place.given_back:
            self._running[tenant] -= 1
            while waiting and self._running[tenant] < self._most_running:
                self._run(tenant, waiting.popleft())
        place.given_back = True
        self._tidy(tenant)

    def _run(self, tenant: str, place: Place) -> None:
        place.turn.set_result(None)
        self._running[tenant] += 1

    def _tidy(self, tenant: str) -> None:
        """Forget who has nothing here."""
        if not self._waiting.get(tenant):
            self._waiting.pop(tenant, None)
        self._running += Counter()
