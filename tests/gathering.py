"""What tests of gathering have in common: batches, and a log whose appends wait until they are let through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ess_ray.core.event import RECORD_SCHEMA
from ess_ray.ports import Record
from ess_ray.record import DecodedRecord, decode_record
from ess_ray.testing import MemoryLog

T0_US = 1_790_000_000_000_000
VNODES = 8


def batch_of(*messages: str, ids: Sequence[str | None] | None = None) -> pa.RecordBatch:
    count = len(messages)
    given: dict[str, Any] = {"timestamp": [T0_US] * count, "observed_timestamp": [T0_US] * count, "message": messages}
    if ids is not None:
        given["event_id"] = ids
    arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(count, f.type) for f in RECORD_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORD_SCHEMA)


class SlowLog(MemoryLog):
    """An in-memory log whose appends wait until the test lets them through, and may fail."""

    def __init__(self) -> None:
        super().__init__(VNODES)
        self.open = asyncio.Event()
        self.started = 0
        self.error: Exception | None = None
        self.appends: list[list[Record]] = []

    async def append(self, records: Sequence[Record]) -> list[int]:
        self.started += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.appends.append(list(records))
        return await super().append(records)


async def turns(count: int = 20) -> None:
    """Let every task that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def everything(log: MemoryLog) -> list[DecodedRecord]:
    found = []
    for vnode in range(VNODES):
        for record in (await log.read(vnode, 0, 1 << 30)).records:
            found.append(decode_record(record, await log.log_id(), vnode))
    return found


def messages(records: Sequence[DecodedRecord]) -> list[str]:
    return [message for record in records for message in record.batch.column("message").to_pylist()]
