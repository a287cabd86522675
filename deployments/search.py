"""The search application: queries, polling, streaming, cancelling, status, health, over HTTP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from dataclasses import fields
from typing import Annotated, Any, Final

import pyarrow as pa
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel

from deployments import sse
from deployments.access import Tenant
from deployments.answers import json_answer, takes_arrow
from deployments.asked import (
    MAX_PAGE_ROWS,
    PAGE_ROWS,
    AnswerPage,
    CompactBody,
    Created,
    LongPoll,
    QueryBody,
    read_cursor,
    to_query,
)
from deployments.bodies import Questions
from deployments.departure import LEAVING, Departure
from deployments.docs import route_docs
from deployments.lasting import Endable
from deployments.loki.shapes import words_of
from deployments.problem import REFUSALS, install_problem_handlers
from deployments.sse import EventStream, server_sent
from deployments.waiting import GONE, while_connected
from ess_ray import exact_json
from ess_ray.aside import aside, aside_if_any
from ess_ray.core import answer_stream
from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.core.event import to_json_rows
from ess_ray.ports import AnswerState, ResultStore
from ess_ray.search.formats import PARQUET_SCHEMA, with_typed_maps
from ess_ray.search.run import Searcher

WRITTEN_ROWS: Final = 100
"""Rows of a stream that are written at once: one by one each would wait for a thread, and they may be large."""
STREAM_INTERVAL_S: Final = 0.05
"""How often a stream looks for progress: below what a person notices. New rows, and the end, wake it."""


Health = Callable[[], Awaitable[list[str]]]
Status = Callable[[], Awaitable[dict[str, Any]]]
Flush = Callable[[], Awaitable[dict[str, int]]]
Compact = Callable[[int | None], Awaitable[dict[str, Any]]]


def _state_json(query_id: str, state: AnswerState) -> dict[str, Any]:
    told = {one.name: getattr(state, one.name) for one in fields(state)}
    beside = {**(told.pop("statistics") or {}), **(told.pop("table") or {})}
    if state.buckets is None:  # a search for rows
        del told["buckets"], told["interval_s"]
    elif state.table is not None:
        del told["buckets"]
    if state.position is None:
        del told["position"]
    return {"id": query_id, **told, **beside}


class SearchApi:
    """The endpoints over their parts; `create_search_app` routes to them."""

    def __init__(  # noqa: PLR0913 (the parts of a whole application, each by its name)
        self,
        *,
        searcher: Searcher,
        results: ResultStore,
        tenant: Tenant,
        admin: Tenant,
        health: Health,
        status: Status,
        flush: Flush,
        compact: Compact,
        executors: Collection[str] = ("ray", "auto"),
        usual_executor: str = "ray",
        departure: Departure | None = None,
        answers_stay: bool = False,
        warnings: Health | None = None,
    ) -> None:
        """`answers_stay`: another replica has them when this one has ended. Without `departure` it never does.

        `warnings` names what is wrong and no reason to send requests elsewhere.
        """
        self._searcher, self._results = searcher, results
        self._tenant, self._admin, self._health, self._status = tenant, admin, health, status
        self._flush, self._compact = flush, compact
        self._executors, self._usual_executor = executors, usual_executor
        self._departure = departure if departure is not None else Departure(_stays, searcher.close)
        self._answers_stay = answers_stay
        self._warnings = warnings if warnings is not None else _none

    async def create(self, request: Request, body: QueryBody) -> Response:
        """Start a search. 201 with its id at once; rows come by polling or streaming.

        With `wait` it is answered when `page` rows are there or the search has ended, at most so many seconds later: as
        `GET /v1/queries/{query_id}` then is. The search goes on, unless its client has gone by then.
        """
        tenant = await self._tenant(request)
        executor = self.executor(body.executor)
        query_id = await self._searcher.start(tenant, to_query(body, time.time_ns() // 1000), executor, body.query)
        return await self.created(request, tenant, query_id, body.wait, body.page)

    async def created(self, request: Request, tenant: str, query_id: str, wait_s: float, rows: int) -> Response:
        """Answer a request that has started something: at once, or with its first page when that is there."""
        if not wait_s:
            position = self._searcher.position(tenant, query_id)
            told = {"state": "running"} if position is None else {"state": "queued", "position": position}
            return json_answer({"id": query_id, **told}, 201)
        heard = False
        try:
            heard = await while_connected(request, self._searcher.wait(tenant, query_id, wait_s, rows))
        finally:
            if not heard:  # nobody was told its id
                await self._searcher.cancel(tenant, query_id, GONE)
        state, found = await self._read(tenant, query_id, 0, rows)
        return await aside_if_any(len(found) + state.parts, _page, query_id, state, found, 0, 201)

    def executor(self, asked: str | None) -> str:
        """Give the executor asked for, or the usual one. Raises BadRequest for one that is not there."""
        executor = self._usual_executor if asked is None else asked
        if executor not in self._executors:
            raise BadRequest(
                "no Lambda function is configured: set lambda.function (ESS_LAMBDA__FUNCTION) to its name, or use "
                '"ray", or "auto", which then is the same'
            )
        return executor

    async def page(
        self,
        request: Request,
        query_id: str,
        cursor: str | None = None,
        limit: int = PAGE_ROWS,
        wait: LongPoll = 0.0,
    ) -> Response:
        """Give the rows from a cursor on, and where the search stands. The same cursor gives the same rows.

        With `wait` it is answered as soon as a row is there or the search has ended, at most so many seconds later.
        With `Accept: application/vnd.apache.arrow.stream` the rows are an Arrow stream, and all else is JSON in its
        schema's metadata, under `ess.page`.
        """
        tenant = await self._tenant(request)
        if not 1 <= limit <= MAX_PAGE_ROWS:
            raise BadRequest(f"limit must lie between 1 and {MAX_PAGE_ROWS}")
        start = read_cursor(cursor)
        if wait:
            await while_connected(request, self._searcher.wait(tenant, query_id, wait, start + 1))
        state, rows = await self._read(tenant, query_id, start, limit)
        write = _arrow_page if takes_arrow(request) else _page
        return await aside_if_any(len(rows) + state.parts, write, query_id, state, rows, start)

    async def _read(self, tenant: str, query_id: str, start: int, limit: int) -> tuple[AnswerState, pa.Table]:
        # State before rows: a state that says done then has all its rows behind it.
        state = await self._results.state(tenant, query_id)
        return state, await self._results.rows(tenant, query_id, start, limit)

    async def stream(
        self,
        request: Request,
        query_id: str,
        cursor: str | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Follow a search as server-sent events: `event` per row, `progress`, and `done` at the end.

        Of an aggregation there are no rows: `progress` and `done` carry its buckets. Where the stream cannot go on it
        ends with `error` instead; `reconnect` in it tells whether to connect again, after a moment, with the last id
        as `cursor` or `Last-Event-ID`: the stream then goes on behind it.
        """
        # A browser that reconnects repeats the address it was given, with the cursor of then.
        tenant, start = await self._tenant(request), read_cursor(last_event_id or cursor)
        await self._results.state(tenant, query_id)  # 404 before the stream begins
        return EventStream(self._events(tenant, query_id, start))

    async def _events(self, tenant: str, query_id: str, at: int) -> AsyncGenerator[bytes, None]:
        told: AnswerState | None = None
        idle = False
        with self._departure.watched():
            while True:
                try:
                    if idle:
                        await self._searcher.wait(tenant, query_id, STREAM_INTERVAL_S, at + 1)
                    state, rows = await self._read(tenant, query_id, at, PAGE_ROWS)
                except EssError as error:
                    yield _broken_off(error.message, error.retryable, at)
                    return
                for first in range(0, len(rows), WRITTEN_ROWS):
                    part = rows.slice(first, WRITTEN_ROWS)
                    yield await aside(_written, part, at)
                    at += len(part)
                finished = not len(rows) and not state.under_way
                more = state.under_way or len(rows) == PAGE_ROWS
                # Where answers end with this replica nobody could go on: the search is then ended in time, and says so.
                if more and self._departure.begun and self._answers_stay:
                    yield _broken_off(LEAVING, True, at)
                    return
                idle = not len(rows)
                if len(rows):
                    continue
                if finished or told is None or await _differs(state, told):
                    told = state
                    kind = "done" if finished else "progress"
                    shown = {**_state_json(query_id, state), "cursor": f"r{at}"}
                    yield await aside(server_sent, kind, shown)
                if finished:
                    return

    async def cancel(self, request: Request, query_id: str) -> Response:
        """Cancel a search; what it found stays. Idempotent."""
        state = await self._searcher.cancel(await self._tenant(request), query_id)
        return await aside(json_answer, _state_json(query_id, state))

    async def close(self) -> None:
        """End what this replica still runs. Serve calls it when the replica goes, having let searches run on for the
        30 s in which it takes the replica out of HAProxy: most have ended by then, and the others are told as failed.
        Not while requests are under way: those that may last are watched by `departure`, which then ends searches.
        """
        await self._searcher.close()

    async def flush(self, request: Request) -> Response:
        """Store everything that is buffered; answers when it is durable."""
        await self._admin(request)
        return json_answer(await self._flush())

    async def compact(self, request: Request, body: CompactBody | None = None) -> Response:
        """Merge small objects and apply retention. `more` in the answer: send it again with the same `before_us`."""
        await self._admin(request)
        return json_answer(await self._compact(body.before_us if body is not None else None))

    async def status(self, request: Request) -> Response:
        """Tell how the system is: pool, buffers, objects; of all tenants together."""
        await self._admin(request)
        return json_answer(await self._status())

    async def healthz(self) -> Response:
        """200 when complete answers are possible, else 503 with the reasons.

        `warnings`: damage that no other replica could do without, such as an object that cannot be read. Answers that
        need it are incomplete; pushes and all other answers are not.
        """
        problems = await self._health()
        if problems:
            raise Unavailable("; ".join(problems), problems=problems)
        return json_answer({"status": "ok", "warnings": await self._warnings()})


