"""Real log files of this machine, pushed with `ess push`, found as `grep` finds them: in flight, stored, restarted."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = [
    Path(name)
    for name in ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/apt/term.log", "/var/log/alternatives.log")
]

# (query, grep's options and pattern): what both must find alike.
CASES: list[tuple[str, list[str]]] = [
    ("installed", ["-i", "-F", "installed"]),
    ('"status installed"', ["-F", "status installed"]),
    ('"Status installed"', ["-F", "Status installed"]),
    (r"/status \w+ lib[a-z]+/", ["-E", r"status \w+ lib[a-z]+"]),
    (r"/LIBSYSTEMD\d/i", ["-i", "-E", r"LIBSYSTEMD[0-9]"]),
    (r"/:\d\d:\d0 /", ["-E", r":[0-9]{2}:[0-9]0 "]),
    ("systemd*amd64", ["-i", "-E", "systemd.*amd64"]),
    ("nothingwhateverisnamedlikethis", ["-F", "nothingwhateverisnamedlikethis"]),
    ("*", ["-E", "."]),
]


def grep(options: list[str], file: Path) -> Counter[str]:
    done = subprocess.run(
        ["grep", "-a", *options, str(file)], capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode in (0, 1), done.stderr
    return Counter(done.stdout.decode("utf-8", "replace").split("\n")[:-1])


def found(system: Any, query: str, service: str) -> Counter[str]:
    text = f"service:{service}" if query == "*" else f"service:{service} AND {query}"
    done = system.ess("search", text, "--since", "all", "--limit", "200000", "--json")
    return Counter(json.loads(line)["message"] for line in done.stdout.splitlines())


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    if not chosen.exists() or chosen.stat().st_size == 0:
        pytest.skip(f"{chosen} is not on this machine")
    return chosen


@pytest.fixture(scope="module")
def moments(new_system: Callable[[], Any]) -> Any:
    """The system, moved on from moment to moment by `at`: in flight, stored, killed and restarted."""
    return Moments(new_system())


class Moments:
    def __init__(self, system: Any) -> None:
        self.system = system
        self.now = "new"

    def at(self, moment: str) -> Any:
        if self.now == "new":
            for file in FILES:
                if file.exists() and file.stat().st_size:
                    self.system.ess("push", str(file), "--service", file.name)
            self.now = "in flight"
        if moment in ("stored", "restarted") and self.now == "in flight":
            self.system.ess("flush")
            self.now = "stored"
        if moment == "restarted" and self.now == "stored":
            self.system.kill_everything()
            self.system.up()
            self.now = "restarted"
        assert self.now == moment, "the moments must be asked for in order"
        return self.system


@pytest.fixture(scope="module", params=["in flight", "stored", "restarted"])
def system_at(request: pytest.FixtureRequest, moments: Moments) -> Any:
    return moments.at(request.param)


@pytest.mark.parametrize(("query", "options"), CASES, ids=[query for query, _ in CASES])
def test_a_search_finds_what_grep_finds(system_at: Any, file: Path, query: str, options: list[str]) -> None:
    assert found(system_at, query, file.name) == grep(options, file)


def test_a_time_range_finds_the_lines_of_that_time(system_at: Any) -> None:
    log = FILES[0]
    if not log.exists():
        pytest.skip(f"{log} is not on this machine")
    lines = [line for line in log.read_text(errors="replace").split("\n") if line[:4].isdigit()]
    start, end = lines[len(lines) // 3][:19], lines[2 * len(lines) // 3][:19]
    zone = subprocess.run(
        ["date", f"--date={start}", "+%:z"], capture_output=True, text=True, check=True
    ).stdout.strip()
    got = system_at.search(
        f"service:{log.name}", start=start.replace(" ", "T") + zone, end=end.replace(" ", "T") + zone
    )
    assert Counter(event["message"] for event in got) == Counter(line for line in lines if start <= line[:19] < end)


def test_killed_right_after_the_acknowledgement_an_event_is_found_once(new_system: Callable[[], Any]) -> None:
    system = new_system()
    answer = system.http.post("/push/v1/events", json=[{"message": f"survivor {i}"} for i in range(100)])
    assert answer.status_code == 202
    system.kill_everything()
    system.up()
    assert Counter(e["message"] for e in system.search("survivor")) == Counter(f"survivor {i}" for i in range(100))
