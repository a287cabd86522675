"""Loki's read API over real parts in memory: what is stored and what is in flight."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.loki import Reader
from deployments.loki.exploring import Exploring, route_exploring
from deployments.loki.reading import Queries, route_nothing, route_queries
from ess_ray.limits import LOKI_LABELS, SearchLimits
from ess_ray.search.direct import Direct
from tests.aggregating import BASE_US, push
from tests.unit.test_search_app import Rig
from tests.worlds import World

SECOND_US = 1_000_000
RANGE = {"start": f"{BASE_US * 1_000}", "end": f"{(BASE_US + 60 * SECOND_US) * 1_000}"}
EVENTS = [
    {"message": 'a {"n": 1}', "service": "shop", "level": "ERROR", "host": "h1", "attributes": [("pod", "p1")]},
    {"message": '{"took": "15ms", "status": 500, "in": {"ner": "x"}}', "service": "shop", "level": "WARN"},
    {"message": "level=info took=2s size=1KB user=7", "service": "pay", "trace_id": "ab" * 16},
    {"message": "Connection reset", "attributes": [("region", "eu"), ("http.status", "404")]},
]


class Loki:
    """The endpoints over a rig, asked as clients do."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        reader = Reader(Direct(rig.searcher, rig.results), self._tenant, LOKI_LABELS)
        route_queries(rig.app, Queries(reader))
        route_exploring(rig.app, Exploring(reader))
        route_nothing(rig.app)
        self.http = rig.http

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def get(self, path: str, status: int = 200, **parameters: Any) -> httpx.Response:
        headers = parameters.pop("headers", {})
        answer = await self.http.get(f"/loki/api/v1/{path}", params={**RANGE, **parameters}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    async def data(self, path: str, **parameters: Any) -> Any:
        told = (await self.get(path, **parameters)).json()
        assert told["status"] == "success"
        assert "warnings" not in told, told
        return told["data"]

    async def lines(self, query: str, **parameters: Any) -> list[str]:
        data = await self.data("query_range", query=query, **parameters)
        assert data["resultType"] == "streams"
        found = [(int(value[0]), value[1]) for stream in data["result"] for value in stream["values"]]
        return [line for _, line in sorted(found)]

    async def numbers(self, query: str, path: str = "query_range", **parameters: Any) -> dict[str, list[Any]]:
        data = await self.data(path, query=query, **parameters)
        return {json.dumps(one["metric"]): one.get("values", one.get("value")) for one in data["result"]}


@pytest.fixture
async def loki() -> AsyncIterator[Loki]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    rig = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
    for at, event in enumerate(EVENTS):
        await push(rig, {**event, "timestamp": at * SECOND_US}, flush=at == 1)
    yield Loki(rig)
    await rig.http.aclose()


MESSAGES = [event["message"] for event in EVENTS]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('{service_name=~".+"}', [0, 1, 2, 3]),
        ('{service_name="shop"}', [0, 1]),
        ('{service_name!="shop", service_name=~".+"}', [2, 3]),
        ('{service_name="unknown_service"}', [3]),
        ('{service="shop"}', [0, 1]),
        ('{app="shop", level="error"}', [0]),
        ('{level=~"err.*|warn"}', [0, 1]),
        ('{detected_level="unknown"}', [2, 3]),
        ('{pod="p1"}', [0]),
        ('{service_name=~".+", pod!="p1"}', [1, 2, 3]),
        ('{region="eu"}', [3]),
        ('{http_status="404"}', [3]),
        ('{service_name=~".+"} |= "took"', [1, 2]),
        ('{service_name=~".+"} |= "took" != `"status"`', [2]),
        ('{service_name=~".+"} |= "reset" or "user"', [2, 3]),
        ('{service_name=~".+"} |~ "(?i)connection"', [3]),
        ('{service_name=~".+"} !~ "t.ok|reset"', [0]),
        ('{service_name=~".+"} | json | status >= 500', [1]),
        ('{service_name=~".+"} | json | in_ner="x"', [1]),
        ('{service_name=~".+"} | json | took > 10ms', [1]),
        ('{service_name=~".+"} | logfmt | took > 1s and user="7"', [2]),
        ('{service_name=~".+"} | logfmt | size >= 1KB', [2]),
        ('{service_name=~".+"} | http_status=404', [3]),
        ('{service_name=~".+"} | http_status="404" or level="error"', [0, 3]),
        ('{service_name=~".+"} | json | __error__="JSONParserErr"', [0, 2, 3]),
        ('{service_name=~".+"} | logfmt | level="info"', [2]),
        ('{service_name=~".+"} | regexp `user=(?P<who>\\d)` | who="7"', [2]),
        ('{service_name=~".+"} | pattern `<first> <_>` | first="Connection"', [3]),
        ('{service_name=~".+"} |> "level=<_> took=<_>s size=<_> user=<_>"', [2]),
        ('{service_name=~".+"} |> "Connection reset" or "a <_>"', [0, 3]),
        ('{service_name=~".+"} !> "<_>took<_>"', [0, 3]),
    ],
)
async def test_selectors_and_filters(loki: Loki, query: str, found: list[int]) -> None:
    assert await loki.lines(query) == [MESSAGES[at] for at in found]