async def _stays() -> bool:
    return False


async def _none() -> list[str]:
    return []


def _broken_off(detail: str, reconnect: bool, at: int) -> bytes:
    return server_sent("error", {"detail": detail, "reconnect": reconnect, "cursor": f"r{at}"})


async def _differs(state: AnswerState, told: AnswerState) -> bool:
    """Tell whether there is something new to tell; of many buckets that takes a while."""
    if state.progress != told.progress:
        return True
    if state.buckets is told.buckets and state.table is told.table:
        return False
    return await aside(lambda: (state.buckets, state.table) != (told.buckets, told.table))


def _written(rows: pa.Table, at: int) -> bytes:
    """Write events that begin at a position of the answer; each has the cursor behind it."""
    return b"".join(server_sent("event", event, f"r{at + n}") for n, event in enumerate(to_json_rows(rows), 1))


def _page(query_id: str, state: AnswerState, rows: pa.Table, start: int, status: int = 200) -> Response:
    cursor = f"r{start + len(rows)}"
    return json_answer({**_state_json(query_id, state), "events": to_json_rows(rows), "cursor": cursor}, status)


def _arrow_page(query_id: str, state: AnswerState, rows: pa.Table, start: int) -> Response:
    told = exact_json.dumps({**_state_json(query_id, state), "cursor": f"r{start + len(rows)}"})
    writer = answer_stream.StreamWriter(PARQUET_SCHEMA, {answer_stream.PAGE: told})
    data = (writer.add(with_typed_maps(rows)) if len(rows) else b"") + writer.close()
    return Response(data, media_type=answer_stream.MEDIA_TYPE)


