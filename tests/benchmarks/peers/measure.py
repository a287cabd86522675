"""Load both sides, see that they find the same, then ask and push in turns."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import orjson

from ess_ray.core.timestamps import format_timestamp
from ess_ray.generate import events
from tests.benchmarks.corpus import SEED
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.peers.questions import Question, questions
from tests.benchmarks.peers.server import NDJSON, Server, ours, victoria_logs
from tests.benchmarks.report import cpu_seconds, grid

BINARY_VARIABLE: Final = "BENCH_VICTORIA_LOGS"
"""Names the peer's binary. It is not installed by us: whoever wants the comparison builds it from its own sources."""
SPAN_US: Final = 1_800 * 1_000_000
LOAD_EVENTS: Final = 5_000
CONNECTIONS: Final = 8
BATCHES: Final = (100, 1_000, 5_000)
BODIES_EVENTS: Final = 50_000
"""Events in the bodies of a load, which are sent over and over."""


@dataclass
class Figures:
    """One side's: milliseconds of wall time and of CPU time for each round, and what was found."""

    wall_ms: list[float]
    cpu_ms: float = 0.0
    found: int = 0


def measure(folder: Path, count: int, rounds: int, push_s: float, say: Callable[[str], None]) -> str:
    """Give two tables: questions, pushes. Without the peer's binary: ours alone, and it says so."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        sides: list[Server] = [stack.enter_context(ours(folder))]
        binary, text = os.environ.get(BINARY_VARIABLE), ""
        if binary is None:
            text = f"Not compared: {BINARY_VARIABLE} names no binary of VictoriaLogs."
        else:
            sides.append(stack.enter_context(victoria_logs(binary, folder)))
        end_us = time.time_ns() // 1_000
        say(f"pushing {count:,} events to {' and '.join(side.name for side in sides)}")
        trace_id = _load(sides, count, end_us)
        asked = [_in_turns(sides, question, end_us, rounds) for question in questions(trace_id)]
        pushed = [_push(sides, batch, push_s, rounds) for batch in BATCHES]
    names = [side.name for side in sides]
    per_side = [f"{name}: {what}" for name in names for what in ("p50 ms", "CPU ms")]
    title = f"Questions over HTTP, {count:,} events, one request each"
    found = grid(title, ["question", *per_side, "ratio of wall", "rows"], asked, level=3, text=text)
    per_side = [f"{name}: {what}" for name in names for what in ("events/s", "CPU µs an event")]
    title = f"Pushing NDJSON over {CONNECTIONS} connections (ours is durable at its 202)"
    return f"## Beside another server\n\n{found}\n{grid(title, ['events a body', *per_side], pushed, level=3)}"


def _load(sides: Sequence[Server], count: int, end_us: int) -> str:
    """Push `count` events of the half hour before `end_us` to all; gives a trace id of their middle."""
    chosen, lines = "", list[bytes]()
    with httpx.Client(timeout=60, headers=NDJSON) as http:
        for made, event in enumerate(events(count, SEED, end_us, SPAN_US), 1):
            lines.append(orjson.dumps(event))
            if made >= count // 2 and not chosen:
                chosen = event.get("trace_id", "")
            if len(lines) == LOAD_EVENTS or made == count:
                for side in sides:
                    http.post(side.push_url, content=b"\n".join(lines)).raise_for_status()
                lines.clear()
    for side in sides:
        side.store()
    return chosen


def _in_turns(sides: Sequence[Server], question: Question, end_us: int, rounds: int) -> list[str]:
    """Ask each side once to warm it, then all in turn; gives a row of the table. AssertionError if they differ."""
    start, end = format_timestamp(end_us - SPAN_US), format_timestamp(end_us + 1)
    figures = [Figures([], found=side.ask(question, start, end)) for side in sides]
    if len({one.found for one in figures}) > 1:
        told = {side.name: one.found for side, one in zip(sides, figures, strict=True)}
        raise AssertionError(f"{question.what}: they find {told}")
    for _ in range(rounds):
        for side, one in zip(sides, figures, strict=True):
            before_s, began_s = cpu_seconds(side.processes()), time.perf_counter()
            side.ask(question, start, end)
            one.wall_ms.append((time.perf_counter() - began_s) * 1e3)
            one.cpu_ms += (cpu_seconds(side.processes()) - before_s) * 1e3
    return [question.what, *_cells(figures, rounds), str(figures[0].found)]


def _cells(figures: Sequence[Figures], rounds: int) -> Iterator[str]:
    walls_ms = [statistics.median(one.wall_ms) for one in figures]
    for one, wall_ms in zip(figures, walls_ms, strict=True):
        yield f"{wall_ms:.1f}"
        yield f"{one.cpu_ms / rounds:.1f}"
    yield f"{walls_ms[0] / walls_ms[1]:.2f}" if len(walls_ms) > 1 else "-"


def _push(sides: Sequence[Server], batch: int, seconds: float, rounds: int) -> list[str]:
    """Load one side after the other; gives a row of the table."""
    made = [
        orjson.dumps({name: value for name, value in event.items() if name != "timestamp"})
        for event in events(BODIES_EVENTS, SEED, 1_790_000_000_000_000)
    ]
    bodies = [b"\n".join(made[first : first + batch]) for first in range(0, BODIES_EVENTS, batch)]
    rates: list[list[float]] = [[] for _ in sides]
    costs_us: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, rate, cost_us in zip(sides, rates, costs_us, strict=True):
            before_s = cpu_seconds(side.processes())
            load = asyncio.run(run_load(side.push_url, bodies, CONNECTIONS, seconds, "application/x-ndjson"))
            pushed = _taken(load) * batch
            rate.append(pushed / load.wall_s)
            cost_us.append((cpu_seconds(side.processes()) - before_s) / pushed * 1e6)
    row = [f"{batch:,}"]
    for rate, cost_us in zip(rates, costs_us, strict=True):
        row += [f"{statistics.median(rate):,.0f}", f"{statistics.median(cost_us):.1f}"]
    return row


def _taken(load: Load) -> int:
    refused = {status: count for status, count in load.statuses.items() if status // 100 != 2}
    if refused:
        raise AssertionError(f"not everything was taken: {refused}")
    return sum(load.statuses.values())
