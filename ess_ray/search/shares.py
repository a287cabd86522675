"""The places of one replica, shared among tenants: so many exports, so many tails at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from ess_ray.core.errors import TooFast

SHARE: Final = 3
"""A tenant holds at most so many times the places that it leaves free: alone, three of 4 and 75 of 100. What is left
is shared among the next ones in the same way, so that nobody needs to know how many tenants there are."""


class Shares:
    """`most` places. Who holds none gets any that is free; who holds some, only while that leaves others theirs.

    Lives on one event loop. A place is never taken away: a tenant that held more before others came keeps that.
    """

    def __init__(self, what: str, most: int) -> None:
        """`what`: their plural's name in refusals."""
        self._what, self._most = what, most
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places that are taken, by all tenants together."""
        return self._held.total()

    def take(self, tenant: str) -> Callable[[], None]:
        """Take a place; gives what gives it back, once however often it is called. Raises TooFast."""
        held, free = self._held[tenant], self._most - self.taken
        if free <= 0:
            raise TooFast(
                f"{self._most} {self._what} are under way in this replica, which is the most: try again when one has "
                "ended",
                limit=self._most,
                held=held,
            )
        if held and held + 1 > SHARE * (free - 1):
            raise TooFast(
                f"{held} of the {self._most} {self._what} that this replica runs at a time are yours, and the rest is "
                "kept for other tenants: wait until one of yours has ended, or end one, and try again",
                limit=self._most,
                held=held,
            )
        self._held[tenant] += 1
        left = [tenant]

        def give_back() -> None:
            if left:
                self._held.subtract([left.pop()])
                self._held += Counter()  # forgets who holds none

        return give_back
