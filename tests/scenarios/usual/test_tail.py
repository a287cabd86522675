"""Somebody looks on while events are pushed, stored, and an actor is killed: each is shown once, in time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.systems import DEADLINE_S, System, Watcher, persist_actors, wait_until


@contextmanager
def pushing(system: System, prefix: str) -> Iterator[list[str]]:
    """Push events without pause; gives those that were acknowledged."""
    pushed: list[str] = []
    stop = threading.Event()

    def run() -> None:
        number = 0
        while not stop.is_set():
            names = [f"{prefix}{number + i}" for i in range(5)]
            number += 5
            system.push([{"message": name, "service": "tailed"} for name in names])
            pushed.extend(names)
            stop.wait(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield pushed
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def test_every_event_is_shown_once_across_flushes_and_the_death_of_an_actor(system: System) -> None:
    with Watcher(system, "service:tailed") as watcher, pushing(system, "a") as pushed:
        wait_until(lambda: len(watcher.messages) > 20, "nothing is shown")
        system.ess("flush")
        wait_until(lambda: len(pushed) > 200, "nothing is pushed")
        persist_actors(system)[0].kill()
        seen = len(pushed)
        wait_until(lambda: len(pushed) > seen + 200, "pushing stopped")
        system.ess("flush")
    with Watcher(system, "service:tailed", watcher.last_id) as rest:
        wait_until(lambda: len(watcher.messages + rest.messages) >= len(pushed), "some are not shown")
    assert Counter(watcher.messages + rest.messages) == Counter(pushed)
    assert all(told["skipped"] == 0 for told in watcher.progress + rest.progress)


def test_what_is_pushed_and_stored_while_nobody_is_connected_is_shown_to_who_comes_back(system: System) -> None:
    with Watcher(system, "away") as watcher:
        system.push([{"message": "away 1"}])
        wait_until(lambda: watcher.messages, "it is not shown")
    system.push([{"message": "away 2"}])
    system.ess("flush")
    system.push([{"message": "away 3"}])
    with Watcher(system, "away", watcher.last_id) as back:
        wait_until(lambda: len(back.messages) >= 2, "what came meanwhile is not shown")
    assert back.messages == ["away 2", "away 3"]


def test_a_client_that_goes_leaves_nothing_behind(system: System) -> None:
    """A hundred tails are all that a replica takes: 130 that come and go would soon be refused."""
    for _ in range(130):
        with system.http.stream("GET", "/search/v1/tail") as answer:
            assert answer.status_code == 200
            next(answer.iter_lines())


def test_the_command_prints_what_comes_and_ends_well_when_interrupted(system: System) -> None:
    command = [sys.executable, "-m", "ess_ray.cli", "tail", "shown", "--json", "--data-dir", str(system.data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    stop = threading.Event()

    def push() -> None:
        while not stop.wait(0.2):  # until the command has connected, nobody is there to be shown it
            system.push([{"message": "shown"}])

    pusher = threading.Thread(target=push)
    pusher.start()
    line = process.stdout.readline()
    stop.set()
    pusher.join(DEADLINE_S)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=DEADLINE_S)
    assert json.loads(line)["message"] == "shown"
    assert (process.returncode, told) == (0, "")
