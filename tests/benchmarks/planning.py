"""Planning a query over very many objects: from a catalog on disk to the first task, without scanning anything.

The entries are made up and committed to a real Delta table; the Searcher plans as it always does, and the executor only
notes when its first task comes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import object_key
from ess_ray.core.collect import Partial
from ess_ray.core.errors import EssError
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import Query
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.core.timestamps import partition_of
from ess_ray.language import parse
from ess_ray.limits import SearchLimits
from ess_ray.ports import Advance, ObjectEntry, ScanResult, ScanTask, vnode_advances
from ess_ray.search.run import Searcher
from ess_ray.testing import MemoryLog, NoOwners
from tests.benchmarks.corpus import END_US, HOUR_US, LOG_ID
from tests.benchmarks.report import Row

SPAN_HOURS: Final = 30 * 24
OBJECT_BYTES: Final = 32 * 1024 * 1024
COMMIT_ENTRIES: Final = 10_000
TARGET_MS: Final = 300
PLANNED: Final = "planned, and that was all that was asked"
QUERIES: Final = (
    ("all of 30 days, newest first", None, None),
    ("a day of them", END_US - 24 * HOUR_US, END_US),
    ("the newest hour", END_US - HOUR_US, None),
)


class _FirstTask:
    """ScanExecutor that notes when the first task is there, and refuses to run it."""

    def __init__(self) -> None:
        self.at_s = 0.0
        self.task: ScanTask | None = None

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for index, task in enumerate(tasks):
            self.at_s, self.task = time.perf_counter(), task
            if task.entries:
                raise EssError(PLANNED)
            yield index, ScanResult(Partial(EMPTY))


def _entries(count: int) -> Iterator[ObjectEntry]:
    """Make up objects of one tenant, evenly over the hours, oldest first."""
    step_us = SPAN_HOURS * HOUR_US // count
    for number in range(count):
        low_us = END_US - SPAN_HOURS * HOUR_US + number * step_us
        high_us = min(low_us + step_us, low_us - low_us % HOUR_US + HOUR_US) - 1
        date, hour = partition_of(low_us)
        key = object_key(
            DEFAULT_TENANT, low_us, high_us, uuid_hex=UUID(int=number).hex, footer_bytes=60_000, index_bytes=900_000
        )
        yield ObjectEntry(key, OBJECT_BYTES, DEFAULT_TENANT, date, hour, 800_000, low_us, high_us, high_us)


def _commit(folder: Path, count: int) -> None:
    catalog, entries = DeltaCatalog(folder), list(_entries(count))
    writer = catalog.writer()
    for first in range(0, count, COMMIT_ENTRIES):
        part = entries[first : first + COMMIT_ENTRIES]
        writer.commit(part, [], vnode_advances(LOG_ID, {0: Advance(first, first + len(part))}))
    catalog.checkpoint(1)


class _Planner:
    def __init__(self, folder: Path) -> None:
        self._store = LocalObjectStore(folder)
        self._results = MemoryResultStore(self._store.now_us)

    async def plan_s(self, catalog: Callable[[], DeltaCatalog], start_us: int | None, end_us: int | None) -> float:
        """Take the catalog and search until the first task is planned; gives the seconds for both."""
        first = _FirstTask()
        began_s = time.perf_counter()
        searcher = Searcher(
            MemoryLog(8),
            catalog(),
            self._store,
            NoOwners(),
            executor=first,
            results=self._results,
            limits=SearchLimits(),
        )
        query_id = await searcher.start(DEFAULT_TENANT, Query(parse("timeout"), start_us, end_us))
        await searcher.wait(DEFAULT_TENANT, query_id, 600)
        state = await self._results.state(DEFAULT_TENANT, query_id)
        if first.task is None or state.incomplete != (PLANNED,):
            raise AssertionError(f"no task was planned: {state}")
        return first.at_s - began_s


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Commit `count` entries (more than SPAN_HOURS) once, then open and plan `rounds` times; gives medians."""
    began_s = time.perf_counter()
    _commit(directory, count)
    committed_s = time.perf_counter() - began_s
    return asyncio.run(_measure(directory, count, rounds, committed_s))


async def _measure(directory: Path, count: int, rounds: int, committed_s: float) -> list[Row]:
    planner, rows = _Planner(directory), []
    what, *window = QUERIES[0]
    cold = [await planner.plan_s(lambda: DeltaCatalog(directory), *window) for _ in range(rounds)]
    note = f"{count:,} objects; to be reached warm: {TARGET_MS} ms"
    rows.append(Row(f"cold: open the catalog and plan {what}", _ms(cold), note))
    catalog = DeltaCatalog(directory)
    catalog.snapshot()
    for what, *window in QUERIES:
        warm = [await planner.plan_s(lambda: catalog, *window) for _ in range(rounds)]
        reached = "reached" if statistics.median(warm) * 1e3 <= TARGET_MS else "not reached"
        rows.append(Row(f"warm: plan {what}", _ms(warm), reached))
    per_entry_us = committed_s / count * 1e6
    rows.append(
        Row("  committing them", f"{committed_s:.1f} s", f"{per_entry_us:.0f} µs an entry, a checkpoint included")
    )
    return rows


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} ms"
