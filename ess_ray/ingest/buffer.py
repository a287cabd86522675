"""What a writer holds of a virtual node between the log and the catalog, and frozen views of it for searches.

Batches are immutable Arrow, so a view is a copied list: freezing costs nothing and filtering may run in any thread.
May live here: segments, nodes, views. May not: I/O, or the protocol that moves a node on (`writer`'s).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.aggregate import MAX_VIEW_CELLS, Counting, Counts, count_rows
from ess_ray.core.chunk import StoredRequest
from ess_ray.core.errors import NewerFormat
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.merge import EMPTY, top
from ess_ray.core.query import Query
from ess_ray.ingest.repeats import RepeatMemory
from ess_ray.ports import View, VnodeRange

HOUR_US = 3_600 * 1_000_000
COUNTED_ROWS: Final = 65_536
"""Rows counted at a time: records hold from one row to thousands, and counting each by itself would cost as much."""


@dataclass(frozen=True)
class Segment:
    """The rows of one record: what is left of it after repeats were dropped (never empty)."""

    offset: int
    tenant: str
    batch: pa.RecordBatch
    bytes: int
    received_us: int
    hours: frozenset[int]
    request: StoredRequest | None = None


def segment_of(
    offset: int, tenant: str, batch: pa.RecordBatch, received_us: int, request: StoredRequest | None
) -> Segment:
    """Wrap a batch of EVENT_SCHEMA with the figures that sealing decides by."""
    hours = pc.unique(pc.divide(batch.column("timestamp").cast(pa.int64()), HOUR_US))
    return Segment(offset, tenant, batch, batch.nbytes, received_us, frozenset(hours.to_pylist()), request)


@dataclass
class Node:
    """One owned virtual node: everything in [first, position) is in `segments` or was dropped as a repeat."""

    first: int
    position: int
    memory: RepeatMemory
    segments: list[Segment] = field(default_factory=list)
    stopped: NewerFormat | None = None
    """Why nothing is read beyond `position`, if that is so."""

    def forget_below(self, offset: int) -> None:
        """Let go of what is stored; `offset` becomes where consumption began."""
        self.first = offset
        self.segments = [segment for segment in self.segments if segment.offset >= offset]


@dataclass(frozen=True)
class Frozen:
    """An immutable picture of some nodes: ranges, and one tenant's batches in log order."""

    ranges: dict[int, VnodeRange]
    batches: tuple[pa.RecordBatch, ...]


def freeze(nodes: dict[int, Node], tenant: str, since: Mapping[int, int] | None = None) -> Frozen:
    """Picture all nodes at this moment. Call on the thread that changes them.

    `since`: only batches of these nodes, from these offsets on; the ranges stay those of all nodes.
    """
    wanted = dict.fromkeys(nodes, 0) if since is None else since
    return Frozen(
        {vnode: VnodeRange(node.first, node.position) for vnode, node in nodes.items()},
        tuple(
            segment.batch
            for vnode, node in nodes.items()
            if vnode in wanted
            for segment in node.segments
            if segment.tenant == tenant and segment.offset >= wanted[vnode]
        ),
    )


def filter_frozen(frozen: Frozen, query: Query) -> View:
    """Find a query's rows in a picture; takes as long as it takes, from any thread."""
    batches = [batch for batch in frozen.batches if _may_match(batch, query)]
    scanned = sum(len(batch) for batch in batches)
    found = [batch.take(filter_batch(batch, query)) for batch in batches]
    matched: Counter[int] = Counter()
    for batch in found:
        if len(batch):
            matched[batch.column("vnode")[0].as_py()] += len(batch)  # a batch is a record's: of one virtual node
    rows = pa.Table.from_batches([batch for batch in found if len(batch)], EVENT_SCHEMA) if found else EMPTY
    kept, repeats = top(rows, query.order, query.limit)
    return View(frozen.ranges, kept, scanned, repeats, matched)


def count_frozen(frozen: Frozen, query: Query, counting: Counting) -> View:
    """Count a query's rows in a picture, apart for each record: who searches drops those that the table holds.

    Takes as long as it takes, from any thread.
    """
    batches = [batch for batch in frozen.batches if _may_match(batch, query)]
    where = ("vnode", "offset")
    counts = Counts(counting, where, MAX_VIEW_CELLS)
    names = [name for name in EVENT_SCHEMA.names if name in counting.columns() | {"timestamp", *where}]
    for rows in _gathered(batch.select(names).take(filter_batch(batch, query)) for batch in batches):
        counts.add(count_rows(rows, counting, where=where))
    return View(frozen.ranges, EMPTY, sum(len(batch) for batch in batches), counts=counts.table())


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put batches together until they have COUNTED_ROWS."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= COUNTED_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.Table.from_batches(waiting)


def _may_match(batch: pa.RecordBatch, query: Query) -> bool:
    if query.start_us is None and query.end_us is None:
        return True
    bounds = pc.min_max(batch.column("timestamp").cast(pa.int64())).as_py()
    return query.overlaps(bounds["min"], bounds["max"])


def spans_hours(segments: Sequence[Segment]) -> int:
    """Count the hours of event time that these segments touch."""
    return len(frozenset().union(*(segment.hours for segment in segments)))
