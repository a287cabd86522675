"""Push over HTTP: the running system beside a bare Starlette handler, in turn, with the same load."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import orjson

from ess_ray.generate import events
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.report import Row, cpu_seconds
from tests.systems import System, free_port

BATCH: Final = 100
BODIES: Final = 200
CONNECTIONS: Final = 64
"""Enough requests in flight that the wait for the disk is nobody's pause; the p50 under it is a queue."""
TARGET_PER_S: Final = 100_000
BARE: Final = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def take(request):
    await request.body()
    return Response(b'{"accepted":100,"rejected":[]}', 202, media_type="application/json")
uvicorn.run(Starlette(routes=[Route("/push/v1/events", take, methods=["POST"])]),
            host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", access_log=False)
"""


def bodies(batch: int, count: int) -> list[bytes]:
    """Make request bodies from the seed, without times: they are of now, as a live system's."""
    made = [
        {k: v for k, v in e.items() if k != "timestamp"} for e in events(batch * count, 1, 1_790_000_000_000_000, 1)
    ]
    return [orjson.dumps(made[i * batch : (i + 1) * batch]) for i in range(count)]


@contextmanager
def bare_server() -> Iterator[str]:
    """A handler that reads the body and does nothing: what HTTP alone costs here."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/push/v1/events"
    with subprocess.Popen([sys.executable, "-c", BARE, str(port)]) as server:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    httpx.post(url, content=b"[]")
                    break
                except httpx.TransportError:
                    if time.monotonic() > deadline:
                        raise
            yield url
        finally:
            server.terminate()


def measure(directory: Path, seconds: float, rounds: int) -> list[Row]:
    """Run the sides in turn; gives medians."""
    system = System(directory / "push")
    system.up()
    try:
        with bare_server() as bare_url:
            ours_url = f"{system.url}/push/v1/events"
            many, one = bodies(BATCH, BODIES), bodies(1, BODIES)
            asyncio.run(run_load(ours_url, many, CONNECTIONS, 3.0))  # warm
            ours, bare, alone, alone_bare, used = [], [], [], [], []
            for _ in range(rounds):
                before = cpu_seconds(system.processes())
                ours.append(asyncio.run(run_load(ours_url, many, CONNECTIONS, seconds)))
                used.append(cpu_seconds(system.processes()) - before)
                bare.append(asyncio.run(run_load(bare_url, many, CONNECTIONS, seconds)))
                alone.append(asyncio.run(run_load(ours_url, one, 1, min(seconds, 3.0))))
                alone_bare.append(asyncio.run(run_load(bare_url, one, 1, min(seconds, 3.0))))
            system.ess("flush")
    finally:
        system.down()
    for load in ours:
        assert set(load.statuses) == {202}, f"not everything was acknowledged: {load.statuses}"
    rate, bare_rate = _rate(ours), _rate(bare)
    return [
        Row(
            "push, 100-event batches, durable ack, persisting",
            f"{rate:,.0f} events/s",
            f"embedded; to reach: {TARGET_PER_S:,}",
        ),
        Row("  the load generator's CPU in it", f"{_cpu(ours):.2f} cores", ""),
        Row(
            "  the system's CPU in it",
            f"{statistics.median(u / o.wall_s for u, o in zip(used, ours, strict=True)):.2f} cores",
            "",
        ),
        Row("  a bare Starlette handler, same load", f"{bare_rate:,.0f} events/s", f"ratio {rate / bare_rate:.2f}"),
        Row(
            "one event alone, p50", f"{_p50(alone):.2f} ms", f"bare handler {_p50(alone_bare):.2f} ms; to reach: 10 ms"
        ),
    ]


def _rate(loads: list[Load]) -> float:
    return statistics.median(load.requests_per_s for load in loads) * BATCH


def _cpu(loads: list[Load]) -> float:
    return statistics.median(load.cpu_s / load.wall_s for load in loads)


def _p50(loads: list[Load]) -> float:
    return statistics.median(load.p50_ms for load in loads)
