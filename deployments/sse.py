"""Server-sent events: how one is written, and the response that carries them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ess_ray import exact_json

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Neither a cache nor a buffering proxy may keep events back."""

_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string", "description": "A cursor to go on from"},
        "data": {"type": "string", "description": "A JSON object"},
    },
}


def described(what: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer of events, for OpenAPI; the route's `response_class` must be a plain Response."""
    return {200: {"description": what, "content": {MEDIA_TYPE: {"schema": _EVENT}}}}


def server_sent(kind: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """Write one event; a client that reconnects sends the last `event_id` as Last-Event-ID."""
    head = f"event: {kind}\n" + (f"id: {event_id}\n" if event_id else "")
    return head.encode() + b"data: " + exact_json.dumps(data) + b"\n\n"


class EventStream(StreamingResponse):
    """A stream that lasts as its events do, or until its client goes: then it ends at once, whatever the server's ASGI
    version, and its events are closed.

    `ended` is called once, also when the client was gone before the first event.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], ended: Callable[[], None] = lambda: None) -> None:
        super().__init__(events, media_type=MEDIA_TYPE, headers=HEADERS)
        self._events, self._ended = events, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there are none any more, or the client has gone."""
        streaming = asyncio.create_task(self.stream_response(send), name="stream events")
        listening = asyncio.create_task(self.listen_for_disconnect(receive), name="listen for the client's end")
        try:
            await asyncio.wait({streaming, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            streaming.cancel()
            sent, _ = await asyncio.gather(streaming, listening, return_exceptions=True)
            await self._events.aclose()
            self._ended()
        if isinstance(sent, Exception) and not isinstance(sent, OSError):  # OSError: the client went while we sent
            raise sent
