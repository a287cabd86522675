"""Decide what a query must read: the cut between buffers and table, and tasks cut by bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect import ROWS, Bound, Collector
from ess_ray.core.query import Query
from ess_ray.ports import Ints, ObjectColumns, ObjectEntry, ScanTask, Selection, Snapshot, VnodeRange

OBJECT_COST_BYTES: Final = 128 * 1024
"""What opening an object costs, in bytes scanned: the least that it counts for, so that no task opens thousands."""
RAMP_BYTES: Final = 1024 * 1024
"""Left to read in a search's second task; each later one has twice as much, up to the whole."""
TAIL_TASKS: Final = 8
"""A task has at most one part in so many of what is left: the end of a search is shared out finely."""


@dataclass(frozen=True)
class Uncovered:
    """Offsets of a virtual node that neither a view nor the snapshot covers."""

    vnode: int
    first: int
    end: int

    def __str__(self) -> str:
        return (
            f"virtual node {self.vnode}: offsets {self.first} to {self.end} are in the log but not searchable now; "
            "search again in a few seconds"
        )


def standing(stored: Mapping[int, int | None], starts: Mapping[int, int]) -> dict[int, int]:
    """Give the offset of each virtual node up to which the table holds its events: its next one, or, while there is
    none, the log's start, read before the table was."""
    return {vnode: starts[vnode] if at is None else at for vnode, at in stored.items()}


def uncovered(ends: Mapping[int, int], stands: Mapping[int, int], ranges: Mapping[int, VnodeRange]) -> list[Uncovered]:
    """Name what is acknowledged but covered by nothing, over all virtual nodes of the log.

    `ends`: where the log ended; `stands`: up to where the table covers it; `ranges`: what views cover. Only offsets are
    compared, so that it does not matter when each was read.
    """
    missing = []
    for vnode, end in sorted(ends.items()):
        stand, view = stands[vnode], ranges.get(vnode)
        if view is None or view.end < end:
            # No view reaches the end: the table must.
            covered_to = max(stand, view.end) if view is not None and view.first <= stand else stand
            if covered_to < end:
                missing.append(Uncovered(vnode, covered_to, end))
        elif stand < view.first:
            missing.append(Uncovered(vnode, stand, view.first))
    return missing


def not_stored(table: pa.Table, stands: Mapping[int, int]) -> pa.Table:
    """Drop of a view's table what the snapshot holds: below where it stands in a virtual node."""
    if not len(table):
        return table
    keep = None
    for vnode in pc.unique(table.column("vnode")).to_pylist():
        mine = pc.equal(table.column("vnode"), vnode)
        fresh = pc.and_(mine, pc.greater_equal(table.column("offset"), stands.get(vnode, 0)))
        keep = fresh if keep is None else pc.or_(keep, fresh)
    return table.filter(keep)


