"""OTLP over HTTP through the push application: every status in the request's own encoding, and what is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import cramjam
import httpx
import pytest
import zstandard
from fastapi import Request
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from deployments.push import PushApi, create_push_app
from deployments.ways.otlp import OTLP_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.limits import IntakeLimits
from tests.otlp import JSON, PROTOBUF, encoded, record, request_of
from tests.pushing import World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
ONE = request_of(record("m"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


@pytest.fixture(params=[PROTOBUF, JSON], ids=["protobuf", "json"])
def encoding(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


async def export(world: World, body: Any, encoding: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.http.post(OTLP_PATH, content=body, headers={"content-type": encoding, **named})


def is_status(response: httpx.Response, status: int, code: int, encoding: str) -> str:
    """Check a refusal; gives its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == encoding
    if encoding == PROTOBUF:
        told = Status.FromString(response.content)
        found = {"code": told.code, "message": told.message}
    else:
        found = response.json()
    assert found["code"] == code
    assert set(found) == {"code", "message"}
    message: str = found["message"]
    assert message
    return message


def is_success(response: httpx.Response, encoding: str) -> None:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == encoding
    assert response.content == (b"" if encoding == PROTOBUF else b"{}")


async def test_records_are_accepted_once_they_are_in_the_log(world: World, encoding: str) -> None:
    body = encoded(request_of(record("a"), record("b"), service__name="shop"), encoding)
    is_success(await export(world, body, encoding, x_test_tenant="acme"), encoding)
    (stored,) = await world.records()
    assert (stored.tenant, stored.request) == ("acme", None)
    assert stored.batch.column("message").to_pylist() == ["a", "b"]
    assert stored.batch.column("service").to_pylist() == ["shop", "shop"]


async def test_an_empty_request_is_a_success(world: World) -> None:
    is_success(await export(world, b"", PROTOBUF), PROTOBUF)
    is_success(await export(world, b"{}", JSON), JSON)
    assert await world.messages() == []


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("deflate", lambda body: bytes(cramjam.zlib.compress(body))),
        ("snappy", lambda body: bytes(cramjam.snappy.compress(body))),
        ("identity", bytes),
    ],
)
async def test_all_compressions(world: World, encoding: str, name: str, compress: Any) -> None:
    is_success(await export(world, compress(encoded(ONE, encoding)), encoding, content_encoding=name), encoding)
    assert await world.messages() == ["m"]


async def test_a_body_without_a_length_is_taken(world: World, encoding: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        body = encoded(ONE, encoding)
        yield body[:3]
        yield body[3:]

    is_success(await export(world, chunks(), encoding), encoding)
    assert await world.messages() == ["m"]


async def test_some_invalid_records_are_a_partial_success(world: World, encoding: str) -> None:
    logs = [record("a"), record("x" * (MAX_EVENT_BYTES + 1)), record("b")]
    response = await export(world, encoded(request_of(*logs), encoding), encoding)
    assert response.status_code == 200
    if encoding == PROTOBUF:
        partial = ExportLogsServiceResponse.FromString(response.content).partial_success
        told = (str(partial.rejected_log_records), partial.error_message)
    else:
        sent = response.json()["partialSuccess"]
        told = (sent["rejectedLogRecords"], sent["errorMessage"])
    assert told[0] == "1"
    assert "at index 1: the event is larger" in told[1]
    assert await world.messages() == ["a", "b"]


async def test_all_invalid_is_a_partial_success_too_since_nothing_is_to_be_sent_again(
    world: World, encoding: str
) -> None:
    response = await export(world, encoded(request_of(record("x" * (MAX_EVENT_BYTES + 1))), encoding), encoding)
    assert response.status_code == 200
    assert b"larger than" in response.content
    assert await world.records() == []


# ---------------------------------------------------------------------------------------------------------- statuses
async def test_what_cannot_be_parsed_is_400(world: World, encoding: str) -> None:
    is_status(await export(world, b"\xff no OTLP", encoding), 400, 3, encoding)
    is_status(await export(world, b"no gzip", encoding, content_encoding="gzip"), 400, 3, encoding)
    assert await world.messages() == []


async def test_other_encodings_and_types_are_415(world: World, encoding: str) -> None:
    is_status(await export(world, encoded(ONE, encoding), encoding, content_encoding="br"), 415, 3, encoding)
    assert "text/xml" in is_status(await export(world, b"<a/>", "text/xml"), 415, 3, JSON)


async def test_more_than_the_limit_is_413(world: World, encoding: str) -> None:
    is_status(await export(world, b" " * (MAX_BYTES + 1), encoding), 413, 8, encoding)
    bomb = gzip.compress(b" " * (MAX_BYTES + 1))
    is_status(await export(world, bomb, encoding, content_encoding="gzip"), 413, 8, encoding)


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("the log's file is damaged")])
async def test_what_is_no_fault_of_the_requests_is_503_which_all_exporters_repeat(
    world: World, encoding: str, error: Exception
) -> None:
    world.log.error = error
    response = await export(world, encoded(ONE, encoding), encoding)
    is_status(response, 503, 14, encoding)
    assert response.headers["retry-after"] == "1"
    world.log.error = None
    is_success(await export(world, encoded(ONE, encoding), encoding), encoding)
    assert await world.messages() == ["m"]


