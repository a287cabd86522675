"""Zones by name, read alike in options, requests, bounds and behind the times of a log; never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import click
import pytest

from ess_ray.cli.when import read_zone
from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.lines.times import LineReader
from ess_ray.language import ABBREVIATIONS, AMBIGUOUS, NoZone, in_zone, parse_time_us, zone_behind, zone_named
from ess_ray.search.zones import clock_named

NOW_US = 1_796_000_000_000_000  # 2026-11-29

NAMED = {
    "Europe/Berlin": "Europe/Berlin",
    "europe/berlin": "Europe/Berlin",
    "UTC": "UTC",
    "z": "UTC",
    "gmt": "UTC",
    "+3": "UTC+03:00",
    "+03": "UTC+03:00",
    "-0330": "UTC-03:30",
    "+05:45": "UTC+05:45",
    "UTC+3": "UTC+03:00",
    "gmt-2": "UTC-02:00",
    "CEST": "CEST",
    "aest": "AEST",
    "EST": "EST",
}


@pytest.mark.parametrize(("text", "name"), NAMED.items())
def test_a_zone_is_named_alike_for_commands_and_requests(text: str, name: str) -> None:
    assert zone_named(text)[0] == name
    zone = read_zone(text)
    assert (zone.given, zone.zone) == zone_named(text)
    assert clock_named(text) == clock_named(name)


@pytest.mark.parametrize("text", ["", "Mars/Olympus", "+24", "+03:60", "IST", "XYZ", "Europe", "local time", "../etc"])
def test_what_is_no_zone_is_refused_alike(text: str) -> None:
    with pytest.raises(BadRequest, match="is no time zone") as request:
        clock_named(text)
    with pytest.raises(click.BadParameter) as option:
        read_zone(text)
    assert option.value.message == request.value.message


def test_abbreviations_are_those_of_the_database() -> None:
    """What the IANA database means by an abbreviation in these years is what the table means, if it is one thing."""
    meant: dict[str, set[timedelta | None]] = {}
    for name in available_timezones():
        for month in range(1, 96, 3):
            at = datetime(2019 + month // 12, month % 12 + 1, 1, tzinfo=UTC).astimezone(ZoneInfo(name))
            meant.setdefault(at.tzname() or "", set()).add(at.utcoffset())
    told = {name.upper(): offsets for name, offsets in meant.items() if name.isalpha() and name != "Factory"}
    for name, offsets in told.items():
        if len(offsets) > 1:
            assert name in AMBIGUOUS
        elif name not in AMBIGUOUS:
            assert {zone_behind(name).utcoffset(None)} == offsets, name
    assert not ABBREVIATIONS.keys() & AMBIGUOUS.keys()


@pytest.mark.parametrize(("text", "us"), [("2026-11-20 10:00 CEST", 8), ("2026-11-20T10:00:00 Asia/Tokyo", 1)])
def test_bounds_take_zones_too(text: str, us: int) -> None:
    assert parse_time_us(text, NOW_US) == parse_time_us(f"2026-11-20T{us:02d}:00Z", NOW_US)
    with pytest.raises(BadRequest, match="IST may be India Standard Time"):
        parse_time_us("2026-11-20 10:00 IST", NOW_US)


def test_of_two_times_where_the_clock_is_put_back_the_named_one_counts() -> None:
    berlin, moment = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 25, 2, 30)
    assert [in_zone(moment, berlin, name).astimezone(UTC).hour for name in (None, "CEST", "CET")] == [0, 0, 1]


# ------------------------------------------------------------------------------------------------ behind a log's times
READ = {
    "2026-11-24 10:00:00 CEST x": "08:00",
    "2026-11-24 10:00:00.5 CET [12] LOG: x": "09:00",
    "2026-11-24 10:00:00+03 x": "07:00",
    "2026-11-24 10:00:00 +03 x": "07:00",
    "2026-11-24 10:00:00-0330 x": "13:30",
    "2026-11-24T10:00:00+05:45 x": "04:15",
    "2026-11-24 10:00:00 UTC+3 x": "07:00",
    "2026-11-24 10:00:00 GMT-02:00 x": "12:00",
    "2026-11-24 10:00:00 JST x": "01:00",
    "2026-11-24 10:00:00 (EST) x": "15:00",
    "2026-11-24 10:00:00,123 EDT - x": "14:00",
    "[2026-11-24 10:00:00 AEDT] x": "T23:00",
    "[24-Nov-2026 10:00:00 Asia/Tokyo] PHP Warning: x": "01:00",
    "[24-Nov-2026 10:00:00 UTC] PHP Warning: x": "10:00",
    '1.2.3.4 - - [24/Nov/2026:10:00:00 CEST] "GET / HTTP/1.1" 200': "08:00",
    "Tue Nov 24 10:00:00 JST 2026 x": "01:00",
    "Tue Nov 24 10:00:00 +0300 2026 x": "07:00",
    "Tue Nov 24 10:00:00 PM EST 2026 x": "03:00",
    "Tue, 24 Nov 2026 10:00:00 EST x": "15:00",
    "Nov 24 10:00:00.123 CET: %SYS-5-CONFIG_I: x": "09:00",
    "Nov 24 10:00:00 JST: %LINK-3-UPDOWN: x": "01:00",
}


@pytest.mark.parametrize(("line", "clock"), READ.items())
@pytest.mark.parametrize("decided", [True, False])
def test_the_zone_behind_a_time_counts(line: str, clock: str, decided: bool) -> None:
    found = LineReader(NOW_US, ZoneInfo("America/New_York"), decided).read(line).timestamp_us
    assert found is not None
    assert clock in format_timestamp(found)


NO_ZONES = [
    "2026-11-24 10:00:00 INFO x",
    "2026-11-24 10:00:00 GET /x",
    "2026-11-24 10:00:00 POST /x",
    "2026-11-24 10:00:00 ALERT x",
    "2026-11-24 10:00:00 DHCP x",
    "2026-11-24 10:00:00 Test x",
    "2026-11-24 10:00:00 A x",
    "2026-11-24 10:00:00 [main] x",
    "2026-11-24 10:00:00 -1234 bytes",
    "2026-11-24 10:00:00 -5 degrees",
    "2026-11-24 10:00:00 Est omnis",
    "2026-11-24 10:00:00 GET.x",
    "Nov 24 10:00:00 EST sshd[1]: the host's name",
]


@pytest.mark.parametrize("line", NO_ZONES)
def test_what_is_no_zone_is_left_alone(line: str) -> None:
    found = LineReader(NOW_US, ZoneInfo("Asia/Tokyo")).read(line).timestamp_us
    assert found is not None
    assert format_timestamp(found) == "2026-11-24T01:00:00.000000Z"


UNCLEAR = {
    "2026-11-24 10:00:00 IST x": "India Standard Time",
    "2026-11-24 10:00:00 CST x": "China Standard Time",
    "2026-11-24 10:00:00 XYZ x": "XYZ is no time zone that is known",
    "2026-11-24 10:00:00.123 QQT: x": "QQT is no time zone that is known",
    "[24-Nov-2026 10:00:00 Europe/Berlim] x": "Europe/Berlim is no time zone",
    "Tue Nov 24 10:00:00 FOO 2026 x": "FOO is no time zone",
    "Nov 24 10:00:00 BST: %SYS-5-CONFIG_I: x": "British Summer Time",
}


@pytest.mark.parametrize(("line", "said"), UNCLEAR.items())
def test_an_unclear_zone_is_refused_unless_it_was_decided(line: str, said: str) -> None:
    with pytest.raises(NoZone, match=said) as caught:
        LineReader(NOW_US, ZoneInfo("Asia/Kolkata")).read(line)
    assert "--tz" in str(caught.value)
    found = LineReader(NOW_US, ZoneInfo("Asia/Kolkata"), decided=True).read(line).timestamp_us
    assert found is not None
    assert format_timestamp(found).startswith("2026-11-24T04:30:00")
