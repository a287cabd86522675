"""Fixtures that many test folders share: tables of events made in one place, servers started once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.event import EVENT_SCHEMA
from tests.kafka_server import kafka
from tests.proxy import Proxy, http_proxy
from tests.servers import ADMIN, S3Server, ServerMissing, or_skip, s3_server

__all__ = ["kafka"]

T0_US = 1_790_000_000_000_000

# An example may take its time: what else the machine does meanwhile would fail tests that are right.
settings.register_profile("patient", parent=settings.default, deadline=None)
settings.load_profile("patient")


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


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One real S3 server for the whole run. Without its program: a skip, and with CI=true a failure."""
    try:
        with s3_server(tmp_path_factory.mktemp("s3")) as server:
            yield server
    except ServerMissing as missing:
        or_skip(str(missing))


@pytest.fixture(scope="session")
def s3_bucket(s3: S3Server) -> S3Location:
    """A bucket of that server, reached with all rights."""
    bucket = S3Location("ess-tests", "", s3.endpoint, access_key=ADMIN.access_key, secret_key=ADMIN.secret_key)
    make_bucket(bucket)
    return bucket


@pytest.fixture
def s3_location(s3_bucket: S3Location) -> S3Location:
    """An empty place in that bucket."""
    return replace(s3_bucket, prefix=f"of/{uuid.uuid4().hex}")


@pytest.fixture
def s3_proxy(s3: S3Server) -> Iterator[Proxy]:
    """A proxy in front of that server: counts requests, breaks answers."""
    with http_proxy(s3.port) as proxy:
        yield proxy
