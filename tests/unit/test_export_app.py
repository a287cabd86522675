"""The endpoints of export and explain: headers, refusals, and bodies over real connections that break off."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deployments import lasting
from deployments.departure import Departure
from ess_ray.core.answer_stream import MEDIA_TYPE, StreamReader
from ess_ray.core.event import to_json_rows
from ess_ray.limits import SearchLimits
from ess_ray.ports import Record, ScanResult, ScanTask
from ess_ray.search.formats import PARQUET_SCHEMA
from ess_ray.search.run import SHUT_DOWN, Lane
from ess_ray.search.slices import SliceLimits
from tests.exports import World, app_of
from tests.http_server import serving
from tests.systems import wait_until

Tables = Callable[..., pa.Table]
DEADLINE_S = 30.0


class Slow:
    """ScanExecutor that never gives a result, and tells when it was closed."""

    def __init__(self) -> None:
        self.started, self.closed = threading.Event(), threading.Event()

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        try:
            for _ in tasks:
                self.started.set()
                await asyncio.sleep(3600)
            return
            yield
        finally:
            self.closed.set()


@pytest.fixture
def world(make_events: Tables, t0_us: int) -> World:
    objects = [make_events([t0_us + n * 1_000 + i for i in range(1_000)], first=n * 1_000) for n in range(8)]
    buffered = make_events([t0_us + 8_000 + i for i in range(10)], first=8_000)
    return World(objects, buffered, slices=SliceLimits(1 << 40, 1_500, 1_500, 1_500))


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(world)), base_url="http://test") as client:
        yield client


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """The application behind a real server."""
    with serving(app_of(world)) as address:
        yield address


async def asked(http: httpx.AsyncClient, **body: Any) -> str:
    answer = await http.post("/v1/queries", json={"query": "", "start": 0, "limit": 1, **body})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def asked_of(url: str, tenant: str = "default", **body: Any) -> str:
    question = {"query": "", "start": 0, "limit": 1, **body}
    answer = httpx.post(f"{url}/v1/queries", json=question, headers={"x-test-tenant": tenant})
    assert answer.status_code == 201, answer.text
    return f"{url}/v1/queries/{answer.json()['id']}/export"


# ------------------------------------------------------------------------------------------------------------ export
@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("ndjson", "application/x-ndjson"),
        ("csv", "text/csv; charset=utf-8"),
        ("parquet", "application/vnd.apache.parquet"),
        ("arrow", "application/vnd.apache.arrow.stream"),
    ],
)
async def test_all_rows_come_as_a_file(http: httpx.AsyncClient, name: str, media_type: str) -> None:
    query_id = await asked(http)
    answer = await http.get(f"/v1/queries/{query_id}/export", params={"format": name})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="ess-{query_id}.{name}"'
    if name == "ndjson":
        events = [json.loads(line) for line in answer.text.splitlines()]
        (page,) = (await http.get(f"/v1/queries/{query_id}")).json()["events"]
        assert events[0] == page, "a line is an event as answers show it"
        found = [event["offset"] for event in events]
    elif name == "csv":
        found = [int(record["offset"]) for record in csv.DictReader(io.StringIO(answer.text, newline=""))]
    else:
        is_arrow = name == "arrow"
        table = (pa.ipc.open_stream if is_arrow else pq.read_table)(io.BytesIO(answer.content))
        table = table.read_all() if is_arrow else table
        assert table.schema.equals(PARQUET_SCHEMA)
        found = table.column("offset").to_pylist()
    assert found == list(range(8_009, -1, -1))


async def test_a_slow_client_need_not_take_much_at_once(world: World) -> None:
    sent: list[int] = []

    async def send(message: Any) -> None:
        sent.append(len(message.get("body", b"")))

    async def receive() -> Any:
        await asyncio.sleep(3600)

    app = app_of(world)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        path = f"/v1/queries/{await asked(client)}/export"
        whole = len((await client.get(path)).content)
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "asgi": {}}
    await app(scope, receive, send)
    assert sum(sent) == whole > 4 * lasting.PIECE_BYTES
    assert max(sent) == lasting.PIECE_BYTES


async def test_ndjson_is_what_comes_when_no_format_is_asked_for(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/v1/queries/{await asked(http, query='nowhere')}/export")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-ndjson"


async def test_csv_has_the_columns_that_are_asked_for(http: httpx.AsyncClient) -> None:
    path = f"/v1/queries/{await asked(http)}/export"
    answer = await http.get(path, params={"format": "csv", "column": ["message", "timestamp"]})
    lines = answer.text.splitlines()
    assert lines[0] == '"message","timestamp"'
    assert len(lines) == 8_011


async def test_arrow_comes_to_who_accepts_it(http: httpx.AsyncClient) -> None:
    path = f"/v1/queries/{await asked(http)}/export"
    accepts = {"Accept": "text/html, application/vnd.apache.arrow.stream;q=0.9"}
    answer = await http.get(path, params={"column": ["message", "attribute_numbers"]}, headers=accepts)
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.content).read_all()
    assert (table.schema.names, len(table)) == (["message", "attribute_numbers"], 8_010)
    refused = await http.get(path, headers={"Accept": "application/vnd.apache.arrow.stream;q=0"})
    assert refused.headers["content-type"] == "application/x-ndjson"
    for columns in (["user_id"], ["message", "message"]):
        assert (await http.get(path, params={"format": "arrow", "column": columns})).status_code == 400


async def test_a_page_comes_as_arrow_too(http: httpx.AsyncClient) -> None:
    path = f"/v1/queries/{await asked(http, limit=5)}"
    page = (await http.get(path, params={"wait": 30, "limit": 3})).json()
    answer = await http.get(path, params={"limit": 3}, headers={"Accept": MEDIA_TYPE})
    assert answer.headers["content-type"] == MEDIA_TYPE
    reader = StreamReader()
    table = pa.Table.from_batches(list(reader.feed(answer.content)))
    assert to_json_rows(table) == page.pop("events")
    assert reader.page() == page


async def test_order_and_times_are_those_of_the_query(http: httpx.AsyncClient, t0_us: int) -> None:
    query_id = await asked(http, order="oldest", start=t0_us + 500, end=t0_us + 4_500)
    answer = await http.get(f"/v1/queries/{query_id}/export")
    assert [json.loads(line)["offset"] for line in answer.text.splitlines()] == list(range(500, 4_500))


async def test_a_relative_time_is_that_of_the_search(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, t0_us: int
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: (t0_us + 1_006_010) * 1_000)
    query_id = await asked(http, start="-1s")
    monkeypatch.setattr(time, "time_ns", lambda: (t0_us + 3_600_000_000) * 1_000)
    answer = await http.get(f"/v1/queries/{query_id}/export")
    assert len(answer.text.splitlines()) == 2_000


async def test_a_cancelled_query_is_exported_all_the_same(http: httpx.AsyncClient) -> None:
    query_id = await asked(http)
    assert (await http.delete(f"/v1/queries/{query_id}")).status_code == 200
    assert len((await http.get(f"/v1/queries/{query_id}/export")).text.splitlines()) == 8_010


async def test_what_cannot_be_exported_is_refused(http: httpx.AsyncClient, world: World) -> None:
    path = f"/v1/queries/{await asked(http)}/export"
    assert (await http.get(path, params={"format": "xlsx"})).status_code == 400
    assert (await http.get(path, params={"format": "ndjson", "column": "message"})).status_code == 400
    assert (await http.get(path, params={"format": "csv", "column": ""})).status_code == 400
    for headers, where in (({"x-test-tenant": "other"}, path), ({}, "/v1/queries/unknown/export")):
        answer = await http.get(where, headers=headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    await world.log.append([Record(0, b"nobody has read it")])
    world.buffers.covers = False
    answer = await http.get(path)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "virtual node 0" in answer.json()["detail"]


async def test_the_description_tells_of_it(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    export = paths["/v1/queries/{query_id}/export"]["get"]
    assert set(export["responses"]) >= {"200", "400", "404", "429", "503"}
    assert set(export["responses"]["200"]["content"]) == {
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.parquet",
        "application/vnd.apache.arrow.stream",
    }
    assert {parameter["name"] for parameter in export["parameters"]} == {"query_id", "format", "column"}
    explained = paths["/v1/explain"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert explained["$ref"].endswith("/Explained")


# --------------------------------------------------------------------------------------------- over real connections
def test_a_whole_body_ends_properly(url: str) -> None:
    assert len(httpx.get(asked_of(url)).text.splitlines()) == 8_010


@pytest.mark.parametrize("name", ["ndjson", "csv", "parquet"])
def test_an_object_that_cannot_be_read_breaks_the_body_off(
    url: str, world: World, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    where = asked_of(url)
    oldest = min(world.entries, key=lambda entry: entry.min_us)
    world.store.put(oldest.key, b"damaged" * 100)
    with httpx.stream("GET", where, params={"format": name}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
            answer.read()
    assert f"object {oldest.key} cannot be read" in caplog.text
    assert "is broken off after" in caplog.text
    # Its place is free again: as many as may be under way at once are, one after another.
    for _ in range(5):
        with httpx.stream("GET", where) as answer:
            assert answer.status_code == 200


def test_too_many_at_a_time_are_told_to_wait_and_a_tenant_that_has_none_is_not(world: World) -> None:
    slow = Slow()
    world.limited(SearchLimits(in_place_bytes=0), {"ray": Lane(slow, 1)})
    with serving(app_of(world)) as slow_url, httpx.Client() as client:
        asked = {name: asked_of(slow_url, name, executor="ray") for name in ("default", "other")}

        def opened(name: str) -> httpx.Response:
            request = client.build_request("GET", asked[name], headers={"x-test-tenant": name})
            return client.send(request, stream=True)

        streams = [opened(name) for name in ("default", "default", "default", "default", "other")]
        assert [stream.status_code for stream in streams] == [200, 200, 200, 429, 200]
        assert streams[3].headers["retry-after"]
        assert streams[3].headers["content-type"] == "application/problem+json"
        assert "3 of the 4 exports" in json.loads(streams[3].read())["detail"]
        for stream in streams:
            stream.close()

        def there_is_room() -> bool:
            again = opened("default")
            again.close()
            return again.status_code == 200

        wait_until(there_is_room, "the places of clients that went are still taken")


def test_a_client_that_goes_ends_the_scan(world: World) -> None:
    slow = Slow()
    world.limited(SearchLimits(in_place_bytes=0), {"ray": Lane(slow, 1)})
    with serving(app_of(world)) as url:
        where = asked_of(url, executor="ray")
        httpx.delete(where.removesuffix("/export"))
        slow.started.clear()
        slow.closed.clear()
        with httpx.stream("GET", where) as answer:
            assert answer.status_code == 200
            assert slow.started.wait(DEADLINE_S)
            assert not slow.closed.is_set()
        assert slow.closed.wait(DEADLINE_S)


def test_an_export_keeps_no_search_beside_it_from_ending_in_good_order(world: World) -> None:
    """Serve waits for the export, and tells a replica of its end only when nothing is under way any more."""
    slow = Slow()
    world.limited(SearchLimits(in_place_bytes=0), {"ray": Lane(slow, 1)})

    async def leaving() -> bool:
        return True

    with serving(app_of(world, Departure(leaving, world.searcher.close, look_s=0.01, grace_s=0.01))) as url:
        where = asked_of(url, executor="ray", limit=10_000)
        state = httpx.get(where.removesuffix("/export")).json()
        assert state["state"] == "running"
        with httpx.stream("GET", where) as answer:
            assert answer.status_code == 200
            wait_until(
                lambda: httpx.get(where.removesuffix("/export")).json()["state"] == "failed", "the search goes on"
            )
        assert httpx.get(where.removesuffix("/export")).json()["incomplete"] == [SHUT_DOWN]


def test_a_client_that_takes_nothing_loses_its_place(
    make_events: Tables, t0_us: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lasting, "STALLED_S", 0.2)
    texts = ["x" * 1_000] * 20_000
    world = World([make_events([t0_us + i for i in range(20_000)], texts)], make_events([]), most=1)
    with serving(app_of(world)) as url:
        where = asked_of(url)
        with httpx.stream("GET", where) as answer:  # 20 MB, which no socket's buffers hold
            assert answer.status_code == 200
            wait_until(lambda: "broken off" in caplog.text, "it is waited for without end")
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        monkeypatch.setattr(lasting, "STALLED_S", DEADLINE_S)
        assert len(httpx.get(where).text.splitlines()) == 20_000


# ----------------------------------------------------------------------------------------------------------- explain
async def test_a_query_is_explained(http: httpx.AsyncClient, t0_us: int) -> None:
    body = {"query": "message 1", "start": t0_us + 2_000, "end": t0_us + 4_000, "limit": 10}
    answer = await http.post("/v1/explain", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["objects_total"], told["objects_pruned"], told["objects"]) == (8, 6, 2)
    assert (told["gets"], told["executor"], told["lambda"], told["complete"]) == (2, "ray", None, True)
    assert told["query"] == 'message contains "message" (any case) AND message contains "1" (any case)'
    assert told["start"] == "2026-09-21T14:13:20.002000Z"
    assert any("skip index" in line for line in told["prefilter"])


async def test_what_a_query_may_not_say_an_explanation_may_not_either(http: httpx.AsyncClient) -> None:
    for wrong in ({"query": "("}, {"start": "nonsense"}, {"limit": 0}, {"executor": "lambda"}, {"more": 1}):
        answer = await http.post("/v1/explain", json=wrong)
        assert answer.status_code == 400, wrong
        assert answer.headers["content-type"] == "application/problem+json"
    assert "position" in (await http.post("/v1/explain", json={"query": "("})).json()


async def test_text_that_is_no_unicode_is_no_failure(http: httpx.AsyncClient) -> None:
    """JSON can write half a surrogate pair: a search for it is explained, run and exported, or refused."""
    headers = {"Content-Type": "application/json"}
    for query in (b"\\ud800", b'\\"x\\udfff\\"', b"\\u0000"):
        body = b'{"query": "' + query + b'", "start": 0}'
        told = await http.post("/v1/explain", content=body, headers=headers)
        created = await http.post("/v1/queries", content=body, headers=headers)
        assert (told.status_code, created.status_code) in ((200, 201), (400, 400))
        if created.status_code == 201:
            assert (await http.get(f"/v1/queries/{created.json()['id']}/export")).content == b""
