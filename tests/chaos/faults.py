"""The faults, as data: how each is made, how long it lasts, how it is undone, and what must have been so beside the
invariant that every acknowledged event is found exactly once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil

from tests.chaos.fault import Fault
from tests.chaos.flips import flip_bits, told_the_truth
from tests.chaos.machine import DISK_AND_CLOCK
from tests.chaos.run import Run
from tests.chaos.sequence import kill_and_stop_one_by_one
from tests.chaos.world import World
from tests.systems import is_alive, wait_until

OUTAGE_S: Final = 20.0
"""Longer than any retry of ours within one call (10 s of an append, 6 s of an S3 request's pauses)."""
STALL_S: Final = 10.0
AFTER_REPLACEMENT_S: Final = 4.0
"""How long a stopped process stays so when its successor owns what it had, and has stored some of it."""
COMMIT_ANSWERS: Final = 3
EVERY_REQUEST: Final = 1_000_000


# ------------------------------------------------------------------------------------------------------- processes
def kill(title: str) -> Callable[[World], psutil.Process]:
    """Kill -9 the first process of this title."""

    def inject(world: World) -> psutil.Process:
        victim = world.processes(title)[0]
        victim.kill()
        return victim

    return inject


def kill_everything(world: World) -> None:
    world.system.kill_everything()


def up_again(world: World, _: Any) -> None:
    world.system.up()


@dataclass(frozen=True)
class Stopped:
    """A process that was stopped, and those of its kind at that moment."""

    victim: psutil.Process
    before: frozenset[int]


def stop_persist(world: World) -> Stopped:
    """SIGSTOP an actor: to the others it is dead, to itself no time passes."""
    actors = world.processes("PersistActor")
    actors[0].suspend()
    return Stopped(actors[0], frozenset(actor.pid for actor in actors))


def replaced(world: World, stopped: Stopped) -> bool:
    return any(actor.pid not in stopped.before for actor in world.processes("PersistActor"))


def wake(world: World, stopped: Stopped) -> None:
    """SIGCONT: whatever it was about to do, it does now."""
    if is_alive(stopped.victim):
        stopped.victim.resume()


def zombie_is_gone(run: Run) -> None:
    victim: psutil.Process = run.token.victim
    wait_until(lambda: not is_alive(victim), "the zombie lives on")


# --------------------------------------------------------------------------------------------------------- a search
def during_a_search(world: World, what: Callable[[World], Any]) -> str:
    """Do something while a search certainly runs: it waits for owners that stand still. Gives its id."""
    owners = world.processes("PersistActor")
    for owner in owners:
        owner.suspend()
    try:
        created = world.system.http.post("/search/v1/queries", json={"query": "*", "start": 0})
        assert created.status_code == 201, created.text
        query_id = str(created.json()["id"])
        assert world.system.http.get(f"/search/v1/queries/{query_id}").json()["state"] == "running"
        what(world)
    finally:
        for owner in owners:
            owner.resume()
    return query_id


def kill_search_replica(world: World) -> str:
    return during_a_search(world, kill("ServeReplica:search"))


def restart_redis(*, keep: bool) -> Callable[[World], str]:
    return lambda world: during_a_search(world, lambda world: world.servers.redis.restart(keep=keep))


def search_ended(*ends: int | str) -> Callable[[Run], None]:
    """Check that the search under way ended as told: by a state, or by a status other than 200."""

    def check(run: Run) -> None:
        def end() -> int | str:
            answer = run.world.system.http.get(f"/search/v1/queries/{run.token}")
            return str(answer.json()["state"]) if answer.status_code == 200 else answer.status_code

        found = wait_until(lambda: (now := end()) != "running" and now, "the search runs for ever")
        assert found in ends, found

    return check


# ---------------------------------------------------------------------------------------------------------- servers
def kill_broker(world: World) -> Any:
    broker = world.servers.kafka.brokers[0]
    world.servers.kafka.kill(broker)
    return broker


def restart_broker(world: World, broker: Any) -> None:
    world.servers.kafka.restart(broker)


def stop_broker(world: World) -> Any:
    """SIGSTOP: its connections stay open, and nothing answers on them."""
    broker = world.servers.kafka.brokers[1]
    broker.process.send_signal(signal.SIGSTOP)
    return broker


def continue_broker(_: World, broker: Any) -> None:
    broker.process.send_signal(signal.SIGCONT)


def kill_brokers(world: World) -> None:
    for broker in world.servers.kafka.brokers:
        world.servers.kafka.kill(broker)


def restart_brokers(world: World, _: Any) -> None:
    for broker in world.servers.kafka.brokers:
        world.servers.kafka.launch(broker)
    for broker in world.servers.kafka.brokers:
        world.servers.kafka.wait(broker)


def nothing_acknowledged_meanwhile(run: Run) -> None:
    """Between the death of the last broker and the first one's start there is nobody who could take an event."""
    told = run.clients.statuses(run.injected_s, run.lifted_s)
    assert not told[202], told
    assert told[503], told


def pushes_went_on(run: Run) -> None:
    """Storing is not acknowledging: while the store is away the log takes events."""
    told = run.clients.statuses(run.injected_s, run.lifted_s)
    assert told[202], told
    assert not told[503], told


def refuse_s3(world: World) -> None:
    world.servers.proxy.order("503", times=EVERY_REQUEST)


def serve_s3(world: World, _: Any) -> None:
    world.servers.proxy.forget()


def lose_commit_answers(world: World) -> None:
    world.servers.proxy.forget()
    world.servers.proxy.order("drop", times=COMMIT_ANSWERS, method="PUT", containing="/_delta_log/")


def answers_lost(world: World, _: Any) -> bool:
    seen = world.servers.proxy.requests("PUT", containing="/_delta_log/")
    return sum(request.fault == "drop" for request in seen) == COMMIT_ANSWERS


def stall_s3(world: World) -> None:
    world.servers.proxy.delay(STALL_S * 1000, STALL_S * 1000)


def speed_s3(world: World, _: Any) -> None:
    world.servers.proxy.delay(0, 0)


# ------------------------------------------------------------------------------------------------------------- rows
_PERSIST: Final = Fault("kill -9 of a persist actor", "embedded", kill("PersistActor"))
_SEARCH: Final = Fault(
    "kill -9 of the search replica during a search", "embedded", kill_search_replica, check=search_ended(404)
)
_EVERYTHING: Final = Fault("kill -9 of everything, and up again", "embedded", kill_everything, up_again)
_ZOMBIE: Final = Fault(
    "SIGSTOP of a persist actor past its replacement, SIGCONT",
    "embedded",
    stop_persist,
    wake,
    hold_s=AFTER_REPLACEMENT_S,
    until=replaced,
    check=zombie_is_gone,
)

FAULTS: Final[tuple[Fault, ...]] = (
    _PERSIST,
    _ZOMBIE,
    Fault("kill -9 of a push replica", "embedded", kill("ServeReplica:push")),
    _SEARCH,
    Fault("kill -9 of the supervisor", "embedded", kill("ray::Supervisor")),
    Fault("kill -9 of the log", "embedded", kill("LogActor")),
    Fault("kill -9 of HAProxy", "embedded", kill("bin/haproxy")),
    Fault("kill -9 of Serve's controller", "embedded", kill("ServeController")),
    Fault("single processes in random order, killed or stopped", "embedded", during=kill_and_stop_one_by_one),
    Fault("single bits of stored objects flipped", "embedded", during=flip_bits, check=told_the_truth),
    _EVERYTHING,
    *DISK_AND_CLOCK,
    replace(_PERSIST, place="cluster"),
    replace(_ZOMBIE, place="cluster"),
    replace(_SEARCH, place="cluster", check=search_ended("failed")),
    Fault("Redis killed and restarted, empty", "cluster", restart_redis(keep=False), check=search_ended(404, "failed")),
    Fault(
        "Redis killed and restarted with its data",
        "cluster",
        restart_redis(keep=True),
        check=search_ended("done", "failed"),
    ),
    Fault("S3 loses the answers of three commits", "cluster", lose_commit_answers, serve_s3, until=answers_lost),
    Fault(
        "S3 answers 503 for 20 s",
        "cluster",
        refuse_s3,
        serve_s3,
        hold_s=OUTAGE_S,
        check=pushes_went_on,
        since_healed=True,
    ),
    Fault(
        "S3 takes 10 s for each answer, for 15 s",
        "cluster",
        stall_s3,
        speed_s3,
        hold_s=1.5 * STALL_S,
        check=pushes_went_on,
        since_healed=True,
    ),
    Fault("kill -9 of one of three brokers, back after 5 s", "cluster", kill_broker, restart_broker, hold_s=5.0),
    Fault("SIGSTOP of one of three brokers for 8 s", "cluster", stop_broker, continue_broker, hold_s=8.0),
    Fault(
        "kill -9 of all brokers, back after 20 s",
        "cluster",
        kill_brokers,
        restart_brokers,
        hold_s=OUTAGE_S,
        check=nothing_acknowledged_meanwhile,
        since_healed=True,
    ),
    replace(_EVERYTHING, place="cluster"),
)
