"""Statistics of aggregations over HTTP, of what is stored and what is in flight; and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from ess_ray.adapters.redis_results import _from_json
from ess_ray.core.statistics import distinct
from ess_ray.limits import SearchLimits
from ess_ray.search import shown
from tests.aggregating import BASE_US, MINUTE_US, at, push
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US, World


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
    yield made
    await made.http.aclose()


def event(service: str, ms: str | None, minute: int = 0, **more: Any) -> dict[str, Any]:
    attributes = [] if ms is None else [("ms", ms)]
    return {"service": service, "attributes": attributes, "timestamp": minute * MINUTE_US, **more}


@pytest.fixture
async def shop(rig: Rig) -> Rig:
    """Give a system with two objects, and events in flight in two virtual nodes."""
    await push(rig, event("pay", "10"), event("pay", "20.5"), event("cart", "1"), flush=True)
    await push(rig, event("pay", "12ms", 1), event("cart", "3", 1), event("cart", "1e999", 1), flush=True)
    await push(rig, event("pay", "30", 1), event("ship", None, 1))
    await push(rig, event("cart", "2", 1), vnode=1)
    return rig


async def told(rig: Rig, **body: Any) -> dict[str, Any]:
    page = await rig.finished(await rig.start(path="/v1/aggregations", **body))
    assert (page["state"], page["complete"]) == ("done", True), page
    return page


def stats(page: dict[str, Any], name: str) -> dict[Any, Any]:
    return {(bucket["start"], *bucket["by"].values()): bucket["stats"][name] for bucket in page["buckets"]}


async def test_each_bucket_has_the_statistics_that_were_asked_for(shop: Rig) -> None:
    asked = ["sum(ms)", "avg(ms)", "min(ms)", "max(ms)", "count()", "count_distinct(ms)", "p50(ms)", "quantile(1, ms)"]
    page = await told(shop, by=["service"], stats=asked)
    assert [list(bucket["stats"]) for bucket in page["buckets"]] == [asked] * 3
    assert stats(page, "sum(ms)") == {(None, "pay"): 60.5, (None, "cart"): 6.0, (None, "ship"): None}
    assert stats(page, "avg(ms)") == {(None, "pay"): 60.5 / 3, (None, "cart"): 2.0, (None, "ship"): None}
    assert stats(page, "min(ms)") == {(None, "pay"): 10.0, (None, "cart"): 1.0, (None, "ship"): None}
    assert stats(page, "max(ms)") == {(None, "pay"): 30.0, (None, "cart"): 3.0, (None, "ship"): None}
    assert stats(page, "count()") == {(None, "pay"): 4, (None, "cart"): 4, (None, "ship"): 1}
    assert stats(page, "count_distinct(ms)") == {(None, "pay"): 4, (None, "cart"): 4, (None, "ship"): 0}
    assert stats(page, "p50(ms)")[None, "pay"] == pytest.approx(20.5, rel=0.01)
    assert stats(page, "quantile(1, ms)")[None, "pay"] == 30.0
    assert page["ignored"] == {"ms": 2}
    assert page["relative_error"] == {"p50(ms)": 0.01, "quantile(1, ms)": 0.01}


async def test_without_statistics_nothing_is_different(shop: Rig) -> None:
    page = await told(shop, by=["service"])
    assert not {"ignored", "relative_error", "columns", "statistics", "table"} & set(page)
    assert all("stats" not in bucket for bucket in page["buckets"])


async def test_groups_are_ranked_by_a_statistic_and_the_rest_is_told_together(shop: Rig) -> None:
    page = await told(shop, by=["service"], stats=["max(ms)"], order_by="min(ms)", top=1)
    assert [(bucket["by"]["service"], bucket.get("other")) for bucket in page["buckets"]] == [
        ("pay", None),
        (None, True),
    ]
    assert stats(page, "max(ms)") == {(None, "pay"): 30.0, (None, None): 3.0}
    page = await told(shop, by=["ms"], order_by="max(ms)", top=2)
    assert [bucket["by"]["ms"] for bucket in page["buckets"]] == ["30", "20.5", None]
    assert all("stats" not in bucket for bucket in page["buckets"])


async def test_a_rate_is_of_the_part_of_a_bucket_that_was_asked_for(shop: Rig) -> None:
    bounds = {"start": BASE_US, "end": BASE_US + 90_000_000}
    page = await told(shop, stats=["rate()"], interval="1m", **bounds)
    assert stats(page, "rate()") == {(at(0),): 3 / 60, (at(MINUTE_US),): 6 / 30}
    assert stats(await told(shop, stats=["rate()"], **bounds), "rate()") == {(None,): 9 / 90}


async def test_a_rate_without_an_end_is_until_now(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.aggregations._now_us", lambda: BASE_US + MINUTE_US + 10_000_000)
    page = await told(shop, stats=["rate()"], interval="1m", start=BASE_US)
    assert stats(page, "rate()") == {(at(0),): 3 / 60, (at(MINUTE_US),): 6 / 10}


@pytest.mark.parametrize("interval", ["1h", "1d", "auto", None])
async def test_statistics_by_time_are_those_of_the_whole(shop: Rig, interval: str | None) -> None:
    bounds = {"start": BASE_US, "end": BASE_US + HOUR_US}
    page = await told(shop, stats=["sum(ms)", "p99.9(ms)"], interval=interval, time_zone="Europe/Berlin", **bounds)
    assert sum(stats(page, "sum(ms)").values()) == 66.5
    assert page["ignored"] == {"ms": 2}


async def test_a_day_is_as_long_as_the_place_has_it(rig: Rig) -> None:
    start_us = 1_774_738_800_000_000  # 2026-03-29 00:00 in Berlin: a day of 23 hours
    await push(rig, {"timestamp": start_us - BASE_US, "service": "a"})
    page = await told(rig, stats=["rate()"], interval="1d", time_zone="Europe/Berlin", end=start_us + 30 * HOUR_US)
    assert [bucket["stats"]["rate()"] for bucket in page["buckets"]] == [1 / (23 * 3600)]


async def test_many_different_values_are_told_as_estimated(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "MAX_EXACT", 2)
    page = await told(shop, by=["service"], stats=["count_distinct(ms)"])
    assert stats(page, "count_distinct(ms)") == {(None, "pay"): 4, (None, "cart"): 4, (None, "ship"): 0}
    assert page["relative_error"] == {"count_distinct(ms)": 0.02}


async def test_statistics_that_take_too_much_say_what_to_do(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ess_ray.core.collect.cells.MAX_SLOT_BYTES", 10)
    page = await rig_failed(shop, stats=["p95(ms)"], interval="1s")
    assert page["incomplete"] == [shown.TOO_LARGE]


async def rig_failed(rig: Rig, **body: Any) -> dict[str, Any]:
    page = await rig.finished(await rig.start(path="/v1/aggregations", **body))
    assert page["state"] == "failed"
    return page


@pytest.mark.parametrize(
    ("body", "position", "says"),
    [
        ({"stats": ["count()", "median(ms)"]}, 0, "stats[1]: there is no function median: there are count(), "),
        ({"stats": ["quantile(1.5, ms)"]}, 9, '"1.5" is no number from 0 to 1'),
        ({"stats": ["p101(ms)"]}, 0, "there is no p101"),
        ({"stats": ["p95"]}, 0, "there are count(), count_distinct(FIELD), "),
        ({"stats": ["avg(ms"]}, 6, 'the text cannot end here, but ")" or "," can'),
        ({"stats": ["count(ms)"]}, 6, "count() takes nothing"),
        ({"order_by": "avg()"}, 0, "order_by: avg takes one field"),
    ],
)
async def test_wrong_functions_are_refused_with_their_place(shop: Rig, body: Any, position: int, says: str) -> None:
    answer = await shop.http.post("/v1/aggregations", json=body)
    assert answer.status_code == 400
    assert answer.json()["position"] == position
    assert says in answer.json()["detail"]


def test_answers_that_an_older_version_stored_are_read() -> None:
    older = {"state": "done", "progress": {}, "complete": True, "incomplete": [], "elapsed_ms": 1}
    state = _from_json(orjson.dumps({**older, "buckets": [{"count": 1}], "interval_s": None}))
    assert (state.buckets, state.statistics, state.table) == (({"count": 1},), None, None)
