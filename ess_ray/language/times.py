"""The bounds of a query as people write them, turned into epoch microseconds.

Everything is read exactly, then rounded up to whole microseconds, for both bounds: an event's time is a whole one, so
from X on means from the first whole one at X or later, and before X means before that. `...000000999Z` as an end
therefore includes the event at `...000000Z`, and as a start leaves it out.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from fractions import Fraction
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import NUMBER_OF_TIME, epoch_unit
from ess_ray.language.zones import zone_behind

UNIT_US: Final = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6, "w": 604_800 * 10**6}
_LENGTH_US: Final = {"ms": 10**3, **UNIT_US}
_PART: Final = r"(\d{1,12}(?:\.\d{1,9})?)(ms|[smhdw])"
_LENGTH = re.compile(rf"(?:{_PART})+", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)
_RELATIVE = re.compile(r"(?:now\s*([+-])\s*|([+-]))(\d.*)", re.ASCII)
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,30}))?)?\s?([A-Za-z+-]\S*)?)?",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 10**6
_LAST_US: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 10**6
_TIME_HELP = (
    "use RFC 3339 (2026-11-24T10:00:00Z), a day (2026-11-24), a day and time (2026-11-24 10:00), today, yesterday, an "
    "epoch number, now, or a relative time (-15m, -1h30m, -1.5h, now-1h; ms, s, m, h, d, w)"
)


def parse_time_us(value: str | int | float | None, now_us: int, zone: tzinfo | None = UTC) -> int | None:
    """Read a bound of a query as epoch microseconds; None stays None (unbounded).

    RFC 3339, also without seconds, or a day alone; an epoch number or digit string in s, ms, us or ns told by its
    magnitude; `now`, `today`, `yesterday`, `tomorrow`; or relative to `now_us`: `-30s`, `-1h30m`, `-1.5h`, `now-7d`.
    `zone` is that of days and times without an offset; None: this machine's. Raises BadRequest.
    """
    if value is None:
        return None
    try:
        exact_us = _relative_us(value.strip(), now_us, zone) if isinstance(value, str) else None
        us = math.ceil(absolute_us(value, zone) if exact_us is None else exact_us)
    except (ValueError, OverflowError, OSError) as error:
        shown = str(value)[:60]
        raise BadRequest(f'"{shown}" is no time that a search can begin or end at ({error}): {_TIME_HELP}') from error
    if not _FIRST_US <= us <= _LAST_US:
        raise BadRequest(f'"{str(value)[:60]}" lies outside the years 1 to 9999: {_TIME_HELP}')
    return us


def parse_length_us(text: str) -> Fraction | None:
    """Read a length of time, `15m`, `1h30m`, `1.5h`, as exact microseconds; None when it is none."""
    if _LENGTH.fullmatch(text) is None:
        return None
    return sum((Fraction(count) * _LENGTH_US[unit] for count, unit in _PARTS.findall(text)), Fraction(0))


def absolute_us(value: str | int | float, zone: tzinfo | None = UTC) -> Fraction:
    """Read a time that does not depend on now, as exact epoch microseconds. Raises ValueError, OverflowError.

    A float is the number that it is written as, so that it and the same text are one instant.
    """
    if isinstance(value, bool):
        raise ValueError("true and false are no times")
    text = value.strip() if isinstance(value, str) else repr(value)
    match = _MOMENT.fullmatch(text)
    if match is not None:
        return _moment_us(match, zone)
    if isinstance(value, str) and NUMBER_OF_TIME.fullmatch(text) is None:
        raise ValueError("it is neither RFC 3339 text nor an epoch number")
    number = Fraction(text)
    times, over = epoch_unit(abs(number))
    return number * times / over


def _moment_us(match: re.Match[str], zone: tzinfo | None) -> Fraction:
    day, clock, second, fraction, offset = match.groups()
    leap = second == "60"  # RFC 3339 allows the leap second, datetime does not
    moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}:{'59' if leap else second or '00'}")
    seconds = _epoch_s(moment, zone if offset is None else zone_behind(offset)) + leap
    return (seconds + Fraction(f"0.{fraction or 0}")) * 10**6


def _epoch_s(moment: datetime, zone: tzinfo | None) -> int:
    since = (moment.astimezone() if zone is None else moment.replace(tzinfo=zone)) - _EPOCH
    return since.days * 86_400 + since.seconds


def _relative_us(text: str, now_us: int, zone: tzinfo | None) -> Fraction | None:
    """Read a time that depends on now, exactly; None when the text is none."""
    if text == "now":
        return Fraction(now_us)
    if text in _DAYS:
        today = datetime.fromtimestamp(now_us // 10**6, zone).date()
        day = today + timedelta(days=_DAYS[text])
        return Fraction(_epoch_s(datetime.combine(day, time()), zone) * 10**6)
    match = _RELATIVE.fullmatch(text)
    length_us = None if match is None else parse_length_us(match[3])
    if match is None or length_us is None:
        if text.startswith(("-", "+", "now")):
            raise ValueError("a relative time needs a number and a unit")
        return None
    return now_us - length_us if "-" in (match[1], match[2]) else now_us + length_us
