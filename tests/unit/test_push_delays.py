"""Pushes that meet a log, an owner or a client that is slow or away: each is answered, and nothing is held."""

from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import httpx
import pytest
from fastapi import Request

from deployments.bodies import Pace
from deployments.push import PushApi, create_push_app
from ess_ray.core.errors import CorruptData, TooFast, Unavailable
from ess_ray.intake.gate import Claim, Gate
from ess_ray.record import KnownRequest
from tests.pushing import MAX_BYTES, World, is_problem, standstill, world
from tests.waiting import until

__all__ = ["world"]


def impatient(world: World, deadline_s: float = 0.02, **parts: Any) -> httpx.AsyncClient:
    """Give a client of the same parts, with others in place of some, and little patience."""
    made = {"tenant": world._tenant, "health": world._health, "known_request": world._known_request, **parts}
    api = PushApi(world.gatherer, **made, clock_us=lambda: world.now_us, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_a_log_that_stands_still_is_503_before_a_client_gives_up(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    over = asyncio.Event()

    async def append(_: object) -> NoReturn:
        await over.wait()
        raise Unavailable("the log is away")

    async with impatient(world, deadline_s=1.0) as http:
        with monkeypatch.context() as stopped:
            stopped.setattr(world.log, "append", append)
            response = await http.post("/v1/events", json=[{"message": "one"}], headers=headers)
            assert "nothing was acknowledged" in is_problem(response, 503)["detail"]
            assert int(response.headers["retry-after"]) >= 1
            over.set()
        # Free for another body: the request that the key came with is over.
        response = await http.post("/v1/events", json=[{"message": "two"}], headers=headers)
    assert response.status_code == 202
    assert await world.messages() == ["two"]
    assert world.gatherer.gate.held_bytes == 0


async def test_an_owner_that_stands_still_is_503_and_frees_the_key(world: World) -> None:
    calls = 0

    async def known_request(vnode: int, tenant: str, key: str) -> KnownRequest | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await standstill()
        return None

    async with impatient(world, known_request=known_request) as http:
        is_problem(await http.post("/v1/events", json=[{"message": "1"}], headers={"Idempotency-Key": "k"}), 503)
        again = await http.post("/v1/events", json=[{"message": "2"}], headers={"Idempotency-Key": "k"})
    assert again.status_code == 202
    assert await world.messages() == ["2"]


async def test_keys_that_cannot_be_read_are_503(world: World) -> None:
    async with impatient(world, tenant=standstill) as http:
        is_problem(await http.post("/v1/events", json=[{"message": "m"}]), 503)


async def test_a_slow_body_does_not_count_against_the_deadline(world: World) -> None:
    deadline_s = 0.2

    async def slow() -> AsyncIterator[bytes]:
        yield b'[{"message":'
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(1.5 * deadline_s, late.set)
        await late.wait()
        yield b'"m"}]'

    async with impatient(world, deadline_s) as http:
        response = await http.post("/v1/events", content=slow(), headers={"content-type": "application/json"})
    assert response.status_code == 202, response.text


async def test_a_body_that_comes_to_a_stop_is_503_and_frees_what_it_held(world: World) -> None:
    stops = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"[" + b" " * 1_000_000
        await stops.wait()
        yield b""

    async with impatient(world, pace=Pace(window_s=0.05)) as http:
        waiting = asyncio.create_task(http.post("/v1/events", content=stalled()))
        await until(lambda: world.gatherer.gate.held_bytes > 1_000_000, "what is read does not count")
        response = await waiting
    assert "came within 0.05 s" in is_problem(response, 503)["detail"]
    assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
    assert world.gatherer.gate.held_bytes == 0


async def test_a_body_for_which_there_is_no_room_is_503_before_it_is_read(world: World) -> None:
    world.gatherer.gate = Gate(4_000_000)
    claims = [world.gatherer.gate.claim("default") for _ in range(3)]
    for claim in claims:
        claim.hold(700_000)

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it is read")
        yield b""

    large, length = b'[{"message":"' + b"x" * 900_000 + b'"}]', {"content_length": "900014"}
    is_problem(await world.push(unread(), **length), 503)
    is_problem(await world.push(gzip.compress(large), content_encoding="gzip"), 503)
    assert (await world.push([{"message": "small"}])).status_code == 202
    assert (await world.push([{"message": "x" * 400_000}], x_test_tenant="other")).status_code == 202
    for claim in claims:
        claim.close()
    assert (await world.push([{"message": "x" * 400_000}] * 2)).status_code == 202
    assert world.gatherer.gate.held_bytes == 0


def claims() -> list[Claim]:
    return [one for one in gc.get_objects() if isinstance(one, Claim)]


async def test_a_refused_body_is_let_go_of_at_once(world: World) -> None:
    world.log.error = Unavailable("away")
    before = claims()  # what other tests left, such as frames of exceptions that were logged
    gc.collect()
    gc.disable()
    try:
        for wrong in (b"no json", b" " * (MAX_BYTES + 1), b'{"message":"m"}'):
            assert (await world.push(wrong)).status_code >= 400
        world.log.error = None  # which has the frames of where it was raised
        assert [one for one in claims() if not any(one is old for old in before)] == []
    finally:
        gc.enable()


async def test_too_fast_is_429(world: World) -> None:
    world.log.error = TooFast("the log's backlog is full")
    response = await world.push([{"message": "m"}])
    is_problem(response, 429)
    assert int(response.headers["retry-after"]) >= 1


async def test_errors_without_a_client_to_blame_are_to_be_repeated_and_tell_no_secrets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.log.error = CorruptData("the log's file is damaged")
    response = await world.push([{"message": "m"}])
    assert "damaged" in is_problem(response, 503)["detail"]
    assert response.headers["retry-after"] == "1"

    def broken(request: Request) -> str:
        raise RuntimeError("password=hunter2")

    api = PushApi(world.gatherer, broken, world._health, world._known_request)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://push") as http:
        response = await http.post("/v1/events", json=[{"message": "m"}])
    is_problem(response, 503)
    assert response.headers["retry-after"] == "1"
    assert "hunter2" not in response.text
    assert "hunter2" in caplog.text


async def test_unknown_paths_and_methods_are_problems(world: World) -> None:
    is_problem(await world.http.get("/nowhere"), 404)
    response = await world.http.get("/v1/events")
    is_problem(response, 405)
    assert response.headers["allow"] == "POST"


async def test_health(world: World) -> None:
    assert (await world.http.get("/healthz")).json() == {"status": "ok"}
    world.problems.append("the log is away")
    response = await world.http.get("/healthz")
    assert is_problem(response, 503)["problems"] == ["the log is away"]
    assert "retry-after" in response.headers
