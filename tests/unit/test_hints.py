"""Answers without rows: what is told of them, and that telling it never harms the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.event import ATTRIBUTES
from ess_ray.core.timestamps import format_timestamp
from ess_ray.limits import SearchLimits
from ess_ray.record import encode_records
from ess_ray.search import hints
from ess_ray.search.hints import near_names
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US, T0_US, World, batch_of

DEADLINE_S = 60.0
FAR = format_timestamp(T0_US - 7 * HOUR_US)


class Hinted(Rig):
    async def push_fields(self, **attributes: str) -> None:
        batch = batch_of(["it is there"], [None], 0, self.world.now_us)
        at = batch.schema.get_field_index("attributes")
        batch = batch.set_column(at, batch.schema.field(at), pa.array([list(attributes.items())], ATTRIBUTES))
        await self.world.log.append(encode_records(batch, 0, "default"))
        await self.writer.poll()

    async def told(self, query: str, path: str = "/v1/queries", **body: Any) -> list[dict[str, Any]]:
        page = await self.finished(await self.start(query, path, **body))
        assert (page["state"], page["complete"], page["events"]) == ("done", True, [])
        found: list[dict[str, Any]] = page["hints"]
        return found


@pytest.fixture(params=["in flight", "stored"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Hinted]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Hinted(world, writer, SearchLimits(hints_within_s=DEADLINE_S))
    await made.push_fields(**{"user_agent": "curl", "http.status": "500", "region": "eu", "db02": "x"})
    if request.param == "stored":
        await made.http.post("/v1/flush")
    yield made
    await made.http.aclose()


@pytest.mark.parametrize(
    ("query", "kinds", "queries"),
    [
        ("nowhere", [], []),
        ("region:us", [], []),
        ("-region:eu", [], []),
        ("NOT nosuch:x region:us", [], []),
        ("db01:5432", ["no_such_field", "did_you_mean", "search_text"], ["db02:5432", '"db01:5432"']),
        ("arn:aws:s3:::b", ["no_such_field", "search_text"], ['"arn:aws:s3:::b"']),
        ("nosuchfield:x y", ["no_such_field", "search_text"], ['"nosuchfield:x" y']),
        ("nosuchfield:*", ["no_such_field"], []),
        ("nosuchfield:(a OR b)", ["no_such_field"], []),
        ("user-agent:curl", ["no_such_field", "did_you_mean", "search_text"], ["user_agent:curl", '"user-agent:curl"']),
        ("x userAgent:curl*", ["no_such_field", "did_you_mean"], ["x user_agent:curl*"]),
        ("status>400", ["no_such_field", "did_you_mean", "search_text"], ["http.status>400", '"status>400"']),
        ("regoin:eu", ["no_such_field", "did_you_mean", "search_text"], ["region:eu", '"regoin:eu"']),
        ("sevice:api", ["no_such_field", "did_you_mean", "search_text"], ["service:api", '"sevice:api"']),
        ("level=ERROR", ["field"], ["level:ERROR"]),
        ("level: ERROR", ["field"], ["level:ERROR"]),
        ('service="api gw" x', ["field"], ['service:"api gw" x']),
        ("status!=500", ["field"], ["-status:500"]),
        ("timestamp>=2026-11-24T10:00", ["field"], ["timestamp:>=2026-11-24T10:00"]),
        ("$price:5 x", ["field"], ['"$price":5 x']),
        ("it's:x", ["field"], ['"it\'s":x']),
        ("message#2:v", ["field"], ['"message#2":v']),
        ("3rd:x", ["field"], ['"3rd":x']),
        ("10:22:33", [], []),
        (r"C:\x http://x $a::b", [], []),
        ("there and nothing", ["operator"], ["there AND nothing"]),
        ("x or not y", ["operator"], ["x OR NOT y"]),
        ("a && b || !c", ["operator"], ["a AND b OR -c"]),
        ("message:there", ["contains"], ["there"]),
        ("message:a:b", ["contains"], ['"a:b"']),
        ('message:"is there"', ["contains"], ['"is there"']),
    ],
)
async def test_hints(rig: Hinted, query: str, kinds: list[str], queries: list[str]) -> None:
    told = await rig.told(query)
    assert [hint["kind"] for hint in told] == kinds
    assert [hint["query"] for hint in told if hint["query"] is not None] == queries
    assert all(hint["text"] and hint["start"] is None for hint in told)


async def test_counts_have_hints_too(rig: Hinted) -> None:
    told = await rig.told("level=ERROR", "/v1/aggregations", by=["level"])
    assert [hint["query"] for hint in told] == ["level:ERROR"]


async def test_an_answer_with_rows_has_none(rig: Hinted) -> None:
    page = await rig.finished(await rig.start("there OR nosuch:x"))
    assert (len(page["events"]), page["hints"]) == (1, [])
    streamed = await rig.http.get(f"/v1/queries/{await rig.start('level=ERROR')}/stream")
    assert '"kind":"field"' in streamed.text.rpartition("event: done")[2]


@pytest.mark.parametrize(
    ("body", "says", "start"),
    [
        ({"start": T0_US + HOUR_US, "end": T0_US + 3 * HOUR_US}, "newest one before it", T0_US - 2 * HOUR_US),
        ({"start": "-1h"}, "newest one before it", None),
        ({"start": FAR, "end": T0_US}, "first one after it", T0_US),
        ({"start": FAR, "end": T0_US - HOUR_US}, "first one after it", T0_US),
    ],
)
async def test_a_range_without_events_tells_where_they_are(
    rig: Hinted, body: dict[str, Any], says: str, start: int | None
) -> None:
    told = (await rig.told("there", **body))[0]
    assert (told["kind"], says in told["text"], format_timestamp(T0_US) in told["text"]) == ("empty_range", True, True)
    assert start is None or told["start"] == format_timestamp(start)
    page = await rig.finished(await rig.start("there", start=told["start"]))
    assert len(page["events"]) == 1


async def test_no_events_at_all(rig: Hinted) -> None:
    answer = await rig.http.post("/v1/queries", json={"query": "x"}, headers={"x-test-tenant": "other"})
    for _ in range(10_000):
        page = (await rig.http.get(f"/v1/queries/{answer.json()['id']}", headers={"x-test-tenant": "other"})).json()
        if page["state"] != "running":
            break
        await asyncio.sleep(0)
    (hint,) = page["hints"]
    assert hint["kind"] == "no_events"
    assert "the tenant other" in hint["text"]
    assert "belong to the tenant default" in hint["text"]


async def test_what_takes_too_long_is_left_out() -> None:
    world = World()
    rig = Hinted(world, world.writer(), SearchLimits(hints_within_s=0.0))
    await rig.writer.assign(range(3))
    assert [hint["kind"] for hint in await rig.told("nosuch:x and y")] == ["search_text", "operator"]
    assert "service:x" in [hint["query"] for hint in await rig.told("servise:x")]  # columns are known without a look
    await rig.http.aclose()


async def test_a_flaw_in_hints_is_no_flaw_of_the_answer(rig: Hinted, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(hints, "other_readings", broken)
    assert await rig.told("nosuch:x") == []


async def test_an_answer_that_is_cancelled_while_hints_are_found_is_whole(
    rig: Hinted, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = asyncio.Event()

    async def endless(*_: object) -> tuple[dict[str, Any], ...]:
        looking.set()
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr("ess_ray.search.run.find_hints", endless)
    query_id = await rig.start("nosuch:x")
    await looking.wait()
    state = await rig.searcher.cancel("default", query_id)
    assert (state.state, state.complete, state.hints) == ("done", True, ())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("UserAgent", ["user_agent", "user-agent"]),
        ("status", ["http.status", "stats"]),
        ("http.response.code", ["code"]),
        ("user_agnt", ["user_agent", "user-agent"]),
        ("xyz", []),
        ("x" * 10_000, []),
    ],
)
def test_near_names(name: str, near: list[str]) -> None:
    known = ["user_agent", "user-agent", "http.status", "stats", "code", "message", "y" * 10_000]
    assert near_names(name, known) == near
