"""From the log to committed objects: the writer over the embedded adapters, in this process, CPU time counted."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.core.errors import EssError
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.intake.limits import IntakeLimits
from ess_ray.limits import WriterLimits
from ess_ray.ports import EventLog, ObjectStore, StoredRecord
from ess_ray.record import decode_record
from tests.benchmarks.report import Row

VNODES: Final = 4
REQUEST_EVENTS: Final = 1_000


async def _refuse(vnode: int, record: StoredRecord, reason: str) -> None:
    raise EssError(f"record {record.offset} of virtual node {vnode}: {reason}")


def now_us() -> int:
    return time.time_ns() // 1000


async def _fill(log: EventLog, count: int) -> int:
    """Append `count` events as the push side would; gives the bytes of the records."""
    from ess_ray.intake.formats.format import Body
    from ess_ray.intake.formats.json_events import decode_events
    from ess_ray.record import encode_records
    from tests.benchmarks.push import bodies

    size = 0
    for number, body in enumerate(bodies(REQUEST_EVENTS, count // REQUEST_EVENTS)):
        decoded = decode_events(Body(body, "application/json"), now_us(), IntakeLimits())
        records = encode_records(decoded.batch, number % VNODES, "default")
        size += sum(len(record.value) for record in records)
        await log.append(records)
    return size


async def store_in(directory: Path, count: int) -> tuple[float, float, int, int]:
    """The same on the embedded adapters, in a directory."""
    log = SqliteLog(directory / "log.sqlite", VNODES)
    try:
        return await store_all(log, LocalObjectStore(directory / "events"), DeltaCatalog(directory / "events"), count)
    finally:
        log.close()


async def store_all(
    log: EventLog, store: ObjectStore, catalog: DeltaCatalog, count: int
) -> tuple[float, float, int, int]:
    """Fill a log, then store it all; gives events per CPU second of ours and per second, bytes in log and objects."""
    log_bytes = await _fill(log, count)
    writer = VnodeWriter(
        log, catalog, store, decode=decode_record, dead_letter=_refuse, clock_us=now_us, limits=WriterLimits()
    )
    await writer.assign(range(VNODES))
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    while await writer.poll():
        if writer.due():
            await writer.flush()
    await writer.flush()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    assert writer.counts["rows_stored"] == count
    entries = catalog.snapshot().objects(None, None, None)
    return count / cpu_s, count / wall_s, log_bytes, sum(entry.size for entry in entries)


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Store the same events several times, each in a directory of its own; gives medians."""
    runs = []
    for number in range(rounds):
        target = directory / f"store-{number}"
        target.mkdir(parents=True)
        runs.append(asyncio.run(store_in(target, count)))
    per_core, per_s = (statistics.median(run[i] for run in runs) for i in (0, 1))
    return [
        Row(
            "log to committed object, per core (CPU time, fsync not in it)",
            f"{per_core:,.0f} events/s",
            "to reach: 300,000",
        ),
        Row("  the same, wall time, one process", f"{per_s:,.0f} events/s", ""),
        Row("  bytes an event", f"{runs[0][3] / count:.1f} B in objects", f"{runs[0][2] / count:.1f} B in the log"),
    ]
