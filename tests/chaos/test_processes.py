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

from tests.chaos.faults import Fault
from tests.chaos.report import Outcome, outcome
from tests.chaos.run import Run, carry_out, problems
from tests.chaos.world import World, Worlds
from tests.systems import title, wait_until

RECOVERY_S: Final = 60.0
"""From the death of a process to pushes and complete answers, without a hand."""
STOPPED_S: Final = 120.0
WELL_AGAIN_S: Final = 30.0
"""From the moment when a process goes on."""
HEALTH_TIMEOUT_S: Final = 10.0

KINDS: Final[dict[str, str]] = {
    "the life": r"-m deployments\.life",
    "the control store": r"/gcs/gcs_server ",
    "the node manager": r"/raylet/raylet ",
    "the autoscaler's monitor": r"autoscaler/_private/monitor\.py",
    "the log monitor": r"_private/log_monitor\.py",
    "the dashboard": r"dashboard/dashboard\.py",
    "the dashboard's resource tracker": r"^\S*python\S* .*multiprocessing\.resource_tracker",
    "the dashboard's fork server": r"^\S*python\S* .*multiprocessing\.forkserver",
    **{
        f"the dashboard's {name}": f"^ray-dashboard-{name}"
        for name in (
            "MetricsHead",
            "DataHead",
            "EventHead",
            "JobHead",
            "NodeHead",
            "ReportHead",
            "ServeHead",
            "StateHead",
            "TrainHead",
        )
    },
    "the dashboard's agent": "^ray::DashboardAgent",
    "the agent of environments": "^ray::RuntimeEnvAgent",
    "a spare worker": "^ray::IDLE",
    "Serve's controller": "^ray::ServeController",
    "Serve's proxy": "^ray::ProxyActor",
    "HAProxy's manager": "^ray::HAProxyManager",
    "HAProxy": "/bin/haproxy ",
    "the log": "^ray::LogActor",
    "the supervisor": "^ray::Supervisor",
    "a persist actor": "^ray::PersistActor",
    "a push replica": "^ray::ServeReplica:push",
    "the search replica": "^ray::ServeReplica:search",
    "the page's replica": "^ray::ServeReplica:ui",
}
"""What each process of a system is, by a pattern of its title."""
PASSING: Final = r"^ray::maintenance|default_worker\.py|setup_worker\.py|^ray::scan"
"""Tasks, and workers that are just being started."""


@dataclass(frozen=True)
class Victim:
    process: psutil.Process
    life: frozenset[int]
    """The processes of this kind and what holds Ray, when it happened: another life has none of them."""


def find(world: World, kind: str) -> psutil.Process:
    def living() -> psutil.Process | None:
        fits = (process for process in world.system.processes() if re.search(KINDS[kind], title(process)))
        return next(fits, None)

    return wait_until(living, f"there is no process that is {kind}")  # type: ignore[no-any-return]


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
    driver = world.system.run_file()["session_id"]

    def strangers() -> list[str]:
        found = [title(process) for process in world.system.processes() if process.pid != driver]
        known = re.compile("|".join([*KINDS.values(), PASSING, "^$"]))
        return [each for each in found if not known.search(each)]

    wait_until(lambda: not strangers(), lambda: f"no row for: {strangers()}")


ROWS: Final = [*map(kill, KINDS), *map(stop, KINDS)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.name)
def test_the_system_comes_back_by_itself(fault: Fault, world: World, outcomes: list[Outcome]) -> None:
    runs: list[Run] = []
    passed = False
    try:
        run = carry_out(fault, world, runs)
        assert problems(run) == []
        passed = True
    finally:
        outcomes.append(outcome(fault.label, runs[0] if runs else None, passed))
