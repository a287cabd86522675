"""Pipes over HTTP: a query with stages behind it, whose answer is a table.

A pipe is a query to poll and cancel like any other. May live here: translation between HTTP and
`Searcher.start_count`. May not: what a stage does (`search.table`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deployments.access import Tenant
from deployments.search import Hint, SearchApi, read_range
from ess_ray.core import query as q
from ess_ray.core.errors import QueryError
from ess_ray.language import parse, parse_pipe
from ess_ray.search.run import Searcher
from ess_ray.search.table import aggregation_of
from ess_ray.search.zones import clock_named

MAX_WAIT_S: Final = 30.0
"""How long a request may wait for its table: balancers wait 60 s."""
MAX_NAME_CHARS: Final = 1_000
NO_STAGES: Final = "a pipe has stages behind its query, such as `| stats count() by service`; rows alone are a query"

WaitS = Annotated[float, Field(ge=0, le=MAX_WAIT_S)]


class PipeBody(BaseModel):
    """What to ask. Times as in a query."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    """A query, then stages: `level:ERROR | stats count() as n, p95(duration_ms) by service every 5m | top 10 by n`."""
    start: str | int | float | None = "-1h"
    end: str | int | float | None = None
    time_zone: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = "UTC"
    """By whose clock days begin: `Europe/Berlin`, or an offset such as `+02:00`."""
    wait: WaitS = 0
    """Seconds to wait for the end: the answer is then the page itself."""
    executor: Literal["ray", "lambda", "auto"] | None = None
    """None: as the system is set."""


class Column(BaseModel):
    """A column of a table."""

    name: str
    type: Literal["time", "text", "number"]
    """Times are RFC 3339 text."""


class PipePage(BaseModel):
    """Where a pipe stands, and its table so far. `events` is always empty."""

    id: str
    state: Literal["running", "done", "truncated", "failed", "cancelled"]
    columns: list[Column] = []
    rows: list[list[str | int | float | None]] = []
    """At most 10,000; where there are more `incomplete` says so."""
    rows_total: int = 0
    interval_s: int | None = None
    """How wide the buckets of `every` are."""
    ignored: dict[str, int] = {}
    """How many values of each field are no numbers, and were left out."""
    relative_error: dict[str, float] = {}
    """By how much of its value a function may be off; those that are exact are not here."""
    events: list[Any]
    cursor: str
    progress: dict[str, int | float | str | None]
    complete: bool
    incomplete: list[str]
    hints: list[Hint]
    elapsed_ms: int


@dataclass
class PipeApi:
    """The endpoints over their parts; `route_pipes` routes to them."""

    searcher: Searcher
    tenant: Tenant
    executor: Callable[[str | None], str]
    """Gives the executor that a request asked for, or the usual one."""
    search: SearchApi

    async def create(self, request: Request, body: PipeBody) -> Response:
        """Start a pipe. 201 with its page, at once or, with `wait`, when it has ended or so many seconds are over."""
        tenant = await self.tenant(request)
        executor = self.executor(body.executor)
        now_us = time.time_ns() // 1000
        start_us, end_us = read_range(body.start, body.end, now_us)
        pipe = parse_pipe(body.query)
        if pipe is None:
            parse(body.query)  # what is wrong with the query itself is told first
            raise QueryError(NO_STAGES, len(body.query))
        aggregation = aggregation_of(pipe, clock_named(body.time_zone), start_us, end_us, now_us)
        query = q.Query(pipe.root, start_us, end_us)
        query_id = await self.searcher.start_count(tenant, query, aggregation, executor, pipe.query)
        answer = await self.page(request, query_id, body.wait)
        answer.status_code = 201
        return answer

    async def page(
        self,
        request: Request,
        query_id: str,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the end.")] = 0,
    ) -> Response:
        """Tell where a pipe stands, and its table so far."""
        if wait > 0:
            await self.searcher.wait(await self.tenant(request), query_id, wait)
        return await self.search.page(request, query_id)


def route_pipes(app: FastAPI, api: PipeApi) -> None:
    """Add the endpoints; cancelling is that of queries."""
    pages: dict[int | str, dict[str, Any]] = {200: {"model": PipePage}}
    app.post("/v1/pipes", status_code=201, response_model=PipePage)(api.create)
    app.get("/v1/pipes/{query_id}", responses=pages)(api.page)
    app.delete("/v1/pipes/{query_id}")(api.search.cancel)
