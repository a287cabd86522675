"""Pipes over HTTP: a query with stages behind it, whose answer is a table.

A pipe is a query to poll and cancel like any other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deployments.access import Tenant
from deployments.asked import FIRST_PAGE_ROWS, Hint, Wait, read_range
from deployments.search import SearchApi, route_polled
from ess_ray.core import query as q
from ess_ray.core.errors import QueryError
from ess_ray.language import parse, parse_pipe
from ess_ray.search.run import Searcher
from ess_ray.search.table import aggregation_of
from ess_ray.search.zones import clock_named

MAX_NAME_CHARS: Final = 1_000
NO_STAGES: Final = "a pipe has stages behind its query, such as `| stats count() by service`; rows alone are a query"


class PipeBody(BaseModel):
    """What to ask. Times as in a query."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    """A query, then stages: `level:ERROR | stats count() as n, p95(duration_ms) by service every 5m | top 10 by n`, or
    `timeout | patterns | fields pattern, count`."""
    start: str | int | float | None = "-1h"
    end: str | int | float | None = None
    time_zone: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = "UTC"
    """By whose clock days begin: `Europe/Berlin`, or an offset such as `+02:00`."""
    wait: Wait = 0.0
    """Answer with the table when it is whole, at most so many seconds later, with what there is by then."""
    executor: Literal["ray", "lambda", "auto"] | None = None
    """None: as the system is set."""


class Column(BaseModel):
    """A column of a table."""

    name: str
    type: Literal["time", "text", "number", "boolean", "numbers"]
    """Times are RFC 3339 text, numbers an array of them."""


class PipePage(BaseModel):
    """Where a pipe stands, and its table so far. `events` is always empty."""

    id: str
    state: Literal["queued", "running", "done", "truncated", "failed", "cancelled"]
    columns: list[Column] = []
    rows: list[list[str | int | float | bool | list[int] | None]] = []
    """At most 10,000; where there are more `incomplete` says so."""
    rows_total: int = 0
    patterns_total: int | None = None
    """Of patterns: how many there are, whatever the stages behind, or `limit`, leave of them."""
    trend_start: str | None = None
    trend_step_s: float | None = None
    """Of patterns: where the first step of each trend begins, and how long each is."""
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
    position: int | None = None
    """Only while it is queued."""
    hints: list[Hint]
    elapsed_ms: int


@dataclass
class PipeApi:
    """The endpoints over their parts; `route_pipes` routes to them."""

    searcher: Searcher
    tenant: Tenant
    search: SearchApi
    """Answers what polls and cancels a pipe, and who waits for one."""

    async def create(self, request: Request, body: PipeBody) -> Response:
        """Start a pipe. 201 with its id at once; with `wait`, with its table when that is whole, at most so many
        seconds later: as `GET /v1/pipes/{query_id}` then is."""
        tenant = await self.tenant(request)
        executor = self.search.executor(body.executor)
        now_us = time.time_ns() // 1000
        start_us, end_us = read_range(body.start, body.end, now_us)
        pipe = parse_pipe(body.query)
        if pipe is None:
            parse(body.query)  # what is wrong with the query itself is told first
            raise QueryError(NO_STAGES, len(body.query))
        aggregation = aggregation_of(pipe, clock_named(body.time_zone), start_us, end_us, now_us)
        query = q.Query(pipe.root, start_us, end_us)
        query_id = await self.searcher.start_count(tenant, query, aggregation, executor, pipe.query)
        return await self.search.created(request, tenant, query_id, body.wait, FIRST_PAGE_ROWS)


def route_pipes(app: FastAPI, api: PipeApi) -> None:
    """Add the endpoints."""
    route_polled(app, "/v1/pipes", api.create, PipePage, api.search)
