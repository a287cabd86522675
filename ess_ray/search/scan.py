"""Run one scan task over a store: what a Ray task, a Lambda invocation and a search in place all do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from ess_ray.core.chunk import (
    FIRST_WITH_CHECKSUMS,
    FOOTERS,
    GAP_BYTES,
    ObjectReader,
    collect_object,
    index_first,
    open_object,
    reading,
)
from ess_ray.core.collect import Partial
from ess_ray.core.errors import EssError
from ess_ray.core.query import Query
from ess_ray.ports import Cost, ObjectEntry, ObjectStore, ScanResult, ScanTask


@dataclass(frozen=True)
class _Scanned:
    """What one object gave, and what reading it cost; `reason` when it could not be read."""

    key: str
    found: Partial | None = None
    cost: Cost = field(default_factory=Cost)
    reason: str = ""


def run_task(
    store: ObjectStore,
    task: ScanTask,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    objects_at_once: int = 1,
) -> ScanResult:
    """Scan a task's objects in their order; one that cannot be read is named in `failed`, never left out.

    What is folded so far bounds what the objects that follow are asked for: those that cannot matter any more are not
    opened. With `objects_at_once` above 1 as many are in work, each in a thread: requests of some run while the pages
    of others are scanned, and more may be read than the limit needs. Together they read ahead as much as one alone
    would; each holds a decompressed row group of its own.
    """
    objects_at_once = max(1, min(objects_at_once, len(task.entries)))
    run = _Run(store, task, cancelled, objects_at_once)
    if objects_at_once == 1:
        for entry in task.entries:
            if (scan := run.scan_of(entry)) is not None:
                run.take(scan())
        return run.result()
    ahead: deque[Future[_Scanned]] = deque()
    with ThreadPoolExecutor(objects_at_once, thread_name_prefix="scan") as pool:
        for entry in task.entries:
            while len(ahead) >= objects_at_once or (ahead and ahead[0].done()):
                run.take(ahead.popleft().result())
            if (scan := run.scan_of(entry)) is not None:
                ahead.append(pool.submit(scan))
        for scanned in ahead:
            run.take(scanned.result())
    return run.result()


class _Run:
    """A task being carried out: what was found and what it cost so far. Not for several threads."""

    def __init__(self, store: ObjectStore, task: ScanTask, cancelled: Callable[[], bool], objects_at_once: int) -> None:
        self._store, self._task, self._cancelled, self._at_once = store, task, cancelled, objects_at_once
        self._fold = task.collector.fold(task.query)
        self._with_index = index_first(task.query, task.probe)
        self._failed: list[tuple[str, str]] = []
        self._cost = Cost()

    def scan_of(self, entry: ObjectEntry) -> Callable[[], _Scanned] | None:
        """Give the scan of an object by what is known by now, for any thread; None when nothing is to be done."""
        query = self._fold.bound.narrowed(self._task.query)
        if query is None or self._cancelled() or not query.overlaps(entry.min_us, entry.max_us):
            return None
        return partial(self._scan, entry, query)

    def take(self, scanned: _Scanned) -> None:
        """Add what an object gave."""
        if scanned.found is None:
            self._failed.append((scanned.key, scanned.reason))
            return
        self._fold.add(scanned.found)
        self._cost += scanned.cost

    def result(self) -> ScanResult:
        """Give what was found, and its cost."""
        return ScanResult(self._fold.partial(), self._cost, tuple(self._failed))

    def _scan(self, entry: ObjectEntry, query: Query) -> _Scanned:
        try:
            with opened(self._store, entry, self._with_index) as reader:
                from_memory = reader.gets == 0
                reader.sharers = self._at_once
                found = collect_object(reader, query, self._task.collector, self._cancelled, self._task.probe)
                check_unsummed(reader, found.table)
        except (EssError, OSError) as error:
            return _Scanned(entry.key, reason=str(error))
        cost = Cost(reader.bytes_read, reader.gets, int(from_memory), int(not from_memory))
        return _Scanned(entry.key, found, cost)


@contextmanager
def opened(store: ObjectStore, entry: ObjectEntry, with_index: bool) -> Iterator[ObjectReader]:
    """Open an object for reading; `with_index`: its skip index comes with the footer.

    What goes wrong meanwhile is told of that object: raises EssError, OSError.
    """
    gap_bytes = getattr(store, "coalesce_bytes", GAP_BYTES)  # a store that wraps another need not say it
    with reading(entry.key):
        yield open_object(store, entry.key, entry.size, footers=FOOTERS, gap_bytes=gap_bytes, with_index=with_index)


def check_unsummed(reader: ObjectReader, rows: pa.Table) -> None:
    """Look at what was read of an object of format 1, which has no checksums: text that is none must not leave here.

    Raises ArrowInvalid.
    """
    if reader.facts.format_version < FIRST_WITH_CHECKSUMS:
        rows.validate(full=True)
