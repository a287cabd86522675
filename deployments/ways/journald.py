"""systemd-journal-upload over HTTP: a body without an end, stored while it comes, acknowledged when it is over.

The unit is told once, at the end of its body, and begins again at the entry that was acknowledged last: a request is
never ended for its size. What is not stored yet is bounded, and has to come at a pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.bodies import Pace
from deployments.lasting import Endable
from deployments.problem import respond
from deployments.ways.describing import BINARY, text_answer
from deployments.ways.way import TAKE, Described, Parts, Way, describe_post
from ess_ray.core.errors import BadRequest, Unavailable, Unsupported
from ess_ray.intake.formats.journal_export import Entry, JournalParser
from ess_ray.intake.formats.journald import JOURNAL_WORDS, JournalPiece, by_route, said, size_of
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.gate import Claim
from ess_ray.intake.inflating import SPOKEN, inflater
from ess_ray.problem import Refusal, Write

JOURNALD_PATH: Final = "/journald/upload"
_PREFIX: Final = "/journald/"
_MEDIA_TYPE: Final = "application/vnd.fdo.journal"
_ENCODINGS: Final = {"Accept-Encoding": ", ".join(SPOKEN)}
"""systemd compresses, from version 258 on, with what it was told here before."""
_ENTRY_BYTES: Final = 500
"""What an entry takes as an object beyond its text: about twenty fields."""
_COMMIT_S: Final = 1.0
"""How long an entry waits for others: an upload has no end while its journal grows, and may bring one a minute."""


class JournaldApp:
    """Answers all below _PREFIX."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope)
        if request.method == "POST" and get_route_path(scope) == JOURNALD_PATH:
            await self._parts.push({**scope, TAKE: self._take}, receive, send)
            return
        if get_route_path(scope) == JOURNALD_PATH:
            why = Refusal(405, "Method Not Allowed", f"{JOURNALD_PATH} takes POST, not {request.method}")
            response = respond(why, _in_words(request), {"Allow": "POST"})
        else:
            response = respond(Refusal(404, "Not Found", f"a journal is taken at {JOURNALD_PATH}"), _in_words(request))
        await response(scope, receive, send)

    async def _take(self, request: Request) -> Response:
        """Store a body's entries, and answer once all of them are durable.

        Raises as `Parts.let_in` and `Parts.store` do, BadRequest where no entry can be read any more (what stood before
        is stored), Unsupported, Unavailable (too slow, or more than fits), ClientDisconnect.
        """
        kind = request.headers.get("content-type", _MEDIA_TYPE).partition(";")[0].strip().lower()
        if kind != _MEDIA_TYPE:
            raise Unsupported(f"the Content-Type {kind!r} is not spoken here: send {_MEDIA_TYPE}")
        tenant = await self._parts.let_in(request)
        claim = self._parts.gate.claim(tenant)
        try:
            count = await _Upload(self._parts, tenant, claim).take(request)
        finally:
            claim.close()
        answer = said(202, f"{count} entries are stored")
        return Response(answer.content, answer.status, _ENCODINGS, answer.media_type)


class _Upload:
    """One upload under way."""

    def __init__(self, parts: Parts, tenant: str, claim: Claim) -> None:
        self._parts, self._tenant, self._claim = parts, tenant, claim
        self._parser = JournalParser()
        self._entries: list[Entry] = []
        self._waiting_bytes = self._count = 0
        self._since_s = 0.0
        """When the first of the entries that wait came, as the event loop counts."""

    async def take(self, request: Request) -> int:
        """Store a body; gives the number of its entries."""
        undo = inflater(request.headers.get("content-encoding"))
        try:
            async for chunk in _chunks(request, self._parts.pace):
                if chunk:
                    self._parts.count_bytes(len(chunk))
                    for piece in undo.feed(chunk):
                        await self._add(self._parser.feed(piece))
                if self._entries and asyncio.get_running_loop().time() - self._since_s >= _COMMIT_S:
                    await self._store()
                    self._claim.hold(self._parser.held_bytes)
            undo.close()
            await self._add(self._parser.close())
        except BadRequest:
            await self._add(self._parser.finished())  # nothing is the matter with what stood before
            await self._store()
            raise
        await self._store()
        return self._count

    async def _add(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not self._entries:
                self._since_s = asyncio.get_running_loop().time()
            self._entries.append(entry)
            self._waiting_bytes += size_of(entry) + _ENTRY_BYTES
            if self._waiting_bytes >= PIECE_BYTES:
                await self._store()
        self._claim.hold(self._waiting_bytes + self._parser.held_bytes)

    async def _store(self) -> None:
        """Make durable what has come so far."""
        entries, self._entries, self._waiting_bytes = self._entries, [], 0
        for route_name, part in by_route(entries).items():
            self._count += await self._parts.store(self._tenant, JournalPiece(part), route_name)


async def _chunks(request: Request, pace: Pace) -> AsyncIterator[bytes]:
    """Give a body as it comes, and nothing whenever nothing has come for _COMMIT_S. The time in which nobody asks for
    more does not count towards its pace.

    Raises Unavailable when it comes too slowly, ClientDisconnect.
    """
    loop, come, waited_s = asyncio.get_running_loop(), 0, 0.0
    receiving: asyncio.Future[Message] | None = None
    try:
        while True:
            begun_s = loop.time()
            receiving = receiving or asyncio.ensure_future(request.receive())
            await asyncio.wait({receiving}, timeout=min(_COMMIT_S, pace.window_s - waited_s))
            waited_s += loop.time() - begun_s
            if not receiving.done():
                if waited_s >= pace.window_s:
                    raise Unavailable(
                        f"less than {pace.least_bytes} bytes of the body came within {pace.window_s:g} s: send it again"
                    )
                yield b""
                continue
            message, receiving = receiving.result(), None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            come += len(chunk)
            if come >= pace.least_bytes:
                come, waited_s = 0, 0.0
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return
    finally:
        if receiving is not None:
            receiving.cancel()


def _in_words(_: Request) -> Write:
    return partial(JOURNAL_WORDS.refused, content_type=None)


def _own(parts: Parts) -> ASGIApp:
    return Endable(JournaldApp(parts), _in_words)


_ANSWERS: Final[Described] = {
    202: text_answer("All of it is durable"),
    400: text_answer("This is no journal from somewhere on: what stood before it is durable"),
    401: text_answer("A key is needed: as the password in the address that the unit is given"),
    403: text_answer("The key is good, but not for this"),
    405: text_answer("POST alone is taken"),
    415: text_answer("A content type or encoding that is not spoken here"),
    503: text_answer("Not acknowledged, perhaps stored in part: send it again after Retry-After"),
}


async def push_journald() -> None:
    """Take what systemd-journal-upload sends, also at `/journald/upload` of this server: a body of any length, stored
    as it comes. 202 once all of it is durable."""


def _describe(app: FastAPI, _: Parts) -> None:
    taken = {"required": True, "content": {_MEDIA_TYPE: {"schema": BINARY}}}
    describe_post(app, JOURNALD_PATH, push_journald, 202, _ANSWERS, requestBody=taken)


JOURNALD: Final = Way(
    JOURNAL_WORDS,
    {},
    (_PREFIX,),
    _describe,
    owns=lambda path: path.startswith(_PREFIX),
    own=_own,
)
