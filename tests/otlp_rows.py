"""The rows that OTLP requests become."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ess_ray.core.event import RECORD_SCHEMA
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.limits import IntakeLimits
from tests.otlp import JSON, PROTOBUF, encoded, request_of

NOW_US = 1_790_000_000_000_000
NOW_NS = NOW_US * 1_000
LIMITS = IntakeLimits()

TRACE, SPAN = bytes(range(1, 17)), bytes(range(0xF1, 0xF9))


@pytest.fixture(params=[PROTOBUF, JSON], ids=["protobuf", "json"])
def encoding(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def decode(body: bytes, content_type: str | None) -> Decoded:
    decoded = OTLP_LOGS.decode(Body(body, content_type), NOW_US, LIMITS)
    assert decoded.batch.schema.equals(RECORD_SCHEMA)
    decoded.batch.validate(full=True)
    return decoded


def shown(decoded: Decoded) -> list[dict[str, Any]]:
    """Give rows: times in microseconds, attributes as a dict, without what is null."""
    rows = []
    times = decoded.batch.column("timestamp").cast("int64").to_pylist()
    for row, us in zip(decoded.batch.to_pylist(), times, strict=True):
        attributes = row.pop("attributes") or []
        assert len(dict(attributes)) == len(attributes), "a key twice"
        del row["observed_timestamp"]
        rows.append(
            {key: value for key, value in row.items() if value is not None}
            | {"timestamp": us, "attributes": dict(attributes)}
        )
    return rows


def rows_of(request: ExportLogsServiceRequest, encoding: str) -> list[dict[str, Any]]:
    decoded = decode(encoded(request, encoding), encoding)
    assert decoded.rejected == []
    return shown(decoded)


def row_of(encoding: str, log: LogRecord, **resource: Any) -> dict[str, Any]:
    (row,) = rows_of(request_of(log, **resource), encoding)
    return row


def attributes_of(encoding: str, log: LogRecord, **resource: Any) -> dict[str, str]:
    attributes: dict[str, str] = row_of(encoding, log, **resource)["attributes"]
    return attributes
