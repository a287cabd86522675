"""Planning a search over many objects: the catalog read once, then every plan from the snapshot in memory.

A plan is what a search does between its cut and its first task: choosing, ordering, counting, and making that task.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Final

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.core.query import Order, Query
from ess_ray.ports import Advance, ObjectEntry
from ess_ray.search.plan import Tasks, make_plan
from ess_ray.search.run import SearchLimits
from tests.benchmarks.report import Row

HOUR_US: Final = 3_600_000_000
T0_US: Final = 1_780_002_000_000_000
COMMIT_OBJECTS: Final = 10_000
PER_HOUR: Final = 40
OBJECT_BYTES: Final = 5_000_000


def _entry(number: int) -> ObjectEntry:
    hour, within = divmod(number, PER_HOUR)
    min_us = T0_US + hour * HOUR_US + within * (HOUR_US // PER_HOUR)
    date, clock = time.strftime("%Y-%m-%d %H", time.gmtime(min_us / 1e6)).split()
    max_us = min_us + HOUR_US // PER_HOUR * 2 - 1
    name = f"{min_us}-{max_us}-{number:032x}-f8-x0.parquet"
    key = f"tenant=default/date={date}/hour={clock}/{name}"
    return ObjectEntry(key, OBJECT_BYTES + number % 1000, "default", date, int(clock), 200_000, min_us, max_us, min_us)


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Commit `count` objects (names and statistics alone), then plan over them `rounds` times; gives medians."""
    writer = DeltaCatalog(directory).writer()
    for first in range(0, count, COMMIT_OBJECTS):
        entries = [_entry(number) for number in range(first, min(first + COMMIT_OBJECTS, count))]
        writer.commit("log", entries, {0: Advance(first, first + len(entries))})
    catalog = DeltaCatalog(directory)
    began_s = time.perf_counter()
    catalog.snapshot()
    rows = [Row(f"open a catalog of {count:,} objects", _ms(time.perf_counter() - began_s), "once a process")]
    first_us, last_us = T0_US, T0_US + count // PER_HOUR * HOUR_US
    ranges: list[tuple[str, int | None, int | None, Order]] = [
        ("everything, newest first", None, None, "newest"),
        ("everything, oldest first", None, None, "oldest"),
        ("one day", last_us - 25 * HOUR_US, last_us - HOUR_US, "newest"),
        ("all but an hour at each end", first_us + HOUR_US, last_us - HOUR_US, "newest"),
    ]
    for what, start_us, end_us, order in ranges:
        query = Query(start_us=start_us, end_us=end_us, order=order)
        rows.append(_planned(catalog, query, what, rounds))
    return rows


def _planned(catalog: DeltaCatalog, query: Query, what: str, rounds: int) -> Row:
    took_s, all_s, tasks_made = [], [], 0
    for _ in range(max(rounds, 3)):
        began_s = time.perf_counter()
        plan = make_plan("default", query, catalog.snapshot())
        tasks = Tasks(plan, SearchLimits().task_bytes)
        next(tasks)
        took_s.append(time.perf_counter() - began_s)
        for _task in tasks:
            pass
        all_s.append(time.perf_counter() - began_s)
        tasks_made = tasks.made
    every = f"{_ms(statistics.median(all_s))} with all {tasks_made:,} tasks made, as they are asked for"
    return Row(f"plan over {len(plan):,} objects: {what}", _ms(statistics.median(took_s)), every)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
