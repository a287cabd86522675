"""Whether one object is what its name, its footer and the catalog say: for `ess verify`, which names what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk.hash import ContentHash
from ess_ray.core.chunk.identity import IDENTITY
from ess_ray.core.chunk.layout import OffsetRange, key_parts
from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.chunk.reading import reading
from ess_ray.core.chunk.sums import PARQUET_MAGIC
from ess_ray.core.errors import CorruptData
from ess_ray.core.index import Index
from ess_ray.core.literals import needs
from ess_ray.core.query import Contains, Field, Query
from ess_ray.core.timestamps import partition_of

SAMPLES_PER_GROUP: Final = 3
"""Messages of a row group that its skip index is asked for: a lost plane hides nearly all of them."""
MAX_SAMPLE_CHARS: Final = 200
"""Of a sampled message: asking for long ones opens most planes of the index."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the catalog tells of an object."""

    tenant: str
    date: str
    hour: int
    rows: int
    min_us: int
    max_us: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: `check` names what was looked at, `found` what was seen."""

    check: str
    found: str


def check_tail(reader: ObjectReader, told: Told) -> Iterator[Fault]:
    """Compare name, catalog, footer and skip index with one another. Reads the object's tail alone."""
    name = key_parts(reader.key)
    place = (told.tenant, told.date, told.hour)
    if (name.tenant, name.date, name.hour) != place:
        yield Fault("partition", f"the catalog has it under {place}")
    if (name.min_us, name.max_us) != (told.min_us, told.max_us):
        yield Fault("statistics", f"its name tells of other times than the catalog: {told.min_us} to {told.max_us}")
    if reader.metadata.num_rows != told.rows:
        yield Fault("statistics", f"it has {reader.metadata.num_rows} rows, the catalog says {told.rows}")
    times = reader.footer.times
    found = (min((low for low, _ in times), default=0), max((high for _, high in times), default=0))
    if told.rows and found != (told.min_us, told.max_us):  # without rows it has the times of those that were deleted
        yield Fault("statistics", f"its rows go from {found[0]} to {found[1]} us, the catalog says other times")
    if times and {partition_of(us) for us in found} != {(told.date, told.hour)}:
        yield Fault(
            "partition", f"its rows go from {found[0]} to {found[1]} us: not all of {told.date} {told.hour:02d}h"
        )
    if name.index_bytes != reader.facts.index_bytes:
        yield Fault("index", f"its name tells of {name.index_bytes} bytes, its footer of {reader.facts.index_bytes}")
    if any(part.first >= part.end for part in reader.facts.ranges):
        yield Fault("ranges", "its footer tells of an offset range that is empty")
    try:
        _index(reader)
    except CorruptData as error:
        yield Fault("index", error.message)


def check_rows(
    reader: ObjectReader, told: Told, on_rows: Callable[[pa.Table], None] = lambda rows: None
) -> Iterator[Fault]:
    """Read all rows and compare them with footer, catalog and skip index; one row group in memory at a time.

    `on_rows` gets each row group.
    """
    digest, faults = ContentHash(reader.facts.format_version), dict[str, Fault]()
    try:
        index = _index(reader)
    except CorruptData:
        index = None  # told by `check_tail`
    last_us: int | None = None
    ranges = {(part.log_id, part.vnode): part for part in reader.facts.ranges}
    for group in range(reader.groups):
        try:
            with reading(reader.key):
                rows = reader.read_group(group)
                rows.validate(full=True)
        except CorruptData as error:
            yield Fault("rows", error.message)
            return
        reader.forget()
        digest.add(rows)
        on_rows(rows)
        times = rows.column("timestamp").cast(pa.int64()).to_numpy()
        for fault in _faults_of(group, rows, times=times, last_us=last_us, told=told, ranges=ranges):
            faults.setdefault(fault.check, fault)
        last_us = int(times[-1]) if len(times) else last_us
        if index is not None and (lost := _hidden(index, group, rows)):
            faults.setdefault("index", Fault("index", lost))
    yield from faults.values()
    if reader.begins_with() != PARQUET_MAGIC:
        yield Fault("magic", "it does not begin as a Parquet file: other programs will not read it")
    if digest.hexdigest() != reader.facts.content_hash:
        yield Fault("content hash", "its rows are not those that were written")


def _index(reader: ObjectReader) -> Index | None:
    return Index(reader.index, reader.groups, reader.has_types) if reader.facts.index_bytes else None


def _faults_of(
    group: int,
    rows: pa.Table,
    *,
    times: Any,
    last_us: int | None,
    told: Told,
    ranges: dict[tuple[str, int], OffsetRange],
) -> Iterator[Fault]:
    if len(times) and (int(times.min()) < told.min_us or int(times.max()) > told.max_us):
        yield Fault("statistics", f"row group {group} has events outside the times that the catalog tells")
    if (times[1:] < times[:-1]).any() or (last_us is not None and len(times) and int(times[0]) < last_us):
        yield Fault("order", f"row group {group} is not in the order of its events")
    # A row's copies have its time, so that they stand side by side: in one row group, but for its border.
    if rows.group_by(list(IDENTITY)).aggregate([]).num_rows != len(rows):
        yield Fault("doubled", f"row group {group} holds a row of one log, virtual node, offset and row number twice")
    bounds = rows.select(["log_id", "vnode", "offset"]).group_by(["log_id", "vnode"])
    for found in bounds.aggregate([("offset", "min"), ("offset", "max")]).to_pylist():
        part = ranges.get((found["log_id"], found["vnode"]))
        if part is None or not part.first <= found["offset_min"] <= found["offset_max"] < part.end:
            yield Fault(
                "ranges",
                f"row group {group} has offsets {found['offset_min']} to {found['offset_max']} of virtual node "
                f"{found['vnode']} of log {found['log_id']}, which its footer does not tell of",
            )


def _hidden(index: Index, group: int, rows: pa.Table) -> str:
    """Ask the index for some messages of a row group; tell of one that it would hide from a search."""
    messages = rows.column("message")
    for at in np.linspace(0, len(rows) - 1, min(SAMPLES_PER_GROUP, len(rows)), dtype=np.int64).tolist():
        text = messages[at].as_py()[:MAX_SAMPLE_CHARS]
        try:
            if text and group not in index.keep(needs(Query(Contains(Field("message"), text, ignore_case=False)))):
                return f"it hides row group {group} from a search for its message {at}"
        except CorruptData as error:
            return error.message
    return ""
