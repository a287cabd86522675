"""OpenTelemetry's own SDK for Python, unmodified, exports to the push application over a real socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from deployments.ways.otlp import OTLP_PATH
from ess_ray.core.errors import Unauthenticated, Unavailable
from tests.http_server import serving
from tests.pushing import World

TRACE_ID, SPAN_ID = 0x5B8EFFF798038103D269B633813FC60C, 0xEEE19B7EC3C1B174


class Served(World):
    """The push application on a port of its own; `refusals` are raised before anything is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[Exception] = []
        self.keys: list[str | None] = []

    async def _tenant(self, request: Any) -> str:
        self.keys.append(request.headers.get("authorization"))
        if self.refusals:
            raise self.refusals.pop()
        return "default"


@pytest.fixture
def world() -> Served:
    made = Served()
    made.now_us = time.time_ns() // 1_000
    return made


@pytest.fixture
def address(world: Served) -> Iterator[str]:
    with serving(world.app) as url:
        yield url


def provider_of(exporter: OTLPLogExporter) -> LoggerProvider:
    provider = LoggerProvider(Resource({"service.name": "shop", "host.name": "web-1", "region": "eu"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    return provider


def rows_of(world: Served) -> list[dict[str, Any]]:
    records = asyncio.run(world.records())
    return [row for record in records for row in record.batch.to_pylist()]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_records_arrive_with_their_fields(world: Served, address: str, compression: Compression) -> None:
    exporter = OTLPLogExporter(
        f"{address}{OTLP_PATH}", headers={"authorization": "Bearer ess_key"}, compression=compression
    )
    provider = provider_of(exporter)
    logger = provider.get_logger("my.logger", "1.2")
    span = NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1)))
    with use_span(span):
        logger.emit(
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body="hello",
            attributes={"http.response.status_code": 404, "tags": ["a", "b"]},
        )
    logger.emit(severity_number=SeverityNumber.ERROR, body={"message": "map", "n": 1}, event_name="my.event")
    provider.shutdown()
    first, second = rows_of(world)
    assert (first["message"], first["level"], first["severity_number"]) == ("hello", "WARN", 13)
    assert (first["service"], first["host"]) == ("shop", "web-1")
    assert (first["trace_id"], first["span_id"]) == (f"{TRACE_ID:032x}", f"{SPAN_ID:016x}")
    attributes = dict(first["attributes"])
    assert attributes["http.response.status_code"] == "404"
    assert attributes["tags"] == '["a","b"]'
    assert (attributes["scope.name"], attributes["scope.version"]) == ("my.logger", "1.2")
    assert attributes["region"] == "eu"
    assert (second["message"], second["level"], second["severity_number"]) == ("map", "ERROR", 17)
    assert dict(second["attributes"])["body.n"] == "1"
    assert dict(second["attributes"])["event_name"] == "my.event"
    assert world.keys == ["Bearer ess_key"]


def test_more_than_one_batch_arrives_whole_and_in_order(world: Served, address: str) -> None:
    provider = provider_of(OTLPLogExporter(f"{address}{OTLP_PATH}"))
    logger = provider.get_logger("many")
    for number in range(2_000):
        logger.emit(severity_number=SeverityNumber.INFO, body=f"{number:04d}")
        if number % 500 == 499:
            assert provider.force_flush()
    provider.shutdown()
    assert sorted(row["message"] for row in rows_of(world)) == [f"{number:04d}" for number in range(2_000)]


def test_what_is_to_be_sent_again_is_and_is_stored_once(world: Served, address: str) -> None:
    world.refusals = [Unavailable("away"), Unavailable("away")]
    provider = provider_of(OTLPLogExporter(f"{address}{OTLP_PATH}"))
    provider.get_logger("again").emit(body="once")
    assert provider.force_flush()
    provider.shutdown()
    assert [row["message"] for row in rows_of(world)] == ["once"]
    assert len(world.keys) == 3


def test_what_is_final_is_not_sent_again_and_the_exporter_says_why(
    world: Served, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.refusals = [Unauthenticated("this system wants a key")]
    provider = provider_of(OTLPLogExporter(f"{address}{OTLP_PATH}"))
    with caplog.at_level(logging.ERROR):
        provider.get_logger("final").emit(body="lost")
        provider.force_flush()
        provider.shutdown()
    assert rows_of(world) == []
    assert len(world.keys) == 1
    assert "401" in caplog.text
