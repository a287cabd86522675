"""Times in queries and their bounds: every form that people write, read exactly."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.query import All, Compare, Field, Node, Not, Range
from ess_ray.language import parse, parse_time_us

NOW_US = 1_790_000_000_000_000
SECOND = 1_000_000
DAY_US = 86_400 * SECOND
TODAY_US = NOW_US - (14 * 3_600 + 13 * 60 + 20) * SECOND


@pytest.mark.parametrize(
    ("value", "us"),
    [
        (None, None),
        ("now", NOW_US),
        (" now ", NOW_US),
        ("-30s", NOW_US - 30 * SECOND),
        ("-15m", NOW_US - 900 * SECOND),
        ("-1h", NOW_US - 3_600 * SECOND),
        ("-7d", NOW_US - 7 * 86_400 * SECOND),
        ("-2w", NOW_US - 14 * 86_400 * SECOND),
        ("+10m", NOW_US + 600 * SECOND),
        (0, 0),
        (-5, -5 * SECOND),
        (1_790_000_000, NOW_US),
        (1_790_000_000.5, NOW_US + SECOND // 2),
        (1_790_000_000_000, NOW_US),
        (NOW_US, NOW_US),
        (NOW_US * 1_000, NOW_US),
        ("1790000000", NOW_US),
        ("1.79e9", NOW_US),
        ("1.79e+09", NOW_US),
        ("1790000000000", NOW_US),
        ("2026-09-21T14:13:20Z", NOW_US),
        ("2026-09-21T16:13:20.000001+02:00", NOW_US + 1),
        ("2026-09-21T14:13:20", NOW_US),
        ("2026-09-21", TODAY_US),
        ("2026-09-21 14:13", NOW_US - 20 * SECOND),
        ("2026-09-21 14:13:20.5 +00:00", NOW_US + SECOND // 2),
        ("2026-09-21T16:13:20+02", NOW_US),
        ("2026-09-21T16:13:20 +0200", NOW_US),
        ("2026-09-21T14:13Z", NOW_US - 20 * SECOND),
        ("2026-09-21 14:13:20 UTC", NOW_US),
        ("today", TODAY_US),
        ("yesterday", TODAY_US - 86_400 * SECOND),
        ("tomorrow", TODAY_US + 86_400 * SECOND),
        ("-1h30m", NOW_US - 5_400 * SECOND),
        ("-1.5h", NOW_US - 5_400 * SECOND),
        ("-1d12h", NOW_US - 129_600 * SECOND),
        ("-500ms", NOW_US - SECOND // 2),
        ("now-1h", NOW_US - 3_600 * SECOND),
        ("now - 1h30m", NOW_US - 5_400 * SECOND),
        ("now+1.5s", NOW_US + 3 * SECOND // 2),
        # An event's time is a whole microsecond: the first one at or after the bound.
        ("2026-09-21T14:13:20.000000999Z", NOW_US + 1),
        ("2026-09-21T14:13:20.000000001Z", NOW_US + 1),
        ("2026-09-21T14:13:20.000000000Z", NOW_US),
        ("2026-09-21T14:13:20.0000010000000000001Z", NOW_US + 2),
        (NOW_US * 1_000 + 999, NOW_US + 1),
        (str(NOW_US * 1_000 + 1), NOW_US + 1),
        ("-0.000000001s", NOW_US),
        # A float is what it is written as.
        (1_790_000_000.1, NOW_US + SECOND // 10),
        ("1790000000.1", NOW_US + SECOND // 10),
        (1_790_000_000.000_001, NOW_US + 1),
        ("1790000000.000001", NOW_US + 1),
        (1_790_000_000_000.001, NOW_US + 1),
        ("1790000000.0000001", NOW_US + 1),
    ],
)
def test_times(value: str | float | None, us: int | None) -> None:
    assert parse_time_us(value, NOW_US) == us


@pytest.mark.parametrize(
    "value",
    [
        "",
        "last week",
        "-15",
        "+15",
        "-15y",
        "-m",
        "- 15m",
        "-1h30",
        "-1.h",
        "now-",
        "now15m",
        "15m",
        "2026-13-01T00:00:00Z",
        "2026-13-01",
        "2026-02-30",
        "2026-1-1",
        "2026-01-01T24:00",
        "2026-01-01 10",
        "2026-01-01Z",
        True,
        False,
        float("nan"),
        float("inf"),
        1e300,
        10**30,
        "-999999999999w",
        "9" * 21,
        "١٢٣",
        "0001-01-01T00:00:00+23:59",
    ],
)
def test_no_times(value: str | float) -> None:
    with pytest.raises(BadRequest, match="RFC 3339"):
        parse_time_us(value, NOW_US)


@pytest.mark.parametrize(
    ("value", "zone", "meant"),
    [
        ("2026-07-01 10:00", "Europe/Berlin", "2026-07-01T08:00:00Z"),
        ("2026-12-01 10:00", "Europe/Berlin", "2026-12-01T09:00:00Z"),
        ("2026-12-01 10:00Z", "Europe/Berlin", "2026-12-01T10:00:00Z"),
        ("2026-12-01", "Asia/Kolkata", "2026-11-30T18:30:00Z"),
        ("today", "Pacific/Auckland", "2026-09-21T12:00:00Z"),  # it is the 22nd there
        ("yesterday", "America/New_York", "2026-09-20T04:00:00Z"),
        ("2026-10-25 02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),  # there twice: the first
        ("1790000000", "Asia/Tokyo", "2026-09-21T14:13:20Z"),
        ("-1h", "Asia/Tokyo", "2026-09-21T13:13:20Z"),
    ],
)
def test_a_time_without_an_offset_is_of_the_zone(value: str, zone: str, meant: str) -> None:
    assert parse_time_us(value, NOW_US, ZoneInfo(zone)) == parse_time_us(meant, NOW_US)


def test_no_zone_is_this_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for value in ("2026-07-01 10:00", "2026-12-01", "today", "yesterday"):
            assert parse_time_us(value, NOW_US, None) == parse_time_us(value, NOW_US, ZoneInfo("Europe/Berlin"))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("timestamp:>=2026-09-21T14:13:20.0000005Z", Compare(Field("timestamp"), ">=", NOW_US + 1)),
        ("timestamp:>2026-09-21T14:13:20.0000005Z", Compare(Field("timestamp"), ">", NOW_US)),
        ("timestamp:<2026-09-21T14:13:20.0000005Z", Compare(Field("timestamp"), "<", NOW_US + 1)),
        ("timestamp:<=2026-09-21T14:13:20.0000005Z", Compare(Field("timestamp"), "<=", NOW_US)),
        ("timestamp:2026-09-21T14:13:20.0000005Z", Not(All())),
        ('timestamp:>="2026-09-21 14:13:20.0000005"', Compare(Field("timestamp"), ">=", NOW_US + 1)),
        (
            'timestamp:{"2026-09-21 00:00" TO 2026-09-22]',
            Range(Field("timestamp"), TODAY_US, False, TODAY_US + DAY_US, True),
        ),
        ("timestamp>=1790000000", Compare(Field("timestamp"), ">=", NOW_US)),
        (
            "timestamp:[2026-09-21 TO 2026-09-22}",
            Range(Field("timestamp"), TODAY_US, True, TODAY_US + DAY_US, False),
        ),
    ],
)
def test_times_are_compared_exactly(text: str, tree: Node) -> None:
    assert parse(text) == tree
