"""Times of events: microseconds since 1970, as clients and answers write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = 1_000_000
# A number's magnitude tells its unit: 1e11 s is the year 5138, 1e11 ms is 1973, and so on up.
_UNITS: Final = ((1e11, 1_000_000, 1), (1e14, 1_000, 1), (1e17, 1, 1), (1e20, 1, 1_000))
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(?:[.,](\d{1,6})\d*)?\s?([Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
NUMBER_OF_TIME: Final = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
"""An epoch number as text: as programs write one, also with an exponent."""


def epoch_unit(magnitude: float | Fraction) -> tuple[int, int]:
    """Tell what an epoch number counts, by its magnitude: it times the first over the second are microseconds.

    Raises ValueError.
    """
    for limit, times, over in _UNITS:
        if magnitude < limit:
            return times, over
    raise ValueError("the number is no time in s, ms, us or ns")


def number_to_us(value: float) -> int:
    """Read an epoch number in s, ms, us or ns (told by its magnitude) as microseconds; raises ValueError."""
    times, over = epoch_unit(abs(value))
    # Integers stay integers: a float of microseconds would lose the last digits.
    return int(value) * times // over if isinstance(value, int) else round(value * times / over)


def parse_timestamp_us(value: Any) -> int:
    """Read a pushed timestamp: an RFC 3339 string, a number, or a string of digits. Gives epoch microseconds.

    A string without an offset is taken as UTC. Raises ValueError with a reason for a person.
    """
    if isinstance(value, bool):
        raise ValueError("timestamp is true or false; send RFC 3339 text or an epoch number")
    if isinstance(value, int | float):
        return number_to_us(value)
    if not isinstance(value, str):
        raise ValueError("timestamp is neither text nor a number")
    text = value.strip()
    match = _RFC3339.fullmatch(text)
    if match is not None:
        day, minute, second, fraction, offset = match.groups()
        leap = second == "60"  # RFC 3339 allows the leap second, datetime does not
        zone = offset if offset and offset[0] in "+-" else "Z"
        moment = datetime.fromisoformat(f"{day}T{minute}{'59' if leap else second}{zone}")
        delta = moment - _EPOCH
        whole = (delta.days * 86_400 + delta.seconds + leap) * _MICROSECOND
        return whole + (int(fraction.ljust(6, "0")) if fraction else 0)
    if NUMBER_OF_TIME.fullmatch(text) is not None:
        return number_to_us(int(text) if text.lstrip("-").isdecimal() else float(text))
    raise ValueError("timestamp is neither RFC 3339 text nor an epoch number")


def format_timestamp(us: int) -> str:
    """Write epoch microseconds as RFC 3339 with six digits and Z, as answers show them."""
    seconds, micro = divmod(us, _MICROSECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micro:06d}Z"


def partition_of(us: int) -> tuple[str, int]:
    """Give the (date, hour) partition of an event time, in UTC."""
    moment = datetime.fromtimestamp(us // _MICROSECOND, UTC)
    return f"{moment:%Y-%m-%d}", moment.hour
