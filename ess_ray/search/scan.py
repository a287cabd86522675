"""Run one scan task over a store: what a Ray task, a Lambda invocation and a search in place all do.

May live here: opening objects and gathering their matches. May not: scheduling, merging tasks, any executor's library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from ess_ray.core.aggregate import Counting, Counts
from ess_ray.core.chunk import (
    FIRST_WITH_CHECKSUMS,
    FOOTERS,
    GAP_BYTES,
    ObjectCounts,
    ObjectMatches,
    ObjectReader,
    count_object,
    index_first,
    open_object,
    reading,
    scan_object,
)
from ess_ray.core.errors import EssError
from ess_ray.core.merge import EMPTY, OrderedMerge
from ess_ray.ports import ObjectEntry, ObjectStore, ScanResult, ScanTask

Read = Callable[[ObjectReader], ObjectMatches | ObjectCounts]
"""What is done with an object once it is open."""


@dataclass(frozen=True)
class _Scanned:
    """What one object gave, and what reading it cost; `reason` when it could not be read."""

    key: str
    found: ObjectMatches | ObjectCounts | None = None
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

    A task with a `grouping` counts all matching rows. In any other, as soon as `limit` rows are found, the objects that
    follow are asked only for rows that can still be among them, and those that can hold none are not opened. With
    `objects_at_once` above 1 as many are in work, each in a thread: requests of some run while the pages of others are
    scanned, and more may be read than the limit needs. Together they read ahead as much as one alone would; each holds
    a decompressed row group of its own.
    """
    objects_at_once = min(objects_at_once, len(task.entries))
    if task.grouping is None:
        run: _Run = _Rows(store, task, cancelled, objects_at_once)
    else:
        run = _Counting(store, task, task.grouping, cancelled, objects_at_once)
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


class _Run(ABC):
    """A task being carried out: what it cost so far. Not for several threads."""

    def __init__(self, store: ObjectStore, task: ScanTask, cancelled: Callable[[], bool], objects_at_once: int) -> None:
        self._store, self._query, self._cancelled = store, task.query, cancelled
        self._at_once = max(1, objects_at_once)
        self._failed: list[tuple[str, str]] = []
        self._matched = self._bytes_read = self._gets = 0
        self._hits = self._misses = 0

    @abstractmethod
    def scan_of(self, entry: ObjectEntry) -> Callable[[], _Scanned] | None:
        """Give the scan of an object by what is known by now, for any thread; None when nothing is to be done."""

    def take(self, scanned: _Scanned) -> None:
        """Add what an object gave."""
        if scanned.found is None:
            self._failed.append((scanned.key, scanned.reason))
            return
        self._matched += scanned.found.rows_matched
        self._bytes_read += scanned.bytes_read
        self._gets += scanned.gets
        self._hits += scanned.from_memory
        self._misses += not scanned.from_memory

    def result(self) -> ScanResult:
        """Give what was found, and its cost."""
        return ScanResult(
            EMPTY,
            self._matched,
            self._bytes_read,
            self._gets,
            failed=tuple(self._failed),
            footer_hits=self._hits,
            footer_misses=self._misses,
        )

    def _scan(self, entry: ObjectEntry, with_index: bool, read: Read) -> Callable[[], _Scanned]:
        return partial(_scan, self._store, entry, with_index, self._at_once, read)


class _Rows(_Run):
    """A task that looks for rows: what was found so far, and what is still worth asking."""

    def __init__(self, store: ObjectStore, task: ScanTask, cancelled: Callable[[], bool], objects_at_once: int) -> None:
        super().__init__(store, task, cancelled, objects_at_once)
        self._merge = OrderedMerge(task.query.order, task.query.limit)
        self._repeats = 0
        self._probe = task.probe
        self._with_index = index_first(task.query, task.probe)

    def scan_of(self, entry: ObjectEntry) -> Callable[[], _Scanned] | None:
        query = self._query.bounded(self._merge.bound_us)
        if self._cancelled() or not query.overlaps(entry.min_us, entry.max_us):
            return None
        read = partial(scan_object, query=query, cancelled=self._cancelled, probe=self._probe)
        return self._scan(entry, self._with_index, read)

    def take(self, scanned: _Scanned) -> None:
        super().take(scanned)
        if isinstance(scanned.found, ObjectMatches):
            self._repeats += scanned.found.duplicates_suppressed
            self._merge.add(scanned.found.rows)

    def result(self) -> ScanResult:
        rows = self._merge.release(None)
        repeats = self._repeats + self._merge.duplicates_suppressed
        return replace(super().result(), rows=rows, duplicates_suppressed=repeats)


class _Counting(_Run):
    """A task that counts: the sum so far."""

    def __init__(
        self,
        store: ObjectStore,
        task: ScanTask,
        counting: Counting,
        cancelled: Callable[[], bool],
        objects_at_once: int,
    ) -> None:
        super().__init__(store, task, cancelled, objects_at_once)
        self._counting = counting
        self._counts = Counts(counting)
        self._with_index = index_first(task.query)

    def scan_of(self, entry: ObjectEntry) -> Callable[[], _Scanned] | None:
        if self._cancelled() or self._counts.too_many_starts or not self._query.overlaps(entry.min_us, entry.max_us):
            return None
        read = partial(count_object, query=self._query, counting=self._counting, cancelled=self._cancelled)
        return self._scan(entry, self._with_index, read)

    def take(self, scanned: _Scanned) -> None:
        super().take(scanned)
        if isinstance(scanned.found, ObjectCounts):
            self._counts.add(scanned.found.counts)

    def result(self) -> ScanResult:
        return replace(super().result(), counts=self._counts.table())


def _scan(store: ObjectStore, entry: ObjectEntry, with_index: bool, at_once: int, read: Read) -> _Scanned:
    gap_bytes = getattr(store, "coalesce_bytes", GAP_BYTES)  # a store that wraps another need not say it
    try:
        with reading(entry.key):
            reader = open_object(store, entry.key, entry.size, FOOTERS, gap_bytes, with_index)
            from_memory = reader.gets == 0
            reader.sharers = at_once
            found = read(reader)
            _check_unsummed(reader, found)
    except (EssError, OSError) as error:
        return _Scanned(entry.key, reason=str(error))
    return _Scanned(entry.key, found, reader.bytes_read, reader.gets, from_memory)


def _check_unsummed(reader: ObjectReader, found: ObjectMatches | ObjectCounts) -> None:
    """Look at what was read of an object of format 1, which has no checksums: text that is none must not leave here.

    Raises ArrowInvalid.
    """
    if reader.facts.format_version < FIRST_WITH_CHECKSUMS:
        table = found.rows if isinstance(found, ObjectMatches) else found.counts
        table.validate(full=True)
