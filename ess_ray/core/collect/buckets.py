"""Where a time bucket begins: at multiples of its width, by UTC or by a place's clock.

Widths of whole weeks begin on Mondays, all others count from midnight, 1 January 1970. By a place's clock a day begins
at its midnight and has 23 or 25 hours where the clock is put forward or back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


DAY_US: Final = 86_400 * 1_000_000
WEEK_US: Final = 7 * DAY_US
FIRST_MONDAY_US: Final = 4 * DAY_US
"""1970 began on a Thursday."""


@dataclass(frozen=True, slots=True)
class LocalClock:
    """How far a place's clock is ahead of UTC: `ahead_us[i]` from `since_us[i]` (UTC, ascending) on.

    The first offset holds for all earlier times, too. Both have at least one entry.
    """

    since_us: tuple[int, ...]
    ahead_us: tuple[int, ...]

    def ahead(self, times_us: Ints) -> Ints:
        """Give what the clock is ahead by at each time."""
        at = np.searchsorted(np.array(self.since_us, np.int64), times_us, side="right") - 1
        ahead: Ints = np.array(self.ahead_us, np.int64)[np.maximum(at, 0)]
        return ahead


UTC_CLOCK: Final = LocalClock((0,), (0,))


def bucket_starts(times_us: Ints, interval_us: int, clock: LocalClock = UTC_CLOCK) -> Ints:
    """Give the start (UTC) of the bucket that each time lies in."""
    anchor_us = FIRST_MONDAY_US if interval_us % WEEK_US == 0 else 0
    if clock == UTC_CLOCK:
        return times_us - (times_us - anchor_us) % interval_us
    ahead = clock.ahead(times_us)
    local = times_us + ahead
    local -= (local - anchor_us) % interval_us
    starts = local - ahead
    # Put forward or back between start and time: what the clock was ahead by at the start counts.
    before = clock.ahead(starts)
    return np.where(before == ahead, starts, np.minimum(local - before, times_us))
