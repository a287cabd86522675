"""Loki's answers as JSON: streams, vectors, matrices, and refusals as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import orjson
from fastapi import Request, Response

from deployments.problem import error_response
from ess_ray.core.errors import EssError
from ess_ray.problem import Answer, Refusal, Write, as_problem
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import Pairs
from ess_ray.search.logql.series import Result, Series, Steps

PREFIXES: Final = ("/loki/", "/prometheus/")
CATEGORIZE: Final = "categorize-labels"
"""The encoding flag that asks for metadata and parsed labels beside each line, instead of among the stream's labels."""
_TEXT: Final = "text/plain; charset=utf-8"


def refused(refusal: Refusal) -> Answer:
    """Write a refusal as Loki does: text."""
    return Answer(refusal.status, refusal.message.encode(), _TEXT)


def words_of(request: Request) -> Write:
    """Give the words of a request's refusals: Loki's below its paths, else problem documents."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return refused if path.startswith(PREFIXES) else as_problem


def refusal_answer(request: Request, error: EssError) -> Response:
    """Answer with an error, as text. What is our own fault is 503, to be repeated."""
    return error_response(request, error, later=True, write=refused)


def json_of(content: Any, incomplete: Sequence[str] = ()) -> Response:
    """Answer with JSON, and what is missing in it."""
    told = {**content, "warnings": list(incomplete)} if incomplete else content
    return Response(orjson.dumps(told), media_type="application/json; charset=utf-8")


def success(data: Any, incomplete: Sequence[str] = ()) -> Response:
    """Answer with data in Loki's envelope."""
    return json_of({"status": "success", "data": data}, incomplete)


def statistics(seconds: float, bytes_read: int, entries: int) -> dict[str, Any]:
    """Give what Grafana shows of a query's cost."""
    rate = round(bytes_read / seconds) if seconds > 0 else 0
    summary = {
        "bytesProcessedPerSecond": rate,
        "linesProcessedPerSecond": 0,
        "totalBytesProcessed": bytes_read,
        "totalLinesProcessed": 0,
        "execTime": round(seconds, 6),
        "queueTime": 0,
        "subqueries": 0,
        "totalEntriesReturned": entries,
        "splits": 0,
        "shards": 0,
        "totalPostFilterLines": 0,
        "totalStructuredMetadataBytesProcessed": 0,
    }
    return {"summary": summary, "querier": {"store": {}}, "ingester": {"store": {}}, "cache": {}, "index": {}}


# ------------------------------------------------------------------------------------------------------------- lines
def streams(entries: Sequence[Entry], categorize: bool) -> list[dict[str, Any]]:
    """Put lines together by their labels; within a stream they keep their order."""
    made: dict[Pairs, dict[str, Any]] = {}
    for entry in entries:
        labels = entry.stream if categorize else entry.labels()
        key = tuple(sorted(labels.items()))
        stream = made.get(key)
        if stream is None:
            stream = made[key] = {"stream": dict(key), "values": []}
        value: list[Any] = [f"{entry.us * 1_000}", entry.line]
        if categorize:
            parts = {"structuredMetadata": entry.metadata, "parsed": entry.parsed}
            value.append({name: part for name, part in parts.items() if part})
        stream["values"].append(value)
    return list(made.values())


# ----------------------------------------------------------------------------------------------------------- numbers
def number_text(value: float) -> str:
    """Write a sample's value as Prometheus does: without an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**63 else format(Decimal(repr(value)), "f")


def _seconds(us: int) -> int | float:
    return us // 1_000_000 if us % 1_000_000 == 0 else round(us / 1_000_000, 3)


def instant(result: Result, steps: Steps) -> dict[str, Any]:
    """Give a vector, or a number, of one moment."""
    at = _seconds(steps.first_us)
    if isinstance(result, float):
        return {"resultType": "scalar", "result": [at, number_text(result)]}
    found = [
        {"metric": dict(pairs), "value": [at, number_text(float(points.values[0]))]}
        for pairs, points in result.items()
        if points.there[0]
    ]
    return {"resultType": "vector", "result": found}


def matrix(series: Series, steps: Steps) -> dict[str, Any]:
    """Give series over steps."""
    times = [_seconds(us) for us in steps.times_us.tolist()]
    found = []
    for pairs, points in sorted(series.items()):
        rows = zip(times, points.values.tolist(), points.there.tolist(), strict=True)
        values = [[at, number_text(value)] for at, value, there in rows if there]
        if values:
            found.append({"metric": dict(pairs), "values": values})
    return {"resultType": "matrix", "result": found}
