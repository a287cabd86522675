"""Loki's tail: a websocket on which lines come as they are pushed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
import pyarrow as pa
from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketDisconnect

from deployments.loki.asked import DEFAULT_RANGE_US, Asked
from deployments.loki.reading import API, Reader
from deployments.loki.shapes import refused, streams
from deployments.tail import TailApi
from ess_ray.aside import aside
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.core.query import Query
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language.logql import parse_logql
from ess_ray.language.logql import tree as t
from ess_ray.problem import refusal_of
from ess_ray.search.follow import Shown
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import Labels, Rows
from ess_ray.search.logql.logs import Wanted, find_lines
from ess_ray.search.logql.narrowing import narrowed
from ess_ray.search.logql.stages import Pipeline

_log = logging.getLogger(__name__)

MAX_DELAY_S: Final = 5
"""As in Loki: how long lines may be held back so that late ones come in order."""
KEPT_ALIVE_S: Final = 5.0
"""Pause between two empty messages while nothing comes. Servers ping by themselves; this keeps balancers that look at
messages alone, and finds clients that have gone."""
MAX_DROPPED: Final = 1_000
"""Entries that are named as dropped in one message."""
_GOING_AWAY: Final = 1001
_INTERNAL: Final = 1011
_BAD: Final = 1008


@dataclass(frozen=True)
class Watched:
    """What a tail shows, and how."""

    query: t.LogQuery
    start_us: int | None
    limit: int
    delay_s: int


class LokiTail:
    """The endpoint over the tails of a replica."""

    def __init__(self, reader: Reader, tails: TailApi) -> None:
        self._reader, self._tails = reader, tails

    async def tail(self, socket: WebSocket) -> None:
        """Show what is pushed from now on and matches, after up to `limit` lines from `start` on.

        A refusal is an HTTP answer before the websocket begins, where the server can say it; what cannot go on later
        closes it with the reason: connect again with the last time as `start`.
        """
        try:
            tenant = await self._reader.tenant(socket)
            watched = _watched(Asked.in_address(socket))
            ended = self._tails.take(tenant)
        except EssError as error:
            await _refuse(socket, error)
            return
        try:
            await self._show(socket, tenant, watched)
        finally:
            ended()

    async def _show(self, socket: WebSocket, tenant: str, watched: Watched) -> None:
        labels = Labels.of(self._reader.configured, watched.query.matchers)
        narrow = narrowed(watched.query, labels)
        passed = partial(_passed, Pipeline(narrow.rest), Rows(labels))
        try:
            tail = await self._tails.begin(tenant, Query(narrow.root))
            before = await self._before(tenant, watched)
        except EssError as error:
            await _refuse(socket, error)
            return
        await socket.accept()
        gone = asyncio.create_task(_until_gone(socket), name="listen for a websocket's end")
        showing = asyncio.create_task(self._send_all(socket, tail, passed, watched, before), name="show a tail")
        try:
            await asyncio.wait({gone, showing}, return_when=asyncio.FIRST_COMPLETED)
            if showing.done():
                showing.result()
        finally:
            for task in (gone, showing):
                task.cancel()
            await asyncio.gather(gone, showing, return_exceptions=True)

    async def _before(self, tenant: str, watched: Watched) -> list[Entry]:
        """Give the lines from `start` to now: those that came since the tail began are in both."""
        if watched.start_us is None or not watched.limit:
            return []
        now_us = time.time_ns() // 1_000
        wanted = Wanted(watched.start_us, now_us, watched.limit, "newest")
        found = await find_lines(self._reader.direct, tenant, watched.query, wanted, configured=self._reader.configured)
        return found.entries[::-1]

    async def _send_all(
        self, socket: WebSocket, tail: Any, passed: Passed, watched: Watched, before: list[Entry]
    ) -> None:
        code, reason = _GOING_AWAY, "this search replica is about to end: connect again"
        try:
            await _send(socket, before, 0)
            sent = frozenset(entry.place for entry in before)

            def fresh(table: pa.Table) -> list[Entry]:
                return [entry for entry in passed(table) if entry.place not in sent]

            async with self._tails.steps(tail) as steps:
                await self._follow(socket, steps, fresh, watched)
        except EssError as error:
            code, reason = _BAD if isinstance(error, BadRequest) else _GOING_AWAY, error.message
        except (WebSocketDisconnect, RuntimeError):  # it has gone: nobody is there to be told
            return
        except Exception:  # noqa: BLE001 (logged, and told)
            _log.exception("a tail failed")
            code, reason = _INTERNAL, "something failed that should not; the server's log says what"
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason.encode()[:123].decode(errors="ignore"))

    async def _follow(
        self, socket: WebSocket, steps: AsyncGenerator[Any, None], passed: Passed, watched: Watched
    ) -> None:
        """Send what comes, delayed as asked for, until this replica ends. Skipped lines are told as dropped."""
        held: list[tuple[float, list[Entry]]] = []
        skipped, sent_s = 0, time.monotonic()
        async for step in steps:
            now_s = time.monotonic()
            dropped = 0
            if isinstance(step, Shown):
                held.append((now_s + watched.delay_s, await aside(passed, step.rows)))
            else:
                dropped, skipped = step.skipped - skipped, step.skipped
            ready = [entry for due_s, entries in held if due_s <= now_s for entry in entries]
            held = [(due_s, entries) for due_s, entries in held if due_s > now_s]
            if ready or dropped or now_s - sent_s >= KEPT_ALIVE_S:
                ready.sort(key=lambda entry: entry.us)
                await _send(socket, ready, dropped)
                sent_s = now_s
            if self._tails.leaving:
                return


Passed = Callable[[pa.Table], list[Entry]]


def _passed(pipeline: Pipeline, rows: Rows, table: pa.Table) -> list[Entry]:
    return pipeline.run([Entry(*row, place) for row, place in zip(rows.read(table), rows.places(table), strict=True)])


def _watched(asked: Asked) -> Watched:
    """Read what is asked for. Raises BadRequest."""
    query = parse_logql(asked.query)
    if not isinstance(query, t.LogQuery):
        raise BadRequest("only a log query can be tailed, not a metric")
    if asked.whole("delay_for", 0, 10**6) > MAX_DELAY_S:
        raise BadRequest(f"delay_for can't be greater than {MAX_DELAY_S}")
    start_us = asked.time_ns("start", asked.now_ns - DEFAULT_RANGE_US * 1_000) // 1_000
    return Watched(query, start_us, asked.limit, asked.whole("delay_for", 0, MAX_DELAY_S))


async def _send(socket: WebSocket, entries: list[Entry], dropped: int) -> None:
    told: dict[str, Any] = {"streams": await aside(streams, entries, False), "dropped_entries": None}
    if dropped:
        # Which they were, nobody knows: more came than anybody reads.
        at = entries[-1].us if entries else time.time_ns() // 1_000
        told["dropped_entries"] = [{"labels": {}, "timestamp": format_timestamp(at)}] * min(dropped, MAX_DROPPED)
    await socket.send_text(orjson.dumps(told).decode())


async def _until_gone(socket: WebSocket) -> None:
    with contextlib.suppress(RuntimeError):
        while (await socket.receive())["type"] != "websocket.disconnect":
            continue


async def _refuse(socket: WebSocket, error: EssError) -> None:
    """Answer with a refusal in place of a websocket."""
    answer = refused(refusal_of(error, later=True))
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(PlainTextResponse(answer.content, answer.status))
        return
    await socket.accept()
    await socket.close(_BAD, error.message.encode()[:123].decode(errors="ignore"))


def route_loki_tail(app: FastAPI, tail: LokiTail) -> None:
    """Add the websocket."""
    app.add_api_websocket_route(f"{API}/tail", tail.tail)
