"""Files as people have them, through `ess push`: once, whole, in their order, and read as they are meant."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import signal
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner

from ess_ray.cli import main
from tests.systems import System, wait_until

SERVICE = "files"


@pytest.fixture
def service(request: pytest.FixtureRequest) -> str:
    """A service of each test's own."""
    return f"{SERVICE}-{sha256(request.node.name.encode()).hexdigest()[:12]}"


@pytest.fixture
def push(system: System, service: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write a file, or add to it, and push it; gives what --json tells."""

    def run(data: bytes | str, *options: str, name: str = "app.log", ok: int = 0) -> dict[str, Any]:
        with (tmp_path / name).open("ab") as out:
            out.write(data if isinstance(data, bytes) else data.encode())
        # In this process: a command takes seconds to start, and there are many.
        command = ["push", str(tmp_path / name), "--json", "--service", service, *options, "--url", system.url]
        done = CliRunner(env=dict(system.environment)).invoke(main, command, catch_exceptions=False)
        assert done.exit_code == ok, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        return {**told, "told": done.stderr}

    return run


Push = Callable[..., dict[str, Any]]


def found(system: System, service: str) -> list[str]:
    return [event["message"] for event in system.search(f"service:{service}", order="oldest")]


# ------------------------------------------------------------------------------------------------------- once, and all
def test_equal_lines_of_two_files_are_two(system: System, push: Push, service: str) -> None:
    for name in ("a.log", "b.log"):
        assert push("2026-11-20 12:00:00 pod started\n", name=name)["accepted"] == 1
    assert len(found(system, service)) == 2


@pytest.mark.parametrize("stamp", ["2026-11-20 12:00:00 ", ""], ids=["with times", "without"])
def test_what_was_appended_is_stored_alone(system: System, push: Push, service: str, stamp: str) -> None:
    push("".join(f"{stamp}line {number}\n" for number in range(10)))
    assert push("")["accepted"] == 0
    assert push(f"{stamp}line 10\n")["accepted"] == 1
    assert sorted(found(system, service)) == sorted(f"{stamp}line {number}" for number in range(11))
    assert push("", "--again")["accepted"] == 11
    assert len(found(system, service)) == 22


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_push_that_is_broken_off_is_carried_on(system: System, service: str, tmp_path: Path, end: int) -> None:
    file, lines = tmp_path / "app.log", 60_000
    file.write_text("".join(f"line {number} {'x' * (number % 100)}\n" for number in range(lines)))
    state = Path(system.environment["XDG_STATE_HOME"]) / "ess_ray" / "pushed"
    ended = 0
    for _ in range(2):
        known = {path: path.stat().st_mtime_ns for path in state.glob("*.json")}
        with system.begin("push", str(file), "--service", service) as process:
            wait_until(
                lambda known=known, process=process: (  # type: ignore[misc]
                    process.poll() is not None
                    or any(known.get(path) != path.stat().st_mtime_ns for path in state.glob("*.json"))
                ),
                "the push did not begin",
            )
            process.send_signal(end)
            process.communicate()
            ended += process.returncode != 0
    assert ended
    system.ess("push", str(file), "--service", service)
    counted = Counter(message.split()[1] for message in found(system, service))
    assert counted == Counter(map(str, range(lines)))


def test_two_pushes_at_once_of_one_file_store_it_once(system: System, service: str, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("".join(f"line {number}\n" for number in range(20_000)))
    both = [system.begin("push", str(file), "--service", service, "--json") for _ in range(2)]
    told = [json.loads(process.communicate()[0])["accepted"] for process in both]
    assert sorted(told) == [0, 20_000]
    assert system.count(f"service:{service}")["buckets"][0]["count"] == 20_000


# -------------------------------------------------------------------------------------------------------- in its order
def test_lines_of_one_second_keep_their_order(system: System, push: Push, service: str) -> None:
    lines = [f"2026-11-20T12:00:00Z line {number} {'y' * (number % 200)}" for number in range(8_000)]
    push("\n".join(lines) + "\n")
    assert found(system, service) == lines
    system.ess("flush")
    assert found(system, service) == lines
    newest = system.search(f"service:{service}", order="newest", limit=100)
    assert [event["message"] for event in newest] == lines[:-101:-1]
    shown = system.ess(
        "search", f"service:{service}", "--since", "all", "--order", "oldest", "--limit", "8000", "--json"
    )
    assert [json.loads(line)["message"] for line in shown.stdout.splitlines()] == lines


def test_events_of_one_large_request_keep_their_order(system: System, service: str) -> None:
    names = [f"event {number} {str(number) * 100}" for number in range(9_000)]  # several log records
    at = "2026-11-20T12:00:00Z"
    system.push([{"message": name, "timestamp": at, "service": service} for name in names])
    assert found(system, service) == names


# ---------------------------------------------------------------------------------------------- read as they are meant
TEXT = "2026-11-20 12:00:00 Grüße, 東京 🙂\r\n2026-11-20 12:00:01 zweite Zeile\r\n"
LINES = ["2026-11-20 12:00:00 Grüße, 東京 🙂", "2026-11-20 12:00:01 zweite Zeile"]
READ: dict[str, bytes] = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "newlines": TEXT.replace("\r\n", "\n").encode(),
    "lone CRs": TEXT.replace("\r\n", "\r").encode(),
    "gzip": gzip.compress(TEXT.encode()),
    "bzip2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zstd": zstandard.compress(TEXT.encode()),
    "utf-16 in zstd": zstandard.compress(TEXT.encode("utf-16")),
}


@pytest.mark.parametrize("name", READ)
def test_encodings_are_read_under_any_name(system: System, push: Push, service: str, name: str) -> None:
    assert push(READ[name])["accepted"] == 2
    assert found(system, service) == LINES


def test_standard_input_is_read_by_its_bytes(system: System, service: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(READ["utf-16 in zstd"])
    with (tmp_path / "in").open("rb") as stream:
        process = system.begin("push", "-", "--service", service, stdin=stream)
        assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert found(system, service) == LINES


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "zip": (b"PK\x03\x04\x14\0\0\0", 2, "unzip -p"),
    "tar.gz": (gzip.compress(b"a".ljust(257, b"\0") + b"ustar\x0000" + bytes(250)), 2, "tar -xOf"),
    "binary": (bytes(range(256)) * 20, 2, "--encoding"),
    "latin-1": (("Grüße\n" * 3).encode("latin-1"), 2, "--encoding windows-1252"),
    "cut off": (gzip.compress(TEXT.encode() * 50)[:-30], 1, "gzip data is cut off"),
    "an unclear zone": (b"2026-11-20 12:00:00 IST x\n", 2, "India Standard Time"),
    "an unknown zone": (b"2026-11-20 12:00:00 XYZ x\n", 2, "--tz"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_what_to_do(push: Push, name: str) -> None:
    data, code, said = REFUSED[name]
    assert said in push(data, ok=code)["told"]


ZONES = {
    "": "11:00",
    "Z": "12:00",
    "+03": "09:00",
    " +03": "09:00",
    " CEST": "10:00",
    " UTC-5": "17:00",
    " Asia/Tokyo": "03:00",
    " INFO": "11:00",
}
DECIDED = {"": "06:30", " IST": "06:30", " XYZ": "06:30", " CEST": "10:00"}


def test_the_zone_behind_a_time_counts(system: System, service: str, tmp_path: Path) -> None:
    """The system's and the commands' own zone is Berlin's."""
    for zones, options in ((ZONES, []), (DECIDED, ["--tz", "Asia/Kolkata"])):
        file = tmp_path / "app.log"
        file.write_text("".join(f"2026-11-20 12:00:00{behind} x\n" for behind in zones))
        system.ess("push", str(file), "--service", service, "--again", *options)
        events = system.search(f"service:{service}")
        for event in events:
            clock = zones[event["message"][19:-2]]
            assert event["timestamp"] == f"2026-11-20T{clock}:00.000000Z", event["message"]
        assert len(events) == len(zones)
        service += "-decided"


def test_a_push_goes_on_at_the_line_of_an_unclear_zone(system: System, push: Push, service: str) -> None:
    """What was read before it is stored, and is not again once it is decided."""
    lines = [f"2026-11-20 12:00:00Z line {number}" for number in range(5_500)]
    assert push("\n".join([*lines, "2026-11-20 12:00:00 IST last", ""]), ok=2)["accepted"] == 5_000
    assert push("", "--tz", "Asia/Jerusalem")["accepted"] == 501
    assert sorted(found(system, service)) == sorted([*lines, "2026-11-20 12:00:00 IST last"])
    times = Counter(event["timestamp"][11:13] for event in system.search(f"service:{service}"))
    assert times == {"12": 5_500, "10": 1}
