"""One row's course: load, fault, healing, recovery, and the comparison of what was acknowledged with what is found.

May live here: the course and its figures. May not: what the faults are (`faults`), or how figures are printed.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.chaos.clients import Clients, Reader
from tests.chaos.world import World
from tests.systems import wait_until

if TYPE_CHECKING:
    from tests.chaos.faults import Fault

BEFORE_ACKNOWLEDGED: Final = 100
"""Events acknowledged before the fault: on every virtual node, some stored, some not."""
AFTER_COMPLETE: Final = 2
"""Complete answers after recovery: the first may have begun before all was over."""
FLUSH_TRIES: Final = 5


@dataclass
class Run:
    """A row under way, and its figures once it is over."""

    world: World
    clients: Clients
    reader: Reader
    token: Any = None
    injected_s: float = 0.0
    lifted_s: float = 0.0
    since_s: float = 0.0
    """From when recovering is counted."""
    found: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> list[str]:
        return [name for name in self.clients.acknowledged if not self.found[name]]

    @property
    def doubled(self) -> list[str]:
        """Events that an answer holds twice, or the table: a search merges repeats by id, and would hide those."""
        names = self.found.keys() | self.stored.keys()
        return [name for name in names if self.found[name] > 1 or self.stored[name] > 1]

    @property
    def invented(self) -> list[str]:
        sent = {*self.clients.acknowledged, *self.clients.unknown}
        return [name for name in self.found if name not in sent]


def carry_out(fault: Fault, world: World, run_of: list[Run]) -> Run:
    """Run a row to its end; `run_of` gets it at once, so that the figures of a row that fails are told too."""
    service = f"chaos{uuid.uuid4().hex[:8]}"
    with ExitStack() as load:
        clients = load.enter_context(Clients(world.system, service))
        reader = load.enter_context(Reader(world.system, service, clients))
        run = Run(world, clients, reader)
        run_of.append(run)
        wait_until(lambda: len(clients.acknowledged) >= BEFORE_ACKNOWLEDGED, "nothing is acknowledged")
        wait_until(lambda: reader.ends()["done"] >= 1, "no answer is complete before the fault")
        run.injected_s = time.monotonic()
        run.token = fault.inject(world)
        try:
            if fault.until is not None:
                wait_until(lambda: fault.until(world, run.token), "the fault did not come about")  # type: ignore[misc]
            threading.Event().wait(fault.hold_s)  # the fault lasts: the load goes on meanwhile
        finally:
            run.lifted_s = time.monotonic()
            fault.heal(world, run.token)
        run.since_s = run.lifted_s if fault.since_healed else run.injected_s
        wait_until(lambda: clients.first_202_s(run.lifted_s), "nothing is acknowledged after the fault")
        wait_until(lambda: reader.ends(run.lifted_s)["done"] >= AFTER_COMPLETE, "no answer is complete after the fault")
        wait_until(lambda: healthy(world), "the system does not become healthy")
        fault.check(run)
    _flush(world)
    events = world.system.search(f"service:{service}")
    run.found = Counter(event["message"] for event in events)
    run.stored = world.stored(service)
    return run


def healthy(world: World) -> bool:
    try:
        return all(world.system.http.get(f"/{part}/healthz").status_code == 200 for part in ("push", "search"))
    except httpx.TransportError:
        return False


def _flush(world: World) -> None:
    """Store everything: what is compared is the table as well."""
    for left in range(FLUSH_TRIES, 0, -1):
        done = world.system.ess("flush", ok=(0, 1) if left > 1 else (0,))
        if done.returncode == 0:
            return
