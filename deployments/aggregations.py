"""Counting over HTTP: aggregations, the fields that events have, and a field's values.

An aggregation is a query to poll, stream and cancel like any other; fields and values are aggregations that the request
waits for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import StringConvertor, register_url_convertor

from deployments.access import Tenant
from deployments.answers import json_answer
from deployments.asked import FIRST_PAGE_ROWS, Hint, Wait, read_range
from deployments.search import SearchApi, route_polled
from deployments.sse import described
from deployments.waiting import GONE, MAX_WAIT_S
from ess_ray.core import query as q
from ess_ray.core import regex
from ess_ray.core.collect import COLUMN, FieldNames, Grouping, Statistics
from ess_ray.core.errors import BadRequest, QueryError, Unavailable
from ess_ray.core.statistics import Statistic, accumulators_of
from ess_ray.language import field_named, name_of, parse, parse_statistic, without_surrogates
from ess_ray.ports import AnswerState, ResultStore
from ess_ray.search.intervals import AUTO, check_buckets, parse_interval_us
from ess_ray.search.run import Searcher
from ess_ray.search.shown import Aggregation
from ess_ray.search.zones import clock_named

MAX_TOP: Final = 1_000
"""Groups told by themselves: more than anybody reads, and with many buckets a large answer."""
MAX_BY: Final = 8
"""Fields to group by: each multiplies the groups."""
MAX_STATS: Final = 50
"""Functions of one aggregation: more columns than anybody reads."""
MAX_NAME_CHARS: Final = 1_000
MAX_PREFIX_CHARS: Final = 1_000
"""As a regular expression in a query may have: it becomes one."""
LOOK_INTERVAL_S: Final = 0.25
"""How often it is looked whether the client is still there."""
TIME_LIMIT: Final = (
    f"counting stopped after {MAX_WAIT_S:g} s, so that counts are lower bounds: narrow the time range or the query, or "
    "use POST /v1/aggregations, which has no such limit"
)
MORE_FIELDS: Final = f"there are more than {MAX_TOP:,} different fields: the most frequent ones are here"

Start = Annotated[str, Query(description="From, inclusive: as of a query.")]
End = Annotated[str | None, Query(description="Up to, exclusive; no bound if left out, or `now`.")]
Text = Annotated[str, Query(description="Which events are counted, in the query language; empty: all.")]
Top = Annotated[int, Query(ge=1, le=MAX_TOP, description="How many of the most frequent values.")]
Prefix = Annotated[
    str,
    Query(max_length=MAX_PREFIX_CHARS, description="Only values that start so (of `level` in any case)."),
]
Name = Annotated[str, Path(description="A column, or an attribute with or without `attributes.` before it.")]
Key = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class AggregationBody(BaseModel):
    """What to count. Times as in a query; repeats by `id` are counted as often as they were taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = ""
    start: str | int | float | None = "-1h"
    end: str | int | float | None = None
    interval: str | None = None
    """`30s`, `1m`, `6h`, `1d`, `2w`, ...; `auto`: at most 60 buckets; null: none. Weeks begin on Mondays."""
    time_zone: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = "UTC"
    """By whose clock days begin: `Europe/Berlin`, or an offset such as `+02:00`."""
    by: Annotated[list[Key], Field(max_length=MAX_BY)] = Field(default_factory=list)
    """Fields to group by: columns, or attributes with or without `attributes.` before them."""
    top: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10
    """Groups told by themselves: those with the most events of all buckets together."""
    stats: Annotated[list[Key], Field(max_length=MAX_STATS)] = Field(default_factory=list)
    """Functions to tell of each bucket: `count()`, `count_distinct(f)`, `sum(f)`, `avg(f)`, `min(f)`, `max(f)`,
    `p95(f)`, `p99.9(f)`, `quantile(0.25, f)`, `rate()` (events a second)."""
    order_by: Key | None = None
    """A function by which groups are ranked, the largest first; null: by their events."""
    executor: Literal["ray", "lambda", "auto"] | None = None
    """None: as the system is set."""
    wait: Wait = 0.0
    """Answer when everything is counted, at most so many seconds later, with what is counted by then."""


class Bucket(BaseModel):
    """How many events lie in a time bucket and a group. Empty ones are not listed."""

    start: str | None
    """Where the bucket begins; null without an interval."""
    by: dict[str, str | None]
    """The group's values, by the names that were asked for; null: events without the field."""
    other: bool = False
    """There, and true, for what all groups but the `top` ones have together; the values in `by` are null then."""
    count: int
    stats: dict[str, int | float | None] = {}
    """There if `stats` was given: each function's value, as it was written; null: there is no number in the bucket."""


