"""`ess push` of what was pushed before: files are known again, what is new in them is pushed, nothing twice."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ess_ray.cli import file_push, upload
from ess_ray.cli.client import Client
from ess_ray.cli.registry import Registry
from tests.cli_contract import Contract, Ess, problem

ELEVEN = [f"line {number}" for number in range(10)]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_push, "BATCH_EVENTS", 1_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def push(ess: Ess, file: Path) -> Callable[..., dict[str, Any]]:
    """Push the file; gives what --json tells, with the exit code and what was told beside."""

    def run(*options: str, path: Path | None = None, exit_code: int = 0) -> dict[str, Any]:
        done: Result = ess("push", str(path or file), "--json", *options)
        assert done.exit_code == exit_code, done.output
        return {**json.loads(done.stdout), "told": done.stderr}

    return run


Push = Callable[..., dict[str, Any]]


def messages(server: Contract) -> list[str]:
    return [event["message"] for event in server.pushed]


def append(file: Path, *lines: str, end: str = "\n") -> None:
    with file.open("a", newline="") as out:
        out.write("\n".join(lines) + end)


def test_a_second_push_stores_what_is_new(push: Push, server: Contract, file: Path) -> None:
    append(file, *ELEVEN)
    assert push()["accepted"] == 10
    again = push()
    assert (again["accepted"], again["pushed_before"]) == (0, 10)
    append(file, "line 10")
    assert push()["accepted"] == 1
    assert messages(server) == [*ELEVEN, "line 10"]


def test_a_large_file_grows_in_the_midst_of_pushes(push: Push, server: Contract, file: Path) -> None:
    lines = [f"2026-11-20T12:00:00Z line {number} {'x' * (number % 300)}" for number in range(5_000)]
    for start in range(0, 5_000, 1_237):
        append(file, *lines[start : start + 1_237])
        push()
    assert messages(server) == lines


def test_two_files_with_equal_lines_are_two(push: Push, server: Contract, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.log"
    for each in (file, other):
        append(each, "2026-11-20 12:00:00 pod started")
        push("--tz", "UTC", path=each)
    assert len(server.pushed) == 2
    assert len(set(server.keys)) == 2
    assert len(set(server.routes)) == 2


def test_again_pushes_all_of_it_again(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z a")
    push()
    assert push("--again")["accepted"] == 1
    assert len(server.pushed) == 2
    assert push()["accepted"] == 0


def test_a_renamed_file_is_known(push: Push, server: Contract, file: Path, tmp_path: Path) -> None:
    append(file, "a")
    push()
    rotated = file.rename(tmp_path / "app.log.1")
    append(file, "b")
    assert push(path=rotated)["accepted"] == 0
    assert push()["accepted"] == 1
    assert messages(server) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    ["z\n", "other line 0\n" * 20, "line 0\nline x\n" + "".join(f"{one}\n" for one in ELEVEN), "x" * 3_000 + "\n"],
    ids=["shorter", "longer", "same start", "long"],
)
def test_a_file_that_was_written_anew_is_pushed_as_a_new_one(
    push: Push, server: Contract, file: Path, content: str
) -> None:
    append(file, *ELEVEN)
    push()
    file.write_text(content)  # the inode stays, as with copytruncate
    told = push()
    assert "another file" in told["told"]
    assert messages(server) == [*ELEVEN, *content.splitlines()]
    assert push()["accepted"] == 0


def test_what_was_truncated_and_written_alike_is_stored_again(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z a", "2026-11-20T12:00:00Z b")
    push()
    file.write_text("2026-11-20T12:00:00Z a\n")
    assert push()["accepted"] == 1
    assert len(server.pushed) == 3


def test_systems_and_tenants_are_told_apart(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    push()
    server.tenant = "shop"
    assert push()["accepted"] == 1
    server.log_id = "log-2"
    assert push()["accepted"] == 1
    server.log_id = None
    assert [push()["accepted"] for _ in range(2)] == [1, 0]


def test_standard_input_is_not_remembered(ess: Ess, server: Contract) -> None:
    for _ in range(2):
        assert ess("push", "-", stdin="x\n").exit_code == 0
    assert messages(server) == ["x", "x"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_gets_its_end_later_is_one_line(push: Push, server: Contract, file: Path, end: str) -> None:
    append(file, "a", "b", end="")
    push()
    append(file, end="")
    assert push()["accepted"] == 0
    append(file, end=end)
    assert push()["accepted"] == 0
    append(file, "c", "d", end="")
    assert push()["accepted"] == 2
    append(file, "", "e")
    assert push()["accepted"] == 1
    assert messages(server) == ["a", "b", "c", "d", "e"]


def test_a_line_that_goes_on_later_is_pushed_whole(push: Push, server: Contract, file: Path) -> None:
    append(file, "first", "sec", end="")
    push()
    append(file, "ond", "third")
    assert "line 2 had no end" in push()["told"]
    assert messages(server) == ["first", "sec", "second", "third"]
    assert push()["accepted"] == 0


def test_half_a_json_line_is_read_again(push: Push, server: Contract, file: Path) -> None:
    append(file, '{"message":"a"}', '{"message":', end="")
    assert push("--format", "ndjson", exit_code=1)["rejected"] == 1
    append(file, '"b"}')
    push()
    assert messages(server) == ["a", "b"]


def test_lines_without_a_time_go_on_with_that_before(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z Traceback")
    push()
    append(file, "  at frame")
    push()
    assert [event["timestamp"] for event in server.pushed] == ["2026-11-20T12:00:00.000000Z"] * 2


def test_rejected_lines_are_named_by_their_place_in_the_file(push: Push, file: Path) -> None:
    append(file, '{"message":"a"}', '{"message":"b"}')
    push()
    append(file, '{"message":"c"}', "no json")
    assert push("--format", "ndjson", exit_code=1)["rejections"][0]["position"] == 4


def test_a_json_document_is_known_by_all_of_it(push: Push, server: Contract, file: Path) -> None:
    file.write_text(json.dumps([{"message": name} for name in "abc"], indent=1))
    assert [push()["accepted"] for _ in range(2)] == [3, 0]
    file.write_text(json.dumps([{"message": name} for name in "abcd"], indent=1))
    told = push()
    assert (told["accepted"], "another file" in told["told"]) == (4, True)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_compressed_file_is_known_by_its_content(
    push: Push, server: Contract, file: Path, pack: Callable[[bytes], bytes]
) -> None:
    file.write_bytes(pack(b"".join(b"line %d\n" % number for number in range(2_500))))
    assert [push()["accepted"] for _ in range(2)] == [2_500, 0]
    with file.open("ab") as out:
        out.write(pack(b"late\n"))
    assert push()["accepted"] == 1
    assert messages(server)[-1] == "late"
    file.write_bytes(pack(b"other\n"))
    assert push()["accepted"] == 1


def test_utf_16_grows_too(push: Push, server: Contract, file: Path) -> None:
    file.write_bytes("ä\r\nö\r\n".encode("utf-16"))
    push()
    with file.open("ab") as out:
        out.write("ü\r\n".encode("utf-16-le"))
    assert push()["accepted"] == 1
    assert messages(server) == ["ä", "ö", "ü"]


# ----------------------------------------------------------------------------------------- pushes that are broken off
@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Client.call_patiently.__kwdefaults__, "for_s", 0.0)


LINES = [f"line {number}" for number in range(3_500)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_stored", [True, False])
def test_an_answer_that_was_lost_is_asked_for_again(push: Push, server: Contract, file: Path, is_stored: bool) -> None:
    append(file, *LINES)
    server.well = (0, is_stored)
    assert push("--service", "s", exit_code=1)["accepted"] == 0
    server.well = None
    append(file, "late")
    told = push("--service", "t")
    assert told["accepted"] == 3_501
    assert messages(server) == [*LINES, "late"]
    # What was under way is the same request, whatever this push was asked.
    assert [event["service"] for event in server.pushed] == ["s"] * 1_000 + ["t"] * 2_501


@pytest.mark.usefixtures("impatient")
def test_a_system_that_goes_down_midway_misses_nothing(push: Push, server: Contract, file: Path) -> None:
    append(file, *LINES, end="")
    for is_stored in (True, False, True):
        server.well = (1, is_stored)
        push(exit_code=1)
    server.well = None
    assert push()["accepted"] > 0
    assert messages(server) == LINES


@pytest.mark.usefixtures("impatient")
def test_half_a_line_that_was_under_way_is_sent_again_as_it_was(push: Push, server: Contract, file: Path) -> None:
    append(file, "a", "b", end="")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    append(file, "", "c")
    push()
    assert messages(server) == ["a", "b", "c"]


@pytest.mark.usefixtures("impatient")
def test_a_document_that_was_under_way_is_carried_on(push: Push, server: Contract, file: Path) -> None:
    file.write_text(json.dumps([{"message": line} for line in LINES]))
    server.well = (2, True)
    push(exit_code=1)
    server.well = None
    assert push()["accepted"] == 1_500
    assert messages(server) == LINES


@pytest.mark.usefixtures("impatient")
def test_what_may_be_doubled_is_said(push: Push, server: Contract, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, "a")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    monkeypatch.setattr(file_push, "REPEATS_KNOWN_US", -1)
    assert "while lines 1 to 1 were on their way" in push()["told"]
    append(file, "b")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    file.write_text("c\n")
    assert "may be stored twice" in push()["told"]


def test_a_refused_push_leaves_nothing_under_way(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    server.refusals = [problem(401, "no key")]
    push("--service", "wrong", exit_code=1)
    push("--service", "right")
    assert [event["service"] for event in server.pushed] == ["right"]


def test_a_refusal_after_an_answer_that_was_lost_forgets_nothing(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    server.well = (0, True)
    server.on_lost = lambda: server.refusals.append(problem(401, "revoked"))
    push("--service", "first", exit_code=1)
    server.well = None
    push("--service", "second")
    assert [event["service"] for event in server.pushed] == ["first"]


def test_one_request_is_under_way_at_a_time_and_all_have_one_route(push: Push, server: Contract, file: Path) -> None:
    append(file, *LINES)
    push()
    assert (server.most_at_a_time, len(set(server.routes))) == (1, 1)
    assert server.routes[0]


# -------------------------------------------------------------------------------------------------------- the registry
def test_an_entry_is_private_and_small(push: Push, file: Path, tmp_path: Path) -> None:
    append(file, *LINES)
    push()
    folder = tmp_path / "state" / "ess_ray" / "pushed"
    assert folder.stat().st_mode & 0o777 == 0o700
    (entry,) = folder.glob("*.json")
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.stat().st_size < 4_096
    assert not list(folder.glob("*.new"))


def test_a_broken_entry_is_named_and_nothing_pushed_twice(
    push: Push, ess: Ess, server: Contract, file: Path, tmp_path: Path
) -> None:
    append(file, "a")
    push()
    (entry,) = (tmp_path / "state").rglob("*.json")
    for broken in ("", "{", "[]", "1", '{"version": 9}', entry.read_text()[:-5]):
        entry.write_text(broken)
        done = ess("push", str(file))
        assert done.exit_code == 1
        assert str(entry) in done.stderr
        assert "--again" in done.stderr
    assert len(server.pushed) == 1
    push("--again")
    assert push()["accepted"] == 0


def test_a_registry_that_cannot_be_is_told(
    push: Push, server: Contract, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a file"))
    append(file, "2026-11-20T12:00:00Z a")
    for _ in range(2):
        told = push()
        assert "XDG_STATE_HOME" in told["told"]
    assert len(set(server.keys)) == 1  # so that within an hour the system tells the repeat


def test_a_registry_that_goes_away_midway_ends_the_push_before_more_is_sent(
    push: Push, server: Contract, file: Path, tmp_path: Path
) -> None:
    append(file, *LINES)
    state, away = tmp_path / "state", tmp_path / "away"
    server.on_push = lambda: state.rename(away) if len(server.pushed) == 2_000 else None
    told = push(exit_code=1)
    assert told["accepted"] == 2_000
    assert "nothing more was sent" in told["told"]
    server.on_push = lambda: None
    away.rename(state)
    assert push()["accepted"] == 2_500
    assert messages(server) == LINES


HOLD = """
import fcntl, os, sys
fcntl.lockf(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_an_entry_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    registry, name, other = Registry(tmp_path / "pushed"), "12" * 20, "34" * 20
    waits, got = threading.Event(), threading.Event()

    def take() -> None:
        with registry.held(name, waits.set):
            got.set()

    with registry.held(other, waits.set):
        pass
    command = [sys.executable, "-c", HOLD, str(registry.folder / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        thread = threading.Thread(target=take)
        thread.start()
        assert waits.wait(30)
        assert not got.is_set()
        holder.kill()
    assert got.wait(30)
    thread.join()


def test_entries_that_nobody_used_for_long_are_let_go(push: Push, file: Path, tmp_path: Path) -> None:
    append(file, "a")
    push()
    (entry,) = (tmp_path / "state").rglob("*.json")
    os.utime(entry, (0, 0))
    other = tmp_path / "b.log"
    append(other, "b")
    push(path=other)
    assert not entry.exists()


def test_repeats_are_told_where_the_system_counts_them(push: Push, ess: Ess, server: Contract, file: Path) -> None:
    append(file, *LINES[:1_500])
    server.repeats = 3
    assert push()["repeats"] == 6
    append(file, "more")
    assert "1 accepted, 3 of them repeats, 0 rejected" in ess("push", str(file)).stdout
    assert upload.Summary().repeats is None
