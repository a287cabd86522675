"""The same scan-bound search with one scan task at a time and with two, on a Ray of two CPUs, workers warm.

A whole search is measured, from its start until its answer says done: cut, plan, Ray tasks, merge. The objects lie in
files and are read from the page cache. Beside it: the same tasks one after the other in this process, without Ray.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa

from ess_ray.adapters.memory import MemoryLog, MemoryResultStore
from ess_ray.core.chunk import encode_object
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.generate import events
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.intake.decode import decode_events
from ess_ray.intake.limits import IntakeLimits
from ess_ray.language import parse
from ess_ray.ports import Advance, View
from ess_ray.runtime.scan import RayScanExecutor
from ess_ray.runtime.wiring import System
from ess_ray.search.plan import Tasks, make_plan
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from tests.benchmarks.report import Row
from tests.rays import local_ray

SEED: Final = 12
END_US: Final = 1_790_000_000_000_000
BATCH_EVENTS: Final = 5_000
OBJECT_EVENTS: Final = 100_000
COPIES: Final = 8
"""Times each object is stored: enough scanning for two workers, without as much making."""
QUERIES: Final = (
    ("a regex without a literal, so that every row is tested", "/[0-9a-f]{64}/"),
    ("a regex in 1 % of the rows, up to the limit", r"/user=u-\d+77\b/"),
)
SEARCH_TIMEOUT_S: Final = 600.0


class _NoBuffers:
    """InFlight of a system in which everything is stored."""

    async def views(self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float) -> list[View]:
        return []


def _table(count: int, seed: int) -> pa.Table:
    """Give events as they stand in an object."""
    made = [orjson.dumps(event) for event in events(count, seed, END_US)]
    batches = []
    for first in range(0, count, BATCH_EVENTS):
        body = b"\n".join(made[first : first + BATCH_EVENTS])
        decoded = decode_events(body, "application/x-ndjson", END_US, IntakeLimits()).batch
        rows = decoded.num_rows
        identity = [["benchmark"] * rows, [0] * rows, [first] * rows, range(rows)]
        arrays = [pa.array(column, EVENT_SCHEMA.field(11 + i).type) for i, column in enumerate(identity)]
        batches.append(pa.RecordBatch.from_arrays([*decoded.columns, *arrays], schema=EVENT_SCHEMA))
    return pa.Table.from_batches(batches)


def _store(system: System, count: int) -> int:
    """Write and commit the objects; gives their bytes."""
    store, entries = system.store(), []
    for seed in range(max(1, count // OBJECT_EVENTS)):
        encoded = encode_object(_table(min(count, OBJECT_EVENTS), SEED + seed), ())
        for _ in range(COPIES):
            entry = entry_of(Sealed("default", encoded), END_US)
            store.put(entry.key, encoded.data)
            entries.append(entry)
    system.catalog().writer().commit("benchmark", entries, {0: Advance(0, count)})
    return sum(entry.size for entry in entries)


async def _searches_s(system: System, query: Query, rounds: int) -> tuple[list[float], int]:
    """Search with one and with two tasks at a time, by turns, after one each that warms the workers.

    Gives the median seconds of both, and the rows. By turns, since whatever else the machine does then meets both.
    """
    results = MemoryResultStore(lambda: time.time_ns() // 1000)
    limits = replace(system.search, in_place_bytes=0)
    executors = [RayScanExecutor(replace(system, scan_parallelism=workers)) for workers in (1, 2)]
    searchers = [
        Searcher(MemoryLog(1), system.catalog(), system.store(), _NoBuffers(), executor, results, limits)
        for executor in executors
    ]
    took_s: list[list[float]] = [[], []]
    matched = 0
    for _ in range(rounds + 1):
        for searcher, took in zip(searchers, took_s, strict=True):
            began_s = time.perf_counter()
            query_id = await searcher.start("default", query)
            await searcher.wait("default", query_id, SEARCH_TIMEOUT_S)
            took.append(time.perf_counter() - began_s)
            state = await results.state("default", query_id)
            assert state.complete, state
            matched = int(state.progress["rows_matched"] or 0)
    return [statistics.median(took[1:]) for took in took_s], matched


def _alone_s(system: System, query: Query, rounds: int) -> float:
    """Run the same tasks in this process."""

    def once() -> float:
        began_s = time.perf_counter()
        for task in Tasks(make_plan("default", query, system.catalog().snapshot()), system.search.task_bytes):
            run_task(system.store(), task)
        return time.perf_counter() - began_s

    return _median(once, rounds)


def _median(measured: Callable[[], float], rounds: int) -> float:
    measured()
    return statistics.median(measured() for _ in range(rounds))


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Store `count` events COPIES times, then search with one and with two scan tasks at a time; gives medians."""
    system = System(directory, "benchmark")
    size = _store(system, count)
    rows = []
    with local_ray(2):
        for what, text in QUERIES:
            query = Query(parse(text), limit=MAX_LIMIT)
            alone_s = _alone_s(system, query, rounds)
            (one_s, two_s), matched = asyncio.run(_searches_s(system, query, rounds))
            note = f"1 task {one_s * 1e3:.0f} ms, 2 tasks {two_s * 1e3:.0f} ms, without Ray {alone_s * 1e3:.0f} ms; "
            rows.append(Row(what, f"{one_s / two_s:.2f}x", f"{note}{matched:,} rows, {size / 1e6:.0f} MB stored"))
    return rows
