"""The pool while 90 % of its load is one service's: each actor's share, what a resize moves, how long a death lasts.

A running system of four persist actors, 64 virtual nodes, two push replicas, driven through the front door.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from ess_ray.generate import events
from tests.benchmarks.load import run_load
from tests.benchmarks.report import Row
from tests.systems import System, persist_actors, wait_until

ACTORS: Final = 4
VNODES: Final = 64
BATCH: Final = 100
BODIES: Final = 100
CONNECTIONS: Final = 16
SEED: Final = 17
HOT_OF_TEN: Final = 9
"""Of ten events so many are of the one service."""
TARGET_SPREAD: Final = 1.3
TARGET_TAKE_OVER_S: Final = 5.0
TRICKLE_S: Final = 0.02
"""Pause between the pushes that go on while an actor dies: all virtual nodes hold something that is not stored."""
FIGURES: Final = (("events", "rows_stored"), ("bytes stored", "bytes_stored"))


def bodies() -> list[bytes]:
    """Make request bodies of which nine events in ten are one service's, without times: they are of now."""
    made = []
    for number, event in enumerate(events(BATCH * BODIES, SEED, 1_790_000_000_000_000, 1)):
        event.pop("timestamp")
        made.append({**event, "service": "hot"} if number % 10 < HOT_OF_TEN else event)
    return [orjson.dumps(made[at : at + BATCH]) for at in range(0, len(made), BATCH)]


def spread(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Give what the busiest did beside the mean of all, between two looks at what each had done."""
    done = [count - before.get(name, 0) for name, count in after.items()]
    return max(done) / statistics.mean(done)


def measure(directory: Path, seconds: float, rounds: int) -> list[Row]:
    """Load, resize and kill one system; gives medians, and of the shares the worst round too."""
    system = System(
        directory / "balance", ESS_PERSIST__ACTORS=str(ACTORS), ESS_LOG__VNODES=str(VNODES), ESS_PUSH__REPLICAS="2"
    )
    system.up()
    try:
        return [*_shares(system, seconds, rounds), *_moves(system), *_take_overs(system, rounds)]
    finally:
        system.down()
        system.http.close()


def _pool(system: System) -> dict[str, Any]:
    found: dict[str, Any] = system.http.get("/search/v1/pool").raise_for_status().json()
    return found


def _counts(system: System, name: str) -> dict[str, int]:
    return {actor: one.get("counts", {}).get(name, 0) for actor, one in _pool(system)["actors"].items()}


def _shares(system: System, seconds: float, rounds: int) -> list[Row]:
    sent = bodies()
    ratios: dict[str, list[float]] = {what: [] for what, _ in FIGURES}
    per_s = []
    for _ in range(rounds):
        before = {what: _counts(system, count) for what, count in FIGURES}
        load = asyncio.run(run_load(f"{system.url}/push/v1/events", sent, CONNECTIONS, seconds))
        assert set(load.statuses) == {202}, f"not everything was acknowledged: {load.statuses}"
        per_s.append(load.requests_per_s * BATCH)
        system.ess("flush")
        due = sum(before["events"].values()) + load.statuses[202] * BATCH
        # The supervisor asks its actors twice a second: what they stored last must have come by.
        wait_until(lambda due=due: sum(_counts(system, "rows_stored").values()) == due, "events are missing")
        for what, count in FIGURES:
            ratios[what].append(spread(before[what], _counts(system, count)))
    beside = f"{statistics.median(per_s):,.0f} events/s; to reach: below {TARGET_SPREAD}"
    return [
        Row(
            f"busiest of {ACTORS} actors / mean, {what}, {HOT_OF_TEN * 10} % of one service",
            f"{statistics.median(found):.3f}",
            f"worst round {max(found):.3f}; {beside}",
        )
        for what, found in ratios.items()
    ]


def _moves(system: System) -> list[Row]:
    rows = []
    for before, after in ((ACTORS, ACTORS + 1), (ACTORS + 1, ACTORS)):
        answer = system.http.post("/search/v1/pool", json={"actors": after}, timeout=130).raise_for_status().json()
        ideal = VNODES / (ACTORS + 1)
        what = f"virtual nodes moved, {before} -> {after} actors"
        rows.append(Row(what, f"{answer['moved']} of {VNODES}", f"an even share: {ideal:.1f}"))
    return rows


@contextmanager
def _trickle(system: System) -> Iterator[None]:
    """Push on and on, whatever comes back: a hot system."""
    stop, sent = threading.Event(), bodies()

    def push() -> None:
        with httpx.Client(base_url=system.url, timeout=30) as http:
            at = 0
            while not stop.wait(TRICKLE_S):
                http.post("/push/v1/events", content=sent[at % len(sent)]).raise_for_status()
                at += 1

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _take_overs(system: System, rounds: int) -> list[Row]:
    spent_s = []
    with _trickle(system):
        for number in range(rounds):
            victims = wait_until(lambda: _whole(system), "the pool is not whole")
            wait_until(lambda: _buffers(system), "an actor has nothing in its buffer")
            victims[number % ACTORS].kill()
            killed_s = time.monotonic()
            wait_until(lambda: system.try_search("service:hot", limit=1)[1]["complete"], "no complete answer came")
            spent_s.append(time.monotonic() - killed_s)
    return [
        Row(
            "kill -9 of an actor to the first complete search",
            f"{statistics.median(spent_s):.1f} s",
            f"worst {max(spent_s):.1f} s, events arriving meanwhile; to reach: {TARGET_TAKE_OVER_S:g} s",
        )
    ]


def _whole(system: System) -> list[Any]:
    """Give the actors' processes when all are there and every virtual node is owned."""
    owned = sum(len(one["vnodes"]) for one in _pool(system)["actors"].values())
    found = persist_actors(system)
    return found if owned == VNODES and len(found) == ACTORS else []


def _buffers(system: System) -> bool:
    return all(one.get("buffered_bytes", 0) for one in _pool(system)["actors"].values())