class AggregationPage(BaseModel):
    """Where an aggregation stands, and what is counted so far. `events` is always empty.

    Of the id of a search, its own page: no `buckets`, no `interval_s`.
    """

    id: str
    state: Literal["queued", "running", "done", "truncated", "failed", "cancelled"]
    buckets: list[Bucket] = []
    interval_s: int | None = None
    ignored: dict[str, int] = {}
    """There if `stats` was given: how many values of each field are no numbers, and were left out."""
    relative_error: dict[str, float] = {}
    """There if `stats` was given: by how much of its value a function may be off; those that are exact are not here."""
    events: list[Any]
    cursor: str
    progress: dict[str, int | float | str | None]
    complete: bool
    incomplete: list[str]
    hints: list[Hint]
    """Of one that is done and counted nothing; else empty."""
    elapsed_ms: int


class FieldCount(BaseModel):
    """In how many events a field is there."""

    name: str
    kind: Literal["column", "attribute"]
    count: int


class Fields(BaseModel):
    """The fields of the events that match, the most frequent first; `rows`: how many events these are."""

    fields: list[FieldCount]
    rows: int
    complete: bool
    incomplete: list[str]
    elapsed_ms: int


class ValueCount(BaseModel):
    """In how many events a field has a value."""

    value: str
    count: int


class Values(BaseModel):
    """A field's most frequent values. `rows`: events that match and have a (such a) value, listed or not.

    `distinct`: how many different values there are; null when there are more than can be held.
    """

    field: str
    values: list[ValueCount]
    distinct: int | None
    rows: int
    complete: bool
    incomplete: list[str]
    elapsed_ms: int


@dataclass
class AggregationApi:
    """The endpoints over their parts; `route_aggregations` routes to them."""

    searcher: Searcher
    results: ResultStore
    tenant: Tenant
    search: SearchApi
    """Answers what polls, streams and cancels an aggregation, and who waits for one."""
    max_wait_s: float = MAX_WAIT_S

    async def create(self, request: Request, body: AggregationBody) -> Response:
        """Start to count. 201 with its id at once; buckets come by polling or streaming, as they are counted.

        With `wait` it is answered when everything is counted, at most so many seconds later: as
        `GET /v1/aggregations/{query_id}` then is. Counting goes on, unless its client has gone by then.
        """
        tenant = await self.tenant(request)
        executor = self.search.executor(body.executor)
        start_us, end_us = read_range(body.start, body.end, _now_us())
        aggregation = to_aggregation(body, start_us, end_us)
        query = q.Query(parse(body.query), start_us, end_us)
        query_id = await self.searcher.start_count(tenant, query, aggregation, executor, body.query)
        return await self.search.created(request, tenant, query_id, body.wait, FIRST_PAGE_ROWS)

    async def fields(self, request: Request, start: Start = "-1h", end: End = None, query: Text = "") -> Response:
        """Name the fields that events have, columns and attributes, and count the events that have each."""
        wanted = q.Query(parse(query), *read_range(start, end, _now_us()))
        aggregation = Aggregation(FieldNames(), ("name", "kind"), MAX_TOP)
        state = await self._counted(request, wanted, aggregation)
        if any("other" in bucket for bucket in state.buckets or ()):
            state = replace(state, complete=False, incomplete=(*state.incomplete, MORE_FIELDS))
        found = [_field_count(bucket) for bucket in state.buckets or () if "other" not in bucket]
        return json_answer({"fields": found, **_told(state)})

    async def values(
        self,
        *,
        request: Request,
        name: Name,
        start: Start = "-1h",
        end: End = None,
        query: Text = "",
        top: Top = 10,
        prefix: Prefix = "",
    ) -> Response:
        """Give a field's most frequent values, and how many events have each."""
        field = field_named(name)
        root = _with_value(parse(query), field, prefix)
        wanted = q.Query(root, *read_range(start, end, _now_us()))
        state = await self._counted(request, wanted, Aggregation(Grouping(None, (field,)), ("value",), top))
        found = [
            {"value": bucket["by"]["value"], "count": bucket["count"]}
            for bucket in state.buckets or ()
            if "other" not in bucket and _starts_with(bucket["by"]["value"], prefix, field)
        ]
        distinct = state.progress.get("groups")
        return json_answer({"field": without_surrogates(name), "values": found, "distinct": distinct, **_told(state)})

    async def _counted(self, request: Request, query: q.Query, aggregation: Aggregation) -> AnswerState:
        """Run an aggregation to its end, its time limit, or until the client is gone. Raises Unavailable."""
        tenant = await self.tenant(request)
        query_id = await self.searcher.start_count(tenant, query, aggregation, self.search.executor(None))
        deadline = time.monotonic() + self.max_wait_s
        reason = GONE
        try:
            while (await self.results.state(tenant, query_id)).under_way:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    reason = TIME_LIMIT
                    break
                await self.searcher.wait(tenant, query_id, min(left_s, LOOK_INTERVAL_S))
                if await request.is_disconnected():
                    break
        finally:
            state = await self.searcher.cancel(tenant, query_id, reason)  # one that has ended stays as it is
        if state.state == "failed":
            raise Unavailable("; ".join(state.incomplete))
        return state


