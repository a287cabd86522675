"""Whatever single process of a running system dies or stands still: each that `ps` shows of it, but the driver."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx
import psutil
import pytest

from tests.chaos.clients import Pace
from tests.chaos.fault import Fault
from tests.chaos.report import Outcome, outcome
from tests.chaos.run import Run, carry_out, problems
from tests.chaos.victims import DASHBOARD_HEADS, DRIVER, KINDS, PASSING, by_kind, kind_of
from tests.chaos.world import World, Worlds
from tests.systems import title, wait_until

RECOVERY_S: Final = 60.0
"""From the death of a process to pushes and complete answers, without a hand."""
STOPPED_S: Final = 120.0
WELL_AGAIN_S: Final = 30.0
"""From the moment when a process goes on."""
HEALTH_TIMEOUT_S: Final = 10.0

PACE: Final = Pace(events=(20, 200), pause_s=1.0)
"""A load that leaves the machine to what comes back: how soon it does is what these rows are about."""


@dataclass(frozen=True)
class Victim:
    process: psutil.Process
    life: frozenset[int]
    """The processes of this kind and what holds Ray, when it happened: another life has none of them."""


def find(world: World, kind: str) -> psutil.Process:
    found = wait_until(lambda: by_kind(world.system).get(kind), f"there is no process that is {kind}")
    return found[0]  # type: ignore[no-any-return]


def lives(world: World) -> frozenset[int]:
    return frozenset(process.pid for process in world.processes("-m deployments.life"))


def told(world: World) -> bool:
    """Whether health says that something is wrong, or nothing can say it: HAProxy itself stands still."""
    try:
        return any(
            world.system.http.get(f"/{part}/healthz", timeout=HEALTH_TIMEOUT_S).status_code != 200
            for part in ("push", "search")
        )
    except httpx.TransportError:
        return True


def kill(kind: str) -> Fault:
    def inject(world: World) -> Victim:
        victim = Victim(find(world, kind), lives(world))
        victim.process.kill()
        return victim

    def check(run: Run) -> None:
        pushed_s = run.clients.first_202_s(run.injected_s + 1)
        answered_s = run.reader.first_complete_s(run.injected_s + 1)
        assert pushed_s is not None
        assert pushed_s <= RECOVERY_S
        assert answered_s is not None
        assert answered_s <= RECOVERY_S

    return Fault(f"kill -9 of {kind}", "embedded", inject, check=check)


def stop(kind: str) -> Fault:
    def inject(world: World) -> Victim:
        victim = Victim(find(world, kind), lives(world))
        victim.process.suspend()
        return victim

    def heal(_: World, victim: Victim) -> None:
        if victim.process.is_running():  # else it was replaced meanwhile
            victim.process.resume()

    def check(run: Run) -> None:
        well_s = time.monotonic() - run.lifted_s  # `carry_out` has just seen health say so
        assert well_s <= WELL_AGAIN_S

    return Fault(
        f"SIGSTOP of {kind} for two minutes",
        "embedded",
        inject,
        heal,
        hold_s=STOPPED_S,
        until=lambda world, _: told(world),
        check=check,
        since_healed=True,
    )


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """Give a system that is well; one that was started again is not used any more, as it may be only so often."""
    made = worlds.get("embedded")
    before = lives(made)
    passed = False
    try:
        yield made
        passed = lives(made) == before
    finally:
        if not passed:
            worlds.discard("embedded")


def test_each_process_of_a_system_has_a_row(world: World) -> None:
    def strangers() -> list[str]:
        unknown = [title(process) for process in world.system.processes() if kind_of(process) is None]
        return [each for each in unknown if not re.search(PASSING, each)]

    wait_until(lambda: not strangers(), lambda: f"no row for: {strangers()}")


VICTIMS: Final = [kind for kind in KINDS if kind != DRIVER]
ALIKE: Final = {f"the dashboard's {name}Head" for name in DASHBOARD_HEADS[1:]}
"""Processes of one program that differ in what they were told to load: one of them is stopped for all."""
ROWS: Final = [*map(kill, VICTIMS), *(stop(kind) for kind in VICTIMS if kind not in ALIKE)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.name)
def test_the_system_comes_back_by_itself(fault: Fault, world: World, outcomes: list[Outcome]) -> None:
    runs: list[Run] = []
    passed = False
    try:
        run = carry_out(fault, world, runs, PACE)
        assert problems(run) == []
        passed = True
    finally:
        outcomes.append(outcome(fault.label, runs[0] if runs else None, passed))
