"""A search over a bucket: requests and bytes, counted between a process that has just begun and a real S3 server.

The corpus is flushed and compacted as always, then copied into the bucket as `ess copy` does. Each question is asked by
a process of its own, so that nothing is known of any object.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from ess_ray.ports import ObjectEntry
from ess_ray.table.transfer import copy_table
from tests.benchmarks import corpus
from tests.benchmarks.report import Row
from tests.benchmarks.rivals.ours import Ours, answer, searcher_over
from tests.benchmarks.rivals.shapes import Shape, oracle, shapes
from tests.proxy import Proxy, Seen, http_proxy
from tests.servers import ADMIN, s3_server

ASKED: Final = ("trace", "substring", "nowhere", "common", "scan")
TARGETS: Final = {
    "nowhere": "1 request for an object that its index rules out",
    "common": "at most 1 % of the bytes",
    "scan": "at most 3 requests for an object that is scanned",
}
"""Requests and bytes that a question may take at the most; printed beside what was measured."""
FAR_MS: Final = 30.0
"""What a request to S3 takes until its first byte."""


@dataclass(frozen=True)
class Asked:
    """One question's cost: by object the ranges read, requests for the table, seconds near and far."""

    ranges: dict[str, list[int]]
    table_requests: int
    near_s: float
    far_s: float


def measure(folder: Path, count: int, rounds: int) -> list[Row]:
    """Store `count` events in a bucket and ask each question `rounds` times; medians of the wall times."""
    made = corpus.make(folder / "corpus", count)
    local = folder / "table"
    ours = Ours(local, "zstd")
    ours.load(made)
    ours.close()
    server_folder = folder / "s3"
    server_folder.mkdir()
    with s3_server(server_folder) as server, http_proxy(server.port) as proxy:
        bucket = S3Location("bench", "", server.endpoint, access_key=ADMIN.access_key, secret_key=ADMIN.secret_key)
        make_bucket(bucket)
        catalog = DeltaCatalog(bucket)
        copy_table(DeltaCatalog(local), LocalObjectStore(local), catalog, bucket.open(), name="bench")
        entries = catalog.snapshot().objects(None, None, None)
        rows = [_stored(entries)]
        through = replace(bucket, endpoint=proxy.endpoint)
        for shape in shapes(made):
            if shape.name in ASKED:
                rows.append(_row(shape, entries, _asked(through, proxy, shape, oracle(made, shape), entries, rounds)))
        return rows


def _asked(
    bucket: S3Location, proxy: Proxy, shape: Shape, truth: list[int], entries: Sequence[ObjectEntry], rounds: int
) -> Asked:
    walls_s: dict[float, list[float]] = {0.0: [], FAR_MS: []}
    for delay_ms in (FAR_MS, 0.0):
        proxy.delay(delay_ms, delay_ms)
        for _ in range(rounds):
            proxy.forget()
            with ProcessPoolExecutor(1, get_context("spawn")) as beginner:
                times_us, wall_s = beginner.submit(_ask, bucket, shape).result()
            if times_us != truth:
                raise AssertionError(f"{shape.name}: a wrong answer of {len(times_us)} rows")
            walls_s[delay_ms].append(wall_s)
    sizes = {f"/{bucket.bucket}/{entry.key}": entry.size for entry in entries}
    ranges: dict[str, list[int]] = {path: [] for path in sizes}
    table_requests = 0
    for seen in proxy.requests():
        path = seen.path.partition("?")[0]
        if path in sizes:
            ranges[path].append(length_of(seen, sizes[path]))
        else:
            table_requests += 1
    return Asked(ranges, table_requests, statistics.median(walls_s[0.0]), statistics.median(walls_s[FAR_MS]))


def length_of(seen: Seen, size: int) -> int:
    """Tell how many bytes a request asked for: `bytes=FIRST-LAST`, `bytes=-LAST_N`, or the whole."""
    if seen.method != "GET":
        return 0
    first, _, last = seen.range.removeprefix("bytes=").partition("-")
    if not first:
        return min(int(last), size) if last else size
    return min(int(last), size - 1) - int(first) + 1


def _ask(bucket: S3Location, shape: Shape) -> tuple[list[int], float]:
    """Run in a process that has just begun: its clock starts when the table is open."""
    store = bucket.open()
    results = MemoryResultStore(lambda: time.time_ns() // 1000)
    searcher = searcher_over(DeltaCatalog(bucket), store, results)
    began_s = time.perf_counter()
    times_us = asyncio.run(answer(searcher, results, shape))
    return times_us, time.perf_counter() - began_s


def _stored(entries: Sequence[ObjectEntry]) -> Row:
    sizes = sorted(entry.size / 1e6 for entry in entries)
    events = sum(entry.rows for entry in entries)
    return Row("objects", f"{len(sizes)}", f"{events:,} events, {sizes[0]:.1f} to {sizes[-1]:.1f} MB, zstd")


def _row(shape: Shape, entries: Sequence[ObjectEntry], asked: Asked) -> Row:
    by_count: dict[int, int] = defaultdict(int)
    for lengths in asked.ranges.values():
        by_count[len(lengths)] += 1
    requests = ", ".join(f"{n} for {objects}" for n, objects in sorted(by_count.items()))
    read, stored = sum(map(sum, asked.ranges.values())), sum(entry.size for entry in entries)
    notes = [f"{read / 1e6:.2f} MB, {asked.table_requests} requests for the table"]
    notes += [f"{asked.near_s * 1e3:.0f} ms, {asked.far_s * 1e3:.0f} ms when each request takes {FAR_MS:g} ms more"]
    notes += [f"target: {TARGETS[shape.name]}"] if shape.name in TARGETS else []
    return Row(shape.what, f"requests: {requests} objects; {read / stored:.2%} of the bytes", "; ".join(notes))
