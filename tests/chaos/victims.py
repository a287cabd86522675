"""Which processes a system consists of, by what they are for.

May live here: names of processes, choosing one. May not: what is done to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Final

import psutil

from tests.systems import System, title

DRIVER: Final = "deployments.main"
"""It stands for the command that somebody runs: whoever kills it wants the system to end."""
FOUNDATION: Final = frozenset({"gcs_server", "raylet", "DashboardAgent", "RuntimeEnvAgent"})
"""Without these Ray ends, and the system is brought up again as a whole."""
_RAY_WORKER: Final = re.compile(r"ray::([\w:]+)")


def role(process: psutil.Process) -> str:
    """Say what a process is for, alike for all that are for the same; empty for one that has ended."""
    told = title(process)
    if worker := _RAY_WORKER.match(told):
        return worker[1]
    words = told.split()
    if DRIVER in words:
        return DRIVER
    script = next((word for word in words[1:] if word.endswith(".py")), words[0] if words else "")
    return Path(script).stem


def roles(system: System) -> dict[str, list[psutil.Process]]:
    """Give a system's processes by role."""
    found: dict[str, list[psutil.Process]] = {}
    for process in system.processes():
        if name := role(process):
            found.setdefault(name, []).append(process)
    return found


def choose(system: System, random: Random, without: frozenset[str]) -> tuple[str, psutil.Process] | None:
    """Choose a role that is not in `without`, then one of its processes: rare ones are hit as often as common ones."""
    found = roles(system)
    names = sorted(found.keys() - without - {DRIVER})
    if not names:
        return None
    name = random.choice(names)
    return name, random.choice(sorted(found[name], key=lambda process: process.pid))
