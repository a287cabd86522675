"""Fixtures that many test folders share: tables of events made in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.event import EVENT_SCHEMA
from tests.kafka_server import kafka

__all__ = ["kafka"]

T0_US = 1_790_000_000_000_000


def _make_events(
    times_us: Sequence[int], messages: Sequence[str] | None = None, vnode: int = 0, first: int = 0, **columns: Any
) -> pa.Table:
    count = len(times_us)
    given: dict[str, Any] = {
        "timestamp": times_us,
        "observed_timestamp": times_us,
        "message": messages if messages is not None else [f"message {i}" for i in range(count)],
        "log_id": ["log"] * count,
        "vnode": [vnode] * count,
        "offset": range(first, first + count),
        "row": [0] * count,
        **columns,
    }
    arrays = [
        pa.array(given[field.name], field.type) if field.name in given else pa.nulls(count, field.type)
        for field in EVENT_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


@pytest.fixture(scope="session")
def make_events() -> Callable[..., pa.Table]:
    """Give a maker of EVENT_SCHEMA tables: (times_us, messages=None, vnode=0, first=0, **columns)."""
    return _make_events


@pytest.fixture(scope="session")
def t0_us() -> int:
    """A fixed moment at the start of nothing in particular."""
    return T0_US
