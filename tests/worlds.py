"""Everything that outlives a writer, in memory, with faults at the commit: for tests of docs/exactly-once.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

import pyarrow as pa
import pytest

from ess_ray.core.event import EVENT_HASH_BYTES, RECORD_SCHEMA, TIMESTAMP
from ess_ray.core.query import All, Query
from ess_ray.ingest.writer import DeadLetter, VnodeWriter
from ess_ray.limits import WriterLimits
from ess_ray.ports import ScanTask
from ess_ray.record import decode_record
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryCatalog, MemoryLog, MemoryObjectStore

VNODES = 3
T0_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000


def batch_of(
    names: list[str], ids: list[str | None], hour: int, observed_us: int, hashed: bool = True
) -> pa.RecordBatch:
    """Make events; those with ids have a hash of their content, unless they are of the time before there were any."""
    count = len(names)
    columns = {
        "timestamp": pa.array([T0_US + hour * HOUR_US + i for i in range(count)], TIMESTAMP),
        "observed_timestamp": pa.array([observed_us] * count, TIMESTAMP),
        "message": pa.array(names),
        "event_id": pa.array(ids, pa.string()),
        "event_hash": pa.array(
            [
                blake2b(name.encode(), digest_size=EVENT_HASH_BYTES).digest() if hashed and one is not None else None
                for name, one in zip(names, ids, strict=True)
            ],
            pa.binary(EVENT_HASH_BYTES),
        ),
    }
    arrays = [columns.get(f.name, pa.nulls(count, f.type)) for f in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORD_SCHEMA)


class World:
    """The parts that outlive any writer."""

    def __init__(self) -> None:
        self.now_us = T0_US
        self.ahead_us = 0
        """By how much the time of day is wrong; ages are not."""
        self.fault: Callable[[str], None] | None = None
        self.log = MemoryLog(VNODES)
        self.store = MemoryObjectStore(clock_us=lambda: self.now_us)
        self.catalog = MemoryCatalog(on_commit=self._on_commit)

    def _on_commit(self, moment: str) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            fault(moment)
            if moment == "before":
                self.fault = self.fault or fault  # it may want to strike after the point as well

    def stored(self) -> Counter[str]:
        """Count the messages in the table."""
        found: Counter[str] = Counter()
        entries = self.catalog.snapshot().objects("default", None, None)
        result = run_task(self.store, ScanTask("default", Query(All(), limit=10_000), tuple(entries)))
        assert not result.failed
        found.update(result.partial.table.column("message").to_pylist())
        return found

    def writer(self, limits: WriterLimits = WriterLimits(), dead_letter: DeadLetter | None = None) -> VnodeWriter:
        """Give a writer over all of this; without `dead_letter` the test fails with the first dead letter."""
        return VnodeWriter(
            self.log,
            self.catalog,
            self.store,
            decode=decode_record,
            dead_letter=dead_letter or (lambda vnode, record, reason: pytest.fail(f"{vnode} {record.offset} {reason}")),
            clock_us=lambda: self.now_us + self.ahead_us,
            limits=limits,
            elapsed=lambda: self.now_us,
        )
