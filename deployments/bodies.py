"""Bodies of requests as they come: bounded, held to a least pace, and counted while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.problem import error_response
from ess_ray.core.errors import EssError, TooLarge, Unavailable
from ess_ray.intake.gate import Gate

MAX_QUESTION_BYTES: Final = 256 * 1024
"""A body that is no batch of events: a query of 16 KiB and eight names of 1,000 characters, all written as escapes, are
150 KB."""
QUESTIONS_BYTES: Final = 64 * 1024 * 1024
"""All such bodies of a replica together: 16 KiB each for a thousand that stand still."""


@dataclass(frozen=True)
class Pace:
    """The least that must come of a body, in any `window_s`: a connection that brings less keeps its place from others.

    Half a kilobyte a second is the slowest of modems; twenty seconds outlast what TCP repairs.
    """

    window_s: float = 20.0
    least_bytes: int = 10 * 1024


Bytes = Callable[[int], None]
"""Told a number of bytes; raises where there is no room for them."""


async def read_body(
    request: Request, most_bytes: int, hold: Bytes, pace: Pace = Pace(), announced: Bytes = lambda _: None
) -> bytes | bytearray:
    """Read a request's body, telling `hold` its bytes as they become more, and `announced` beforehand how many come.

    Raises TooLarge beyond `most_bytes`, Unavailable when it comes too slowly, ClientDisconnect, and whatever `hold` and
    `announced` raise: nothing of the body is kept then.
    """
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit():
        if int(told) > most_bytes:
            raise _too_large(most_bytes)
        announced(int(told))  # before it is sent in vain
    body = bytearray()  # one piece: a body may come as a byte at a time
    try:
        async with asyncio.timeout(pace.window_s) as window:
            window_began_at = 0
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk: bytes = message.get("body", b"")
                size = len(body) + len(chunk)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                hold(size)
                if not message.get("more_body", False) and not body:
                    return chunk
                body += chunk
                if not message.get("more_body", False):
                    return body
                if size - window_began_at >= pace.least_bytes:
                    window_began_at = size
                    window.reschedule(asyncio.get_running_loop().time() + pace.window_s)
    except TimeoutError as error:
        if not window.expired():
            raise
        raise Unavailable(
            f"less than {pace.least_bytes} bytes of the body came within {pace.window_s:g} s: nothing was kept, send "
            "it again, or less at a time"
        ) from error


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most_bytes} bytes: send smaller ones", limit=most_bytes)


class Questions:
    """ASGI middleware: the bodies of `app` are read before it is called, and are small."""

    def __init__(self, app: ASGIApp, gate: Gate | None = None, pace: Pace = Pace()) -> None:
        self._app, self._pace = app, pace
        self._gate = gate if gate is not None else Gate(QUESTIONS_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        claim = self._gate.claim("")  # whose it is, is known only when it is read
        try:
            body = await read_body(request, MAX_QUESTION_BYTES, claim.hold, self._pace)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except EssError as error:
            await error_response(request, error)(scope, receive, send)
            return
        finally:
            claim.close()
        await self._app(scope, _then(body, receive), send)


def _then(body: bytes | bytearray, receive: Receive) -> Receive:
    """Give a body that was read, and then whatever else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
