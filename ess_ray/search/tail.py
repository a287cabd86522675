"""A live tail: what was appended to the log since the last look and matches, each event once, by offsets alone.

A tail stands at one offset of every virtual node, and a look moves it on to where the log ended a moment ago: by the
owners' views where they still hold everything from there on, else by objects (see `Tail.look`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.aside import aside
from ess_ray.core.chunk import FOOTERS, open_object
from ess_ray.core.collect import ROWS
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.core.merge import EMPTY, top
from ess_ray.core.query import MAX_LIMIT, And, Compare, Equals, Field, Node, Or, Query
from ess_ray.damage import MAX_NAMED, reading_from
from ess_ray.ports import (
    Catalog,
    EventLog,
    InFlight,
    ObjectEntry,
    ObjectStore,
    ScanExecutor,
    ScanTask,
    Snapshot,
    View,
    VnodeRange,
)

LOOK_ROWS: Final = 5_000
"""Rows that one look shows: what more matched is skipped, and counted. Nobody reads 20,000 lines a second, and a client
that was away for some seconds misses nothing."""
VIEW_TIMEOUT_S: Final = 1.0
"""How long a look waits for owners to have read the log's end: what they have not read is the next look's."""
ENDS_MAX_AGE_S: Final = 0.2
"""How old the log's ends may be: a little less than the shortest pause, so that all tails of a process share them."""
UNCOVERED_S: Final = 5.0
"""How long something may be covered by nothing until it is told: a take-over takes less, and is nobody's concern."""
GIVE_UP_S: Final = 30.0
"""How long an object that cannot be read keeps what comes behind it from being shown: a store that is away for a moment
is waited for, damage stays."""
CLOCK_SLACK_US: Final = 600 * 1_000_000
"""How far clocks may be apart when objects are chosen by when they were put: what is too old for the cursor costs a
look into its footer, and is told apart by offsets."""
MAX_RESUME_US: Final = 3_600 * 1_000_000
"""The oldest cursor that a tail goes on from. Beyond, a search finds it better than one look at all objects since."""
MAX_CURSOR_CHARS: Final = 16_384
"""A cursor of 1,024 virtual nodes has less than half of it; more would not fit into a header."""
MAX_CURSOR_BYTES: Final = 65_536
"""The same, decompressed."""


