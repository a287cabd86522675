"""From buffered segments to finished objects: one per tenant and hour, sorted, with what their footers tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk import Encoded, OffsetRange, encode_object
from ess_ray.core.timestamps import partition_of
from ess_ray.ingest.buffer import HOUR_US, Segment
from ess_ray.ports import Advance, ObjectEntry


@dataclass(frozen=True)
class Sealed:
    """One object ready to be put: its tenant and bytes. Its key is made for each attempt (`entry_of`)."""

    tenant: str
    encoded: Encoded


def seal(log_id: str, segments: Mapping[int, Sequence[Segment]], advances: Mapping[int, Advance]) -> Iterator[Sealed]:
    """Encode the segments of a flush (by virtual node, in offset order); the largest piece of work of a writer."""
    ranges = [OffsetRange(log_id, vnode, step.first, step.next) for vnode, step in sorted(advances.items())]
    by_tenant: dict[str, list[Segment]] = defaultdict(list)
    for vnode in sorted(segments):
        for segment in segments[vnode]:
            by_tenant[segment.tenant].append(segment)
    for tenant, parts in by_tenant.items():
        # Batches stand in (vnode, offset, row) order and the sort is stable, so sorting by time alone gives the
        # total order (`core.event.ORDER`).
        # One chunk before it is sorted: gathering rows from thousands of small ones costs three times as much.
        rows = pa.Table.from_batches([part.batch for part in parts]).combine_chunks()
        rows = rows.take(pc.sort_indices(rows.column("timestamp").combine_chunks())).combine_chunks()
        slices = list(_hours(rows))
        for number, (start, length) in enumerate(slices):
            # Keys go into the newest hour's object alone: it is the last that retention takes.
            last = number == len(slices) - 1
            requests = [part.request for part in parts if part.request is not None] if last else []
            yield Sealed(tenant, encode_object(rows.slice(start, length), ranges, requests))


def _hours(rows: pa.Table) -> Iterator[tuple[int, int]]:
    """Cut sorted rows at the borders of UTC hours; gives (start, length)."""
    hours = pc.divide(rows.column("timestamp").cast(pa.int64()), HOUR_US).combine_chunks()
    start = 0
    for end in pc.run_end_encode(hours).run_ends.to_pylist():
        yield start, end - start
        start = end


def entry_of(sealed: Sealed, now_us: int) -> ObjectEntry:
    """Name an object afresh: a UUID of its own for every attempt to put it."""
    encoded = sealed.encoded
    date, hour = partition_of(encoded.min_us)
    return ObjectEntry(
        encoded.key(sealed.tenant),
        encoded.data.size,
        sealed.tenant,
        date,
        hour,
        encoded.rows,
        encoded.min_us,
        encoded.max_us,
        now_us,
        encoded.first_arrival_us,
        encoded.last_arrival_us,
    )
