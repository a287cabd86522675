"""Patterns of messages over HTTP: the templates of the messages that a query finds, as a table.

They are a query to poll and cancel like any other, and answered as a pipe is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deployments.access import Tenant
from deployments.asked import FIRST_PAGE_ROWS, Wait, read_range
from deployments.pipes import PipePage
from deployments.search import SearchApi, route_polled
from ess_ray.core import query as q
from ess_ray.language import Limit, parse, parse_time_us
from ess_ray.search.patterns import PatternsAsked, pattern_aggregation
from ess_ray.search.run import Searcher
from ess_ray.search.stages import MAX_TABLE_ROWS

USUAL_ROWS: Final = 100
"""More patterns than anybody reads: those with the most rows are told."""


class PatternsBody(BaseModel):
    """What to look at. Times as in a query."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = ""
    start: str | int | float | None = "-1h"
    end: str | int | float | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_TABLE_ROWS)] = USUAL_ROWS
    """Patterns that are told: the most frequent ones."""
    new_since: str | int | float | None = None
    """A time: patterns whose first row, in the range, is not before it are `new`, and stand first; null: `new` is
    null."""
    wait: Wait = 0.0
    """Answer with the table when it is whole, at most so many seconds later, with what there is by then."""
    executor: Literal["ray", "lambda", "auto"] | None = None
    """None: as the system is set."""


@dataclass
class PatternsApi:
    """The endpoints over their parts; `route_patterns` routes to them."""

    searcher: Searcher
    tenant: Tenant
    search: SearchApi
    """Answers what polls and cancels them, and who waits for them."""

    async def create(self, request: Request, body: PatternsBody) -> Response:
        """Start to find patterns. 201 with the id at once; with `wait`, with the table when that is whole, at most so
        many seconds later: as `GET /v1/patterns/{query_id}` then is.

        Columns: `pattern`, `count` and `share` of the rows, `first` and `last` (times of its rows), `example`, `query`
        (finds its rows), `new`, `trend` (counts in 20 equal steps of the range; see `trend_start`, `trend_step_s`).
        """
        tenant = await self.tenant(request)
        executor = self.search.executor(body.executor)
        now_us = time.time_ns() // 1000
        start_us, end_us = read_range(body.start, body.end, now_us)
        new_since_us = None if body.new_since is None else parse_time_us(body.new_since, now_us)
        query = q.Query(parse(body.query), start_us, end_us)
        asked = PatternsAsked(body.query, new_since_us, (Limit(body.limit),))
        aggregation = pattern_aggregation(asked, start_us, end_us, now_us)
        query_id = await self.searcher.start_count(tenant, query, aggregation, executor, body.query)
        return await self.search.created(request, tenant, query_id, body.wait, FIRST_PAGE_ROWS)


def route_patterns(app: FastAPI, api: PatternsApi) -> None:
    """Add the endpoints."""
    route_polled(app, "/v1/patterns", api.create, PipePage, api.search)