@dataclass(frozen=True)
class Plan:
    """The objects that a search may have to read, in the order in which its answer needs them, as columns.

    In that order an object whose best row may come first, comes first; those of one timestamp in any order.
    """

    tenant: str
    query: Query
    objects_total: int
    """The tenant's objects, whatever their time."""
    bytes_total: int
    """Stored bytes of the objects chosen."""
    bytes_left: int
    """What is left to read of them, as `left_to_read` estimates it."""
    _chosen: Selection
    _at: Ints  # positions in `_chosen`, in scan order
    ranks: Ints
    """How far down in the answer an object's best row may stand: microseconds, negated for newest first; ascending."""
    ends: Ints
    """The bytes left to read up to and including each object."""

    def __len__(self) -> int:
        return len(self._at)

    @property
    def objects_pruned(self) -> int:
        return self.objects_total - len(self)

    @property
    def sizes(self) -> Ints:
        """Stored bytes of each object, in scan order."""
        return self._chosen.sizes[self._at]

    @property
    def extent(self) -> tuple[int, int] | None:
        """The first and last event time of all objects; None without any."""
        first_us, last_us = self.times
        return (int(first_us.min()), int(last_us.max())) if len(self) else None

    @property
    def times(self) -> tuple[Ints, Ints]:
        """The first and last event time of each object, in scan order."""
        return self._chosen.min_us[self._at], self._chosen.max_us[self._at]

    @property
    def surely_holds(self) -> bool:
        """Whether the catalog alone tells that an event lies in the query's range, whatever else it asks for."""
        start_us, end_us = self.query.start_us, self.query.end_us
        for at_us in self.times:  # each is that of an event
            inside = np.ones(len(self), np.bool_) if start_us is None else at_us >= start_us
            if bool((inside if end_us is None else inside & (at_us < end_us)).any()):
                return True
        return False

    def beginning(self, max_bytes: int) -> Plan:
        """Give the plan of the first objects alone, as many as have at most `max_bytes` left to read; at least one."""
        count = max(1, int(np.searchsorted(self.ends, max_bytes, side="right")))
        at, ranks, ends = self._at[:count], self.ranks[:count], self.ends[:count]
        return replace(self, bytes_left=int(ends[-1]) if len(ends) else 0, _at=at, ranks=ranks, ends=ends)

    def split(self, apart: npt.NDArray[np.bool_]) -> tuple[list[ObjectEntry], Plan]:
        """Take some objects, told by their place in scan order, out of the plan."""
        left = np.diff(self.ends, prepend=0)[~apart]
        rest = replace(
            self, bytes_left=int(left.sum()), _at=self._at[~apart], ranks=self.ranks[~apart], ends=np.cumsum(left)
        )
        return self._chosen.entries(self._at[apart]), rest

    def sifted(self, left: Ints) -> tuple[list[ObjectEntry], Plan]:
        """Take out the objects of which nothing is left to read. `left`: by place in scan order, the bytes of each."""
        kept = left > 0
        ends = np.cumsum(left[kept])
        rest = replace(self, bytes_left=int(left.sum()), _at=self._at[kept], ranks=self.ranks[kept], ends=ends)
        return self._chosen.entries(self._at[~kept]), rest

    def entries(self, start: int, end: int) -> tuple[ObjectEntry, ...]:
        """Make the entries at places [start, end) of the scan order."""
        return tuple(self._chosen.entries(self._at[start:end]))


def make_plan(tenant: str, query: Query, snapshot: Snapshot) -> Plan:
    """Choose and order a query's objects: a few vector operations, whatever their number."""
    chosen = snapshot.select(tenant, query.start_us, query.end_us)
    ranks = -chosen.max_us if query.order == "newest" else chosen.min_us
    at = np.argsort(ranks, kind="stable")
    arrived = _may_have_arrived(query, chosen)
    at = at if arrived is None else at[arrived[at]]
    left = left_to_read(chosen, query.start_us, query.end_us)[at]
    bytes_left, bytes_total = int(left.sum()), int(chosen.sizes[at].sum())
    return Plan(tenant, query, snapshot.count(tenant), bytes_total, bytes_left, chosen, at, ranks[at], np.cumsum(left))


def _may_have_arrived(query: Query, chosen: Selection) -> npt.NDArray[np.bool_] | None:
    """Tell which objects may hold rows received when the query asks for; None: it does not ask, any may."""
    first_us, last_us = query.arrivals()
    if first_us is None and last_us is None:
        return None
    earliest, latest = chosen.arrivals
    inside = np.ones(len(chosen), np.bool_) if first_us is None else latest >= first_us
    return inside if last_us is None else inside & (earliest <= last_us)


def left_to_read(objects: ObjectColumns, start_us: int | None, end_us: int | None) -> Ints:
    """Estimate the bytes that each object costs: the share of it that lies in [start_us, end_us), and its opening."""
    start, end = objects.min_us, objects.max_us + 1
    inside_start = start if start_us is None else np.maximum(start, start_us)
    inside_end = end if end_us is None else np.minimum(end, end_us)
    share = (inside_end - inside_start) / (end - start)
    left: Ints = np.maximum(objects.sizes * share, OBJECT_COST_BYTES).astype(np.int64)
    return left