def refusing(world: World, tenant: Any, deadline_s: float = 10.0) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthenticated("a key is needed"), 401, 16),
        (Forbidden("not for this"), 403, 7),
        (RuntimeError("password=hunter2"), 503, 14),
    ],
)
async def test_who_is_not_let_in_hears_it_in_otlps_words(
    world: World, encoding: str, error: Exception, status: int, code: int
) -> None:
    async def tenant(_: Request) -> str:
        raise error

    async with refusing(world, tenant) as http:
        response = await http.post(OTLP_PATH, content=encoded(ONE, encoding), headers={"content-type": encoding})
    assert "hunter2" not in is_status(response, status, code, encoding)
    assert ("www-authenticate" in response.headers) == (status == 401)


async def test_the_deadline_is_503(world: World, encoding: str) -> None:
    async with refusing(world, standstill, deadline_s=0.02) as http:
        response = await http.post(OTLP_PATH, content=encoded(ONE, encoding), headers={"content-type": encoding})
    is_status(response, 503, 14, encoding)


@pytest.mark.parametrize("path", ["/otlp/v1/traces", "/otlp/v1/metrics", "/otlp/", "/otlp/v1/logs/"])
async def test_other_signals_are_404_with_a_status(world: World, encoding: str, path: str) -> None:
    response = await world.http.post(path, content=b"x", headers={"content-type": encoding})
    assert "/otlp/v1/logs" in is_status(response, 404, 5, encoding)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_with_a_status(world: World, method: str) -> None:
    response = await world.http.request(method, OTLP_PATH)
    is_status(response, 405, 12, JSON)
    assert response.headers["allow"] == "POST"


# ------------------------------------------------------------------------------------------------------ large bodies
async def test_any_number_of_records_is_stored_in_order_and_a_repeat_is_known(world: World, encoding: str) -> None:
    count = 8_000
    body = encoded(request_of(*(record(f"{n:05d} " + "x" * 150) for n in range(count)), service__name="s"), encoding)
    for _ in range(2):
        is_success(await export(world, gzip.compress(body), encoding, content_encoding="gzip"), encoding)
    records = await world.records()
    assert [text[:5] for text in (await world.messages())[:count]] == [f"{n:05d}" for n in range(count)]
    requests = [each.request for each in records if each.request is not None]
    assert len(requests) == len(records)
    assert len(requests) % 2 == 0
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_both_formats_in_one_turn_of_the_loop_are_each_told_in_their_own_words(world: World) -> None:
    answers = await asyncio.gather(
        world.push([{"message": "json"}]),
        export(world, encoded(ONE, PROTOBUF), PROTOBUF),
        world.push(b"no json"),
        export(world, b"\xff", PROTOBUF),
        export(world, encoded(ONE, JSON), JSON),
    )
    assert [answer.status_code for answer in answers] == [202, 200, 400, 400, 200]
    assert [answer.headers["content-type"] for answer in answers] == [
        *("application/json", PROTOBUF, "application/problem+json", PROTOBUF, JSON)
    ]
    assert sorted(await world.messages()) == ["json", "m", "m"]


async def test_a_key_of_idempotency_counts_here_too(world: World, encoding: str) -> None:
    is_success(await export(world, encoded(ONE, encoding), encoding, idempotency_key="k"), encoding)
    other = encoded(request_of(record("other")), encoding)
    is_status(await export(world, other, encoding, idempotency_key="k"), 422, 9, encoding)


async def test_the_api_tells_of_it(world: World) -> None:
    document = json.loads((await world.http.get("/openapi.json")).content)
    described = document["paths"][OTLP_PATH]["post"]
    assert set(described["requestBody"]["content"]) == {PROTOBUF, JSON}
    assert {"200", "400", "401", "403", "413", "415", "503"} <= set(described["responses"])
