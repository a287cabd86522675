"""A request for as long as it lasts: whoever let it in may end it, wherever it waits and whatever it has sent.

What is not answered yet is answered with a problem. Server-sent events end with an `error` event that says why. Any
other answer is broken off, so that nobody takes it for whole; so is one that its client does not take.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.problem import error_response
from deployments.sse import MEDIA_TYPE, server_sent
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.intake.gate import Claim, Gate
from ess_ray.problem import Write, as_problem, kind_of

_log = logging.getLogger(__name__)

_KEY: Final = "ess.lasting"
"""Where a request's scope holds its `Lasting`."""
LAST_WORD_S: Final = 1.0
"""How long a client may take to read why its events end: one that does not read is broken off without."""
DRAINED_BYTES: Final = 64 * 1024
"""A refused body of so many bytes is read and thrown away, so that its connection can be used again; a longer one costs
more than a new connection, and one of unknown length may never end."""
LINGER_S: Final = 5.0
"""How long such a connection stays open behind its answer, throwing away what comes: closed at once it would be reset
under a client that still sends, which then often misses the answer."""
STALLED_S: Final = 300.0
"""How long a client may take nothing of an answer: then what was made for it, and its place, are for others."""
POLICY_VIOLATION: Final = 1008
"""With what a websocket is closed whose key is no longer good."""
MAX_REASON_BYTES: Final = 123
"""Of the reason of a websocket's end (RFC 6455)."""
PIECE_BYTES: Final = 256 * 1024
"""Handed to the connection at once, and so the least that a client must take within STALLED_S: 900 bytes a second."""
WHOLE_PIECE_S: Final = 30.0
"""The same of an answer that is held whole until it is taken: 9 KB a second, a slow mobile line."""
ANSWERS_BYTES: Final = 128 * 1024 * 1024
"""Answers of a replica that are longer than a piece and not taken yet; shorter ones are the connection's own. One that
is larger than half of it counts as half, which is all that one may hold: there is one of them at a time."""
ROOM_S: Final = 10.0
"""How long a part of a stream waits for room: by then those that are ended for their pace have left some."""


class Lasting:
    """One request under way. Lives on one event loop."""

    def __init__(self) -> None:
        self.limit = asyncio.timeout(None)
        self.refusal: EssError | None = None
        self.tenant = ""
        """Whose it is, once that is known: its share of what answers may hold."""
        self.at_end: Callable[[], object] | None = None
        """Called when the request is over."""

    def end(self, refusal: EssError) -> None:
        """End the request for this reason: the first one counts. Idempotent."""
        if self.refusal is None:
            self.refusal = refusal
            self.limit.reschedule(asyncio.get_running_loop().time())


def lasting(request: HTTPConnection) -> Lasting | None:
    """Give the request as one that can be ended; None where the application is not an `Endable`."""
    found: Lasting | None = request.scope.get(_KEY)
    return found


