"""One life after the other: when there is another one, when there is none, and what is told of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from deployments.keeper import MAX_RESTARTS, RESTARTS_WITHIN_S, LifeProcess, Restarts, keep_alive
from ess_ray.runtime.environment import free_ports
from ess_ray.runtime.processes import END_FILE, RUN_FILE, read_end, stopped
from tests.systems import wait_until


@dataclass
class Script:
    """Lives as they are to go: (ready, lost after so many seconds of the clock, or never). `by_chance`: all of them."""

    lives: list[tuple[bool, float | None]]
    by_chance: bool = False
    now_s: float = 0.0
    told: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> ScriptedLife:
        self.told.append("start")
        return ScriptedLife(self, *self.lives.pop(0))

    def run(self) -> str | None:
        return keep_alive(
            start=self.start,
            clean_up=lambda: self.told.append("clean up"),
            stop=self.stop,
            restarts=Restarts(clock_s=lambda: self.now_s),
            on_ready=self.told.append,
            on_lost=lambda reason: self.told.append(f"again, {reason}"),
        )


class ScriptedLife:
    def __init__(self, script: Script, ready: bool, lost_after_s: float | None) -> None:
        self._script, self._lost_after_s = script, lost_after_s
        self.ready = "url" if ready else None
        self.by_chance = script.by_chance

    def lost(self) -> str | None:
        if self._lost_after_s is None:
            self._script.stop.set()
            return None
        self._script.now_s += self._lost_after_s
        return "lost"

    def stop(self) -> None:
        self._script.told.append("stop")

    def close(self) -> None:
        self._script.told.append("closed")


def test_what_is_lost_is_started_again() -> None:
    script = Script([(True, 1.0), (True, None)])
    assert script.run() is None
    first = ["start", "url", "clean up", "closed"]
    assert script.told == [*first, "again, lost", "start", "url", "stop", "clean up", "closed"]


def test_after_three_starts_in_ten_minutes_there_is_no_other() -> None:
    script = Script([(True, 1.0)] * (MAX_RESTARTS + 1))
    reason = script.run()
    assert reason is not None
    assert reason.startswith("lost. ")
    assert "3 of at most 3 within 10 minutes" in reason
    assert script.told.count("start") == MAX_RESTARTS + 1
    assert script.told[-2:] == ["clean up", "closed"]


def test_starts_that_are_further_apart_never_end() -> None:
    seldom = RESTARTS_WITHIN_S / MAX_RESTARTS
    script = Script([(True, seldom)] * 20 + [(True, None)])
    assert script.run() is None
    assert script.told.count("start") == 21


def test_a_restart_that_does_not_become_ready_counts_too() -> None:
    script = Script([(True, 1.0), (False, 1.0), (True, None)])
    assert script.run() is None
    assert script.told.count("start") == 3


def test_a_first_life_that_does_not_become_ready_is_told_at_once() -> None:
    script = Script([(False, 1.0)])
    assert script.run() == "lost"
    assert script.told == ["start", "clean up", "closed"]


def test_a_first_life_that_was_lost_by_chance_is_followed() -> None:
    script = Script([(False, 40.0), (True, None)], by_chance=True)
    assert script.run() is None
    assert script.told.count("start") == 2


def test_one_that_is_not_ready_has_nothing_to_store() -> None:
    script = Script([(False, None)])
    assert script.run() is None
    assert script.told == ["start", "clean up", "closed"]


# ------------------------------------------------------------------------------------------------------- processes
@contextmanager
def life(does: str, monkeypatch: pytest.MonkeyPatch, steps: list[str] | None = None) -> Iterator[LifeProcess]:
    monkeypatch.setenv("SHORT_LIFE", does)
    command = [sys.executable, "-m", "tests.short_life"]
    with closing(LifeProcess(command, ([] if steps is None else steps).append)) as made:
        yield made


def test_a_life_tells_that_it_is_ready_and_why_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    with life("lost", monkeypatch, steps) as lost:
        assert wait_until(lost.lost, "it does not end") == "the raylet ended"
        assert lost.ready == "http://dashboard"
    assert steps == ["starting Ray"]


def test_a_life_that_is_killed_is_lost_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with life("killed", monkeypatch) as killed:
        assert "SIGKILL" in wait_until(killed.lost, "it does not end")


def test_a_life_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with life("lasts", monkeypatch) as lasting:
        wait_until(lambda: lasting.ready, "it is not ready")
        assert lasting.lost() is None
        lasting.stop()
        assert lasting.lost() is not None


# ------------------------------------------------------------------------------------------------------- the driver
DRIVER = """
import deployments.main as driver
driver.LIFE = "tests.short_life"
driver.main()
"""


def drive(data_dir: Path, does: str, **more: int) -> subprocess.Popen[str]:
    """Start the driver, in a session of its own: it ends every process of its session."""
    port = str(free_ports(1)[0])
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "--data-dir", str(data_dir), "--port", port],
        env={**os.environ, "SHORT_LIFE": does},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = child.communicate(timeout=60)
    return child.returncode, said


@pytest.mark.parametrize(("does", "why"), [("lost", "the raylet ended"), ("killed", "SIGKILL")])
def test_a_driver_whose_lives_end_ends_with_exit_code_1_and_the_reason(tmp_path: Path, does: str, why: str) -> None:
    code, said = ended(drive(tmp_path, does))
    assert code == 1
    assert said.splitlines()[-1].startswith("ess: ")
    assert why in said.splitlines()[-1]
    told = read_end(tmp_path)
    assert told is not None
    assert why in told
    assert "3 of at most 3" in told
    assert not (tmp_path / RUN_FILE).exists()
    assert ended(drive(tmp_path, "unready"))[0] == 1
    assert "of at most" not in (read_end(tmp_path) or ""), "what is told is the last end"


@pytest.mark.parametrize("does", ["lasts", "starts"])
def test_a_driver_that_is_told_to_stop_ends_well(tmp_path: Path, does: str) -> None:
    (tmp_path / END_FILE).write_text("of the run before")
    child = drive(tmp_path, does)
    wait_until((tmp_path / RUN_FILE).exists, "there is no run file")
    child.send_signal(signal.SIGTERM)
    assert ended(child)[0] == 0
    assert not (tmp_path / RUN_FILE).exists()
    assert read_end(tmp_path) is None


def test_the_run_file_tells_why_it_is_started_again(tmp_path: Path) -> None:
    child = drive(tmp_path, "lasts")
    try:
        file = tmp_path / RUN_FILE
        wait_until(lambda: file.exists() and json.loads(file.read_text())["dashboard_url"], "it is not ready")
        (victim,) = wait_until(lambda: lives(child.pid), "there is no life")
        victim.kill()
        again = wait_until(lambda: (told := json.loads(file.read_text()))["restarting"] and told, "it is not told")
        assert "SIGKILL" in again["restarting"]
        assert again["session_id"] == child.pid
        wait_until(lambda: not json.loads(file.read_text())["restarting"], "it is not ready again")
    finally:
        child.terminate()
        assert ended(child)[0] == 0


def lives(driver: int) -> Sequence[psutil.Process]:
    return [child for child in psutil.Process(driver).children() if "tests.short_life" in child.cmdline()]


def test_a_stopped_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.short_life", "--tell", "2"],
        start_new_session=True,
        env={**os.environ, "SHORT_LIFE": "starts"},
    )
    try:
        assert stopped(child.pid) == []
        child.send_signal(signal.SIGSTOP)
        (told,) = wait_until(lambda: stopped(child.pid), "it is not seen")
        assert f"tests.short_life (pid {child.pid})" in told
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: not stopped(child.pid), "it goes on unseen")
    finally:
        child.kill()
        child.wait()
