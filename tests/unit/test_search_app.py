"""The search application over real parts in memory: its contract, page by page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.aggregations import AggregationApi, route_aggregations
from deployments.patterns import PatternsApi, route_patterns
from deployments.pipes import PipeApi, route_pipes
from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.errors import Unavailable
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import AnswerLimits, SearchLimits
from ess_ray.ports import ScanExecutor
from ess_ray.record import encode_records
from ess_ray.search.run import TRUNCATED, Searcher
from ess_ray.testing import HereExecutor, OneWriter
from tests.worlds import T0_US, World, batch_of


class Rig:
    """A search application whose tenant is the request's x-test-tenant."""

    def __init__(
        self,
        world: World,
        writer: VnodeWriter,
        limits: SearchLimits,
        answers: AnswerLimits = AnswerLimits(ttl_s=60),
        executor: ScanExecutor | None = None,
    ) -> None:
        self.world, self.writer = world, writer
        self.in_flight = OneWriter(writer)
        self.problems: list[str] = []
        self.warnings: list[str] = []
        results = MemoryResultStore(lambda: world.now_us, answers)
        scans = HereExecutor(world.store) if executor is None else executor
        searcher = Searcher(
            world.log, world.catalog, world.store, self.in_flight, executor=scans, results=results, limits=limits
        )
        api = SearchApi(
            searcher=searcher,
            results=results,
            tenant=self._tenant,
            admin=self._tenant,
            health=self._health,
            status=self._status,
            flush=self._flush,
            compact=self._compact,
            warnings=self._warnings,
        )
        self.app = create_search_app(api)
        self.searcher, self.results = searcher, results
        self.aggregations = AggregationApi(searcher, results, self._tenant, api)
        route_aggregations(self.app, self.aggregations)
        route_pipes(self.app, PipeApi(searcher, self._tenant, api))
        route_patterns(self.app, PatternsApi(searcher, self._tenant, api))
        transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def _health(self) -> list[str]:
        return self.problems

    async def _warnings(self) -> list[str]:
        return self.warnings

    async def _status(self) -> dict[str, Any]:
        return {"pool": {0: "fine"}}

    async def _flush(self) -> dict[str, int]:
        flushed = await self.writer.flush()
        return {"rows": flushed.rows if flushed else 0}

    async def _compact(self, before_us: int | None) -> dict[str, Any]:
        return {"merged_objects": 2, "before_us": before_us or self.world.now_us}

    async def push(self, *names: str, hour: int = 0) -> None:
        batch = batch_of(list(names), [None] * len(names), hour, self.world.now_us)
        await self.world.log.append(encode_records(batch, 0, "default"))
        await self.writer.poll()

    async def start(self, query: str = "", path: str = "/v1/queries", **body: Any) -> str:
        answer = await self.http.post(path, json={"query": query, "start": 0, **body})
        assert answer.status_code == 201, answer.text
        assert answer.json()["state"] == "running"
        return str(answer.json()["id"])

    async def page(self, query_id: str, **parameters: Any) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/queries/{query_id}", params=parameters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def finished(self, query_id: str) -> dict[str, Any]:
        for _ in range(10_000):
            page = await self.page(query_id)
            if page["state"] != "running":
                return page
            await asyncio.sleep(0)
        pytest.fail("the search did not end")

    async def messages(self, query: str = "", **body: Any) -> list[str]:
        page = await self.finished(await self.start(query, **body))
        assert page["complete"], page["incomplete"]
        return [event["message"] for event in page["events"]]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
    yield made
    await made.http.aclose()


async def test_an_event_is_found_in_flight_and_stored_newest_first(rig: Rig) -> None:
    await rig.push("one", "two")
    assert await rig.messages() == ["two", "one"]
    await rig.http.post("/v1/flush")
    await rig.push("three")
    assert await rig.messages(order="oldest") == ["one", "three", "two"]
    assert await rig.messages("t") == ["two", "three"]


async def test_an_event_in_an_answer_has_every_field(rig: Rig) -> None:
    await rig.push("one")
    (event,) = (await rig.finished(await rig.start()))["events"]
    log_id = await rig.world.log.log_id()
    assert event == {
        "timestamp": "2026-09-21T14:13:20.000000Z",
        "observed_timestamp": "2026-09-21T14:13:20.000000Z",
        "level": None,
        "severity_number": None,
        "service": None,
        "host": None,
        "message": "one",
        "trace_id": None,
        "span_id": None,
        "attributes": {},
        "id": None,
        "log_id": log_id,
        "vnode": 0,
        "offset": 0,
        "row": 0,
    }


