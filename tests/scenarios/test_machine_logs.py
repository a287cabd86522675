"""Real log files of this machine, pushed with `ess push`, found as `grep` finds them: in flight, stored, restarted."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.systems import System

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


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Give the log files that this machine has; the others are told as skipped by `test_every_file_is_here`."""
    return [file for file in FILES if file.exists() and file.stat().st_size]


@pytest.fixture(scope="module")
def pushed(own_system: System, files: list[Path]) -> System:
    """The system with every log file pushed by `ess push`, not flushed."""
    for file in files:
        own_system.ess("push", str(file), "--service", file.name)
    return own_system


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_here(file: Path, files: list[Path]) -> None:
    if file not in files:
        pytest.skip(f"{file} is not on this machine")


def check_against_grep(system: System, files: list[Path]) -> None:
    """Every query over every file finds the lines that grep finds, each as often."""
    assert files, "this machine has no log file at all"
    for file in files:
        for query, options in CASES:
            text = f"service:{file.name}" if query == "*" else f"service:{file.name} AND {query}"
            found = Counter(event["message"] for event in system.search(text))
            assert found == grep(options, file), (file, query)


def test_in_flight_a_search_finds_what_grep_finds(pushed: System, files: list[Path]) -> None:
    assert pushed.http.get("/search/v1/status").json()["table"]["rows"] == 0
    check_against_grep(pushed, files)


def test_the_command_line_finds_what_grep_finds(pushed: System, files: list[Path]) -> None:
    text = f"service:{files[0].name} AND installed"
    done = pushed.ess("search", text, "--since", "all", "--limit", "200000", "--json")
    found = Counter(json.loads(line)["message"] for line in done.stdout.split("\n")[:-1])
    assert found == grep(["-i", "-F", "installed"], files[0])


def test_stored_a_search_finds_what_grep_finds(pushed: System, files: list[Path]) -> None:
    pushed.ess("flush")
    lines = sum(grep(["-E", "."], file).total() for file in files)
    assert pushed.http.get("/search/v1/status").json()["table"]["rows"] == lines
    check_against_grep(pushed, files)


@pytest.mark.slow
def test_after_kill_9_and_restart_a_search_finds_all_once(pushed: System, files: list[Path]) -> None:
    """What grep finds, which is stored, and what was acknowledged right before the kill, which is not."""
    late = [f"survivor {i}" for i in range(100)]
    pushed.push([{"message": name} for name in late])
    pushed.kill_everything()
    pushed.up()
    assert Counter(event["message"] for event in pushed.search("survivor")) == Counter(late)
    check_against_grep(pushed, files)


def test_a_time_range_finds_the_lines_of_that_time(pushed: System, files: list[Path]) -> None:
    log = FILES[0]
    if log not in files:
        pytest.skip(f"{log} is not on this machine")
    lines = [line for line in log.read_text(errors="replace").split("\n") if line[:4].isdigit()]
    start, end = lines[len(lines) // 3][:19], lines[2 * len(lines) // 3][:19]
    zone = subprocess.run(
        ["date", f"--date={start}", "+%:z"], capture_output=True, text=True, check=True
    ).stdout.strip()
    got = pushed.search(f"service:{log.name}", start=start.replace(" ", "T") + zone, end=end.replace(" ", "T") + zone)
    assert Counter(event["message"] for event in got) == Counter(line for line in lines if start <= line[:19] < end)
