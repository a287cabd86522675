"""The same scan-bound search with one scan task at a time and with two, on a Ray of two CPUs, workers warm.

A whole search is measured, from its start until its answer says done: cut, plan, Ray tasks, merge. The objects lie in
files and are read from the page cache. Beside it: the same objects in one and in two plain processes, without Ray:
what the machine has to give.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.places import Places
from ess_ray.core.chunk import encode_object
from ess_ray.core.event import EVENT_SCHEMA, IDENTITY_FIELDS
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.generate import events
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits
from ess_ray.language import parse
from ess_ray.ports import Advance, ScanTask, vnode_advances
from ess_ray.runtime.ray_executor import RayScanExecutor
from ess_ray.runtime.wiring import System
from ess_ray.search.plan import make_plan
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryLog, NoOwners
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


def table(count: int, seed: int) -> pa.Table:
    """Give events as they stand in an object."""
    made = [orjson.dumps(event) for event in events(count, seed, END_US)]
    batches = []
    for first in range(0, count, BATCH_EVENTS):
        body = b"\n".join(made[first : first + BATCH_EVENTS])
        decoded = decode_events(Body(body, "application/x-ndjson"), END_US, IntakeLimits()).batch
        rows = decoded.num_rows
        identity = [["benchmark"] * rows, [0] * rows, [first] * rows, range(rows)]
        arrays = [pa.array(column, f.type) for column, f in zip(identity, IDENTITY_FIELDS, strict=True)]
        batches.append(pa.RecordBatch.from_arrays([*decoded.columns, *arrays], schema=EVENT_SCHEMA))
    return pa.Table.from_batches(batches)


def stored(system: System, count: int) -> tuple[int, int]:
    """Write and commit the objects, COPIES of each; gives their bytes and rows."""
    store, entries = system.store(), []
    for seed in range(max(1, count // OBJECT_EVENTS)):
        encoded = encode_object(table(min(count, OBJECT_EVENTS), SEED + seed), ())
        for _ in range(COPIES):
            entry = entry_of(Sealed("default", encoded), END_US)
            store.put(entry.key, encoded.data)
            entries.append(entry)
    system.catalog().writer().commit(entries, [], vnode_advances("benchmark", {0: Advance(0, count)}))
    return sum(entry.size for entry in entries), sum(entry.rows for entry in entries)


def _scan_share(system: System, query: Query, share: int, shares: int) -> None:
    """Run a share of the search's objects in this process."""
    plan = make_plan("default", query, system.catalog().snapshot())
    run_task(system.store(), ScanTask("default", query, plan.entries(0, len(plan))[share::shares]))


@dataclass
class _Measured:
    """Seconds of one query's rounds, by how it ran; and the rows that it found."""

    search: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    """By the number of scan tasks at a time."""
    plain: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    """By the number of processes, without Ray."""
    matched: int = 0

    def row(self, what: str, size: int) -> Row:
        one_s, two_s, plain_one_s, plain_two_s = (
            statistics.median(took[1:]) for took in (*self.search.values(), *self.plain.values())
        )
        note = (
            f"1 task {one_s * 1e3:.0f} ms, 2 tasks {two_s * 1e3:.0f} ms; plain processes "
            f"{plain_one_s / plain_two_s:.2f}x: {plain_one_s * 1e3:.0f}, {plain_two_s * 1e3:.0f} ms; "
            f"{self.matched:,} rows, {size / 1e6:.0f} MB stored"
        )
        return Row(what, f"{one_s / two_s:.2f}x", note)


async def _measure(system: System, query: Query, rounds: int, pool: ProcessPoolExecutor) -> _Measured:
    """Search with one and with two tasks at a time, and scan in one and in two plain processes, all by turns.

    By turns, since whatever else the machine does then meets them all. The first round warms the workers.
    """
    measured, results = _Measured(), MemoryResultStore(lambda: time.time_ns() // 1000)
    limits, loop = replace(system.search, in_place_bytes=0), asyncio.get_running_loop()
    # Made once, as a search replica does: Ray ships the code of a new one to the workers first.
    executors = {count: RayScanExecutor(replace(system, scan_parallelism=count)) for count in (1, 2)}
    catalog, store = system.catalog(), system.store()
    for _ in range(rounds + 1):
        for count, executor in executors.items():
            searcher = Searcher(
                MemoryLog(1), catalog, store, NoOwners(), executor=executor, results=results, limits=limits
            )
            began_s = time.perf_counter()
            query_id = await searcher.start("default", query)
            await searcher.wait("default", query_id, SEARCH_TIMEOUT_S)
            measured.search[count].append(time.perf_counter() - began_s)
            state = await results.state("default", query_id)
            assert state.complete, state
            measured.matched = int(state.progress["rows_matched"] or 0)
            began_s = time.perf_counter()
            shares = (loop.run_in_executor(pool, _scan_share, system, query, share, count) for share in range(count))
            await asyncio.gather(*shares)
            measured.plain[count].append(time.perf_counter() - began_s)
    return measured


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Store `count` events COPIES times, then search with one and with two scan tasks at a time; gives medians."""
    system = System(Places(directory), "benchmark")
    size, _ = stored(system, count)
    with local_ray(2), ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        return [
            asyncio.run(_measure(system, Query(parse(text), limit=MAX_LIMIT), rounds, pool)).row(what, size)
            for what, text in QUERIES
        ]