async def test_cursors_are_stable_and_go_on_at_the_end(rig: Rig) -> None:
    await rig.push(*(f"m{i}" for i in range(10)))
    query_id = await rig.start()
    await rig.finished(query_id)
    first = await rig.page(query_id, limit=4)
    second = await rig.page(query_id, limit=4, cursor=first["cursor"])
    third = await rig.page(query_id, limit=4, cursor=second["cursor"])
    assert [len(p["events"]) for p in (first, second, third)] == [4, 4, 2]
    assert (await rig.page(query_id, limit=4, cursor=first["cursor"]))["events"] == second["events"]
    last = await rig.page(query_id, cursor=third["cursor"])
    assert last["events"] == []
    assert last["cursor"] == third["cursor"]
    assert httpx.QueryParams({"c": third["cursor"]}).get("c") == third["cursor"]


async def test_a_limit_is_the_first_rows_in_order(rig: Rig) -> None:
    for hour in range(4):
        await rig.push(f"h{hour}", hour=hour)
        await rig.http.post("/v1/flush")
    page = await rig.finished(await rig.start(limit=2))
    assert [e["message"] for e in page["events"]] == ["h3", "h2"]
    assert page["progress"]["objects_total"] == 4
    assert page["progress"]["objects_done"] < 4, "stops once the answer is proven"


async def test_times_bound_an_answer(rig: Rig) -> None:
    for hour in range(3):
        await rig.push(f"h{hour}", hour=hour)
    hour_us = 3_600_000_000
    assert await rig.messages(start=T0_US + hour_us, end=T0_US + 2 * hour_us) == ["h1"]
    assert await rig.messages(start=T0_US + hour_us) == ["h2", "h1"]
    assert await rig.messages(start=T0_US, end="now") == ["h2", "h1", "h0"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"query": "a AND"}, "position"),
        ({"query": "/(/"}, "position"),
        ({"limit": 0}, "limit"),
        ({"limit": 200_001}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"order": "best"}, "order"),
        ({"executor": "mainframe"}, "executor"),
        ({"executor": "lambda"}, "Lambda"),
        ({"start": "yesterdayish"}, "yesterdayish"),
        ({"start": "-1h", "end": "-2h"}, "before start"),
        ({"qeury": "typo"}, "qeury"),
    ],
)
async def test_a_wrong_question_is_named(rig: Rig, body: dict[str, Any], names: str) -> None:
    answer = await rig.http.post("/v1/queries", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert names in answer.text


async def test_no_json_is_a_bad_request(rig: Rig) -> None:
    answer = await rig.http.post("/v1/queries", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("parameters", [{"cursor": "nonsense"}, {"limit": 0}, {"limit": 10_001}, {"limit": "x"}])
async def test_a_wrong_page_is_a_bad_request(rig: Rig, parameters: dict[str, Any]) -> None:
    query_id = await rig.start()
    answer = await rig.http.get(f"/v1/queries/{query_id}", params=parameters)
    assert answer.status_code == 400


async def test_unknown_and_foreign_ids_are_not_found_expired_ones_are_gone(rig: Rig) -> None:
    await rig.push("one")
    query_id = await rig.start()
    await rig.finished(query_id)
    for method, path in (("GET", ""), ("GET", "/stream"), ("DELETE", "")):
        foreign = await rig.http.request(method, f"/v1/queries/{query_id}{path}", headers={"x-test-tenant": "other"})
        assert foreign.status_code == 404, (method, path)
        assert (await rig.http.request(method, f"/v1/queries/unknown{path}")).status_code == 404
    rig.world.now_us += 61_000_000
    expired = await rig.http.get(f"/v1/queries/{query_id}")
    assert (expired.status_code, expired.json()["title"]) == (410, "Gone")
    assert "more than 60 s ago" in expired.json()["detail"]


async def test_another_tenant_finds_nothing(rig: Rig) -> None:
    await rig.push("secret")
    await rig.http.post("/v1/flush")
    await rig.push("secret in flight")
    rig.http.headers["x-test-tenant"] = "other"
    assert await rig.messages() == []


async def test_cancelling_keeps_what_was_found_and_says_so(rig: Rig) -> None:
    await rig.push("one")
    rig.in_flight.hold.clear()
    query_id = await rig.start()
    cancelled = (await rig.http.delete(f"/v1/queries/{query_id}")).json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["complete"] is False
    assert cancelled["incomplete"]
    assert (await rig.http.delete(f"/v1/queries/{query_id}")).json()["state"] == "cancelled"
    assert (await rig.page(query_id))["state"] == "cancelled"


async def test_a_stream_gives_every_event_then_done(rig: Rig) -> None:
    await rig.push("one", "two")
    query_id = await rig.start()
    answer = await rig.http.get(f"/v1/queries/{query_id}/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    parts = [dict(line.split(": ", 1) for line in part.split("\n")) for part in answer.text.strip().split("\n\n")]
    assert [json.loads(p["data"])["message"] for p in parts if p["event"] == "event"] == ["two", "one"]
    first = next(p for p in parts if p["event"] == "event")
    done = json.loads(parts[-1]["data"])
    assert parts[-1]["event"] == "done"
    assert (done["state"], done["complete"]) == ("done", True)
    resumed = await rig.http.get(f"/v1/queries/{query_id}/stream", params={"cursor": first["id"]})
    assert resumed.text.count("event: event") == 1


async def test_an_object_that_is_gone_makes_the_answer_incomplete_and_is_named(rig: Rig) -> None:
    await rig.push("one")
    await rig.push("two", hour=1)
    await rig.http.post("/v1/flush")
    gone = rig.world.store.list("tenant=")[0].key
    rig.world.store.delete(gone)
    page = await rig.finished(await rig.start())
    assert page["complete"] is False
    assert any(gone in reason for reason in page["incomplete"])
    assert page["progress"]["objects_failed"] == 1
    assert len(page["events"]) == 1


async def test_a_truncated_answer_says_why() -> None:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    rig = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1), AnswerLimits(max_rows=4))
    await rig.push(*[f"number {number}" for number in range(10)])
    page = await rig.finished(await rig.start())
    assert (page["state"], page["complete"], len(page["events"])) == ("truncated", False, 4)
    assert page["incomplete"] == [TRUNCATED]


async def test_health_names_damage_that_is_no_reason_to_go_elsewhere(rig: Rig) -> None:
    answer = await rig.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "warnings": []})
    rig.warnings.append("an object cannot be read")
    answer = await rig.http.get("/healthz")
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["an object cannot be read"])


