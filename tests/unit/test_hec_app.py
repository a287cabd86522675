"""Splunk's collector over HTTP through the push application: paths, codes, acknowledgements, health."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.push import PushApi, create_push_app
from deployments.ways.hec import ACK_PATHS, EVENT_PATHS, HEALTH_PATHS, RAW_PATHS, AckIds
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.limits import IntakeLimits
from tests.pushing import World, standstill

MAX_BYTES = IntakeLimits().max_batch_bytes
PATH = "/services/collector/event"
ONE = b'{"event":"m"}'
SUCCESS = {"text": "Success", "code": 0}
BUSY = {"text": "Server is busy", "code": 9}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def refusing(world: World, tenant: Any, deadline_s: float = 10.0) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


def answered(response: httpx.Response) -> tuple[int, Any]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()


@pytest.mark.parametrize("path", EVENT_PATHS)
async def test_events_are_accepted_once_they_are_in_the_log(world: World, path: str) -> None:
    response = await world.http.post(path, content=ONE * 2, headers={"x-test-tenant": "acme"})
    assert answered(response) == (200, SUCCESS)
    (stored,) = await world.records()
    assert (stored.tenant, await world.messages()) == ("acme", ["m", "m"])


@pytest.mark.parametrize("path", RAW_PATHS)
async def test_raw_lines(world: World, path: str) -> None:
    response = await world.http.post(path, content=b"a\nb", params={"host": "h", "sourcetype": "t"})
    assert answered(response) == (200, SUCCESS)
    (stored,) = await world.records()
    assert stored.batch.column("host").to_pylist() == ["h", "h"]
    assert await world.messages() == ["a", "b"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"])
async def test_any_type_and_gzip(world: World, kind: str) -> None:
    headers = {"content-type": kind, "content-encoding": "gzip"}
    assert answered(await world.http.post(PATH, content=gzip.compress(ONE), headers=headers)) == (200, SUCCESS)
    assert await world.messages() == ["m"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", {"text": "No data", "code": 5}),
        (b" \n", {"text": "No data", "code": 5}),
        (b"[]", {"text": "No data", "code": 5}),
        (b"nonsense", {"text": "Invalid data format", "code": 6, "invalid-event-number": 0}),
        (b"[nonsense", {"text": "Invalid data format", "code": 6}),
        (b"{}", {"text": "Event field is required", "code": 12, "invalid-event-number": 0}),
        (b'{"event":""}', {"text": "Event field cannot be blank", "code": 13, "invalid-event-number": 0}),
    ],
)
async def test_codes_of_bodies_without_an_event(world: World, body: bytes, told: Any) -> None:
    assert answered(await world.http.post(PATH, content=body)) == (400, told)
    assert await world.messages() == []


async def test_an_invalid_event_costs_no_other(world: World) -> None:
    response = await world.http.post(PATH, content=b'{"event":"a"}{"event":""}{"event":"b"}')
    assert answered(response) == (200, SUCCESS)
    assert await world.messages() == ["a", "b"]


async def test_what_stood_before_something_unreadable_is_stored(world: World) -> None:
    response = await world.http.post(PATH, content=b'{"event":"a"}{"event":"b"}{"event":')
    assert answered(response) == (400, {"text": "Invalid data format", "code": 6, "invalid-event-number": 2})
    assert await world.messages() == ["a", "b"]


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("the log's file is damaged")])
async def test_what_is_no_fault_of_the_requests_is_503(world: World, error: Exception) -> None:
    world.log.error = error
    response = await world.http.post(PATH, content=ONE)
    assert answered(response) == (503, BUSY)
    assert response.headers["retry-after"] == "1"
    assert await world.messages() == []


@pytest.mark.parametrize(
    ("authorization", "error", "status", "code"),
    [
        (None, Unauthenticated("a key"), 401, 2),
        ("nonsense", Unauthenticated("a key"), 401, 3),
        ("Splunk abc", Unauthenticated("a key"), 403, 4),
        ("Splunk abc", Forbidden("not for this"), 403, 1),
        ("Splunk abc", RuntimeError("hunter2"), 503, 9),
    ],
)
@pytest.mark.parametrize("path", [PATH, *RAW_PATHS[:1]])
async def test_codes_of_who_is_not_let_in(
    world: World, path: str, authorization: str | None, error: Exception, status: int, code: int
) -> None:
    async def tenant(_: Request) -> str:
        raise error

    headers = {} if authorization is None else {"authorization": authorization}
    async with refusing(world, tenant) as http:
        response = await http.post(path, content=ONE, headers=headers)
        acks = await http.post(ACK_PATHS[0], json={"acks": [1]}, headers=headers, params={"channel": "c"})
    found, told = answered(response)
    assert (found, told["code"]) == (status, code)
    if not isinstance(error, RuntimeError):
        assert answered(acks) == (status, told)


async def test_the_deadline_is_503(world: World) -> None:
    async with refusing(world, standstill, deadline_s=0.02) as http:
        assert answered(await http.post(PATH, content=ONE)) == (503, BUSY)


async def test_more_than_the_limit_is_413_and_other_encodings_415(world: World) -> None:
    assert answered(await world.http.post(PATH, content=b" " * (MAX_BYTES + 1)))[0] == 413
    assert answered(await world.http.post(PATH, content=ONE, headers={"content-encoding": "br"}))[0] == 415


@pytest.mark.parametrize("path", [*EVENT_PATHS, *RAW_PATHS])
async def test_docker_may_ask_for_options(world: World, path: str) -> None:
    response = await world.http.options(path)
    assert (response.status_code, response.content) == (200, b"")
    response = await world.http.get(path)
    assert answered(response) == (405, {"text": "Method Not Allowed", "code": 405})
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/services/", "/services/collector/other", "/services/collector/event/2.0"])
async def test_other_paths_are_404(world: World, path: str) -> None:
    told = {"text": "The requested URL was not found on this server.", "code": 404}
    assert answered(await world.http.post(path, content=ONE)) == (404, told)


# ----------------------------------------------------------------------------------------------------- health and acks
@pytest.mark.parametrize("path", HEALTH_PATHS)
async def test_health_needs_no_token(world: World, path: str) -> None:
    async def tenant(_: Request) -> str:
        raise Unauthenticated("a key is needed")

    async with refusing(world, tenant) as http:
        assert answered(await http.get(path)) == (200, {"text": "HEC is healthy", "code": 17})
        world.problems = ["the log is away"]
        status, told = answered(await http.get(path))
        assert (status, told["code"]) == (503, 18)
        assert answered(await http.post(path))[0] == 405


@pytest.mark.parametrize("path", ACK_PATHS)
@pytest.mark.parametrize("in_address", [False, True])
async def test_what_was_given_an_id_is_durable(world: World, path: str, in_address: bool) -> None:
    headers = {} if in_address else {"X-Splunk-Request-Channel": "c"}
    params = {"channel": "c"} if in_address else {}
    given = [(await world.http.post(PATH, content=ONE, headers=headers, params=params)).json() for _ in range(3)]
    ids = [told.pop("ackId") for told in given]
    assert given == [SUCCESS] * 3
    assert len(set(ids)) == 3
    later = ids[-1] + 10**12
    response = await world.http.post(path, json={"acks": [*ids, 0, later, "x", -1]}, headers=headers, params=params)
    told = {**{str(each): True for each in ids}, "0": True, str(later): False, "x": False, "-1": False}
    assert answered(response) == (200, {"acks": told})


async def test_questions_for_acknowledgements_that_are_none(world: World) -> None:
    assert answered(await world.http.post(ACK_PATHS[0], json={"acks": [0]}))[1]["code"] == 10
    for body, code in ((b"", 5), (b"x", 6), (b"[]", 6), (b"{}", 6), (b'{"acks":5}', 6)):
        response = await world.http.post(ACK_PATHS[0], content=body, params={"channel": "c"})
        status, told = answered(response)
        assert (status, told["code"]) == (400, code)
    assert answered(await world.http.get(ACK_PATHS[0]))[0] == 405
    assert answered(await world.http.post(ACK_PATHS[0], content=b" " * 300_000, params={"channel": "c"}))[0] == 413
    assert world.gatherer.gate.held_bytes == 0


def test_ids_are_times_and_given_once_whatever_the_clock_does() -> None:
    times_us = [1_000, 1_000, 500, 2_000]
    ids = AckIds(lambda: (times_us.pop(0) if len(times_us) > 1 else times_us[0]) * 1_000)
    assert [ids.next() for _ in range(4)] == [1_000, 1_001, 1_002, 2_000]
    assert ids.is_durable(2_000)
    assert not ids.is_durable(2_000 + 60_000_000)


async def test_a_large_body_is_stored_in_order_and_a_repeat_is_known(world: World) -> None:
    body = b"".join(json.dumps({"event": f"{n:05d} " + "x" * 150}).encode() for n in range(8_000))
    for _ in range(2):
        assert answered(await world.http.post(PATH, content=body)) == (200, SUCCESS)
    assert [text[:5] for text in (await world.messages())[:8_000]] == [f"{n:05d}" for n in range(8_000)]
    requests = [each.request for each in await world.records()]
    assert None not in requests
    assert requests[: len(requests) // 2] == requests[len(requests) // 2 :]
    assert world.gatherer.gate.held_bytes == 0


async def test_the_api_tells_of_it(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert {"200", "400", "401", "403", "503"} <= set(document["paths"]["/services/collector"]["post"]["responses"])
