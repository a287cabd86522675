"""Loki's push over HTTP through the push application: every status in Loki's words, and what is stored."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.push import PushApi, create_push_app
from deployments.ways.loki import LOKI_FIRST_PATH, LOKI_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.limits import IntakeLimits
from tests.loki import JSON, PROTOBUF, as_json, as_protobuf, encoded, packed
from tests.pushing import NOW_US, World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
ONE = [({"app": "shop"}, [(NOW_US * 1_000, "m")])]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


@pytest.fixture(params=[PROTOBUF, JSON], ids=["protobuf", "json"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def push(world: World, body: Any, kind: str | None, path: str = LOKI_PATH, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    typed = {} if kind is None else {"content-type": kind}
    return await world.http.post(path, content=body, headers={**typed, **named})


def is_stored(response: httpx.Response) -> None:
    assert (response.status_code, response.content) == (204, b""), response.text


def is_text(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text.endswith("\n")
    assert len(response.text) > 1
    return response.text


@pytest.mark.parametrize("path", [LOKI_PATH, LOKI_FIRST_PATH])
async def test_lines_are_accepted_once_they_are_in_the_log(world: World, kind: str, path: str) -> None:
    is_stored(await push(world, encoded(ONE, kind), kind, path, x_test_tenant="acme", x_scope_orgid="fake"))
    (stored,) = await world.records()
    assert (stored.tenant, stored.batch.column("message").to_pylist()) == ("acme", ["m"])
    assert stored.batch.column("service").to_pylist() == ["shop"]


async def test_no_type_is_either(world: World) -> None:
    for body in (packed(as_protobuf(ONE)), as_json(ONE)):
        is_stored(await push(world, body, None))
    assert await world.messages() == ["m", "m"]


async def test_what_curl_says_by_itself_is_taken_as_it_is(world: World) -> None:
    is_stored(await push(world, as_json(ONE), "application/x-www-form-urlencoded"))
    assert await world.messages() == ["m"]


async def test_encodings(world: World) -> None:
    raw = zlib.compressobj(wbits=-15)
    for name, body in (
        ("gzip", gzip.compress(as_json(ONE))),
        ("deflate", zlib.compress(as_json(ONE))),
        ("deflate", raw.compress(as_json(ONE)) + raw.flush()),
    ):
        is_stored(await push(world, body, JSON, content_encoding=name))
    for name, body in (
        ("snappy", packed(as_protobuf(ONE))),
        ("", packed(as_protobuf(ONE))),
        ("gzip", gzip.compress(as_protobuf(ONE))),
        ("identity", as_protobuf(ONE)),
    ):
        is_stored(await push(world, body, PROTOBUF, content_encoding=name))
    assert await world.messages() == ["m"] * 7


async def test_an_empty_request_is_fine(world: World, kind: str) -> None:
    is_stored(await push(world, encoded([], kind), kind))
    is_stored(await push(world, encoded([({"a": "b"}, [])], kind), kind))
    assert await world.messages() == []


async def test_good_entries_are_stored_before_400_tells_of_the_others(world: World) -> None:
    values = [[str(NOW_US * 1_000), "a"], [NOW_US * 1_000, "number"], [str(NOW_US * 1_000), "b"]]
    body = json.dumps({"streams": [{"stream": {}, "values": values}]})
    told = is_text(await push(world, body, JSON), 400)
    assert "1 entries can never be stored, 2 others are: at index 1" in told
    assert await world.messages() == ["a", "b"]


async def test_what_cannot_be_parsed_is_400(world: World, kind: str) -> None:
    is_text(await push(world, b"\xff no request", kind), 400)
    is_text(await push(world, packed(b"\xff no request"), kind), 400)
    is_text(await push(world, b"no gzip", kind, content_encoding="gzip"), 400)
    assert await world.messages() == []


async def test_other_encodings_and_types_are_415(world: World, kind: str) -> None:
    is_text(await push(world, encoded(ONE, kind), kind, content_encoding="br"), 415)
    assert "text/xml" in is_text(await push(world, b"<a/>", "text/xml"), 415)


async def test_more_than_the_limit_is_413(world: World) -> None:
    is_text(await push(world, b" " * (MAX_BYTES + 1), JSON), 413)
    is_text(await push(world, packed(b"\0" * (MAX_BYTES + 1)), PROTOBUF), 413)


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("the log's file is damaged")])
async def test_what_is_no_fault_of_the_requests_is_503(world: World, kind: str, error: Exception) -> None:
    world.log.error = error
    response = await push(world, encoded(ONE, kind), kind)
    is_text(response, 503)
    assert response.headers["retry-after"] == "1"
    world.log.error = None
    is_stored(await push(world, encoded(ONE, kind), kind))
    assert await world.messages() == ["m"]


def refusing(world: World, tenant: Any, deadline_s: float = 10.0) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unauthenticated("a key is needed"), 401), (Forbidden("not for this"), 403), (RuntimeError("hunter2"), 503)],
)
async def test_who_is_not_let_in_hears_it_as_text(world: World, error: Exception, status: int) -> None:
    async def tenant(_: Request) -> str:
        raise error

    async with refusing(world, tenant) as http:
        response = await http.post(LOKI_PATH, content=as_json(ONE), headers={"content-type": JSON})
    assert "hunter2" not in is_text(response, status)
    assert ("www-authenticate" in response.headers) == (status == 401)


async def test_the_deadline_is_503(world: World) -> None:
    async with refusing(world, standstill, deadline_s=0.02) as http:
        is_text(await http.post(LOKI_PATH, content=as_json(ONE), headers={"content-type": JSON}), 503)


@pytest.mark.parametrize("path", ["/loki/api/v1/nothing", "/loki/", "/api/prom/query"])
async def test_other_paths_are_404(world: World, path: str) -> None:
    assert LOKI_PATH in is_text(await world.http.get(path), 404)


async def test_other_methods_are_405(world: World) -> None:
    response = await world.http.get(LOKI_PATH)
    is_text(response, 405)
    assert response.headers["allow"] == "POST"


async def test_a_large_body_is_stored_in_order_and_a_repeat_is_known(world: World, kind: str) -> None:
    lines = [(NOW_US * 1_000, f"{n:05d} " + "x" * 150) for n in range(8_000)]
    for _ in range(2):
        is_stored(await push(world, encoded([({"app": "shop"}, lines)], kind), kind))
    assert [text[:5] for text in (await world.messages())[:8_000]] == [f"{n:05d}" for n in range(8_000)]
    requests = [each.request for each in await world.records()]
    assert None not in requests
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_ready_says_so_without_a_key_while_events_can_be_taken(world: World) -> None:
    async def tenant(_: Request) -> str:
        raise Unauthenticated("a key is needed")

    async with refusing(world, tenant) as http:
        response = await http.get("/ready")
        assert (response.status_code, response.text) == (200, "ready\n")
        world.problems = ["the log is away"]
        assert (await http.get("/ready")).status_code == 503


async def test_the_api_tells_of_it(world: World) -> None:
    document = json.loads((await world.http.get("/openapi.json")).content)
    described = document["paths"][LOKI_PATH]["post"]
    assert set(described["requestBody"]["content"]) == {PROTOBUF, JSON}
    assert {"204", "400", "401", "403", "413", "415", "503"} <= set(described["responses"])