async def test_directions_limits_and_times(loki: Loki) -> None:
    everything = '{service_name=~".+"}'
    for limit in range(1, 6):
        assert await loki.lines(everything, limit=limit) == MESSAGES[-limit:]
        assert await loki.lines(everything, limit=limit, direction="FORWARD") == MESSAGES[:limit]
    assert await loki.lines(everything, start=(BASE_US + SECOND_US) * 1_000) == MESSAGES[1:]
    assert await loki.lines(everything, end=(BASE_US + SECOND_US) * 1_000) == MESSAGES[:1]
    assert await loki.lines(everything, end=BASE_US // SECOND_US + 1) == MESSAGES[:1]
    assert await loki.lines(everything, end=BASE_US / SECOND_US + 0.5) == MESSAGES[:1]


async def test_streams_have_labels_and_metadata(loki: Loki) -> None:
    query = '{service_name=~".+"} |~ "reset|took" | json'
    flags = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
    data = await loki.data("query_range", query=query, headers=flags)
    assert data["encodingFlags"] == ["categorize-labels"]
    assert data["stats"]["summary"]["totalBytesProcessed"] >= 0
    streams = {stream["stream"]["service_name"]: stream for stream in data["result"]}
    assert streams["shop"]["stream"] == {"service_name": "shop", "level": "WARN", "detected_level": "warn"}
    assert streams["shop"]["values"][0][0] == f"{BASE_US + SECOND_US}000"
    assert streams["shop"]["values"][0][2] == {"parsed": {"took": "15ms", "status": "500", "in_ner": "x"}}
    other = streams["unknown_service"]
    assert other["stream"] == {"service_name": "unknown_service", "detected_level": "unknown", "region": "eu"}
    assert other["values"][0][2]["structuredMetadata"] == {"http_status": "404"}
    merged = (await loki.data("query_range", query='{region="eu"}'))["result"]
    assert merged[0]["stream"]["http_status"] == "404"


async def test_stages_change_lines_and_labels(loki: Loki) -> None:
    shop = '{service_name="shop"} | json | __error__=""'
    assert await loki.lines(shop + ' | line_format "{{.status}} {{.took | ToUpper}}"') == ["500 15MS"]
    assert await loki.lines(shop + ' | line_format "{{.status}}" |= "500"') == ["500"]
    data = await loki.data(
        "query_range", query=shop + ' | label_format code=status, x="{{.took}}!" | drop took, in_ner'
    )
    labels = {"service_name": "shop", "level": "WARN", "detected_level": "warn", "code": "500", "x": "15ms!"}
    assert data["result"][0]["stream"] == labels
    data = await loki.data("query_range", query=shop + " | keep status")
    assert data["result"][0]["stream"] == {"status": "500"}


async def test_histograms_are_counted(loki: Loki) -> None:
    start, end = BASE_US * 1_000, (BASE_US + 4 * SECOND_US) * 1_000
    query = 'sum by (level, detected_level) (count_over_time({service_name=~".+"}[2s]))'
    found = await loki.numbers(query, start=start, end=end, step="2s")
    at = BASE_US // SECOND_US
    assert found == {
        '{"detected_level": "error", "level": "ERROR"}': [[at, "1"]],
        '{"detected_level": "warn", "level": "WARN"}': [[at + 2, "1"]],
        '{"detected_level": "unknown"}': [[at + 2, "1"], [at + 4, "1"]],
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('sum(count_over_time({service_name=~".+"}[1m]))', {"{}": "4"}),
        ('sum(rate({service_name=~".+"}[1m]))', {"{}": f"{4 / 60!r}"}),
        (
            'sum by (service_name) (count_over_time({service_name=~"shop|pay"}[1m]))',
            {'{"service_name": "shop"}': "2", '{"service_name": "pay"}': "1"},
        ),
        ('sum(bytes_over_time({service_name="pay"}[1m]))', {"{}": str(len(MESSAGES[2]))}),
        ('sum(count_over_time({service_name=~".+"} | json | status=500 [1m]))', {"{}": "1"}),
        (
            'sum by (level) (count_over_time({service_name="pay"} | logfmt [1m]))',
            {'{"level": "info"}': "1"},
        ),
        ('sum by (region) (count_over_time({service_name=~".+"} | region="eu" [1m]))', {'{"region": "eu"}': "1"}),
        ('sum by (http_status) (count_over_time({region="eu"}[1m]))', {'{"http_status": "404"}': "1"}),
        (
            'max_over_time({service_name="shop"} | json | unwrap duration(took) | __error__="" [1m]) by (service_name)',
            {'{"service_name": "shop"}': "0.015"},
        ),
        ('quantile_over_time(0.5, {service_name="pay"} | logfmt | unwrap bytes(size) [1m]) by ()', {"{}": "1000"}),
        ('absent_over_time({service_name="nowhere"}[1m])', {'{"service_name": "nowhere"}': "1"}),
        ('absent_over_time({service_name="pay"}[1m])', {}),
        (
            'topk(1, sum by (service_name) (count_over_time({service_name=~".+"}[1m])))',
            {'{"service_name": "shop"}': "2"},
        ),
        (
            'sum(count_over_time({service_name="shop"}[1m])) / sum(count_over_time({service_name=~".+"}[1m]))',
            {"{}": "0.5"},
        ),
        ('count(count_over_time({service_name=~".+"}[1m])) > 10', {}),
        ('sum(count_over_time({service_name="pay"}[1s] offset 57s)) or vector(0)', {"{}": "1"}),
        ("vector(1)+vector(1)", {"{}": "2"}),
        (
            'sum by (service_name, level) (count_over_time({service_name="shop"}[1m])) / on (service_name) group_left '
            'sum by (service_name) (count_over_time({service_name=~".+"}[1m]))',
            {
                '{"level": "ERROR", "service_name": "shop"}': "0.5",
                '{"level": "WARN", "service_name": "shop"}': "0.5",
            },
        ),
    ],
)
async def test_metrics_at_a_moment(loki: Loki, query: str, found: dict[str, str]) -> None:
    numbers = await loki.numbers(query, "query", time=(BASE_US + 59 * SECOND_US) * 1_000)
    assert {labels: value[1] for labels, value in numbers.items()} == found


