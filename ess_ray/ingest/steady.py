"""Ages that a clock which is set does not change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], int]
"""Gives microseconds."""
TimeOf = Callable[[int], int]
"""Gives the steady time of a time of day, both in microseconds."""
_NS_PER_US: Final = 1_000


def elapsed_us() -> int:
    """Give microseconds since some moment, by a clock that nobody sets."""
    return time.monotonic_ns() // _NS_PER_US


class SteadyTime:
    """The time of day as it was when this began, and on from there by a clock that nobody sets.

    Two moments of a process lie as far apart as they were, whatever became of the time of day between them: what is
    remembered for an hour is remembered for an hour.
    """

    def __init__(self, clock_us: Clock, elapsed_us: Clock = elapsed_us) -> None:
        self._clock_us, self._elapsed_us = clock_us, elapsed_us
        self._ahead_us = clock_us() - elapsed_us()

    def now_us(self) -> int:
        """Give the steady time."""
        return self._elapsed_us() + self._ahead_us

    def of(self, observed_us: int) -> int:
        """Give the steady time of what was observed at this time of day: never one that is yet to come."""
        return self.as_of_now()(observed_us)

    def as_of_now(self) -> TimeOf:
        """Give what `of` gives, for many at once."""
        now_us, steady_us = self._clock_us(), self.now_us()
        return lambda observed_us: steady_us - max(0, now_us - observed_us)
