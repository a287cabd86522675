"""Names of fields and their values over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments import aggregations
from tests.aggregating import BASE_US, aggregate, buckets, push, rig, shop
from tests.unit.test_search_app import Rig

__all__ = ["rig", "shop"]


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
