"""Aggregations over HTTP: counts by time and group."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.search.shown import LONG_TEXTS
from tests.aggregating import BASE_US, MINUTE_US, aggregate, at, buckets, push, rig, shop
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US

__all__ = ["rig", "shop"]


async def test_all_is_counted_without_groups_or_buckets(shop: Rig) -> None:
    page = await aggregate(shop)
    assert buckets(page) == [(None, 8)]
    assert page["interval_s"] is None
    assert page["progress"]["rows_matched"] == 8
    assert page["progress"]["in_flight_rows"] == 2
    assert page["progress"]["bytes_read"] == 0, "the catalog knows how many rows an object has"


@pytest.mark.parametrize("interval", [None, "1h", "auto"])
async def test_objects_that_the_catalog_tells_all_of_are_not_read(rig: Rig, interval: str | None) -> None:
    for hour in range(3):
        await push(rig, *({"timestamp": hour * HOUR_US + n} for n in range(4)), flush=True)
    objects = rig.world.store.list("tenant=")
    for stored in objects[1:]:  # all but the one that the range begins in
        rig.world.store.delete(stored.key)
    page = await aggregate(rig, start=BASE_US + 1, interval=interval)
    assert sum(bucket["count"] for bucket in page["buckets"]) == 11
    progress = page["progress"]
    assert (progress["objects_done"], progress["rows_matched"]) == (3, 11)
    assert progress["gets"] <= 1
    for body in ({"by": ["level"]}, {"query": "x"}):
        page = await rig.finished(await rig.start(path="/v1/aggregations", **body))
        assert page["progress"]["objects_failed"] == len(objects) - 1, "these have to be read"


async def test_nothing_is_counted_as_one_bucket_of_none(shop: Rig) -> None:
    assert (await aggregate(shop, "nosuchword"))["buckets"] == []
    assert (await aggregate(shop, start="-1s", by=["level"]))["buckets"] == []


async def test_groups_come_largest_first_and_null_is_a_group(shop: Rig) -> None:
    assert buckets(await aggregate(shop, by=["level"])) == [(None, "ERROR", 4), (None, "INFO", 2), (None, None, 2)]
    page = await aggregate(shop, "timeout", by=["level", "attributes.region"])
    assert page["buckets"] == [{"start": None, "by": {"level": "ERROR", "attributes.region": None}, "count": 4}]


async def test_an_attribute_is_named_with_or_without_its_prefix(shop: Rig) -> None:
    for name in ("region", "attributes.region"):
        assert buckets(await aggregate(shop, by=[name])) == [(None, None, 4), (None, "eu", 3), (None, "us", 1)]
    assert buckets(await aggregate(shop, by=["attributes.level"])) == [(None, None, 7), (None, "x", 1)]
    assert buckets(await aggregate(shop, by=["nobody.knows"])) == [(None, None, 8)]


async def test_buckets_are_aligned_and_ascend_and_empty_ones_are_left_out(shop: Rig) -> None:
    page = await aggregate(shop, interval="1m")
    assert page["interval_s"] == 60
    assert buckets(page) == [(at(0), 3), (at(MINUTE_US), 3), (at(2 * MINUTE_US), 1), (at(HOUR_US), 1)]
    page = await aggregate(shop, interval="1h", by=["service"])
    assert buckets(page) == [(at(0), None, 7), (at(HOUR_US), "pay", 1)]
    page = await aggregate(shop, "timeout", start=BASE_US + 1, end=BASE_US + MINUTE_US + 1, interval="1m")
    assert buckets(page) == [(at(0), 1), (at(MINUTE_US), 1)]


@pytest.mark.parametrize(
    ("bounds", "interval_s"),
    [
        ({"start": BASE_US, "end": BASE_US + HOUR_US}, 60),
        ({"start": BASE_US, "end": BASE_US + 60_000_000}, 1),
        ({"start": BASE_US, "end": BASE_US + 10 * 24 * HOUR_US}, 6 * 3600),
        ({"start": 0}, 120),  # the data spans an hour and its first moment
        ({"start": BASE_US, "end": BASE_US}, 1),
    ],
)
async def test_auto_chooses_a_width_for_the_range_or_the_data(shop: Rig, bounds: Any, interval_s: int) -> None:
    page = await aggregate(shop, interval="auto", by=["level"], **bounds)
    assert page["interval_s"] == interval_s
    assert len({bucket["start"] for bucket in page["buckets"]}) <= 60
    if bounds == {"start": 0}:
        assert sum(bucket["count"] for bucket in page["buckets"]) == 8


async def test_auto_over_no_data_answers(rig: Rig) -> None:
    assert (await aggregate(rig, interval="auto"))["buckets"] == []


async def test_all_but_the_top_groups_are_told_together(shop: Rig) -> None:
    page = await aggregate(shop, by=["region"], top=1)
    assert buckets(page) == [(None, None, 4), (None, None, "other", 4)]
    assert page["progress"]["groups"] == 3
    page = await aggregate(shop, by=["region"], top=1, interval="1h")
    assert buckets(page) == [(at(0), None, 4), (at(0), None, "other", 3), (at(HOUR_US), None, "other", 1)]


async def test_repeats_by_id_are_counted_as_often_as_they_were_taken(rig: Rig) -> None:
    for vnode in (0, 1):
        await push(rig, {"event_id": "same", "level": "INFO"}, vnode=vnode)
    assert buckets(await aggregate(rig, by=["level"])) == [(None, "INFO", 2)]


async def test_an_aggregation_is_polled_and_streamed_under_both_paths(shop: Rig) -> None:
    query_id = await shop.start("", "/v1/aggregations", by=["level"])
    done = await shop.finished(query_id)
    again = await shop.http.get(f"/v1/aggregations/{query_id}")
    assert again.json() == done
    for path in ("queries", "aggregations"):
        answer = await shop.http.get(f"/v1/{path}/{query_id}/stream")
        last = dict(line.split(": ", 1) for line in answer.text.strip().split("\n\n")[-1].split("\n"))
        assert last["event"] == "done"
        assert json.loads(last["data"])["buckets"] == done["buckets"]


async def test_a_search_for_rows_has_no_buckets(shop: Rig) -> None:
    page = await shop.finished(await shop.start())
    assert not {"buckets", "interval_s"} & page.keys()
    assert "groups" not in page["progress"]


async def test_a_cancelled_aggregation_says_so(shop: Rig) -> None:
    shop.in_flight.hold.clear()
    query_id = await shop.start("", "/v1/aggregations")
    cancelled = (await shop.http.delete(f"/v1/aggregations/{query_id}")).json()
    assert (cancelled["state"], cancelled["complete"], cancelled["buckets"]) == ("cancelled", False, [])


async def test_another_tenant_counts_nothing(shop: Rig) -> None:
    query_id = await shop.start("", "/v1/aggregations")
    headers = {"x-test-tenant": "other"}
    assert (await shop.http.get(f"/v1/aggregations/{query_id}", headers=headers)).status_code == 404
    shop.http.headers.update(headers)
    assert (await aggregate(shop))["buckets"] == []
    assert (await shop.http.get("/v1/fields", params={"start": "0"})).json()["fields"] == []


async def test_an_object_that_is_gone_is_named(shop: Rig) -> None:
    gone = shop.world.store.list("tenant=")[0].key
    shop.world.store.delete(gone)
    page = await shop.finished(await shop.start("", "/v1/aggregations", by=["level"]))
    assert page["complete"] is False
    assert any(gone in reason for reason in page["incomplete"])


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"query": "a AND"}, "position"),
        ({"interval": "1x"}, "1x"),
        ({"interval": "0s"}, "0s"),
        ({"interval": "1m30s"}, "1m30s"),
        ({"interval": "9999999w"}, "ten years"),
        ({"interval": 60}, "interval"),
        ({"by": "level"}, "by"),
        ({"by": [""]}, "by"),
        ({"by": ["attributes."]}, "names no field"),
        ({"by": ["attributes"]}, "names no field"),
        ({"by": ["level", "level"]}, "already"),
        ({"by": ["region", "attributes.region"]}, "already"),
        ({"by": [f"f{n}" for n in range(9)]}, "by"),
        ({"top": 0}, "top"),
        ({"top": 1001}, "top"),
        ({"start": "-1h", "end": "-2h"}, "before start"),
        ({"start": 0, "end": "2026-01-01T00:00:00Z", "interval": "1m"}, "larger interval"),
        ({"limit": 5}, "limit"),
        ({"executor": "lambda"}, "Lambda"),
    ],
)
async def test_a_wrong_question_is_named(rig: Rig, body: dict[str, Any], names: str) -> None:
    answer = await rig.http.post("/v1/aggregations", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert names in answer.text


async def test_a_lone_surrogate_in_a_name_is_no_fault_of_ours(shop: Rig) -> None:
    answer = await shop.http.post("/v1/aggregations", content=b'{"start":0,"by":["a\\ud800"]}')
    if answer.status_code == 201:
        page = await shop.finished(answer.json()["id"])
        assert page["buckets"] == [{"start": None, "by": {"a\ufffd": None}, "count": 8}]
    else:
        assert answer.status_code == 400, answer.text


async def test_too_many_buckets_fail_and_say_what_to_do(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ess_ray.core.collect.cells.MAX_CELLS", "ess_ray.search.shown.MAX_CELLS"):
        monkeypatch.setattr(name, 2)
    await push(rig, *({"timestamp": n * MINUTE_US} for n in range(3)), flush=True)
    page = await rig.finished(await rig.start("", "/v1/aggregations", interval="1m"))
    assert (page["state"], page["complete"]) == ("failed", False)
    assert "larger interval" in page["incomplete"][0]
    assert (await rig.finished(await rig.start("", "/v1/aggregations", interval="1h")))["state"] == "done"


async def test_groups_that_cannot_be_held_are_told_of(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(rig, *({"level": "A"} for _ in range(5)), *({"level": f"x{n}"} for n in range(20)), flush=True)
    monkeypatch.setattr("ess_ray.core.collect.cells.MAX_HELD_BYTES", 300)
    page = await rig.finished(await rig.start("", "/v1/aggregations", by=["level"]))
    assert (page["state"], page["complete"]) == ("done", False)
    assert "lower bounds" in page["incomplete"][0]
    assert page["progress"]["groups"] is None
    assert sum(bucket["count"] for bucket in page["buckets"]) == 25
    assert page["buckets"][0] == {"start": None, "by": {"level": "A"}, "count": 5}


async def test_values_too_long_to_be_shown_are_told_together(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(rig, *({"message": "short"},) * 3, *({"message": "long" * 30},) * 2, {"message": "s"}, flush=True)
    monkeypatch.setattr("ess_ray.core.collect.cells.MAX_TEXT_BYTES", 100)
    page = await rig.finished(await rig.start("", "/v1/aggregations", by=["message"]))
    assert (page["state"], page["complete"]) == ("done", False)
    assert page["incomplete"] == [LONG_TEXTS]
    assert buckets(page) == [(None, "short", 3), (None, None, "other", 3)]
    page = await rig.finished(await rig.start("", "/v1/aggregations", by=["message"], top=1))
    assert page["complete"], "what is beyond the top is told together anyway"
