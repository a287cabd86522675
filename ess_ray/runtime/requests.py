"""Requests in a replica without the queue that Ray Serve puts before each.

Serve reads a request's whole body as fast as it comes, into a queue without a bound, so that it sees when the client
goes: 300 clients that send 10 MB each took 1.7 GB, however little of it the application had asked for. With Serve's own
header for it, the application reads from the connection itself, and what it does not read waits with the client.
Whatever lasts here listens for its client's end by itself, a push is over within seconds.

Serve calls `middlewares` in every process that listens (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH).
"""

from __future__ import annotations

from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CALLBACK: Final = f"{__name__}.middlewares"
_UNQUEUED: Final = (b"x-request-disconnect-disabled", b"?1")


class Unqueued:
    """ASGI middleware: has Serve pass the connection's own `receive` on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http":
            scope["headers"].append(_UNQUEUED)  # the last one counts, whatever the client sent
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Give what Serve puts before its own handling of requests."""
    return [Middleware(Unqueued)]
