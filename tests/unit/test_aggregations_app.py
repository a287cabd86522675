"""Aggregations, fields and values over HTTP, over real parts in memory: what is stored and what is in flight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
import pytest

from deployments import aggregations
from ess_ray.core.event import RECORD_SCHEMA, TIMESTAMP
from ess_ray.core.timestamps import format_timestamp
from ess_ray.limits import SearchLimits
from ess_ray.record import encode_records
from ess_ray.search.shown import LONG_TEXTS
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US, T0_US, World

MINUTE_US = 60_000_000
BASE_US = T0_US - T0_US % HOUR_US
"""The start of an hour."""


def events(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    def column(field: pa.Field) -> pa.Array:
        times = {"timestamp": BASE_US, "observed_timestamp": T0_US}
        values = [row.get(field.name, "" if field.name == "message" else None) for row in rows]
        if field.name in times:
            return pa.array([times[field.name] + (value or 0) for value in values], TIMESTAMP)
        return pa.array(values, field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in RECORD_SCHEMA], schema=RECORD_SCHEMA)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
    yield made
    await made.http.aclose()


async def push(rig: Rig, *rows: dict[str, Any], vnode: int = 0, flush: bool = False) -> None:
    await rig.world.log.append(encode_records(events(list(rows)), vnode, "default"))
    await rig.writer.poll()
    if flush:
        await rig.writer.flush()


async def aggregate(rig: Rig, query: str = "", **body: Any) -> dict[str, Any]:
    page = await rig.finished(await rig.start(query, "/v1/aggregations", **body))
    assert (page["state"], page["complete"]) == ("done", True), page
    assert page["events"] == []
    return page


def buckets(page: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (bucket["start"], *bucket["by"].values(), *(["other"] if bucket.get("other") else []), bucket["count"])
        for bucket in page["buckets"]
    ]


def at(us: int) -> str:
    return format_timestamp(BASE_US + us)


@pytest.fixture
async def shop(rig: Rig) -> Rig:
    """Give a system with two objects, and some events in flight in two virtual nodes."""
    errors = [{"timestamp": MINUTE_US * n, "level": "ERROR", "message": "timeout"} for n in range(3)]
    infos = [{"timestamp": MINUTE_US, "level": "INFO", "attributes": [("region", "eu")]}] * 2
    await push(rig, *errors, *infos, flush=True)
    await push(rig, {"timestamp": HOUR_US, "service": "pay", "attributes": [("region", "us")]}, flush=True)
    await push(rig, {"timestamp": 1, "level": "ERROR", "event_id": "a", "message": "timeout in flight"})
    await push(rig, {"timestamp": 2, "attributes": [("level", "x"), ("region", "eu")]}, vnode=1)
    return rig


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


# ---------------------------------------------------------------------------------------------- fields and values
async def get(rig: Rig, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await rig.http.get(path, params={"start": "0", **parameters})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_fields_are_named_with_how_often_they_occur(shop: Rig) -> None:
    found = await get(shop, "/v1/fields")
    assert [(f["name"], f["kind"], f["count"]) for f in found["fields"]] == [
        *((name, "column", 8) for name in ("message", "_ess.observed_timestamp", "timestamp")),
        ("level", "column", 6),
        ("region", "attribute", 4),
        ("id", "column", 1),
        ("level", "attribute", 1),
        ("service", "column", 1),
    ]
    assert (found["rows"], found["complete"], found["incomplete"]) == (8, True, [])
    assert found["elapsed_ms"] >= 0
    found = await get(shop, "/v1/fields", query="service:pay")
    assert {f["name"] for f in found["fields"]} == {
        "message",
        "_ess.observed_timestamp",
        "timestamp",
        "region",
        "service",
    }
    assert found["rows"] == 1
    assert (await get(shop, "/v1/fields", end=str(BASE_US)))["fields"] == []


async def test_a_fields_values_are_counted(shop: Rig) -> None:
    found = await get(shop, "/v1/fields/level/values")
    assert found["field"] == "level"
    assert found["values"] == [{"value": "ERROR", "count": 4}, {"value": "INFO", "count": 2}]
    assert (found["rows"], found["distinct"], found["complete"]) == (6, 2, True)
    found = await get(shop, "/v1/fields/region/values", top=1)
    assert (found["values"], found["rows"], found["distinct"]) == ([{"value": "eu", "count": 3}], 4, 2)
    found = await get(shop, "/v1/fields/attributes.region/values", query="level:INFO")
    assert found["values"] == [{"value": "eu", "count": 2}]
    assert (await get(shop, "/v1/fields/no/such/field/values"))["values"] == []
    assert (await get(shop, "/v1/fields/two%0Alines/values"))["values"] == []


@pytest.mark.parametrize(
    ("field", "prefix", "values"),
    [("level", "err", ["ERROR"]), ("region", "u", ["us"]), ("region", "U", []), ("region", ".", []), ("region", "", 2)],
)
async def test_values_may_be_asked_for_by_their_beginning(shop: Rig, field: str, prefix: str, values: Any) -> None:
    found = await get(shop, f"/v1/fields/{field}/values", prefix=prefix)
    told = [value["value"] for value in found["values"]]
    assert (len(told) if prefix == "" else told) == values
    assert found["rows"] == sum(value["count"] for value in found["values"])


async def test_values_are_those_of_the_field_itself_an_array_being_one(rig: Rig) -> None:
    await push(rig, {"attributes": [("tags", '["prod","eu"]')], "attribute_types": "j"})
    await push(rig, {"attributes": [("tags", "eu"), ("tags#2", "us")]}, {"attributes": [("tags#2", "asia")]})
    for prefix, values in (("", ['["prod","eu"]', "eu"]), ("eu", ["eu"]), ("us", [])):
        found = await get(rig, "/v1/fields/tags/values", prefix=prefix)
        assert sorted(value["value"] for value in found["values"]) == values


async def test_what_clients_call_as_we_do_is_theirs(rig: Rig) -> None:
    await push(
        rig, {"attributes": [("offset", "theirs")]}, {"attributes": [("offset", "100.0")], "attribute_types": "n"}
    )
    page = await aggregate(rig, by=["offset"])
    assert buckets(page) == [(None, "100", 1), (None, "theirs", 1)]
    assert buckets(await aggregate(rig, "offset:1e2", by=["_ess.row"])) == [(None, "1", 1)]


async def test_more_fields_than_are_told_are_told_of(rig: Rig) -> None:
    await push(rig, {"attributes": [(f"a{n:04}", "") for n in range(aggregations.MAX_TOP)]}, {})
    found = await get(rig, "/v1/fields")
    assert len(found["fields"]) == aggregations.MAX_TOP
    assert found["incomplete"] == [aggregations.MORE_FIELDS]
    assert found["complete"] is False
    assert found["rows"] == 2


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/fields", {"query": "("}),
        ("/v1/fields", {"start": "soon"}),
        ("/v1/fields/attributes./values", {}),
        ("/v1/fields/level/values", {"top": "0"}),
        ("/v1/fields/level/values", {"top": "1001"}),
        ("/v1/fields/level/values", {"prefix": "x" * 1001}),
        ("/v1/fields/level/values", {"start": "-1h", "end": "-2h"}),
    ],
)
async def test_a_wrong_request_for_fields_is_named(rig: Rig, path: str, parameters: dict[str, str]) -> None:
    answer = await rig.http.get(path, params=parameters)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_longest_prefix_is_taken(rig: Rig) -> None:
    assert (await get(rig, "/v1/fields/level/values", prefix="é" * 1000))["values"] == []


async def test_what_takes_too_long_is_told_as_far_as_it_came(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.aggregations.max_wait_s = 0.0
    shop.in_flight.hold.clear()
    found = await get(shop, "/v1/fields")
    assert (found["fields"], found["complete"], found["incomplete"]) == ([], False, [aggregations.TIME_LIMIT])


async def test_who_goes_away_ends_what_was_asked(shop: Rig) -> None:
    shop.in_flight.hold.clear()
    asking = asyncio.create_task(get(shop, "/v1/fields"))
    for _ in range(10_000):
        if shop.searcher.running:
            break
        await asyncio.sleep(0)
    else:
        pytest.fail("the aggregation did not start")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not shop.searcher.running


async def test_the_description_tells_of_all_of_it(rig: Rig) -> None:
    paths = (await rig.http.get("/openapi.json")).json()["paths"]
    for path, method in (
        ("/v1/aggregations", "post"),
        ("/v1/aggregations/{query_id}", "get"),
        ("/v1/fields", "get"),
        ("/v1/fields/{name}/values", "get"),
    ):
        assert {"400", "401", "403", "503"} <= paths[path][method]["responses"].keys()
