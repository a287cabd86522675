"""Datadog's log intake through the push application: paths, keys, answers, and what is stored."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zstandard
from fastapi import Request

from deployments.access import Access
from deployments.push import PushApi, create_push_app
from deployments.ways.datadog import INPUT_PATH, LOGS_PATH, VALIDATE_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.limits import IntakeLimits
from ess_ray.keys import KeyBook
from ess_ray.testing import MemoryObjectStore
from tests.pushing import World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
ONE = b'[{"message":"m","status":"info","ddtags":"env:prod,alone"}]'
AGENT = {
    "User-Agent": "datadog-agent/7.70.0",
    "Content-Type": "application/json",
    "DD-EVP-ORIGIN": "agent",
    "DD-PROTOCOL": "v2",
    "dd-message-timestamp": "1789999999000",
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def behind(world: World, tenant: Any, deadline_s: float = 10.0) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


def is_accepted(response: httpx.Response) -> None:
    assert (response.status_code, response.json()) == (202, {}), response.text
    assert response.headers["content-type"] == "application/json"


def is_error(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json()["errors"]
    assert error["status"] == str(status)
    assert error["title"]
    detail: str = error["detail"]
    assert detail
    return detail


@pytest.mark.parametrize("path", [LOGS_PATH, INPUT_PATH, f"{INPUT_PATH}/anything"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "identity", None])
async def test_logs_are_accepted_once_they_are_in_the_log(world: World, path: str, encoding: str | None) -> None:
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}.get(encoding or "", bytes)
    headers = {**AGENT, "x-test-tenant": "acme", **({} if encoding is None else {"Content-Encoding": encoding})}
    is_accepted(await world.http.post(path, content=packed(ONE), headers=headers))
    (stored,) = await world.records()
    (row,) = stored.batch.to_pylist()
    assert (stored.tenant, row["message"], row["level"]) == ("acme", "m", "INFO")
    assert row["timestamp"].timestamp() == 1_789_999_999
    assert dict(row["attributes"]) == {"env": "prod", "ddtags": "alone"}


@pytest.mark.parametrize("body", [b"{}", b"[]"])
async def test_probes(world: World, body: bytes) -> None:
    is_accepted(await world.http.post(LOGS_PATH, content=body, headers=AGENT))
    assert await world.messages() == []


async def test_the_address_names_a_source(world: World) -> None:
    is_accepted(await world.http.post(f"{LOGS_PATH}?ddsource=nodejs&service=shop", content=b'{"message":"m"}'))
    (stored,) = await world.records()
    (row,) = stored.batch.to_pylist()
    assert (row["service"], dict(row["attributes"])) == ("shop", {"ddsource": "nodejs"})


async def test_no_json_is_400_and_what_is_no_log_costs_no_other(world: World) -> None:
    is_error(await world.http.post(LOGS_PATH, content=b"[{", headers=AGENT), 400)
    is_error(await world.http.post(LOGS_PATH, content=b"[1,2]", headers=AGENT), 400)
    assert await world.messages() == []
    is_accepted(await world.http.post(LOGS_PATH, content=b'[{"message":"a"},5]', headers=AGENT))
    assert await world.messages() == ["a"]


@pytest.mark.parametrize(
    "error", [Unavailable("away"), TooFast("full"), CorruptData("damaged"), RuntimeError("hunter2")]
)
async def test_what_is_no_fault_of_the_requests_is_503(world: World, error: Exception) -> None:
    world.log.error = error
    response = await world.http.post(LOGS_PATH, content=ONE)
    assert "hunter2" not in is_error(response, 503)
    assert response.headers["retry-after"] == "1"
    assert await world.messages() == []


async def test_the_deadline_is_503(world: World) -> None:
    async with behind(world, standstill, deadline_s=0.02) as http:
        is_error(await http.post(LOGS_PATH, content=ONE), 503)
        assert (await http.get(VALIDATE_PATH)).status_code == 503


async def test_limits_and_encodings(world: World) -> None:
    is_error(await world.http.post(LOGS_PATH, content=b" " * (MAX_BYTES + 1)), 413)
    is_error(await world.http.post(LOGS_PATH, content=ONE, headers={"content-encoding": "br"}), 415)


@pytest.mark.parametrize(
    ("headers", "error", "status"),
    [
        ({}, Unauthenticated("a key"), 401),
        ({"DD-API-KEY": "abc"}, Unauthenticated("a key"), 403),
        ({"Authorization": "Bearer abc"}, Unauthenticated("a key"), 403),
        ({"DD-API-KEY": "abc"}, Forbidden("not for this"), 403),
    ],
)
async def test_who_is_not_let_in(world: World, headers: dict[str, str], error: Exception, status: int) -> None:
    async def tenant(_: Request) -> str:
        raise error

    async with behind(world, tenant) as http:
        is_error(await http.post(LOGS_PATH, content=ONE, headers=headers), status)
        response = await http.get(VALIDATE_PATH, headers=headers)
        assert response.status_code == status
        assert [type(each) for each in response.json()["errors"]] == [str]
        is_error(await http.post(f"{LOGS_PATH}?dd-api-key=abc", content=ONE), 403)
        is_error(await http.post(f"{INPUT_PATH}/abc", content=ONE), 403)


@pytest.mark.parametrize("in_addresses", [False, True])
async def test_a_key_finds_its_tenant_and_in_an_address_only_where_that_is_allowed(
    world: World, in_addresses: bool, caplog: pytest.LogCaptureFixture
) -> None:
    book = KeyBook(MemoryObjectStore(lambda: world.now_us))
    key = book.create("acme", ["push"])[1]
    access = Access(book, in_addresses=in_addresses)
    async with behind(world, access.tenant_for("push")) as http:
        is_accepted(await http.post(LOGS_PATH, content=ONE, headers={"DD-API-KEY": key}))
        response = await http.get(VALIDATE_PATH, headers={"DD-API-KEY": key})
        assert (response.status_code, response.json()) == (200, {"valid": True})
        with caplog.at_level(logging.DEBUG):
            world.log.error = CorruptData("damaged") if in_addresses else None
            in_path = await http.post(f"{INPUT_PATH}/{key}", content=ONE)
            world.log.error = None
        ours = [
            f"{record.getMessage()} {record.exc_text}" for record in caplog.records if record.name.startswith("dep")
        ]
        assert bool(ours) == in_addresses
        assert key not in "".join(ours)
        in_query = await http.post(f"{INPUT_PATH}?dd-api-key={key}", content=ONE)
        if in_addresses:
            is_error(in_path, 503)
            is_accepted(in_query)
        else:
            is_error(in_path, 403)
            is_error(in_query, 403)
    assert {record.tenant for record in await world.records()} == {"acme"}


@pytest.mark.parametrize("path", ["/api/v2/x", "/api/v2/series", f"{INPUT_PATH}/", f"{INPUT_PATH}/a/b"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_paths_are_404(world: World, method: str, path: str) -> None:
    is_error(await world.http.request(method, path, headers={"Accept": "text/html"}), 404)


@pytest.mark.parametrize("path", [LOGS_PATH, INPUT_PATH, f"{INPUT_PATH}/key"])
async def test_other_methods_are_405(world: World, path: str) -> None:
    response = await world.http.get(path)
    is_error(response, 405)
    assert response.headers["allow"] == "POST"
    assert (await world.http.post(VALIDATE_PATH)).status_code == 405


async def test_a_large_body_is_stored_in_order_and_a_repeat_is_known(world: World) -> None:
    logs = [{"message": f"{n:05d} " + "x" * 150, "status": "info"} for n in range(8_000)]
    for _ in range(2):
        is_accepted(await world.http.post(LOGS_PATH, content=json.dumps(logs).encode(), headers=AGENT))
    assert [text[:5] for text in (await world.messages())[:8_000]] == [f"{n:05d}" for n in range(8_000)]
    requests = [each.request for each in await world.records()]
    assert None not in requests
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_the_api_tells_of_it(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert {"202", "400", "401", "403", "413", "503"} <= set(document["paths"][LOGS_PATH]["post"]["responses"])