async def test_what_nobody_covers_makes_the_answer_incomplete_and_is_named(rig: Rig) -> None:
    await rig.push("one")
    batch = batch_of(["unread"], [None], 0, rig.world.now_us)
    await rig.world.log.append(encode_records(batch, 2, "default"))  # acknowledged, and its owner has not read it
    page = await rig.finished(await rig.start())
    assert page["complete"] is False
    assert "virtual node 2" in page["incomplete"][0]


async def test_without_the_log_what_is_stored_is_found_and_the_rest_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.push("stored 0", "stored 1")
    await rig.http.post("/v1/flush")
    await rig.push("in flight")

    async def away() -> dict[int, int]:
        raise Unavailable("the event log did not answer within 10 s")

    monkeypatch.setattr(rig.world.log, "end_offsets", away)
    page = await rig.finished(await rig.start())
    assert [event["message"] for event in page["events"]] == ["stored 1", "stored 0"]
    assert (page["state"], page["complete"]) == ("done", False)
    assert "the event log did not answer within 10 s" in page["incomplete"][0]


async def test_repeats_by_id_are_merged_and_counted(rig: Rig) -> None:
    for vnode in (0, 1):
        batch = batch_of(["twice"], ["same id"], 0, rig.world.now_us)
        await rig.world.log.append(encode_records(batch, vnode, "default"))
    await rig.writer.poll()
    page = await rig.finished(await rig.start())
    assert [e["message"] for e in page["events"]] == ["twice"]
    assert page["progress"]["duplicates_suppressed"] == 1


async def test_health_names_its_problems(rig: Rig) -> None:
    assert (await rig.http.get("/healthz")).status_code == 200
    rig.problems = ["persist-0 is being replaced"]
    answer = await rig.http.get("/healthz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "persist-0" in answer.json()["detail"]


async def test_status_and_the_description_answer(rig: Rig) -> None:
    assert (await rig.http.get("/v1/status")).json() == {"pool": {"0": "fine"}}
    assert "/v1/queries" in (await rig.http.get("/openapi.json")).json()["paths"]


async def test_compaction_is_asked_for_without_a_body_or_up_to_a_moment(rig: Rig) -> None:
    assert (await rig.http.post("/v1/compact")).json() == {"merged_objects": 2, "before_us": rig.world.now_us}
    assert (await rig.http.post("/v1/compact", json={"before_us": 5})).json()["before_us"] == 5
    for wrong in ({"before_us": "5"}, {"before_us": -1}, {"before": 5}):
        assert (await rig.http.post("/v1/compact", json=wrong)).status_code == 400
