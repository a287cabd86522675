"""The stored table checked against itself and against the log: everything wrong is found by name, nothing is changed.

One pass over the objects of the table, by partition: each is there, is what its name, footer and statistics say, and
shares no row with another. Offset ranges of live objects overlap legitimately (one flush makes an object for each
tenant and hour, all with its ranges; compaction unites the ranges of what it merges), so of objects whose ranges meet
the rows' identities are compared: within one partition always, since a row has one tenant and one time, wherever it was
written from; over partitions only where all rows are read (`doubles`).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final

import pyarrow as pa

from ess_ray.adapters.dead_letters import REASON_SUFFIX
from ess_ray.core.chunk import (
    Fault,
    FooterCache,
    OffsetRange,
    Told,
    check_rows,
    check_tail,
    doubled,
    open_object,
    parts_for,
    read_identities,
)
from ess_ray.core.errors import CorruptData, NewerFormat, NotFound
from ess_ray.damage import reading_from
from ess_ray.ports import Catalog, ObjectEntry, ObjectInfo, ObjectStore, Snapshot
from ess_ray.table.doubles import Doubles
from ess_ray.table.maintenance import GARBAGE_AGE_US, PREFIX

WORKERS: Final = 16
"""Objects looked at together: a look waits for one request to the store, 20 to 50 ms on S3."""
DEEP_WORKERS: Final = 2
"""Objects read whole together: each holds a row group and its decoder's buffers, a few hundred MB at the most."""
AHEAD: Final = 8
"""Looks begun beyond those under way, so that the pool never waits; each holds what a footer tells, some KB."""