# ---------------------------------------------------------------------------------------------------------- cursor
@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a tail stands: the offset of each virtual node that comes next.

    `since_us`: by the store's clock, before which nothing from these offsets on had been appended.
    """

    log_id: str
    since_us: int
    offsets: tuple[int, ...]

    def __str__(self) -> str:
        told = json.dumps([self.log_id, self.since_us, *self.offsets], separators=(",", ":"))
        return base64.urlsafe_b64encode(zlib.compress(told.encode())).rstrip(b"=").decode()


def read_cursor(text: str) -> Cursor:
    """Read a cursor as `str` wrote it. Raises BadRequest."""
    try:
        if len(text) > MAX_CURSOR_CHARS:
            raise ValueError("it is too long")
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        log_id, *numbers = json.loads(unpacking.decompress(packed, MAX_CURSOR_BYTES))
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("it is not whole")
        if not isinstance(log_id, str) or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("it holds something else")
        since_us, *offsets = numbers
    except (ValueError, TypeError, binascii.Error, zlib.error, RecursionError) as error:
        raise BadRequest("this cursor is not one of ours: send the `id` of the last event, unchanged") from error
    return Cursor(log_id, since_us, tuple(offsets))


# -------------------------------------------------------------------------------------------------- the log's ends
@dataclass(frozen=True, slots=True)
class Ends:
    """The log's ends, and the store's time before they were read."""

    log_id: str
    at_us: int
    offsets: Mapping[int, int]


class EndsReader:
    """Reads the log's ends for all tails of a process: one reading at a time, shared by all that can do with it."""

    def __init__(self, log: EventLog, store: ObjectStore, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log, self._store, self._clock_s = log, store, clock_s
        self._reading = asyncio.Lock()
        self._last: tuple[float, Ends] | None = None

    async def read(self, max_age_s: float) -> Ends:
        """Give ends that are no older than `max_age_s` now. Raises Unavailable."""
        oldest_s = self._clock_s() - max_age_s
        async with self._reading:
            if self._last is None or self._last[0] <= oldest_s:
                started_s = self._clock_s()
                at_us = await asyncio.to_thread(self._store.now_us)
                log_id = await self._log.log_id()
                self._last = started_s, Ends(log_id, at_us, await self._log.end_offsets())
            return self._last[1]


# -------------------------------------------------------------------------------------------------------- the tail
@dataclass(frozen=True)
class Parts:
    """What tails look at."""

    ends: EndsReader
    in_flight: InFlight
    catalog: Catalog
    store: ObjectStore
    executor: ScanExecutor
    clock_s: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Look:
    """What a look found: rows of EVENT_SCHEMA in the order of time, and what became of the others that match."""

    rows: pa.Table
    matched: int
    duplicates_suppressed: int

    @property
    def skipped(self) -> int:
        """Rows that match and are never shown, being too many."""
        return max(0, self.matched - self.duplicates_suppressed - len(self.rows))


@dataclass
class _Covered:
    """What a look is about to show: where each virtual node will stand, and the rows up to there."""

    steps: dict[int, int] = field(default_factory=dict)
    rows: list[pa.Table] = field(default_factory=list)
    matched: int = 0
    repeats: int = 0

    def add_views(self, views: Iterable[View]) -> None:
        """Add the rows of the virtual nodes that have a step by now."""
        wanted = pa.array(sorted(self.steps), pa.int32())
        for view in views:
            self.rows.append(view.table.filter(pc.is_in(view.table.column("vnode"), value_set=wanted)))
            self.matched += sum(rows for vnode, rows in view.matched.items() if vnode in self.steps)
            self.repeats += view.duplicates_suppressed

    def look(self) -> Look:
        rows, repeats = top(pa.concat_tables(self.rows), "oldest", LOOK_ROWS) if self.rows else (EMPTY, 0)
        return Look(rows, self.matched, self.repeats + repeats)


class Tail:
    """One tail, on one event loop. `begin` makes it."""

    def __init__(self, parts: Parts, tenant: str, query: Query, cursor: Cursor) -> None:
        self._parts, self._tenant = parts, tenant
        self._query = replace(query, limit=LOOK_ROWS, order="oldest")
        self._log_id, self._since_us = cursor.log_id, cursor.since_us
        self._at = dict(enumerate(cursor.offsets))
        self._ends: Mapping[int, int] = self._at
        self._stuck: dict[int, tuple[int, float]] = {}  # where a virtual node does not get on, and since when
        self._failed: list[str] = []
        self._failing_since_s: dict[str, float] = {}  # by object, until it can be read
        self._left_out: dict[str, str] = {}

    @classmethod
    async def begin(cls, parts: Parts, tenant: str, query: Query, cursor: Cursor | None = None) -> Tail:
        """Start at the log's end, or go on from a cursor. Raises BadRequest for one that cannot be, Unavailable."""
        ends = await parts.ends.read(ENDS_MAX_AGE_S if cursor is None else 0.0)
        if cursor is None:
            offsets = tuple(ends.offsets[vnode] for vnode in range(len(ends.offsets)))
            return cls(parts, tenant, query, Cursor(ends.log_id, ends.at_us, offsets))
        if cursor.log_id != ends.log_id:
            raise BadRequest("this cursor is of another log, which was replaced meanwhile: tail without a cursor")
        if len(cursor.offsets) != len(ends.offsets) or any(cursor.offsets[v] > end for v, end in ends.offsets.items()):
            raise BadRequest("this cursor lies beyond the log's end: send the `id` of the last event, unchanged")
        if cursor.since_us < ends.at_us - MAX_RESUME_US:
            raise BadRequest("this cursor is older than an hour: search for what was missed, and tail without a cursor")
        return cls(parts, tenant, query, cursor)

    @property
    def cursor(self) -> Cursor:
        """Where the next look begins: everything before it was given, or skipped and counted."""
        return Cursor(self._log_id, self._since_us, tuple(self._at[vnode] for vnode in range(len(self._at))))

    @property
    def lag_records(self) -> int:
        """Log records that the last look saw and did not cover."""
        return sum(max(0, end - self._at[vnode]) for vnode, end in self._ends.items())

    def incomplete(self) -> list[str]:
        """Name what has been covered by nothing for UNCOVERED_S, and the objects that were given up, from then on."""
        late_s = self._parts.clock_s() - UNCOVERED_S
        stuck = [
            f"virtual node {vnode}: offsets {at} to {self._ends[vnode]} are in the log but not readable just now; "
            "they are shown as soon as they are"
            for vnode, (at, since_s) in sorted(self._stuck.items())
            if since_s <= late_s
        ]
        return stuck + (self._failed if stuck else []) + list(self._left_out.values())[:MAX_NAMED]

    async def look(self) -> Look:
        """Give what came since the last look, and move on behind it. Interrupted or failed, it has not happened.

        The log's ends are read first. What an owner holds from where we stand on, its view covers. Where it holds less
        (a flush came first, or there is a new owner), or there is no view, a snapshot is taken after the views: objects
        cover what lies below its next offset, and the view, if any, what comes from its first offset on. Both have
        borders of their own, so no row is in two of them, and a virtual node moves only as far as is covered. Raises
        BadRequest when the log was replaced, Unavailable.
        """
        ends = await self._parts.ends.read(ENDS_MAX_AGE_S)
        if ends.log_id != self._log_id:
            raise BadRequest("the log was replaced by another one: tail without a cursor")
        self._ends = ends.offsets
        behind = {vnode: end for vnode, end in ends.offsets.items() if end > self._at[vnode]}
        covered = await self._cover(behind) if behind else _Covered()
        look = await aside(covered.look)
        self._at.update(covered.steps)
        self._note_stuck(ends.offsets)
        if all(self._at[vnode] >= end for vnode, end in ends.offsets.items()):
            self._since_us = ends.at_us
        return look

    async def _cover(self, behind: Mapping[int, int]) -> _Covered:
        since = {vnode: self._at[vnode] for vnode in behind}
        asked = (self._tenant, self._query, behind, VIEW_TIMEOUT_S)
        views = await self._parts.in_flight.views(*asked, since=since)
        ranges = {vnode: part for view in views for vnode, part in view.ranges.items() if vnode in behind}
        covered = _Covered()
        covered.steps = {vnode: part.end for vnode, part in ranges.items() if part.first <= since[vnode] <= part.end}
        late = {vnode: at for vnode, at in since.items() if vnode not in covered.steps}
        if late:
            await self._cover_late(covered, late, ranges)
        await aside(covered.add_views, views)
        return covered

    async def _cover_late(self, covered: _Covered, late: Mapping[int, int], ranges: Mapping[int, VnodeRange]) -> None:
        """Cover virtual nodes that stand below what their views hold: up to the views if there are, by objects."""
        self._failed = []
        snapshot = await asyncio.to_thread(self._parts.catalog.snapshot)
        stored = snapshot.next_offsets(self._log_id, sorted(late))
        from_objects: dict[int, VnodeRange] = {}
        steps: dict[int, int] = {}
        for vnode, at in late.items():
            stand, view = stored[vnode] or 0, ranges.get(vnode)
            if stand <= at:
                continue  # covered by nothing, for now
            joined = view is not None and at < view.first <= stand
            from_objects[vnode] = VnodeRange(at, view.first if view is not None and joined else stand)
            steps[vnode] = view.end if view is not None and joined else stand
        if not from_objects:
            return
        found = await self._stored(snapshot, from_objects)
        if found is not None:
            covered.steps.update(steps)
            covered.rows += found.rows
            covered.matched += found.matched
            covered.repeats += found.repeats

    def _note_stuck(self, ends: Mapping[int, int]) -> None:
        """Remember since when each virtual node that is behind has stood where it stands."""
        now_s, before = self._parts.clock_s(), self._stuck
        stuck = {vnode: self._at[vnode] for vnode, end in ends.items() if end > self._at[vnode]}
        self._stuck = {
            vnode: before[vnode] if before.get(vnode, (-1, 0.0))[0] == at else (at, now_s)
            for vnode, at in stuck.items()
        }

    # --------------------------------------------------------------------------------------------- what is stored
    async def _stored(self, snapshot: Snapshot, ranges: Mapping[int, VnodeRange]) -> _Covered | None:
        """Find matching rows of some offset ranges in a snapshot's objects.

        None while one that cannot be read is waited for; after GIVE_UP_S it is left out, and named.
        """
        entries = await asyncio.to_thread(self._holding, snapshot, ranges)
        query = replace(self._query, root=And((self._query.root, _within(self._log_id, ranges))), limit=MAX_LIMIT)
        fold, failed = ROWS.fold(self._query), dict[str, str]()
        tasks = [ScanTask(self._tenant, query, (entry,), ROWS) for entry in entries]
        async with contextlib.aclosing(self._parts.executor.run(tasks)) as results:
            async for _, result in results:
                failed |= result.failed
                await aside(fold.add, result.partial)
        found = await aside(fold.partial)
        if self._waits_for(failed):
            return None
        return _Covered({}, [found.table], found.rows_matched, found.duplicates_suppressed)

    def _waits_for(self, failed: Mapping[str, str]) -> bool:
        """Take note of objects that cannot be read, and why; tells whether to wait for one of them."""
        now_s = self._parts.clock_s()
        self._failing_since_s = {key: self._failing_since_s.get(key, now_s) for key in failed}
        self._failed = [f"object {key} could not be read: {reason}" for key, reason in failed.items()]
        if any(now_s - since_s < GIVE_UP_S for since_s in self._failing_since_s.values()):
            return True
        self._left_out |= {
            key: f"object {key} could not be read, and what it holds is left out here: {reason}"
            for key, reason in failed.items()
        }
        return False

    def _holding(self, snapshot: Snapshot, ranges: Mapping[int, VnodeRange]) -> list[ObjectEntry]:
        """Choose the objects that may hold rows of these ranges: those put since, and of these by their footers."""
        chosen = snapshot.select(self._tenant, self._query.start_us, self._query.end_us)
        entries = chosen.entries(np.flatnonzero(chosen.modified_us >= self._since_us - CLOCK_SLACK_US))
        return [entry for entry in entries if _holds(self._parts.store, entry, self._log_id, ranges)]


def _holds(store: ObjectStore, entry: ObjectEntry, log_id: str, ranges: Mapping[int, VnodeRange]) -> bool:
    try:
        with reading_from(store, entry.key):
            facts = open_object(store, entry.key, entry.size, footers=FOOTERS).facts
    except EssError:
        return True  # whoever scans it, says what is wrong
    return any(
        part.log_id == log_id and part.first < ranges[part.vnode].end and ranges[part.vnode].first < part.end
        for part in facts.ranges
        if part.vnode in ranges
    )


def _within(log_id: str, ranges: Mapping[int, VnodeRange]) -> Node:
    """Make the condition that a row lies in one of these offset ranges."""
    vnode, offset = Field("vnode"), Field("offset")
    parts: Sequence[Node] = [
        And(
            (
                Compare(vnode, ">=", number),
                Compare(vnode, "<=", number),
                Compare(offset, ">=", part.first),
                Compare(offset, "<", part.end),
            )
        )
        for number, part in ranges.items()
    ]
    return And((Equals(Field("log_id"), log_id, ignore_case=False), Or(tuple(parts))))