def to_aggregation(body: AggregationBody, start_us: int | None, end_us: int | None) -> Aggregation:
    """Read what to count by. Raises BadRequest."""
    by = tuple(field_named(name) for name in body.by)
    for at, field in enumerate(by):
        if field in by[:at]:
            raise BadRequest(f'"{body.by[at]}" is a field that `by` has already: name each once')
    auto = body.interval == AUTO
    interval_us = None if auto or body.interval is None else parse_interval_us(body.interval)
    if interval_us is not None:
        check_buckets(start_us, end_us, interval_us)
    statistics = tuple(_statistic(text, f"stats[{at}]") for at, text in enumerate(body.stats))
    order_by = None if body.order_by is None else _statistic(body.order_by, "order_by")
    grouping = Grouping(interval_us, by, clock_named(body.time_zone))
    kept = accumulators_of([*statistics, *([] if order_by is None else [order_by])])
    return Aggregation(
        Statistics(grouping, kept) if kept else grouping,
        tuple(map(without_surrogates, body.by)),
        body.top,
        auto,
        statistics,
        order_by,
        _now_us(),
    )


def _statistic(text: str, where: str) -> Statistic:
    """Read a function of a request. Raises QueryError, with the position in it."""
    try:
        return parse_statistic(text)
    except QueryError as error:
        raise QueryError(f"{where}: {error.message}", error.position) from None


def _with_value(root: q.Node, field: q.Field, prefix: str) -> q.Node:
    """Have a query match only where a field has a value, one that starts with `prefix`. Raises BadRequest."""
    if not prefix:
        return q.And((root, q.Contains(field, "", ignore_case=False)))  # every value contains this
    ignore_case = field == q.Field("level")
    test = q.Regex(field, r"\A" + regex.quote(without_surrogates(prefix)), ignore_case)
    reason = regex.invalid_reason(test.pattern, ignore_case)
    if reason is not None:
        raise BadRequest(f"this prefix is too much for RE2 ({reason}): shorten it")
    return q.And((root, test))


def _starts_with(value: str | None, prefix: str, field: q.Field) -> bool:
    """Tell whether a group's value is one of those asked for: a row may have matched by a value in an array, or by that
    of a `name#2`."""
    if value is None:
        return False
    return value.startswith(prefix) or (field == q.Field("level") and value.lower().startswith(prefix.lower()))


def _field_count(bucket: dict[str, Any]) -> dict[str, Any]:
    name, kind = bucket["by"]["name"], bucket["by"]["kind"]
    return {"name": name_of(q.Field(name)) if kind == COLUMN else name, "kind": kind, "count": bucket["count"]}


def _told(state: AnswerState) -> dict[str, Any]:
    return {
        "rows": state.progress.get("rows_matched", 0),
        "complete": state.complete,
        "incomplete": state.incomplete,
        "elapsed_ms": state.elapsed_ms,
    }


class _AnyText(StringConvertor):
    """A part of an address that may hold slashes and, unlike Starlette's own `path`, line breaks: a field's name."""

    regex = "(?s:.*)"


register_url_convertor("any", _AnyText())


def _now_us() -> int:
    return time.time_ns() // 1000


def route_aggregations(app: FastAPI, api: AggregationApi) -> None:
    """Add the endpoints; polling, streaming and cancelling are those of queries."""
    search = api.search
    answers = described("`progress`, with the buckets so far, while it runs, `done` at its end, or `error`")
    route_polled(app, "/v1/aggregations", api.create, AggregationPage, search)
    app.get("/v1/aggregations/{query_id}/stream", response_class=Response, responses=answers)(search.stream)
    app.get("/v1/fields", response_model=Fields)(api.fields)
    app.get("/v1/fields/{name:any}/values", response_model=Values)(api.values)
