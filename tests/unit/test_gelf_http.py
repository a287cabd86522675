"""Graylog's messages over HTTP through the push application: bodies of its clients, every status, what is stored."""

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
from deployments.ways.gelf import GELF_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.limits import IntakeLimits
from tests.pushing import World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
ONE = b'{"version":"1.1","short_message":"m"}'
PYGELF = {
    **{"version": "1.1", "short_message": "boom", "full_message": "boom\nTraceback", "timestamp": 1_789_999_999.25},
    **{"level": 3, "host": "web-1", "_service": "shop", "_van_halen": 1984, "_id": "7", "line": 12},
}
"""What pygelf's HTTP handler writes, with fields of its user's."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def is_text(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/plain")
    assert len(response.text) > 1
    return response.text


def is_accepted(response: httpx.Response) -> None:
    assert (response.status_code, response.content) == (202, b""), response.text


async def rows(world: World) -> list[dict[str, Any]]:
    return [row for record in await world.records() for row in record.batch.to_pylist()]


@pytest.mark.parametrize(
    ("packed", "headers"),
    [
        (bytes, {}),
        (bytes, {"Content-Type": "application/json"}),
        (bytes, {"Content-Type": "application/x-www-form-urlencoded"}),
        (zlib.compress, {"Content-Encoding": "gzip,deflate"}),  # pygelf
        (gzip.compress, {"Content-Encoding": "gzip,deflate"}),
        (gzip.compress, {"Content-Encoding": "gzip"}),
        (zlib.compress, {"Content-Encoding": "deflate"}),
        (gzip.compress, {}),
    ],
)
async def test_a_message_is_accepted_once_it_is_in_the_log(world: World, packed: Any, headers: dict[str, str]) -> None:
    body = packed(json.dumps(PYGELF).encode())
    is_accepted(await world.http.post(GELF_PATH, content=body, headers={**headers, "x-test-tenant": "acme"}))
    assert [record.tenant for record in await world.records()] == ["acme"]
    (row,) = await rows(world)
    told = (row["message"], row["level"], row["host"], row["service"], row["timestamp"].timestamp())
    assert told == ("boom", "ERROR", "web-1", "shop", 1_789_999_999.25)
    assert row["event_id"] is None
    assert dict(row["attributes"]) == {
        **{"full_message": "boom\nTraceback", "line": "12", "van_halen": "1984", "id": "7"},
    }


@pytest.mark.parametrize("separator", [b"\n", b","])
async def test_several_messages(world: World, separator: bytes) -> None:
    body = ONE + separator + ONE.replace(b'm"', b'n"')
    is_accepted(await world.http.post(GELF_PATH, content=b"[" + body + b"]" if separator == b"," else body))
    assert await world.messages() == ["m", "n"]


async def test_a_message_without_a_text_is_kept(world: World) -> None:
    is_accepted(await world.http.post(GELF_PATH, content=b'{"host":"h","_a":1}'))
    (row,) = await rows(world)
    assert (json.loads(row["message"]), row["host"]) == ({"host": "h", "a": 1}, "h")


async def test_what_is_no_message_is_400_and_costs_no_other(world: World) -> None:
    for body in (b"", b"{", b"[5]", b"\xff"):
        is_text(await world.http.post(GELF_PATH, content=body), 400)
    assert await world.messages() == []
    is_accepted(await world.http.post(GELF_PATH, content=b"[5," + ONE + b"]"))
    assert await world.messages() == ["m"]


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("bad"), RuntimeError("hunter2")])
async def test_what_is_no_fault_of_the_requests_is_503(world: World, error: Exception) -> None:
    world.log.error = error
    response = await world.http.post(GELF_PATH, content=ONE)
    assert "hunter2" not in is_text(response, 503)
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(("error", "status"), [(Unauthenticated("a key"), 401), (Forbidden("not for this"), 403)])
async def test_who_is_not_let_in(world: World, error: Exception, status: int) -> None:
    async def tenant(_: Request) -> str:
        raise error

    api = PushApi(world.gatherer, tenant, world._health, world._known_request)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://push") as http:
        is_text(await http.post(GELF_PATH, content=ONE), status)
    assert await world.messages() == []


async def test_the_deadline_limits_encodings_and_methods(world: World) -> None:
    api = PushApi(world.gatherer, standstill, world._health, world._known_request, deadline_s=0.02)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://push") as http:
        is_text(await http.post(GELF_PATH, content=ONE), 503)
    is_text(await world.http.post(GELF_PATH, content=b" " * (MAX_BYTES + 1)), 413)
    is_text(await world.http.post(GELF_PATH, content=ONE, headers={"content-encoding": "br"}), 415)
    assert (await world.http.get(GELF_PATH)).headers["allow"] == "POST"
    is_text(await world.http.get(GELF_PATH), 405)


async def test_a_large_body_is_stored_in_order_and_a_repeat_is_known(world: World) -> None:
    body = b"\n".join(json.dumps({"short_message": f"{n:05d} " + "x" * 150}).encode() for n in range(8_000))
    for _ in range(2):
        is_accepted(await world.http.post(GELF_PATH, content=body))
    assert [text[:5] for text in (await world.messages())[:8_000]] == [f"{n:05d}" for n in range(8_000)]
    requests = [each.request for each in await world.records()]
    assert None not in requests
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_the_api_tells_of_it(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert {"202", "400", "401", "403", "413", "503"} <= set(document["paths"][GELF_PATH]["post"]["responses"])
