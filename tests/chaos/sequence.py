"""Single processes, one after the other, in random order: each is killed, or stopped for a while."""

from __future__ import annotations

import threading
import time
import uuid
from random import Random
from typing import Final

import httpx
import psutil

from tests.chaos.run import SEED, Run
from tests.chaos.victims import FOUNDATION, choose
from tests.chaos.world import World
from tests.systems import wait_until

VICTIMS: Final = 6
MOST_RESTARTS: Final = 2
"""Of the whole system within RESTARTS_WITHIN_S: at the third it gives up, as it should."""
RESTARTS_WITHIN_S: Final = 720.0
"""Ten minutes, and what a start takes."""
STOPPED_S: Final = 5.0
"""Longer than a look at its health takes, shorter than most patience."""
BACK_S: Final = 60.0
"""Until events are taken and answers complete again, whichever process it was."""


def kill_and_stop_one_by_one(run: Run) -> list[str]:
    """Break one process after the other, each when the one before has been got over; gives what was done."""
    random, done = Random(SEED), []
    for _ in range(VICTIMS):
        done.append(_break_one(run.world, random))
        wait_until(lambda: answers(run.world), lambda: f"nothing works any more after: {done}", BACK_S)
    return done


def _break_one(world: World, random: Random) -> str:
    """Kill or stop one process; gives which, and how. None that takes the whole system along where some just did."""
    now_s = time.monotonic()
    world.restarts_s = [then_s for then_s in world.restarts_s if now_s - then_s < RESTARTS_WITHIN_S]
    chosen = choose(world.system, random, FOUNDATION if len(world.restarts_s) >= MOST_RESTARTS else frozenset())
    if chosen is None:
        return "no process was there to be broken"
    name, victim = chosen
    if name in FOUNDATION:
        world.restarts_s.append(now_s)
    try:
        if random.random() < 0.5:
            victim.kill()
            return f"{name} killed"
        victim.suspend()
        threading.Event().wait(STOPPED_S)
        victim.resume()
    except psutil.NoSuchProcess:
        return f"{name} ended by itself"
    return f"{name} stopped for {STOPPED_S:g} s"


def answers(world: World) -> bool:
    """Tell whether an event is taken and found: the whole path, beside the load's."""
    name = uuid.uuid4().hex
    http = world.system.http
    try:
        if http.post("/push/v1/events", json={"message": name}, headers={"Idempotency-Key": name}).status_code != 202:
            return False
        _, page = world.system.try_search(name, limit=1)
    except (httpx.TransportError, KeyError, ValueError, AssertionError):
        return False  # it is on its way down or up: asked again
    return bool(page["state"] == "done" and page["complete"] and page["progress"]["rows_matched"])
