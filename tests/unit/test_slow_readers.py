"""Clients that do not take their answers: what is held of these is counted, has a limit, and a least pace."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from deployments import lasting
from deployments.lasting import PIECE_BYTES, Endable
from deployments.problem import install_problem_handlers
from tests.unit.test_lasting import Client
from tests.waiting import until

PAGE_BYTES = 2 * PIECE_BYTES
ROOM_BYTES = 8 * PIECE_BYTES
"""For two pages at a time, by the shares of the gate."""


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(2):
        yield b"x" * PAGE_BYTES


class Slow(Client):
    """One that takes the head of an answer, and its body when it is told to."""

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.started = message
        else:
            await super()._send(message)


def app(answers_bytes: int = ROOM_BYTES) -> Any:
    made = FastAPI()
    install_problem_handlers(made)

    async def page() -> Response:
        return Response(b"x" * PAGE_BYTES)

    async def small() -> Response:
        return Response(b"x")

    async def stream() -> Response:
        return StreamingResponse(_parts())

    for endpoint in (page, small, stream):
        made.get(f"/{endpoint.__name__}")(endpoint)
    return Endable(made, answers_bytes=answers_bytes)


async def two_that_take_nothing(asked: Any) -> list[Client]:
    """Fill the room."""
    clients: list[Client] = [Slow(asked, "/page", "") for _ in range(2)]
    for client in clients:
        client.stalled.clear()
    await until(lambda: asked._gate.held_bytes == 2 * PAGE_BYTES, "their pages are held")
    return clients


async def test_what_slow_readers_hold_is_bounded_and_small_answers_go_on() -> None:
    asked = app()
    stalled = await two_that_take_nothing(asked)
    refused = Client(asked, "/page", "")
    await until(refused.task.done, "it is answered")
    assert refused.status == 503
    assert "fewer rows" in json.loads(refused.body)["detail"]
    small = Client(asked, "/small", "")
    await until(small.task.done, "it is answered")
    assert (small.status, small.body) == (200, b"x")
    for client in stalled:
        client.stalled.set()
    for client in stalled:
        await client.task
        assert (client.status, len(client.body), client.whole) == (200, PAGE_BYTES, True)
    again = Client(asked, "/page", "")
    await again.task
    assert (again.status, len(again.body)) == (200, PAGE_BYTES)


async def test_who_takes_less_than_the_least_pace_is_broken_off_and_its_room_is_for_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lasting, "WHOLE_PIECE_S", 0.05)
    asked = app()
    stalled = await two_that_take_nothing(asked)
    with caplog.at_level(logging.WARNING):
        for client in stalled:
            with pytest.raises(TimeoutError):
                await client.task
            assert not client.whole
    assert caplog.text.count("GET /page is broken off") == 2
    again = Client(asked, "/page", "")
    await again.task
    assert again.status == 200


async def test_a_part_of_a_stream_waits_for_room() -> None:
    asked = app()
    stalled = await two_that_take_nothing(asked)
    stream = Client(asked, "/stream", "")
    await until(lambda: stream.status == 200, "it begins")
    for client in stalled:
        client.stalled.set()
    await stream.task
    assert (len(stream.body), stream.whole) == (2 * PAGE_BYTES, True)


async def test_a_stream_that_finds_no_room_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lasting, "ROOM_S", 0.2)
    asked = app()
    stalled = await two_that_take_nothing(asked)
    stream = Client(asked, "/stream", "")
    with caplog.at_level(logging.WARNING), pytest.raises(Exception, match="do not take"):
        await stream.task
    assert not stream.whole
    assert "GET /stream is broken off" in caplog.text
    for client in stalled:
        client.stalled.set()
        await client.task


async def test_an_answer_larger_than_all_room_is_given_alone() -> None:
    asked = app(answers_bytes=PIECE_BYTES)
    client = Client(asked, "/page", "")
    await client.task
    assert (client.status, len(client.body)) == (200, PAGE_BYTES)
