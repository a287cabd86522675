"""Decide what a query must read: section 4.8's cut between buffers and table, and tasks cut by bytes.

May live here: pure decisions over views and snapshots. May not: waiting, I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.query import Order, Query
from ess_ray.ports import ObjectEntry, ScanTask, VnodeRange


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


def uncovered(
    ends: Mapping[int, int],
    starts: Mapping[int, int],
    ranges: Mapping[int, VnodeRange],
    stored: Mapping[int, int | None],
) -> list[Uncovered]:
    """Name what is acknowledged but covered by nothing, over all virtual nodes of the log.

    `ends` were read before the views and the views before the snapshot: that order is what makes this exact.
    """
    missing = []
    for vnode, end in sorted(ends.items()):
        at = stored.get(vnode)
        stand = starts[vnode] if at is None else at
        view = ranges.get(vnode)
        if view is None or view.end < end:
            # No view reaches the end: the snapshot must.
            covered_to = max(stand, view.end) if view is not None and view.first <= stand else stand
            if covered_to < end:
                missing.append(Uncovered(vnode, covered_to, end))
        elif stand < view.first:
            missing.append(Uncovered(vnode, stand, view.first))
    return missing


def not_stored(rows: pa.Table, stored: Mapping[int, int | None]) -> pa.Table:
    """Drop buffered rows that the snapshot holds: those below its next offset of their virtual node."""
    if not len(rows):
        return rows
    keep = None
    for vnode in pc.unique(rows.column("vnode")).to_pylist():
        mine = pc.equal(rows.column("vnode"), vnode)
        fresh = pc.and_(mine, pc.greater_equal(rows.column("offset"), stored.get(vnode) or 0))
        keep = fresh if keep is None else pc.or_(keep, fresh)
    return rows.filter(keep)


def in_scan_order(entries: Iterable[ObjectEntry], order: Order) -> list[ObjectEntry]:
    """Bring objects into the order in which an answer needs them: whose best row may come first, first."""
    if order == "newest":
        return sorted(entries, key=lambda entry: (-entry.max_us, entry.key))
    return sorted(entries, key=lambda entry: (entry.min_us, entry.key))


def cut_tasks(tenant: str, query: Query, entries: Sequence[ObjectEntry], task_bytes: int) -> list[ScanTask]:
    """Cut objects in scan order into tasks of about `task_bytes`; an object is never split."""
    tasks: list[ScanTask] = []
    part: list[ObjectEntry] = []
    for entry in entries:
        if part and sum(e.size for e in part) + entry.size > task_bytes:
            tasks.append(ScanTask(tenant, query, tuple(part)))
            part = []
        part.append(entry)
    if part:
        tasks.append(ScanTask(tenant, query, tuple(part)))
    return tasks


def watermark_us(unfinished: Iterable[ScanTask], order: Order) -> int | None:
    """Give the best timestamp that unfinished tasks can still bring; None when there is none."""
    if order == "newest":
        return max((entry.max_us for task in unfinished for entry in task.entries), default=None)
    return min((entry.min_us for task in unfinished for entry in task.entries), default=None)
