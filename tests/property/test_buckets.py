"""Where buckets begin, against Python's own calendar: by any clock, across its changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.collect import UTC_CLOCK, LocalClock, bucket_starts
from ess_ray.core.errors import BadRequest
from ess_ray.search.intervals import parse_interval_us
from ess_ray.search.zones import clock_named

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.datetimes(datetime(1999, 1, 1), datetime(2060, 1, 1)).map(
    lambda at: (at.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
)
# Around what changes clocks: the last Sundays of March and October, and New York's two.
CHANGES = st.sampled_from(
    ["2026-03-29T01", "2026-10-25T01", "2026-03-08T07", "2026-11-01T06", "2026-04-04T15"]
).flatmap(
    lambda hour: st.integers(-30 * 3600, 30 * 3600).map(
        lambda s: (datetime.fromisoformat(f"{hour}:00:00+00:00") - EPOCH) // MICROSECOND + s * 1_000_000
    )
)


def start_of(time_us: int, interval: str, clock: LocalClock) -> int:
    return int(bucket_starts(np.array([time_us]), parse_interval_us(interval), clock)[0])


def local(time_us: int, zone: str) -> datetime:
    return (EPOCH + time_us * MICROSECOND).astimezone(ZoneInfo(zone))


@given(TIMES | CHANGES, st.sampled_from(ZONES))
def test_days_begin_at_midnight_and_weeks_on_monday(time_us: int, zone: str) -> None:
    day = local(time_us, zone).date()
    for interval, first in (("1d", day), ("1w", day - timedelta(days=day.weekday()))):
        midnight = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(zone))
        assert start_of(time_us, interval, clock_named(zone)) == (midnight.astimezone(UTC) - EPOCH) // MICROSECOND


@given(
    TIMES | CHANGES, st.sampled_from(ZONES), st.sampled_from(["1m", "30m", "1h", "6h", "12h", "1d", "3d", "1w", "2w"])
)
def test_a_bucket_holds_its_start_and_what_follows(time_us: int, zone: str, interval: str) -> None:
    clock = clock_named(zone)
    start_us = start_of(time_us, interval, clock)
    assert time_us - parse_interval_us(interval) - 3_600_000_000 <= start_us <= time_us
    assert start_of(start_us, interval, clock) == start_us
    assert start_of((start_us + time_us) // 2, interval, clock) == start_us


@given(TIMES | CHANGES, st.sampled_from(ZONES))
def test_a_clock_is_what_the_zone_is(time_us: int, zone: str) -> None:
    ahead = clock_named(zone).ahead(np.array([time_us]))
    assert int(ahead[0]) == (local(time_us, zone).utcoffset() or timedelta()) // MICROSECOND


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    clock = clock_named("Europe/Berlin")
    first, second = (f"2026-10-25T0{hour}:30:00+00:00" for hour in (0, 1))  # 02:30, twice
    starts = {start_of((datetime.fromisoformat(at) - EPOCH) // MICROSECOND, "1h", clock) for at in (first, second)}
    assert len(starts) == 2


def test_a_week_of_utc_begins_on_monday() -> None:
    wednesday_us = (datetime(2026, 9, 23, 12, tzinfo=UTC) - EPOCH) // MICROSECOND
    start = EPOCH + start_of(wednesday_us, "1w", UTC_CLOCK) * MICROSECOND
    assert start == datetime(2026, 9, 21, tzinfo=UTC)


def test_offsets_are_zones_too() -> None:
    assert clock_named("+05:30") == LocalClock((0,), (19_800_000_000,))
    assert clock_named("-0800").ahead_us == (-28_800_000_000,)
    assert clock_named("utc") == UTC_CLOCK


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "Europe", "../etc/passwd", "+25:00", "CET+1\0", "x" * 300])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="is no time zone"):
        clock_named(name)
