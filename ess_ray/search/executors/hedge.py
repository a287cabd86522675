"""When to start a second copy of a scan task that takes far longer than its peers.

Every executor asks this, whatever runs its tasks.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ess_ray.ports import ScanTask
from ess_ray.search.plan import OBJECT_COST_BYTES

RATES_KEPT: Final = 101
"""Finished tasks that the usual rate is taken from: the newest, since stores have slow and fast hours."""


@dataclass(frozen=True, slots=True)
class HedgeLimits:
    """When a task counts as overdue."""

    min_s: float = 1.0
    """No task is overdue before: starting a worker alone may take as long."""
    factor: float = 3.0
    """Times the usual seconds for its bytes; more copies than this finds cost more than they save."""
    unknown_s: float = 10.0
    """The same while no task has finished, so that nothing tells what is usual."""


@dataclass(slots=True)
class _Running:
    cost_bytes: int
    started_s: float
    copies: int = 1


class Hedge:
    """Follows the tasks of one search, by index. `clock_s` must never step back. Not for several threads.

    A task is overdue when it has run longer than `factor` times what its bytes usually take, and it gets one second
    copy. The usual is the median of seconds per byte over finished tasks, each by the copy that answered.
    """

    def __init__(self, clock_s: Callable[[], float], limits: HedgeLimits = HedgeLimits()) -> None:
        self._clock_s, self._limits = clock_s, limits
        self._running: dict[int, _Running] = {}
        self._rates: deque[float] = deque(maxlen=RATES_KEPT)

    def started(self, index: int, cost_bytes: int) -> None:
        """A task began to run, with so many bytes to read (at least 1 is taken)."""
        self._running[index] = _Running(max(1, cost_bytes), self._clock_s())

    def hedged(self, index: int) -> None:
        """A second copy of a running task was started."""
        self._running[index].copies += 1

    def finished(self, index: int) -> None:
        """The first answer of a task came."""
        task = self._running.pop(index)
        self._rates.append((self._clock_s() - task.started_s) / task.cost_bytes)

    def gave_up(self, index: int) -> None:
        """A task ended without an answer: its time tells nothing."""
        del self._running[index]

    def overdue(self) -> int | None:
        """Name the task that a second copy should be started of now: the one longest overdue; None if there is none."""
        late = self._latest()
        return late[1] if late is not None and late[0] >= 0 else None

    def wait_s(self) -> float | None:
        """Tell how long until a running task becomes overdue if none finishes; None when none can."""
        late = self._latest()
        return None if late is None else max(0.0, -late[0])

    def _latest(self) -> tuple[float, int] | None:
        """Give the task furthest beyond its time, and the seconds (below zero: before it)."""
        now_s = self._clock_s()
        usual = statistics.median(self._rates) if self._rates else None
        return max(
            (
                (now_s - task.started_s - self._allowed_s(task, usual), index)
                for index, task in self._running.items()
                if task.copies == 1
            ),
            default=None,
        )

    def _allowed_s(self, task: _Running, usual: float | None) -> float:
        if usual is None:
            return self._limits.unknown_s
        return max(self._limits.min_s, self._limits.factor * usual * task.cost_bytes)


def cost_bytes(task: ScanTask) -> int:
    """Tell what a task costs: the bytes of its objects, each at least what opening one is worth."""
    return sum(max(entry.size, OBJECT_COST_BYTES) for entry in task.entries)