async def test_saving_a_data_source(loki: Loki) -> None:
    data = await loki.data("query", query="vector(1)+vector(1)", time=4_000_000_000)
    assert data["resultType"] == "vector"
    assert data["result"] == [{"metric": {}, "value": [4_000_000_000, "2"]}]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('{service_name=~".*"}', "at least one regexp or equality matcher"),
        ("", "empty"),
        ('{a="b"', "unexpected the end"),
        ('{a="b"} | distinct x', "distinct"),
        ('{a="b"} |> "<who> x"', "<_>"),
        ('{a="b"} !> "<_><_>"', "side by side"),
        ('{a="b"} |= ip("10.0.0.300")', "10.0.0.300"),
        ('{a="b"} |~ ip("10.0.0.3")', "|~"),
        ('{a="b"} | logfmt | a = ip("10.0.0.9-10.0.0.1")', "10.0.0.9"),
        ('{a="b"} | line_format "{{ .a | nope }}"', "nope"),
        ('holt_winters({a="b"}[5m])', "holt_winters"),
        ('{a=~"("}', "RE2"),
        ('sum(rate({a="b"}[1m])) * group_left sum(rate({a="b"}[1m]))', "behind on"),
        ('sum(rate({a="b"}[1m])) and on (x) group_left sum(rate({a="b"}[1m]))', "group_left"),
        ('rate({a="b"}[1m]) | json', "|"),
        ('{a="b"} | regexp "x"', "named group"),
    ],
)
async def test_what_is_not_known_is_named(loki: Loki, query: str, said: str) -> None:
    answer = await loki.get("query_range", 400, query=query)
    assert said in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