def tasks_in_place(plan: Plan, in_place_bytes: int) -> int:
    """Tell how many of a plan's first tasks are done where it was made, at most: as many as objects are all of them."""
    if plan.bytes_left <= in_place_bytes:
        return len(plan)
    # The first object may be all that the answer needs: then nothing is started for it.
    return int(plan.ends[0] <= in_place_bytes)


def count_tasks(plan: Plan, task_bytes: int) -> int:
    """Count the tasks that a plan is cut into when all of it must be read."""
    tasks = Tasks(plan, task_bytes)
    return sum(1 for _ in iter(tasks.cut, None))


class Tasks:
    """A plan being carried out: its tasks, each cut and made when it is asked for, and which are unfinished.

    The first task is one object, those that follow grow up to `task_bytes` left to read: the first rows come early,
    and an answer that is proven early has started little. The last ones shrink. An object is never split.
    `tighten` tells of a bound: tasks that are made later leave out what cannot matter any more. Not for several
    threads.
    """

    def __init__(self, plan: Plan, task_bytes: int, collector: Collector = ROWS) -> None:
        self._plan, self._task_bytes, self._collector = plan, task_bytes, collector
        self._query = plan.query
        self._next = 0  # the place in scan order where the next task begins
        self._needed = len(plan)  # objects from here on cannot matter any more
        self._budget = 0
        self._made = self._lowest = 0  # tasks made; none below `_lowest` is unfinished
        self._unfinished: dict[int, tuple[int, ScanTask]] = {}

    def __iter__(self) -> Iterator[ScanTask]:
        return self

    def __next__(self) -> ScanTask:
        places = self.cut()
        if places is None:
            raise StopIteration
        entries = self._plan.entries(*places)
        probe = self._collector.ordered and not self._made
        task = ScanTask(self._plan.tenant, self._query, entries, self._collector, probe)
        self._unfinished[self._made] = (places[0], task)
        self._made += 1
        return task

    def cut(self) -> tuple[int, int] | None:
        """Go on by what belongs into one task, and give its places in scan order; None at the end."""
        start = self._next
        if start >= self._needed:
            return None
        ends = self._plan.ends
        before = int(ends[start - 1]) if start else 0
        # The last tasks are small again, so that no executor waits long for the one that ends last.
        budget = min(self._budget, max(RAMP_BYTES, (int(ends[-1]) - before) // TAIL_TASKS))
        fits = int(np.searchsorted(ends, before + budget, side="right"))
        self._next = min(max(fits, start + 1), self._needed)
        self._budget = min(max(2 * self._budget, RAMP_BYTES), self._task_bytes)
        return start, self._next

    @property
    def made(self) -> int:
        """The number of tasks made, which is the index of the next one."""
        return self._made

    @property
    def left(self) -> bool:
        """Whether there is another one to be made."""
        return self._next < self._needed

    @property
    def open(self) -> bool:
        """Whether a result may still come: of a task that is made, or is to be made."""
        return bool(self._unfinished) or self.left

    @property
    def watermark_us(self) -> int | None:
        """The best timestamp that what is unfinished can still bring; None when nothing is."""
        while self._lowest < self._made and self._lowest not in self._unfinished:
            self._lowest += 1
        at = self._unfinished[self._lowest][0] if self._lowest < self._made else self._next
        if at >= len(self._plan):
            return None
        rank = int(self._plan.ranks[at])
        return -rank if self._query.order == "newest" else rank

    def task(self, index: int) -> ScanTask:
        """Give an unfinished task as it was made."""
        return self._unfinished[index][1]

    def finish(self, index: int) -> ScanTask:
        """Take note that a task's result is known. Raises KeyError for a second result."""
        return self._unfinished.pop(index)[1]

    def tighten(self, bound: Bound) -> None:
        """Leave out of all later tasks what cannot change the result any more."""
        query = bound.narrowed(self._plan.query)
        if query is None:
            self._needed = self._next
        elif bound.us is not None:
            self._query = query
            rank = -bound.us if query.order == "newest" else bound.us
            self._needed = int(np.searchsorted(self._plan.ranks, rank, side="right"))
