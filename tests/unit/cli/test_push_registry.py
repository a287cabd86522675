"""Where `ess push` keeps how far each file was pushed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ess_ray.cli import upload
from ess_ray.cli.registry import Registry
from tests.cli_contract import Contract, Ess
from tests.pushed_files import Push, append, file, messages, push, small_batches
from tests.unit.cli.test_push_broken_off import LINES

__all__ = ["file", "push", "small_batches"]


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
