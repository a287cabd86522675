"""Bodies as they come: whole, in pieces, too large, too slow; and those of questions, read before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deployments.bodies import MAX_QUESTION_BYTES, Pace, Questions, read_body
from ess_ray.core.errors import TooLarge, Unavailable
from ess_ray.intake.gate import Gate


class Connection:
    """Gives messages that a test puts, as a server does."""

    def __init__(self, *parts: bytes, whole: bool = True) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, part in enumerate(parts, 1):
            self.put(part, more=not whole or number < len(parts))

    def put(self, part: bytes, more: bool) -> None:
        self.messages.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def request(self, **headers: str) -> Request:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return Request({"type": "http", "method": "POST", "headers": named}, self.messages.get)


async def read(connection: Connection, most_bytes: int = 100, **headers: str) -> tuple[bytes, list[int]]:
    held: list[int] = []
    return await read_body(connection.request(**headers), most_bytes, held.append, Pace(5.0, 10)), held


async def test_a_body_is_read_whole_and_counted_as_it_comes() -> None:
    assert await read(Connection(b"")) == (b"", [0])
    assert await read(Connection(b"abc")) == (b"abc", [3])
    assert await read(Connection(b"abc", b"", b"de")) == (b"abcde", [3, 3, 5])
    assert await read(Connection(b"x" * 100)) == (b"x" * 100, [100])


async def test_one_piece_is_not_copied() -> None:
    piece = b"x" * 50
    assert (await read(Connection(piece)))[0] is piece


async def test_what_is_too_large_is_refused_as_soon_as_that_is_known() -> None:
    with pytest.raises(TooLarge):
        await read(Connection(), content_length="101")
    with pytest.raises(TooLarge):
        await read(Connection(b"x" * 60, b"x" * 41, whole=False))


async def test_a_client_that_goes_is_no_body() -> None:
    connection = Connection(b"abc", whole=False)
    connection.messages.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        await read(connection)


async def test_a_trickle_is_ended_and_a_slow_body_that_keeps_its_pace_is_not() -> None:
    """Under a loop whose time passes when a part is given."""
    loop = asyncio.get_running_loop()
    late_s, real = 0.0, loop.time
    loop.time = lambda: real() + late_s  # type: ignore[method-assign]
    try:
        for part_bytes, ends in ((2, True), (10, False)):
            connection = Connection(b"", whole=False)
            reading = asyncio.create_task(read(connection, 1_000))
            for _ in range(6):
                await turns()
                late_s += 2.0 if ends else 4.9
                connection.put(b"x" * part_bytes, more=True)
            await turns()
            connection.put(b"", more=False)
            if ends:
                with pytest.raises(Unavailable, match="less than 10 bytes of the body came within 5 s"):
                    await reading
            else:
                assert (await reading)[0] == b"x" * 60
    finally:
        loop.time = real  # type: ignore[method-assign]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# -------------------------------------------------------------------------------------------------------- questions
async def echo(scope: Any, receive: Any, send: Any) -> None:
    request = Request(scope, receive)
    await Response(await request.body())(scope, receive, send)


def http_to(gate: Gate, pace: Pace) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(Questions(echo, gate, pace)), base_url="http://test")


async def test_a_question_is_passed_on_as_it_came_and_large_or_stalled_ones_are_not() -> None:
    gate = Gate(4_000_000)
    stalls = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        await stalls.wait()
        yield b""

    async with http_to(gate, Pace(0.05)) as http:
        for body in (b"", b"{}", b"x" * MAX_QUESTION_BYTES):
            assert (await http.post("/", content=body)).content == body
        for wrong, status in ((b"x" * (MAX_QUESTION_BYTES + 1), 413), (stalled(), 503)):
            answer = await http.post("/", content=wrong)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
    assert gate.held_bytes == 0
