"""The push application over HTTP, with a log in memory that can be made to fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import httpx
import pytest
from fastapi import FastAPI, Request

from deployments.push import PushApi, create_push_app
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.ports import Record
from ess_ray.record import DecodedRecord, KnownRequest, decode_record
from ess_ray.testing import MemoryLog

NOW_US = 1_790_000_000_000_000
VNODES = 4
MAX_BYTES = IntakeLimits().max_batch_bytes


class Log(MemoryLog):
    """An in-memory log that can be made to fail."""

    error: Exception | None = None

    async def append(self, records: Sequence[Record]) -> list[int]:
        if self.error is not None:
            raise self.error
        return await super().append(records)


class World:
    """The application over its parts, and a client."""

    def __init__(self) -> None:
        self.log = Log(VNODES)
        self.gatherer = Gatherer(self.log)
        self.problems: list[str] = []
        self.known: dict[tuple[int, str, str], KnownRequest] = {}
        self.now_us = NOW_US
        api = PushApi(self.gatherer, self._tenant, self._health, self._known_request, clock_us=lambda: self.now_us)
        self.app: FastAPI = create_push_app(api)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://push")

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def _health(self) -> list[str]:
        return self.problems

    async def _known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        return self.known.get((vnode, tenant, key))

    async def push(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) or hasattr(content, "__aiter__") else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post("/v1/events", content=body, headers={"content-type": "application/json", **named})

    async def records(self) -> list[DecodedRecord]:
        found = []
        for vnode in range(VNODES):
            for record in (await self.log.read(vnode, 0, 1 << 30)).records:
                found.append(decode_record(record, await self.log.log_id(), vnode))
        return found

    async def messages(self) -> list[str]:
        return [text for record in await self.records() for text in record.batch.column("message").to_pylist()]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert all(isinstance(document[name], str) and document[name] for name in ("type", "title", "detail"))
    return document


# -------------------------------------------------------------------------------------------------------- the deadline
async def standstill(*_: object) -> NoReturn:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    raise AssertionError
