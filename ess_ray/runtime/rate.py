"""How many events a second come in just now, from counters that only grow while their actor lives."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 10.0
"""Long enough that batches and flushes do not make it jump, short enough to be called just now."""


class Rate:
    """Grows of counters within a window of the last seconds; the first look at a counter counts nothing."""

    def __init__(self, window_s: float = WINDOW_S, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._window_s, self._clock_s = window_s, clock_s
        self._last: dict[str, int] = {}
        self._grown: deque[tuple[float, int]] = deque()
        self._begun_s: float | None = None

    def look(self, counter: str, value: int) -> None:
        """Note what a counter stands at. One that went back was begun anew, and counts from there."""
        now_s = self._clock_s()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        before = self._last.get(counter, value)
        self._last[counter] = value
        if value > before:
            self._grown.append((now_s, value - before))

    def forget(self, counter: str) -> None:
        """A counter is gone."""
        self._last.pop(counter, None)

    def per_s(self) -> float:
        """Give the growth a second of all counters, over the window or since the first look at any."""
        now_s = self._clock_s()
        while self._grown and now_s - self._grown[0][0] > self._window_s:
            self._grown.popleft()
        looked_s = 0.0 if self._begun_s is None else min(self._window_s, now_s - self._begun_s)
        return sum(grown for _, grown in self._grown) / looked_s if looked_s > 0 else 0.0
