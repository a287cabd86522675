"""A time zone's name -> its clock as numbers, which travel to tasks: none of them needs a table of time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from ess_ray.core.collect import LocalClock
from ess_ray.language import zone_named

FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Changes of a clock are listed from FIRST until LAST, about 260 of them; beyond, the clock stays as it is there."""
_STEP: Final = timedelta(days=7)
"""No zone changes its clock twice within a week, and so comes back unseen."""
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=64)
def clock_named(name: str) -> LocalClock:
    """Give the clock of a zone, named as `language.zone_named` reads it. Raises BadRequest."""
    _, zone = zone_named(name)
    since, ahead = [FIRST], [_ahead(zone, FIRST)]
    at = FIRST
    while at < LAST:
        if _ahead(zone, at + _STEP) != ahead[-1]:
            change = _first_change(zone, at, at + _STEP)
            since.append(change)
            ahead.append(_ahead(zone, change))
        at += _STEP
    return LocalClock(
        tuple((one - FIRST) // _MICROSECOND for one in since), tuple(one // _MICROSECOND for one in ahead)
    )


def _ahead(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _first_change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Find the second at which the clock of `before` ends."""
    same, low, high = _ahead(zone, before), 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _ahead(zone, before + timedelta(seconds=middle)) == same:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)
