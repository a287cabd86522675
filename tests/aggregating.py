"""Events of a shop, and what is counted of them over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.event import RECORD_SCHEMA, TIMESTAMP
from ess_ray.core.timestamps import format_timestamp
from ess_ray.limits import SearchLimits
from ess_ray.record import encode_records
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US, T0_US, World

MINUTE_US = 60_000_000
BASE_US = T0_US - T0_US % HOUR_US
"""The start of an hour."""


def events(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    def column(field: pa.Field) -> pa.Array:
        times = {"timestamp": BASE_US, "observed_timestamp": T0_US}
        values = [row.get(field.name, "" if field.name == "message" else None) for row in rows]
        if field.name in times:
            return pa.array([times[field.name] + (value or 0) for value in values], TIMESTAMP)
        return pa.array(values, field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in RECORD_SCHEMA], schema=RECORD_SCHEMA)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
    yield made
    await made.http.aclose()


async def push(rig: Rig, *rows: dict[str, Any], vnode: int = 0, flush: bool = False) -> None:
    await rig.world.log.append(encode_records(events(list(rows)), vnode, "default"))
    await rig.writer.poll()
    if flush:
        await rig.writer.flush()


async def aggregate(rig: Rig, query: str = "", **body: Any) -> dict[str, Any]:
    page = await rig.finished(await rig.start(query, "/v1/aggregations", **body))
    assert (page["state"], page["complete"]) == ("done", True), page
    assert page["events"] == []
    return page


def buckets(page: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (bucket["start"], *bucket["by"].values(), *(["other"] if bucket.get("other") else []), bucket["count"])
        for bucket in page["buckets"]
    ]


def at(us: int) -> str:
    return format_timestamp(BASE_US + us)


@pytest.fixture
async def shop(rig: Rig) -> Rig:
    """Give a system with two objects, and some events in flight in two virtual nodes."""
    errors = [{"timestamp": MINUTE_US * n, "level": "ERROR", "message": "timeout"} for n in range(3)]
    infos = [{"timestamp": MINUTE_US, "level": "INFO", "attributes": [("region", "eu")]}] * 2
    await push(rig, *errors, *infos, flush=True)
    await push(rig, {"timestamp": HOUR_US, "service": "pay", "attributes": [("region", "us")]}, flush=True)
    await push(rig, {"timestamp": 1, "level": "ERROR", "event_id": "a", "message": "timeout in flight"})
    await push(rig, {"timestamp": 2, "attributes": [("level", "x"), ("region", "eu")]}, vnode=1)
    return rig
