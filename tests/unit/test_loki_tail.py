"""Loki's tail by websocket: what comes, what was there before, and who is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from deployments.departure import Departure
from deployments.loki.reading import Reader
from deployments.loki.tail import LokiTail, route_loki_tail
from deployments.tail import TailApi
from ess_ray.core.errors import Unauthenticated
from ess_ray.search.direct import Direct
from tests.tails import Rig, new_rig

DEADLINE_S = 30.0


class Talk:
    """One websocket of the application."""

    def __init__(self, app: FastAPI, **parameters: Any) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone, self._began = asyncio.Event(), False
        scope = {
            "type": "websocket",
            "path": "/loki/api/v1/tail",
            "query_string": urlencode(parameters).encode(),
            "headers": [],
            "subprotocols": [],
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._messages.put))

    async def _receive(self) -> dict[str, Any]:
        if not self._began:
            self._began = True
            return {"type": "websocket.connect"}
        await self._gone.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            return await self._messages.get()

    async def streams(self) -> list[dict[str, Any]]:
        """Give the next streams that are not empty."""
        while True:
            message = await self.next()
            assert message["type"] == "websocket.send", message
            told = json.loads(message["text"])
            assert set(told) == {"streams", "dropped_entries"}
            if told["streams"]:
                return list(told["streams"])

    async def go(self) -> None:
        self._gone.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.task


class Door:
    """The endpoint over a rig, two places in all."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.closed = rig, False
        departure = Departure(self._stays, self._end, look_s=0.001)
        tails = TailApi(rig.parts, self._tenant, departure, max_tails=2, sleep=rig.clock.sleep)
        self.app = FastAPI()
        reader = Reader(Direct(None, None), self._tenant, ())  # type: ignore[arg-type]
        route_loki_tail(self.app, LokiTail(reader, tails))

    async def _tenant(self, _: HTTPConnection) -> str:
        if self.closed:
            raise Unauthenticated("a key is needed")
        return "default"

    async def _stays(self) -> bool:
        return False

    async def _end(self) -> None:
        pytest.fail("a tail ends before that")


@pytest.fixture
async def door() -> Door:
    return Door(await new_rig())


async def test_what_is_pushed_comes_in_order(door: Door) -> None:
    talk = Talk(door.app, query='{service_name=~".+"} |= "name"', limit=0)
    assert (await talk.next())["type"] == "websocket.accept"
    await door.rig.push("name-1", "other", "name-2")
    found: list[str] = []
    while len(found) < 2:
        found += [value[1] for stream in await talk.streams() for value in stream["values"]]
    assert found == ["name-1", "name-2"]
    await talk.go()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"query": 'rate({a="b"}[1m])'}, "log query"),
        ({"query": "{"}, "parse error"),
        ({"query": '{a="b"}', "delay_for": 6}, "delay_for"),
    ],
)
async def test_refusals(door: Door, parameters: dict[str, Any], said: str) -> None:
    talk = Talk(door.app, **parameters)
    assert (await talk.next())["type"] == "websocket.accept"
    message = await talk.next()
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    assert said in message["reason"]


async def test_without_a_key_there_is_nothing(door: Door) -> None:
    door.closed = True
    talk = Talk(door.app, query='{a="b"}')
    await talk.next()
    assert (await talk.next())["reason"] == "a key is needed"
