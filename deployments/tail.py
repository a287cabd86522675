"""The live tail over HTTP: server-sent events for as long as the client listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import FastAPI, Header, Request, Response

from deployments.access import Tenant
from deployments.departure import LEAVING, Departure
from deployments.sse import EventStream, described, server_sent
from ess_ray.aside import aside
from ess_ray.core.errors import EssError
from ess_ray.core.event import to_json_rows
from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.search.follow import Shown, Sleep, TailProgress, follow
from ess_ray.search.meter import SearchMeter, Unmetered
from ess_ray.search.shares import Shares
from ess_ray.search.tail import Cursor, Parts, Tail, read_cursor

_log = logging.getLogger(__name__)

MAX_TAILS: Final = 100
"""Tails of one replica: each asks the owners up to four times a second, and a replica answers searches as well."""
CHUNK_ROWS: Final = 200
"""Rows written at once: they become JSON in a thread, and wait in memory until the client has read them."""


class TailApi:
    """The tails of one replica, on one event loop."""

    def __init__(
        self,
        parts: Parts,
        tenant: Tenant,
        departure: Departure,
        *,
        meter: SearchMeter | None = None,
        max_tails: int = MAX_TAILS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._parts, self._tenant, self._departure = parts, tenant, departure
        self._meter: SearchMeter = meter if meter is not None else Unmetered()
        self._sleep, self._places = sleep, Shares("tails", max_tails)

    async def tail(
        self,
        request: Request,
        query: str = "",
        cursor: str | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Show what is pushed from now on and matches, as it comes: `event` per row, `progress` every second.

        An `id` is a cursor: sent as `cursor` or `Last-Event-ID` within an hour, the tail goes on behind it without a
        gap. Ends with `error` when it cannot go on; `reconnect` tells whether connecting again helps.
        """
        tenant = await self._tenant(request)
        # A browser that reconnects repeats the address it was given, with the cursor of then.
        text = last_event_id or cursor
        asked = Query(parse(query))
        at = read_cursor(text) if text else None
        ended = self.take(tenant)
        try:
            tail = await self.begin(tenant, asked, at)
        except BaseException:
            ended()
            raise
        return EventStream(self._events(tail), ended)

    def take(self, tenant: str) -> Callable[[], None]:
        """Take a tail's place; gives what gives it back. Raises TooFast."""
        give_back = self._places.take(tenant)
        self._meter.tailing(self._places.taken)

        def ended() -> None:
            give_back()
            self._meter.tailing(self._places.taken)

        return ended

    async def begin(self, tenant: str, query: Query, at: Cursor | None = None) -> Tail:
        """Begin a tail at the log's end, or at a cursor. Raises BadRequest, Unavailable."""
        return await Tail.begin(self._parts, tenant, query, at)

    @property
    def leaving(self) -> bool:
        """Whether this replica is about to end, so that a tail must."""
        return self._departure.begun

    @contextlib.asynccontextmanager
    async def steps(self, tail: Tail) -> AsyncGenerator[AsyncGenerator[Shown | TailProgress, None], None]:
        """Follow a tail, and look meanwhile for the end of this replica."""
        with self._departure.watched():
            async with contextlib.aclosing(follow(tail, self._parts.clock_s, self._sleep)) as steps:
                yield steps

    async def _events(self, tail: Tail) -> AsyncGenerator[bytes, None]:
        try:
            async with self.steps(tail) as steps:
                async for step in steps:
                    if isinstance(step, Shown):
                        for start in range(0, len(step.rows), CHUNK_ROWS):
                            yield await aside(_written, step, start)
                        continue
                    told = asdict(step)
                    cursor = told.pop("cursor")
                    yield server_sent("progress", told, cursor)
                    if self._departure.begun:
                        yield server_sent("error", {"detail": LEAVING, "reconnect": True})
                        return
        except EssError as error:
            yield server_sent("error", {"detail": error.message, "reconnect": error.retryable})
        except Exception:  # noqa: BLE001 (logged, and told)
            _log.exception("a tail failed")
            detail = "something failed that should not; the server's log says what"
            yield server_sent("error", {"detail": detail, "reconnect": True})


def _written(shown: Shown, start: int) -> bytes:
    """Write a part of a look. Its cursor stands with the last row alone: whoever was cut off before, starts it over."""
    events = to_json_rows(shown.rows.slice(start, CHUNK_ROWS))
    last = len(shown.rows) - start - 1
    return b"".join(server_sent("event", row, shown.cursor if at == last else None) for at, row in enumerate(events))


def route_tail(app: FastAPI, api: TailApi) -> None:
    """Add `GET /v1/tail`, for keys of scope search."""
    answers = described("`event` and `progress` until the client goes, `error` when the tail cannot go on")
    app.get("/v1/tail", response_class=Response, responses=answers)(api.tail)
