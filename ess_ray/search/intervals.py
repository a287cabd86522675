"""The width of time buckets: as asked for in words, or chosen to fit a range."""

from __future__ import annotations

import re
from typing import Final

from ess_ray.core.collect import MAX_CELLS
from ess_ray.core.errors import BadRequest
from ess_ray.language import UNIT_US

AUTO: Final = "auto"
SECOND_US: Final = UNIT_US["s"]
AUTO_BUCKETS: Final = 60
"""Buckets that a chosen width gives at the most: as many bars as a chart shows well."""
MAX_INTERVAL_US: Final = 520 * UNIT_US["w"]
"""Ten years, as old as an event may be: wider is one bucket."""
_MINUTE, _HOUR, _DAY, _WEEK = (UNIT_US[unit] // SECOND_US for unit in "mhdw")
STEPS_S: Final = (
    *(1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, _WEEK, 2 * _WEEK, 4 * _WEEK),
    *(13 * _WEEK, 26 * _WEEK, 52 * _WEEK, 104 * _WEEK, 260 * _WEEK),
)
"""Widths that are chosen from, each a multiple of the first: those that people draw charts with."""
_INTERVAL = re.compile(r"([1-9]\d{0,11})([smhdw])", re.ASCII)


def parse_interval_us(text: str) -> int:
    """Read a width such as `30s`, `1m`, `6h`, `1d` or `2w`. Raises BadRequest."""
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise BadRequest(
            f'"{text[:40]}" is no interval: use a whole number and a unit (30s, 1m, 6h, 1d, 2w), auto, or null for none'
        )
    interval_us = int(match[1]) * UNIT_US[match[2]]
    if interval_us > MAX_INTERVAL_US:
        raise BadRequest(f'the interval "{text[:40]}" is longer than ten years: use a smaller one, or null for none')
    return interval_us


def choose_interval_us(first_us: int, last_us: int) -> int:
    """Choose the smallest step that cuts the times in [first_us, last_us] into at most AUTO_BUCKETS buckets."""
    steps_us = [step * SECOND_US for step in STEPS_S]
    fitting = (step for step in steps_us if last_us // step - first_us // step < AUTO_BUCKETS)
    return next(fitting, steps_us[-1])


def check_buckets(start_us: int | None, end_us: int | None, interval_us: int) -> None:
    """Raise BadRequest when a range, both ends of which are given, has more buckets than an answer may have."""
    if start_us is None or end_us is None:
        return
    buckets = -(-(end_us - start_us) // interval_us)
    if buckets > MAX_CELLS:
        raise too_many_buckets(buckets)


def too_many_buckets(buckets: int) -> BadRequest:
    """The error of an answer that would have so many buckets (and groups in them)."""
    return BadRequest(
        f"the answer would have {buckets:,} buckets, at most {MAX_CELLS:,} are given: use a larger interval (or auto), "
        "a smaller top, or a narrower time range"
    )
