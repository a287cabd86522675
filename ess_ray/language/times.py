"""The bounds of a query as people write them, turned into epoch microseconds.

May live here: text to time. May not: a clock; what a request has when it gives no bound.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import parse_timestamp_us

_RELATIVE = re.compile(r"([+-])(\d{1,12})(s|m|h|d|w)", re.ASCII)
UNIT_US: Final = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6, "w": 604_800 * 10**6}
_FIRST_US: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 10**6
_LAST_US: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 10**6
_TIME_HELP = "use RFC 3339 (2026-11-24T10:00:00Z), an epoch number, now, or a relative time (-15m; s, m, h, d, w)"


def parse_time_us(value: str | int | float | None, now_us: int) -> int | None:
    """Read a bound of a query as epoch microseconds; None stays None (unbounded).

    RFC 3339 (UTC without an offset), an epoch number or digit string in s, ms, us or ns told by its magnitude, `now`,
    or relative to `now_us`: `-30s`, `-15m`, `-1h`, `-7d`, `-2w`. Raises BadRequest.
    """
    if value is None:
        return None
    try:
        us = _relative_us(value.strip(), now_us) if isinstance(value, str) else None
        if us is None:
            us = parse_timestamp_us(value)
    except (ValueError, OverflowError) as error:
        shown = str(value)[:60]
        raise BadRequest(f'"{shown}" is no time that a search can begin or end at ({error}): {_TIME_HELP}') from error
    if not _FIRST_US <= us <= _LAST_US:
        raise BadRequest(f'"{str(value)[:60]}" lies outside the years 1 to 9999: {_TIME_HELP}')
    return us


def _relative_us(text: str, now_us: int) -> int | None:
    """Read `now` or a relative time; None when the text is neither."""
    if text == "now":
        return now_us
    match = _RELATIVE.fullmatch(text)
    if match is None:
        if text.startswith("-"):
            raise ValueError("a relative time needs a whole number and a unit")
        return None
    sign = -1 if match[1] == "-" else 1
    return now_us + sign * int(match[2]) * UNIT_US[match[3]]
