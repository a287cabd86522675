"""One row's steps: load, fault, healing, recovery, and the comparison of what was acknowledged with what is there."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tests.chaos.clients import FULL, Clients, Pace
from tests.chaos.export import count_export
from tests.chaos.ledger import Tally
from tests.chaos.reader import Reader
from tests.chaos.world import Place, World
from tests.systems import wait_until

if TYPE_CHECKING:
    from tests.chaos.fault import Fault

EVENTS: Final = int(os.environ.get("CHAOS_EVENTS", "1000000"))
"""Acknowledged in a row, at least where LOAD_S allows it."""
SEED: Final = int(os.environ.get("CHAOS_SEED") or time.time_ns() % 1_000_000)
"""Of everything that is random in a run: which process, which bit, how many events a request. Printed by `conftest`."""
BEFORE_SHARE: Final = 0.1
"""Of the events: acknowledged before the fault, on every virtual node, some stored, some not."""
LOAD_S: Final = 15.0
"""How long after recovery a row waits at most for the rest of its events: a rate is told, not judged."""
AFTER_COMPLETE: Final = 2
"""Complete answers after recovery: the first may have begun before all was over."""
CLOCK_PLACE: Final[Place] = "own clock"
FLUSH_TRIES: Final = 5


Wrong = Literal["lost", "doubled", "altered", "invented"]


@dataclass
class Run:
    """A row under way, and its figures once it is over."""

    world: World
    clients: Clients
    reader: Reader
    token: Any = None
    """What the fault's `inject` or `during` gave."""
    injected_s: float = 0.0
    lifted_s: float = 0.0
    since_s: float = 0.0
    """From when recovering is counted."""
    ended_s: float = 0.0
    """When the load ended."""
    table: Tally | None = None
    answer: Tally | None = None
    """What the table holds, and what an answer holds, where repeats by id are merged: both are compared."""

    def total(self, count: Wrong) -> int:
        """Add up what is `lost`, `doubled`, `altered` or `invented` in table and answer."""
        return sum(int(getattr(tally, count)) for tally in (self.table, self.answer) if tally is not None)

    @property
    def examples(self) -> list[str]:
        return [told for tally in (self.table, self.answer) if tally is not None for told in tally.examples]


def carry_out(fault: Fault, world: World, run_of: list[Run], pace: Pace = FULL) -> Run:
    """Run a row to its end; `run_of` gets it at once, so that the figures of a row that fails are told too.

    Only at full pace is a number of events waited for.
    """
    wanted = EVENTS if pace == FULL else 0
    name = f"chaos{uuid.uuid4().hex[:8]}"
    keys = world.new_tenants(name)
    with ExitStack() as load:
        timed = world.place != CLOCK_PLACE  # a client whose clock differs by hours would be corrected
        clients = load.enter_context(Clients(world.system.url, keys, name, seed=SEED, timed=timed, pace=pace))
        reader = load.enter_context(Reader(world.system.url, keys, clients, SEED))
        run = Run(world, clients, reader)
        run_of.append(run)
        wait_until(
            lambda: clients.acknowledged >= max(1, wanted * BEFORE_SHARE), "too little is acknowledged before the fault"
        )
        wait_until(lambda: reader.ends()["done"] >= 1, lambda: f"no answer is complete before: {reader.asked[-3:]}")
        _break_and_heal(fault, run)
        wait_until(lambda: clients.first_202_s(run.lifted_s), "nothing is acknowledged after the fault")
        wait_until(
            lambda: reader.ends(run.lifted_s)["done"] >= AFTER_COMPLETE,
            lambda: f"no answer is complete after the fault: {reader.asked[-3:]}",
        )
        wait_until(world.healthy, "the system does not become healthy")
        fault.check(run)
        enough_s = time.monotonic() + LOAD_S
        while clients.acknowledged < wanted and time.monotonic() < enough_s:
            threading.Event().wait(0.1)
    run.ended_s = time.monotonic()
    compare(run, keys)
    return run


def problems(run: Run) -> list[str]:
    """Tell what must not have been, once a run is over; empty if all is well."""
    counts: dict[Wrong, int] = {count: run.total(count) for count in get_args(Wrong)}
    found = [f"{number} {count}: {run.examples}" for count, number in counts.items() if number]
    return found + [str(told)[:1_000] for told in (*run.clients.wrong, *run.reader.wrong)]


def _break_and_heal(fault: Fault, run: Run) -> None:
    run.injected_s = time.monotonic()
    run.token = fault.inject(run.world)
    try:
        if fault.until is not None:
            wait_until(lambda: fault.until(run.world, run.token), "the fault did not come about")  # type: ignore[misc]
        if fault.during is not None:
            run.token = fault.during(run)
        threading.Event().wait(fault.hold_s)  # the fault lasts: the load goes on meanwhile
    finally:
        run.lifted_s = time.monotonic()
        fault.heal(run.world, run.token)
    run.since_s = run.lifted_s if fault.since_healed else run.injected_s


def compare(run: Run, keys: dict[str, str]) -> None:
    """Store everything, and hold the table and a whole answer against what was acknowledged."""
    flush(run.world)
    with ThreadPoolExecutor() as threads:  # one waits for the system, the other for Arrow
        table, answer = threads.submit(_count_table, run, keys), threads.submit(_count_answer, run, keys)
        run.table, run.answer = table.result(), answer.result()


def _count_table(run: Run, keys: dict[str, str]) -> Tally:
    tally = Tally(run.clients.ledgers)
    for tenant in keys:
        for rows in run.world.stored(tenant):
            tally.add(tenant, rows)
    tally.close()
    return tally


def _count_answer(run: Run, keys: dict[str, str]) -> Tally:
    tally = Tally(run.clients.ledgers)
    for tenant, key in keys.items():
        count_export(run.world.system.url, tenant, key, tally)
    tally.close()
    return tally


def flush(world: World) -> None:
    """Store everything: what is compared is the table as well."""
    for left in range(FLUSH_TRIES, 0, -1):
        done = world.system.ess("flush", ok=(0, 1) if left > 1 else (0,))
        if done.returncode == 0:
            return