class Endable:
    """ASGI middleware: requests of `app` can be ended by their `Lasting`. `words_of` gives how a request's refusal is
    put, where not as a problem document."""

    def __init__(
        self,
        app: ASGIApp,
        words_of: Callable[[Request], Write] = lambda _: as_problem,
        *,
        linger_s: float = LINGER_S,
        answers_bytes: int = ANSWERS_BYTES,
    ) -> None:
        self._app, self._words_of, self._linger_s = app, words_of, linger_s
        self._gate, self._most_counted_bytes = Gate(answers_bytes), answers_bytes // 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or end it."""
        if scope["type"] == "websocket":
            await self._converse(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        mine = scope[_KEY] = Lasting()
        answer = _Answer(scope, receive, send, self._linger_s)
        held = _Held(answer, lambda: self._gate.claim(mine.tenant), self._most_counted_bytes, self._words_of)
        try:
            async with mine.limit:
                await self._app(scope, answer.receive, held.send)
        except TimeoutError:
            if mine.refusal is None or not mine.limit.expired():
                raise
            await answer.end(mine.refusal, self._words_of)
        finally:
            held.close()
            if mine.at_end is not None:
                mine.at_end()

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a websocket, or close it with the reason."""
        mine = scope[_KEY] = Lasting()
        try:
            async with mine.limit:
                await self._app(scope, receive, send)
        except TimeoutError:
            if mine.refusal is None or not mine.limit.expired():
                raise
            _log.info("websocket %s is ended: %s", scope["path"], mine.refusal.message)
            reason = mine.refusal.message.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})
        finally:
            if mine.at_end is not None:
                mine.at_end()


class _Answer:
    """What has been received of a request and sent to its client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, linger_s: float) -> None:
        self._scope, self._receive, self._send, self._linger_s = scope, receive, send, linger_s
        self._started = self._ended = self._events = False
        self._unread = _announces_more_than(scope["headers"], DRAINED_BYTES)
        self.path = f"{scope['method']} {scope['path']}"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers: Sequence[tuple[bytes, bytes]] = message.get("headers", [])
            self._events = any(
                name == b"content-type" and value.startswith(MEDIA_TYPE.encode()) for name, value in headers
            )
            if self._unread:
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
        elif not message.get("more_body", False):
            self._ended = True
            if self._unread:
                await self._send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        if message.get("more_body", False) or len(message.get("body", b"")) > PIECE_BYTES:
            await self._send_in_pieces(message)
        else:
            await self._send(message)  # which nothing but an earlier part could delay

    async def _send_in_pieces(self, message: Message) -> None:
        """Send a part of a body as fast as the client takes it. Raises TimeoutError when it takes too little."""
        body, more = memoryview(message.get("body", b"")), message.get("more_body", False)
        piece_s = STALLED_S if more else WHOLE_PIECE_S
        for at in range(0, len(body) or 1, PIECE_BYTES):
            piece, last = bytes(body[at : at + PIECE_BYTES]), at + PIECE_BYTES >= len(body)
            try:
                async with asyncio.timeout(piece_s) as limit:
                    await self._send({"type": "http.response.body", "body": piece, "more_body": more or not last})
            except TimeoutError:
                if limit.expired():
                    told = (self.path, PIECE_BYTES, piece_s, at, len(body))
                    _log.warning("%s is broken off: less than %d bytes were taken in %g s (at %d of %d)", *told)
                raise

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._linger_s):
                while self._unread and (await self.receive())["type"] == "http.request":
                    continue

    async def end(self, refusal: EssError, words_of: Callable[[Request], Write]) -> None:
        if self._ended:
            return
        if not self._started:
            request = Request(self._scope)
            response = error_response(request, refusal, write=words_of(request))
            await response(self._scope, self.receive, self.send)
            return
        _log.info("%s is ended: %s", self.path, refusal.message)
        if self._events:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    last = server_sent("error", _last_word(refusal))
                    await self._send({"type": "http.response.body", "body": last, "more_body": False})
                    return
        raise refusal


class _Held:
    """What is held of one answer until its client has taken it, counted: long answers as a whole from their beginning,
    of streams each part. What does not fit is refused before it begins; a stream waits, and is broken off then."""

    def __init__(
        self, answer: _Answer, claim: Callable[[], Claim], most_counted_bytes: int, words_of: Callable[[Request], Write]
    ) -> None:
        """`claim` is asked for one when there is something to count: by then it is known whose the request is."""
        self._answer, self._make_claim, self._words_of = answer, claim, words_of
        self._most_counted_bytes = most_counted_bytes
        self._claim: Claim | None = None
        self._refused = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises TimeoutError for a stream without room, and as `_Answer.send` does."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            length = _length_of(message.get("headers", ()))
            if length > PIECE_BYTES and not self._fits(length):
                self._refused = True
                _log.warning("%s is refused: answers that are not taken hold all their room", self._answer.path)
                await self._answer.end(_full(), self._words_of)
                return
        size = len(message.get("body", b""))
        if not message.get("more_body", False) or size <= PIECE_BYTES:
            await self._answer.send(message)
            return
        await self._find_room(size)
        try:
            await self._answer.send(message)
        finally:
            self.close()

    async def _find_room(self, size: int) -> None:
        """Hold a part of a stream. Raises TimeoutError, which breaks it off: an error that has an answer comes late."""
        try:
            await self._counted().hold_soon(self._most_of(size), ROOM_S)
        except Unavailable as error:
            _log.warning("%s is broken off: answers that are not taken hold all their room", self._answer.path)
            raise TimeoutError(_full().message) from error

    def _fits(self, size: int) -> bool:
        try:
            self._counted().hold(self._most_of(size))
        except Unavailable:
            return False
        return True

    def _counted(self) -> Claim:
        if self._claim is None:
            self._claim = self._make_claim()
        return self._claim

    def _most_of(self, size: int) -> int:
        return min(size, self._most_counted_bytes)

    def close(self) -> None:
        """Let go of what is held."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _full() -> Unavailable:
    return Unavailable(
        "answers that their clients do not take hold all the room that this replica has for them: ask again in a "
        "second, or for fewer rows at a time"
    )


def _length_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Give how long an answer is; 0 where nobody knows, as of streams."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def _last_word(refusal: EssError) -> dict[str, Any]:
    return {
        "detail": refusal.message,
        "reconnect": refusal.retryable,
        "status": refusal.http_status,
        "type": kind_of(refusal),
    }


def _announces_more_than(headers: Sequence[tuple[bytes, bytes]], most_bytes: int) -> bool:
    """Tell whether a request's headers announce a body that is longer, or do not say how long it is."""
    for name, value in headers:
        if name == b"content-length":
            return not value.isdigit() or int(value) > most_bytes
        if name == b"transfer-encoding":
            return True
    return False
