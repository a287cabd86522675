"""Run one scan task over a store: what a Ray task, a Lambda invocation and a search in place all do.

May live here: opening objects and gathering their matches. May not: scheduling, merging tasks, any executor's library.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ess_ray.core.chunk import FOOTERS, GAP_BYTES, ObjectMatches, index_first, open_object, scan_object
from ess_ray.core.errors import EssError
from ess_ray.core.merge import OrderedMerge
from ess_ray.core.query import Query
from ess_ray.ports import ObjectEntry, ObjectStore, ScanResult, ScanTask


@dataclass(frozen=True)
class _Scanned:
    """What one object gave, and what reading it cost; `reason` when it could not be read."""

    key: str
    matches: ObjectMatches | None = None
    bytes_read: int = 0
    gets: int = 0
    from_memory: bool = False
    """Whether its footer was known."""
    reason: str = ""


def run_task(
    store: ObjectStore,
    task: ScanTask,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    objects_at_once: int = 1,
) -> ScanResult:
    """Scan a task's objects in their order; one that cannot be read is named in `failed`, never left out.

    As soon as `limit` rows are found, the objects that follow are asked only for rows that can still be among them,
    and those that can hold none are not opened. With `objects_at_once` above 1 as many are in work, each in a thread:
    requests of some run while the pages of others are scanned, and more may be read than the limit needs. Together they
    read ahead as much as one alone would; each holds a decompressed row group of its own.
    """
    objects_at_once = min(objects_at_once, len(task.entries))
    run = _Run(store, task, cancelled, objects_at_once)
    if objects_at_once <= 1:
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
    """A task being carried out: what was found so far, and what is still worth asking. Not for several threads."""

    def __init__(self, store: ObjectStore, task: ScanTask, cancelled: Callable[[], bool], objects_at_once: int) -> None:
        self._store, self._query, self._cancelled = store, task.query, cancelled
        self._at_once = max(1, objects_at_once)
        self._merge = OrderedMerge(task.query.order, task.query.limit)
        self._failed: list[tuple[str, str]] = []
        self._matched = self._bytes_read = self._gets = self._repeats = 0
        self._hits = self._misses = 0
        self._probe = task.probe
        self._with_index = index_first(task.query, task.probe)

    def scan_of(self, entry: ObjectEntry) -> Callable[[], _Scanned] | None:
        """Give the scan of an object by what is known by now, for any thread; None when nothing is to be done."""
        query = self._query.bounded(self._merge.bound_us)
        if self._cancelled() or not query.overlaps(entry.min_us, entry.max_us):
            return None
        how = (self._with_index, self._probe, self._cancelled, self._at_once)
        return partial(_scan, self._store, entry, query, *how)

    def take(self, scanned: _Scanned) -> None:
        """Add what an object gave."""
        if scanned.matches is None:
            self._failed.append((scanned.key, scanned.reason))
            return
        self._matched += scanned.matches.rows_matched
        self._repeats += scanned.matches.duplicates_suppressed
        self._bytes_read += scanned.bytes_read
        self._gets += scanned.gets
        self._hits += scanned.from_memory
        self._misses += not scanned.from_memory
        self._merge.add(scanned.matches.rows)

    def result(self) -> ScanResult:
        rows = self._merge.release(None)
        repeats = self._repeats + self._merge.duplicates_suppressed
        failed = tuple(self._failed)
        return ScanResult(rows, self._matched, self._bytes_read, self._gets, repeats, failed, self._hits, self._misses)


def _scan(
    store: ObjectStore,
    entry: ObjectEntry,
    query: Query,
    with_index: bool,
    probe: bool,
    cancelled: Callable[[], bool],
    at_once: int,
) -> _Scanned:
    gap_bytes = getattr(store, "coalesce_bytes", GAP_BYTES)  # a store that wraps another need not say it
    try:
        reader = open_object(store, entry.key, entry.size, FOOTERS, gap_bytes, with_index)
        from_memory = reader.gets == 0
        reader.sharers = at_once
        matches = scan_object(reader, query, cancelled, probe)
    except (EssError, OSError) as error:
        return _Scanned(entry.key, reason=str(error))
    return _Scanned(entry.key, matches, reader.bytes_read, reader.gets, from_memory)