_ADVICE: Final = {
    "missing": "restore it to the store (a version or a backup of the bucket or directory); until then searches that "
    "meet it call themselves incomplete",
    "size": "restore the object as it was written; its key is never used for other bytes",
    "format": "upgrade ess_ray; until then searches name it as failed",
    "magic": "restore the object; ess_ray itself reads it all the same",
    "footer": "restore the object; until then searches name it as failed",
    "rows": "restore the object; until then searches name it as failed",
    "content hash": "restore the object; what reads it now may give wrong events",
    "statistics": "searches by time may miss its events: restore the object or the commit that told of it",
    "partition": "other readers prune by the partition and miss its events: who wrote it? Only ess_ray may",
    "ranges": "the fence of a take-over rests on this: keep the table as it is and report this",
    "order": "searches may end too early in it: restore the object",
    "index": "searches may miss its events: restore the object",
    "beyond the catalog": "a copy that has not ended does this (run `ess copy` again), or a commit that is lost: "
    "restore the table's _delta_log",
    "doubled": "answers show these events twice: go back to the table version before the second object, or remove "
    "the one object whose rows the other holds too",
    "log end": "the log was replaced or truncated: restore it, or start with a new one",
    "log gap": "these were acknowledged and are lost: the log removed them before they were stored; see its retention",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what was checked, of what, what was found, and what to do."""

    check: str
    where: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class LogState:
    """Where a log stands, by virtual node: the first offset that it still has, and the one after its last record."""

    log_id: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]


@dataclass
class Report:
    """What was looked at and found. Sizes in bytes; `uncovered` are offsets that no live object's ranges name.

    Uncovered offsets are no fault: ranges that held nothing to store, events that retention took, and losses of the log
    that a take-over noted (docs/exactly-once.md, step 10) leave them. `orphans` are unreferenced for over a day,
    `unreferenced` for less.
    """

    version: int
    deep: bool
    objects: int = 0
    rows: int = 0
    bytes: int = 0
    rows_compared: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    unreferenced: int = 0
    dead_letters: int | None = None
    not_stored: int | None = None
    uncovered: list[tuple[str, int, int, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


Progress = Callable[[int, int], None]
"""(objects looked at, objects in all)."""


def verify(
    catalog: Catalog,
    store: ObjectStore,
    *,
    read_log: Callable[[], LogState | None] = lambda: None,
    dead_letters: ObjectStore | None = None,
    deep: bool = False,
    tenant: str | None = None,
    since_us: int | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Report:
    """Check the table. Changes nothing; safe beside a running system, whose work meanwhile is not taken for a fault.

    `deep` reads all rows; else footers and indexes are read, and the identities of rows where ranges overlap. `tenant`
    and `since_us` (event time, inclusive) narrow what is checked. Raises Unavailable, and OSError when the folder for
    temporary files cannot take the 12 bytes a row that `deep` writes there.
    """
    # In this order: an object put and committed in between is then in the snapshot, and one that is not is an orphan.
    listed = {info.key: info for info in store.list(PREFIX if tenant is None else f"{PREFIX}{tenant}/")}
    snapshot = catalog.snapshot()
    entries = sorted(snapshot.objects(tenant, since_us, None), key=lambda e: (e.tenant, e.date, e.hour, e.key))
    report = Report(snapshot.version, deep, len(entries), sum(e.rows for e in entries), sum(e.size for e in entries))
    covered: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    done = 0
    workers = DEEP_WORKERS if deep else WORKERS
    with Doubles(report.rows if deep else 0) as doubles, ThreadPoolExecutor(workers) as pool:
        check = _Check(store, snapshot, {key: info.size for key, info in listed.items()}, doubles if deep else None)
        looked = _in_order(pool, check.one, entries, workers + AHEAD)
        for _, together in groupby(zip(entries, looked, strict=True), key=lambda pair: pair[0].key.rpartition("/")[0]):
            seen = []
            for entry, look in together:
                report.problems += look.problems
                if look.ranges is not None:
                    seen.append(_Seen(entry, look.ranges))
                    for part in look.ranges:
                        _cover(covered[part.log_id, part.vnode], part.first, part.end)
                done += 1
                on_progress(done, len(entries))
            for group in _meeting(seen):
                report.rows_compared += sum(entry.rows for entry in group)
                report.problems += _doubled_in(store, group)
        for pair in doubles.pairs() if deep else ():
            apart = [entries[number] for number in pair]
            if len({(entry.tenant, entry.date, entry.hour) for entry in apart}) > 1:
                report.problems += _doubled_in(store, apart)
    if tenant is None and since_us is None:
        report.uncovered = sorted(_uncovered(covered, snapshot))
    _count_unreferenced(report, catalog, store, listed.values())
    _check_log(report, catalog, snapshot, read_log)
    if dead_letters is not None:
        report.dead_letters = sum(not info.key.endswith(REASON_SUFFIX) for info in dead_letters.list(""))
    report.problems = _still_there(report.problems, catalog, {entry.key for entry in entries})
    return report


# ------------------------------------------------------------------------------------------------------ one object
@dataclass(frozen=True)
class _Seen:
    entry: ObjectEntry
    ranges: tuple[OffsetRange, ...]


@dataclass(frozen=True)
class _Look:
    """What came of looking at one object; `ranges` None: it cannot be read at all."""

    problems: list[Problem]
    ranges: tuple[OffsetRange, ...] | None


class _Check:
    """Looks at one object after the other; safe for many threads."""

    def __init__(
        self, store: ObjectStore, snapshot: Snapshot, sizes: Mapping[str, int], doubles: Doubles | None
    ) -> None:
        """With `doubles` all rows are read."""
        self._store, self._snapshot, self._sizes, self._doubles = store, snapshot, sizes, doubles

    def one(self, number: int, entry: ObjectEntry) -> _Look:
        size = self._size(entry.key)
        if size is None:
            return _Look([_problem(Fault("missing", "the store has no such object"), entry.key)], None)
        if size != entry.size:
            fault = Fault("size", f"it has {size} bytes, the catalog says {entry.size}")
            return _Look([_problem(fault, entry.key)], None)
        faults: list[Fault] = []
        try:
            with reading_from(self._store, entry.key):
                reader = open_object(self._store, entry.key, entry.size)
                told = Told(entry.tenant, entry.date, entry.hour, entry.rows, entry.min_us, entry.max_us)
                faults += check_tail(reader, told)
                if self._doubles is not None:
                    faults += check_rows(reader, told, partial(self._doubles.add, number))
        except NotFound:
            return _Look([_problem(Fault("missing", "the store has no such object"), entry.key)], None)
        except NewerFormat as error:
            return _Look([_problem(Fault("format", error.message), entry.key)], None)
        except CorruptData as error:
            found = [*faults, Fault("footer", error.message)]
            return _Look([_problem(fault, entry.key) for fault in found], None)
        faults += self._beyond(reader.facts.ranges)
        return _Look([_problem(fault, entry.key) for fault in faults], reader.facts.ranges)

    def _size(self, key: str) -> int | None:
        size = self._sizes.get(key)
        if size is None:  # put after the listing
            info = self._store.head(key)
            size = None if info is None else info.size
        return size

    def _beyond(self, ranges: Sequence[OffsetRange]) -> list[Fault]:
        for part in ranges:
            stand = self._snapshot.next_offset(part.log_id, part.vnode)
            if stand is None or part.end > stand:
                found = f"it holds offsets up to {part.end} of virtual node {part.vnode} of log {part.log_id}"
                return [Fault("beyond the catalog", f"{found}, the catalog's next offset is {stand}")]
        return []


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[int, ObjectEntry], _Look], items: Iterable[ObjectEntry], window: int
) -> Iterator[_Look]:
    """Map numbered items in the pool, with at most `window` calls begun and not yet taken."""
    begun: deque[Future[_Look]] = deque()
    for number, item in enumerate(items):
        begun.append(pool.submit(function, number, item))
        if len(begun) >= window:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _problem(fault: Fault, where: str) -> Problem:
    return Problem(fault.check, where, fault.found, _ADVICE[fault.check])


# --------------------------------------------------------------------------------------------------- rows in common
def _meeting(seen: Sequence[_Seen]) -> Iterator[list[ObjectEntry]]:
    """Give groups of objects of one partition that may share rows: their ranges meet, and their times."""
    parent = list(range(len(seen)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    by_node: dict[tuple[str, int], list[tuple[int, int, int]]] = defaultdict(list)
    for number, one in enumerate(seen):
        for part in one.ranges:
            by_node[part.log_id, part.vnode].append((part.first, part.end, number))
    for spans in by_node.values():
        furthest, holder = -1, -1
        for first, end, number in sorted(spans):
            if first < furthest:
                parent[root(number)] = root(holder)
            if end > furthest:
                furthest, holder = end, number
    groups: dict[int, list[ObjectEntry]] = defaultdict(list)
    for number, one in enumerate(seen):
        groups[root(number)].append(one.entry)
    for group in groups.values():
        yield from _meeting_in_time(group)


def _meeting_in_time(group: list[ObjectEntry]) -> Iterator[list[ObjectEntry]]:
    together: list[ObjectEntry] = []
    latest_us = 0
    for entry in sorted(group, key=lambda entry: entry.min_us):
        if together and entry.min_us > latest_us:
            if len(together) > 1:
                yield together
            together = []
        latest_us = max(latest_us, entry.max_us) if together else entry.max_us
        together.append(entry)
    if len(together) > 1:
        yield together


def _doubled_in(store: ObjectStore, group: Sequence[ObjectEntry]) -> Iterator[Problem]:
    """Compare the identities of some objects' rows, as many at a time as can be held; without those that have none."""
    parts = parts_for(sum(entry.rows for entry in group))
    counts: dict[tuple[int, int], int] = defaultdict(int)
    examples: dict[tuple[int, int], tuple[str, int, int, int]] = {}
    unreadable: dict[int, str] = {}

    def identities(number: int, entry: ObjectEntry, part: int) -> pa.Table | None:
        try:
            with reading_from(store, entry.key):
                return read_identities(open_object(store, entry.key, entry.size, footers=footers), part, parts)
        except (NotFound, CorruptData, NewerFormat) as error:
            unreadable[number] = error.message
            return None

    footers = FooterCache()
    for part in range(parts):
        tables = {
            number: table
            for number, entry in enumerate(group)
            if number not in unreadable and (table := identities(number, entry, part)) is not None
        }
        for pair, (count, example) in doubled(tables).items() if tables else ():
            counts[pair] += count
            examples.setdefault(pair, example)
    for number, why in unreadable.items():
        yield _problem(Fault("rows", f"it cannot be compared with others: {why}"), group[number].key)
    for (low, high), count in sorted(counts.items()):
        log_id, vnode, offset, row = examples[low, high]
        shown = f"(log {log_id}, virtual node {vnode}, offset {offset}, row {row})"
        other = "itself" if low == high else group[high].key
        yield _problem(Fault("doubled", f"{count} of its rows, such as {shown}, stand in {other} too"), group[low].key)


# ------------------------------------------------------------------------------------------------------- the whole
def _cover(spans: list[tuple[int, int]], first: int, end: int) -> None:
    """Add [first, end) to ascending, disjoint spans."""
    touching = [span for span in spans if span[0] <= end and first <= span[1]]
    if touching:
        first, end = min(first, touching[0][0]), max(end, touching[-1][1])
        spans[:] = [span for span in spans if span not in touching]
    spans.append((first, end))
    spans.sort()


def _uncovered(
    covered: Mapping[tuple[str, int], list[tuple[int, int]]], snapshot: Snapshot
) -> Iterator[tuple[str, int, int, int]]:
    for (log_id, vnode), spans in covered.items():
        at = spans[0][1]
        for first, end in [*spans[1:], (max(at, snapshot.next_offset(log_id, vnode) or at), at)]:
            if first > at:
                yield log_id, vnode, at, first
            at = max(at, end)


def _count_unreferenced(report: Report, catalog: Catalog, store: ObjectStore, listed: Iterable[ObjectInfo]) -> None:
    snapshot = catalog.snapshot()
    removed = {gone.key: gone.removed_us for gone in catalog.writer().removed()}
    now_us = store.now_us()
    for info in listed:
        if snapshot.holds(info.key):
            continue
        if now_us - max(info.modified_us, removed.get(info.key, 0)) > GARBAGE_AGE_US:
            report.orphans += 1
            report.orphan_bytes += info.size
        else:
            report.unreferenced += 1


def _check_log(report: Report, catalog: Catalog, before: Snapshot, read_log: Callable[[], LogState | None]) -> None:
    """Compare the log with the catalog as it was before the log was read, and as it is afterwards: both move on."""
    log = read_log()
    if log is None:
        return
    after = catalog.snapshot()
    report.not_stored = 0
    for vnode, end in sorted(log.ends.items()):
        where, start = f"log {log.log_id}, virtual node {vnode}", log.starts[vnode]
        early, late = before.next_offset(log.log_id, vnode), after.next_offset(log.log_id, vnode)
        if early is not None and early > end:
            report.problems.append(_problem(Fault("log end", f"stored up to {early}, the log ends at {end}"), where))
        if late is not None and late < start:
            report.problems.append(_problem(Fault("log gap", f"offsets {late} to {start} were never stored"), where))
        report.not_stored += max(0, end - (start if late is None else max(late, start)))


def _still_there(problems: Sequence[Problem], catalog: Catalog, checked: set[str]) -> list[Problem]:
    """Leave out problems of objects that compaction or retention took out of the table while we looked."""
    if not problems:
        return []
    snapshot = catalog.snapshot()
    return [problem for problem in problems if problem.where not in checked or snapshot.holds(problem.where)]
