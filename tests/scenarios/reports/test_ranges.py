"""Ranges of time as people write them: for the command, and over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.systems import System

SERVICE = "ranges"
TIMES = {
    "midnight-berlin": "2026-11-19T23:00:00Z",
    "midnight-utc": "2026-11-20T00:00:00Z",
    "nine": "2026-11-20T09:00:00Z",
    "nine-and-a-microsecond": "2026-11-20T09:00:00.000001Z",
    "ten": "2026-11-20T10:00:00Z",
}
RELATIVE = {"now": 0, "an-hour-ago": 65, "two-hours-ago": 115}


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    now = datetime.now(UTC)
    times = {**TIMES, **{name: (now - timedelta(minutes=ago)).isoformat() for name, ago in RELATIVE.items()}}
    system.push([{"message": name, "timestamp": at, "service": SERVICE} for name, at in times.items()])


OVER_HTTP: list[tuple[dict[str, Any], set[str]]] = [
    ({"start": "2026-11-20", "end": "2026-11-20 09:00"}, {"midnight-utc"}),
    ({"start": "2026-11-20T09:00Z", "end": "2026-11-20T09:00:00.000000999Z"}, {"nine"}),
    ({"start": "2026-11-20T09:00Z", "end": "2026-11-20T09:00:00.000000000Z"}, set()),
    ({"start": "2026-11-20T09:00:00.000000500Z", "end": "2026-11-20T10:00Z"}, {"nine-and-a-microsecond"}),
    ({"start": 1795165200.000001, "end": 1795165200.000002}, {"nine-and-a-microsecond"}),
    ({"start": "1795165200.000001", "end": "1795165200.000002"}, {"nine-and-a-microsecond"}),
    ({"start": 1795165200000000001, "end": "1795165200000001001"}, {"nine-and-a-microsecond"}),
    ({"start": "-1.5h"}, {"now", "an-hour-ago"}),
    ({"start": "now-1h30m"}, {"now", "an-hour-ago"}),
    ({"start": "-2h", "end": "-1h30m"}, {"two-hours-ago"}),
    ({"start": "-30m", "end": "now"}, {"now"}),
]


@pytest.mark.parametrize(("range_", "names"), OVER_HTTP)
def test_over_http(system: System, range_: dict[str, Any], names: set[str]) -> None:
    assert {event["message"] for event in system.search(f"service:{SERVICE}", **range_)} == names


BY_COMMAND: list[tuple[list[str], set[str]]] = [
    (["--since", "2026-11-20", "--until", "2026-11-20 10:00"], {"midnight-berlin", "midnight-utc"}),
    (["--since", "2026-11-20", "--until", "2026-11-20 10:00", "--tz", "UTC"], {"midnight-utc", *list(TIMES)[2:4]}),
    (["--since", "2026-11-20 09:00Z", "--until", "2026-11-20 09:00:00.000000999Z"], {"nine"}),
    (["--since", "2026-11-20 11:00", "--until", "2026-11-21"], {"ten"}),
    (["--since", "2026-11-20 15:30", "--until", "2026-11-20T15:31", "--tz", "Asia/Kolkata"], {"ten"}),
    (["--since", "2026-11-20 13:00", "--until", "2026-11-20 13:01", "--tz", "+03"], {"ten"}),
    (["--since", "1h30m"], {"now", "an-hour-ago"}),
    (["--since", "1.5h"], {"now", "an-hour-ago"}),
    (["--since", "now-1h"], {"now"}),
    (["--since", "yesterday"], set(RELATIVE)),
]


@pytest.mark.parametrize(("options", "names"), BY_COMMAND)
def test_by_command(system: System, options: list[str], names: set[str]) -> None:
    done = system.ess("search", f"service:{SERVICE}", "--json", *options)
    assert {json.loads(line)["message"] for line in done.stdout.splitlines()} == names
    assert "row" in done.stderr or "nothing matches" in done.stderr


def test_a_file_s_times_are_those_of_a_range(system: System, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("2026-11-21 10:00:00 pod started\n")
    for zone, service in (([], "local"), (["--tz", "UTC"], "utc"), (["--tz", "+05:30"], "kolkata")):
        system.ess("push", "--again", str(file), "--service", f"{SERVICE}-{service}", *zone)
        range_ = ["--since", "2026-11-21 10:00", "--until", "2026-11-21 10:00:01"]
        done = system.ess("search", f"service:{SERVICE}-*", *range_, *zone, "--json")
        assert [json.loads(line)["service"] for line in done.stdout.splitlines()] == [f"{SERVICE}-{service}"]


def test_a_tail_begins_in_the_past(system: System) -> None:
    command = [sys.executable, "-m", "ess_ray.cli", "tail", f"service:{SERVICE}-tail", "--since", "1h", "--json"]
    system.push([{"message": f"past {number}", "service": f"{SERVICE}-tail"} for number in range(3)])
    process = subprocess.Popen(
        [*command, "--url", system.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    found = [json.loads(process.stdout.readline())["message"] for _ in range(3)]
    system.push([{"message": "new", "service": f"{SERVICE}-tail"}])
    found.append(json.loads(process.stdout.readline())["message"])
    process.send_signal(signal.SIGINT)
    rest, told = process.communicate(timeout=30)
    assert (process.returncode, rest, told) == (0, "", "")
    assert (sorted(found[:3]), found[3]) == (["past 0", "past 1", "past 2"], "new")
