"""Loki's queries: lines and metrics, over a range or at a moment; and the small things that its clients ask first."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.responses import PlainTextResponse

from deployments.access import Tenant
from deployments.loki.asked import Asked
from deployments.loki.described import ANSWERS, RANGE, parameters_of
from deployments.loki.shapes import (
    CATEGORIZE,
    instant,
    json_of,
    matrix,
    refusal_answer,
    refused,
    statistics,
    streams,
    success,
)
from deployments.problem import unexpected_response
from deployments.waiting import GONE, while_connected
from ess_ray.aside import aside
from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.language.logql import parse_logql, write_logql
from ess_ray.language.logql import tree as t
from ess_ray.search.direct import Direct
from ess_ray.search.logql.logs import MAX_ENTRIES, Wanted, find_lines
from ess_ray.search.logql.metrics import MAX_SERIES, Metrics
from ess_ray.search.logql.series import Series, Steps, constant

API: Final = "/loki/api/v1"
VERSION: Final = "3.4.0"
"""Of Loki, which Grafana decides by what it asks."""
QUERY_S: Final = 60.0
"""How long a query may take: Grafana waits for so long, and a question of minutes belongs into an export."""
_FLAGS: Final = "X-Loki-Response-Encoding-Flags"
NO_LINES: Final = (
    "log queries are not supported as an instant query type, please change your query to a range query type"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Reader:
    """What Loki's endpoints are made of."""

    direct: Direct
    tenant: Tenant
    configured: Sequence[str]
    """Attributes that are labels (`search.loki_labels`)."""
    query_s: float = QUERY_S

    async def answered(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Do work as long as its client waits, and no longer than `query_s`. Raises Unavailable, or what it raises."""
        done: list[T] = []

        async def working() -> None:
            async with asyncio.timeout(self.query_s):
                done.append(await work)

        try:
            heard = await while_connected(request, working())
        except TimeoutError:
            message = f"the query took longer than {self.query_s:g} s: narrow it, or its time"
            raise Unavailable(message) from None
        if not heard:
            raise Unavailable(GONE)
        return done[0]


@dataclass(frozen=True)
class Queries:
    """The endpoints of queries."""

    reader: Reader

    async def query_range(self, request: Request) -> Response:
        """Answer a log or metric query over a range."""
        tenant, asked = await self.reader.tenant(request), await Asked.of(request)
        expression = parse_logql(asked.query)
        started_s = time.monotonic()
        if isinstance(expression, t.LogQuery):
            categorize = CATEGORIZE in request.headers.get(_FLAGS, "")
            return await self._lines(request, tenant, asked, expression, categorize=categorize)
        metrics = Metrics(self.reader.direct, tenant, self.reader.configured, asked.steps())
        found = await self.reader.answered(request, metrics.answer(expression))
        series: Series = {(): constant(found, metrics.steps)} if isinstance(found, float) else found
        data = await aside(matrix, series, metrics.steps)
        told = statistics(time.monotonic() - started_s, metrics.bytes_read, len(data["result"]))
        return success({**data, "stats": told}, metrics.incomplete)

    async def _lines(
        self, request: Request, tenant: str, asked: Asked, expression: t.LogQuery, *, categorize: bool
    ) -> Response:
        started_s = time.monotonic()
        wanted = Wanted(*asked.range_us(), asked.limit, asked.order)
        work = find_lines(self.reader.direct, tenant, expression, wanted, configured=self.reader.configured)
        found = await self.reader.answered(request, work)
        made = await aside(streams, found.entries, categorize)
        told = statistics(time.monotonic() - started_s, found.bytes_read, len(found.entries))
        flags = {"encodingFlags": [CATEGORIZE]} if categorize else {}
        data = {"resultType": "streams", "result": made, "stats": told, **flags}
        return await aside(success, data, found.incomplete)

    async def query(self, request: Request) -> Response:
        """Answer a metric query at a moment."""
        tenant, asked = await self.reader.tenant(request), await Asked.of(request)
        expression = parse_logql(asked.query)
        if isinstance(expression, t.LogQuery):
            raise BadRequest(NO_LINES)
        started_s = time.monotonic()
        steps = Steps(asked.time_ns("time", asked.now_ns) // 1_000)
        metrics = Metrics(self.reader.direct, tenant, self.reader.configured, steps)
        data = instant(await self.reader.answered(request, metrics.answer(expression)), steps)
        told = statistics(time.monotonic() - started_s, metrics.bytes_read, len(data["result"]))
        return success({**data, "stats": told}, metrics.incomplete)

    async def format_query(self, request: Request) -> Response:
        """Write a query in the usual way."""
        await self.reader.tenant(request)
        return success(write_logql(parse_logql((await Asked.of(request)).query)))

    async def build_info(self, request: Request) -> Response:
        """Tell as which version of Loki this answers."""
        await self.reader.tenant(request)
        info = {"version": VERSION, "revision": "ess_ray", "branch": "main", "buildUser": "", "buildDate": ""}
        return json_of({**info, "goVersion": ""})

    async def drilldown_limits(self, request: Request) -> Response:
        """Tell Grafana's Drilldown what it may ask for."""
        await self.reader.tenant(request)
        limits = {
            "discover_log_levels": True,
            "discover_service_name": ["service_name"],
            "log_level_fields": ["level", "detected_level"],
            "max_entries_limit_per_query": MAX_ENTRIES,
            "max_line_size_truncate": False,
            "max_query_bytes_read": "0B",
            "max_query_length": "0s",
            "max_query_lookback": "0s",
            "max_query_range": "0s",
            "max_query_series": MAX_SERIES,
            "metric_aggregation_enabled": False,
            "pattern_persistence_enabled": False,
            "query_timeout": f"{self.reader.query_s:g}s",
            "retention_period": "0s",
            "volume_enabled": True,
            "volume_max_series": MAX_SERIES,
        }
        return json_of({"limits": limits, "pattern_ingester_enabled": True, "version": VERSION})

    async def rules(self, request: Request) -> Response:
        """Tell that Loki's ruler has no rules: alerts stand elsewhere."""
        await self.reader.tenant(request)
        return success({"groups": []})

    async def no_rules(self, request: Request) -> Response:
        """Tell the same in Loki's own form."""
        await self.reader.tenant(request)
        return PlainTextResponse("no rule groups found\n", 404)

    async def alerts(self, request: Request) -> Response:
        """Tell that there are no alerts of a ruler."""
        await self.reader.tenant(request)
        return success({"alerts": []})


def in_words(answer: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Put an endpoint's refusals into Loki's words."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request, **request.path_params)
        except EssError as error:
            return refusal_answer(request, error)
        except Exception as error:  # noqa: BLE001 (logged there, and told)
            return unexpected_response(request, error, 503, refused)

    return endpoint


def route(
    app: FastAPI,
    path: str,
    answer: Callable[..., Awaitable[Response]],
    asked: Sequence[str] = (),
    *,
    needs_query: bool = False,
) -> None:
    """Add one of Loki's endpoints: GET, and POST with a form. `asked`: its parameters, of `described.PARAMETERS`."""
    endpoint = in_words(answer)
    app.get(
        path,
        name=answer.__name__,
        description=f"{inspect.getdoc(answer)} Also at `{path}` of this server.",
        response_class=Response,
        responses=ANSWERS,
        openapi_extra=parameters_of(path, asked, needs_query),
    )(endpoint)
    app.add_route(path, endpoint, methods=["GET", "POST"], include_in_schema=False)  # HEAD, too


def route_queries(app: FastAPI, queries: Queries) -> None:
    """Add the endpoints of queries, and those that answer the same to everybody."""
    lines = ("query", *RANGE, "step", "limit", "direction")
    route(app, f"{API}/query_range", queries.query_range, lines, needs_query=True)
    route(app, f"{API}/query", queries.query, ("query", "time"), needs_query=True)
    route(app, f"{API}/format_query", queries.format_query, ("query",), needs_query=True)
    route(app, f"{API}/status/buildinfo", queries.build_info)
    route(app, f"{API}/drilldown-limits", queries.drilldown_limits)
    route(app, f"{API}/rules", queries.no_rules)
    route(app, "/prometheus/api/v1/rules", queries.rules)
    route(app, "/prometheus/api/v1/alerts", queries.alerts)


def route_nothing(app: FastAPI) -> None:
    """Answer in Loki's words where there is nothing; the last of Loki's routes."""

    async def nothing(request: Request) -> Response:
        return PlainTextResponse("404 page not found\n", 404)

    for prefix in ("/loki", "/prometheus"):
        every = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
        app.add_route(f"{prefix}/{{rest:path}}", nothing, methods=every, include_in_schema=False)