async def test_refusals(loki: Loki) -> None:
    assert "instant query type" in (await loki.get("query", 400, query='{a="b"}')).text
    assert "max_entries_limit" in (await loki.get("query_range", 400, query='{a="b"}', limit=10_001)).text
    assert "resolution" in (await loki.get("query_range", 400, query="vector(1)", step="1ms")).text
    assert "direction" in (await loki.get("query_range", 400, query='{a="b"}', direction="up")).text
    assert "time" in (await loki.get("query_range", 400, query='{a="b"}', start="yesterday-ish")).text
    assert "before" in (await loki.get("query_range", 400, query='{a="b"}', start=20, end=10)).text
    assert (await loki.http.get("/loki/api/v1/nothing")).status_code == 404


async def test_forms(loki: Loki) -> None:
    answer = await loki.http.post("/loki/api/v1/query_range", data={**RANGE, "query": '{service_name="pay"}'})
    assert answer.json()["data"]["result"][0]["values"][0][1] == MESSAGES[2]


async def test_labels(loki: Loki) -> None:
    assert await loki.data("labels") == ["detected_level", "host", "level", "pod", "region", "service_name"]
    assert await loki.data("labels", query='{service_name="pay"}') == ["detected_level", "service_name"]
    assert await loki.data("label/service_name/values") == ["pay", "shop", "unknown_service"]
    assert await loki.data("label/level/values", query='{service_name="shop"}') == ["ERROR", "WARN"]
    assert await loki.data("label/region/values") == ["eu"]
    assert await loki.data("label/nowhere/values") == []
    series = await loki.data("series", **{"match[]": '{service_name="shop"}'})
    assert {"service_name": "shop", "level": "ERROR", "detected_level": "error", "host": "h1", "pod": "p1"} in series
    assert len(series) == 2


async def test_statistics_volumes_and_fields(loki: Loki) -> None:
    told = (await loki.get("index/stats", query='{service_name=~".+"}')).json()
    assert set(told) == {"streams", "chunks", "entries", "bytes"}
    assert told["entries"] == 4
    found = await loki.numbers('{service_name=~".+"}', "index/volume")
    assert found['{"service_name": "pay"}'][1] == str(len(MESSAGES[2]))
    found = await loki.numbers('{service_name=~".+"}', "index/volume_range", step="60s", targetLabels="level")
    assert '{"level": "WARN"}' in found
    labels = (await loki.get("detected_labels", query='{service_name=~".+"}')).json()["detectedLabels"]
    assert {"label": "service_name", "cardinality": 3} in labels
    fields = {one["label"]: one for one in (await loki.get("detected_fields", query="")).json()["fields"]}
    assert (fields["took"]["type"], fields["status"]["type"], fields["size"]["type"]) == ("duration", "int", "bytes")
    assert fields["http_status"]["parsers"] is None
    assert (await loki.get("detected_field/user/values", query="")).json()["values"] == ["7"]


async def test_patterns_are_those_of_all_lines(loki: Loki) -> None:
    for user in range(12):
        await push(loki.rig, {"message": f"user {user} came from 10.0.0.{user}", "timestamp": 20 * SECOND_US})
    found = {one["pattern"]: one["samples"] for one in await loki.data("patterns", query='{service_name=~".+"}')}
    assert found["user <_> came from <_>"] == [[BASE_US // SECOND_US + 18, 12]]  # 20 steps of 3 s
    assert sum(count for samples in found.values() for _, count in samples) == len(EVENTS) + 12
    of_users = '{service_name=~".+"} |> "user <_> came from <_>"'
    assert len(await loki.lines(of_users)) == 12
    assert [one["pattern"] for one in await loki.data("patterns", query=of_users)] == ["user <_> came from <_>"]
    assert await loki.data("patterns", query='{service_name="nobody"}') == []
    refused = await loki.get("patterns", 400, query='{service_name=~".+"} | json | status >= 500')
    assert "as they were pushed" in refused.text


async def test_small_things(loki: Loki) -> None:
    assert await loki.data("patterns", query='{a="b"}') == []
    assert await loki.data("format_query", query='{a="b"}|="x"') == '{a="b"} |= "x"'
    assert (await loki.get("status/buildinfo")).json()["version"] == "3.4.0"
    assert "limits" in (await loki.get("drilldown-limits")).json()
    assert (await loki.http.get("/prometheus/api/v1/rules")).json()["data"] == {"groups": []}
