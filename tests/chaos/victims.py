"""Which processes a system consists of, by what they are for, and the choice of one to break."""

from __future__ import annotations

import re
from random import Random
from typing import Final

import psutil

from tests.systems import System, title

DRIVER: Final = "the driver"
"""It stands for the command that somebody runs: whoever kills it wants the system to end."""
DASHBOARD_HEADS: Final = ("Data", "Event", "Job", "Metrics", "Node", "Report", "Serve", "State", "Train")

KINDS: Final[dict[str, str]] = {
    DRIVER: r"-m deployments\.main",
    "the life": r"-m deployments\.life",
    "the control store": r"/gcs/gcs_server ",
    "the node manager": r"/raylet/raylet ",
    "the autoscaler's monitor": r"autoscaler/_private/monitor\.py",
    "the log monitor": r"_private/log_monitor\.py",
    "the dashboard": r"dashboard/dashboard\.py",
    **{f"the dashboard's {name}Head": f"^ray-dashboard-{name}Head" for name in DASHBOARD_HEADS},
    "the dashboard's resource tracker": r"^\S*python\S* .*multiprocessing\.resource_tracker",
    "the dashboard's fork server": r"^\S*python\S* .*multiprocessing\.forkserver",
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
    "the listener": "^ray::ListenerActor",
    "the actor of alerts": "^ray::AlertsActor",
    "a push replica": "^ray::ServeReplica:push",
    "the search replica": "^ray::ServeReplica:search",
    "the page's replica": "^ray::ServeReplica:ui",
}
"""What each process of a system is, by a pattern of its title."""
PASSING: Final = r"^ray::maintenance|default_worker\.py|setup_worker\.py|^ray::scan|^$"
"""Tasks, workers that are just being started, and what has just ended."""
FOUNDATION: Final = frozenset(
    {"the life", "the control store", "the node manager", "the dashboard's agent", "the agent of environments"}
)
"""Without these Ray ends, and the system is brought up again as a whole."""
_PATTERNS: Final = {kind: re.compile(pattern) for kind, pattern in KINDS.items()}


def kind_of(process: psutil.Process) -> str | None:
    """Say which of `KINDS` a process is, alike for all that are for the same; None for passing and unknown ones."""
    found = title(process)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(found)), None)


def by_kind(system: System) -> dict[str, list[psutil.Process]]:
    """Give a system's processes of each kind that it has."""
    found: dict[str, list[psutil.Process]] = {}
    for process in system.processes():
        if kind := kind_of(process):
            found.setdefault(kind, []).append(process)
    return found


def choose(system: System, random: Random, without: frozenset[str]) -> tuple[str, psutil.Process] | None:
    """Choose a kind that is not in `without`, then one of its processes: rare ones are hit as often as common ones."""
    found = by_kind(system)
    kinds = sorted(found.keys() - without - {DRIVER})
    if not kinds:
        return None
    kind = random.choice(kinds)
    return kind, random.choice(sorted(found[kind], key=lambda process: process.pid))
