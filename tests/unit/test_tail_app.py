"""A live tail as a stream over HTTP: events, cursors, and who comes and goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from deployments.departure import LEAVING, Departure
from deployments.problem import install_problem_handlers
from deployments.tail import TailApi, route_tail
from ess_ray.search.meter import Unmetered
from tests.tails import Rig, new_rig

DEADLINE_S = 30.0


class Meter(Unmetered):
    tails = 0

    def tailing(self, tails: int) -> None:
        self.tails = tails


class Door:
    """The endpoint as an ASGI application, and clients whose going it is told of."""

    def __init__(self, rig: Rig) -> None:
        self.leaving = False
        self.meter = Meter()
        self.app = FastAPI()
        install_problem_handlers(self.app)
        departure = Departure(self._is_leaving, self._end, look_s=0.001)
        route_tail(
            self.app, TailApi(rig.parts, self._tenant, departure, meter=self.meter, max_tails=2, sleep=rig.clock.sleep)
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")
        self.clients: list[Client] = []

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def _is_leaving(self) -> bool:
        return self.leaving

    async def _end(self) -> None:
        pytest.fail("a tail ends before that")

    def connect(self, query: str = "", **headers: str) -> Client:
        self.clients.append(Client(self.app, query, headers))
        return self.clients[-1]

    async def close(self) -> None:
        for client in self.clients:
            await client.go()
        await self.http.aclose()


class Client:
    """One request, streamed: httpx' in-process transport gives an answer only when it has ended."""

    def __init__(self, app: FastAPI, query: str, headers: dict[str, str]) -> None:
        self._gone = asyncio.Event()
        self._parts: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/tail",
            "query_string": httpx.QueryParams({"query": query}).__str__().encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        for part in message.get("body", b"").decode().strip().split("\n\n"):
            if part:
                await self._parts.put(dict(line.split(": ", 1) for line in part.split("\n")))

    async def next(self, kind: str) -> dict[str, str]:
        """Give the next event of a kind."""
        async with asyncio.timeout(DEADLINE_S):
            while (part := await self._parts.get())["event"] != kind:
                pass
        return part

    async def go(self) -> None:
        self._gone.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.task


@pytest.fixture
async def rig() -> Rig:
    return await new_rig()


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[Door]:
    made = Door(rig)
    yield made
    await made.close()


async def test_events_are_streamed_with_a_cursor_to_go_on_from(rig: Rig, door: Door) -> None:
    client = door.connect("o")
    await client.next("progress")
    await rig.push("one", "three", "two")
    rig.clock.now_s += 1
    first, second = await client.next("event"), await client.next("event")
    assert [json.loads(part["data"])["message"] for part in (first, second)] == ["one", "two"]
    assert "id" not in first
    await client.go()
    await rig.push("four")
    rig.clock.now_s += 1
    again = door.connect("o", last_event_id=second["id"])
    assert json.loads((await again.next("event"))["data"])["message"] == "four"
    told = json.loads((await again.next("progress"))["data"])
    assert told.keys() == {
        *("matched", "shown", "skipped", "duplicates_suppressed", "rate_per_s", "lag_records", "incomplete")
    }


async def test_a_client_that_goes_ends_its_tail_at_once(rig: Rig, door: Door) -> None:
    client = door.connect()
    await client.next("progress")
    assert door.meter.tails == 1
    await client.go()
    assert door.meter.tails == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "tail looks"]
    await door.connect().go()
    assert door.meter.tails == 0, "who goes before anything was sent takes no place either"


async def test_too_many_tails_are_refused_until_one_has_gone(door: Door) -> None:
    clients = [door.connect(), door.connect(x_test_tenant="other")]
    for client in clients:
        await client.next("progress")
    refused = await door.http.get("/v1/tail")
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert refused.headers["content-type"] == "application/problem+json"
    await clients[1].go()
    refused = await door.http.get("/v1/tail")
    assert refused.status_code == 429, "the last place is for a tenant that has none"
    assert "1 of the 2 tails" in refused.json()["detail"]
    await door.connect(x_test_tenant="other").next("progress")
    await clients[0].go()


async def test_a_wrong_question_is_named_and_takes_no_place(door: Door) -> None:
    for _ in range(3):
        answer = await door.http.get("/v1/tail", params={"query": "a AND )"})
        assert (answer.status_code, answer.json()["position"]) == (400, 6)
        assert (await door.http.get("/v1/tail", params={"cursor": "nonsense"})).status_code == 400
    assert door.meter.tails == 0


async def test_a_replica_that_is_to_end_tells_its_clients_to_come_again(door: Door) -> None:
    door.leaving = True
    client = door.connect()
    progress = await client.next("progress")
    told = json.loads((await client.next("error"))["data"])
    assert told == {"detail": LEAVING, "reconnect": True}
    assert progress["id"]
    async with asyncio.timeout(DEADLINE_S):
        await client.task
    assert door.meter.tails == 0


async def test_tenants_tail_their_own(rig: Rig, door: Door) -> None:
    client = door.connect(x_test_tenant="other")
    await client.next("progress")
    await rig.push("secret")
    await rig.push("mine", tenant="other")
    rig.clock.now_s += 1
    assert json.loads((await client.next("event"))["data"])["message"] == "mine"
