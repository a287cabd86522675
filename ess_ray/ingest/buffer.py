"""What a writer holds of a virtual node between the log and the catalog, and frozen views of it for searches.

Batches are immutable Arrow, so a view is a copied list: freezing costs nothing and filtering may run in any thread.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk import StoredRequest
from ess_ray.core.collect import PLACES, Collector, Partial
from ess_ray.core.errors import NewerFormat
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import Query
from ess_ray.ingest.repeats import RepeatMemory
from ess_ray.ports import View, VnodeRange

HOUR_US = 3_600 * 1_000_000
COLLECTED_ROWS: Final = 65_536
"""Rows collected at a time: records hold from one row to thousands, and counting each by itself would cost as much."""


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


def collect_frozen(frozen: Frozen, query: Query, collector: Collector) -> View:
    """Make a partial result of a query's rows in a picture, apart for each record: who searches drops those that the
    table holds. Takes as long as it takes, from any thread.
    """
    batches = [batch for batch in frozen.batches if _may_match(batch, query)]
    wanted = collector.columns() | {*PLACES}
    names = [name for name in EVENT_SCHEMA.names if name in wanted]
    matched: Counter[int] = Counter()
    fold = collector.fold(query, PLACES)
    # Rows in an order are sorted and cut once, over all of them.
    for rows in _gathered(batches, query, names, sys.maxsize if collector.ordered else COLLECTED_ROWS):
        for vnode in pc.value_counts(rows.column("vnode")).to_pylist():
            matched[vnode["values"]] += vnode["counts"]
        fold.add(Partial(collector.from_rows(rows, where=PLACES), len(rows)))
    partial = fold.partial()
    scanned = sum(len(batch) for batch in batches)
    return View(frozen.ranges, partial.table, scanned, partial.duplicates_suppressed, matched)


def _gathered(
    batches: Sequence[pa.RecordBatch], query: Query, names: list[str], enough_rows: int
) -> Iterator[pa.Table]:
    """Give some columns of the rows that match, put together until they are enough."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        found = batch.select(names).take(filter_batch(batch, query))
        waiting += [found] if len(found) else []
        rows += len(found)
        if rows >= enough_rows:
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
