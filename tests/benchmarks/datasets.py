"""Ray Data reading a table with one read task at a time and with two, on a Ray of two CPUs; and the driver's memory.

A whole execution is measured: cut, read tasks, and a map over each block that counts its rows, so that blocks are made
and taken. Objects lie in files and are read from the page cache; workers are warm. The driver's memory is its own
resident set, sampled over all rounds, above what it was before the first one: rows never come there.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa

from ess_ray.adapters.places import Places
from ess_ray.runtime.datasets import read_events
from ess_ray.runtime.wiring import System
from tests.benchmarks.report import Row
from tests.benchmarks.workers import stored
from tests.rays import local_ray

SAMPLE_S: Final = 0.05


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Store about `count` events, then read them by turns with one and with two tasks; gives medians."""
    size, rows = stored(System(Places(directory), "benchmark"), count)
    took: dict[int, list[float]] = {1: [], 2: []}
    with local_ray(2):
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        _read(directory, 2, rows)  # warms the workers
        with _most_memory() as most:
            for _ in range(rounds):
                for workers, seconds in took.items():
                    seconds.append(_read(directory, workers, rows))
    one_s, two_s = (statistics.median(each) for each in took.values())
    speed = f"1 task {one_s:.2f} s, 2 tasks {two_s:.2f} s; {rows:,} rows, {size / 1e6:.0f} MB stored"
    return [
        Row("reading by Ray Data, two workers to one", f"{one_s / two_s:.2f}x", speed),
        Row("the driver's memory, more than before", f"{most['bytes'] / 1e6:.0f} MB", "its resident set, at most"),
    ]


def _read(directory: Path, workers: int, rows: int) -> float:
    def counted(block: pa.Table) -> pa.Table:
        return pa.table({"rows": [len(block)]})

    began_s = time.perf_counter()
    dataset = read_events(start=0, table=directory, concurrency=workers, override_num_blocks=16)
    found = sum(row["rows"] for row in dataset.map_batches(counted, batch_format="pyarrow", batch_size=None).take_all())
    assert found == rows, (found, rows)
    return time.perf_counter() - began_s


@contextmanager
def _most_memory() -> Iterator[dict[str, Any]]:
    """Sample this process' memory; gives the most of it beyond the first sample."""
    process, ended = psutil.Process(), threading.Event()
    first, most = process.memory_info().rss, {"bytes": 0}

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            most["bytes"] = max(most["bytes"], process.memory_info().rss - first)

    thread = threading.Thread(target=sample, name="memory")
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()