def create_search_app(api: SearchApi) -> FastAPI:
    """Route the endpoints, below the prefix `/search` that Serve takes off."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await api.close()

    app = FastAPI(
        title="ess_ray search",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=life,
        responses=REFUSALS,
    )
    install_problem_handlers(app)
    app.add_middleware(Questions)
    app.add_middleware(Endable, words_of=words_of)
    app.post("/v1/queries", status_code=201, response_model=Created | AnswerPage)(api.create)
    pages: dict[int | str, dict[str, Any]] = {
        200: {"model": AnswerPage, "content": {answer_stream.MEDIA_TYPE: {"schema": {"type": "string"}}}}
    }
    app.get("/v1/queries/{query_id}", responses=pages)(api.page)
    answers = sse.described("`event` and `progress` while the search runs, `done` at its end, or `error`")
    app.get("/v1/queries/{query_id}/stream", response_class=Response, responses=answers)(api.stream)
    app.delete("/v1/queries/{query_id}")(api.cancel)
    app.post("/v1/flush")(api.flush)
    app.post("/v1/compact")(api.compact)
    app.get("/v1/status")(api.status)
    app.get("/healthz")(api.healthz)
    route_docs(app)
    return app


def route_polled(
    app: FastAPI, path: str, create: Callable[..., Awaitable[Response]], page: type[BaseModel], search: SearchApi
) -> None:
    """Add the endpoints of another kind of query: `create` starts one, which is polled and cancelled as rows are."""
    pages: dict[int | str, dict[str, Any]] = {200: {"model": page}}
    app.post(path, status_code=201, response_model=Created | page)(create)
    app.get(f"{path}/{{query_id}}", responses=pages)(search.page)
    app.delete(f"{path}/{{query_id}}")(search.cancel)
