"""Pipes over HTTP: a query with stages behind it, answered as a table."""

from __future__ import annotations

from typing import Any

import pytest

from ess_ray.search import stages, table
from tests.aggregating import BASE_US, MINUTE_US, at
from tests.unit.test_search_app import Rig
from tests.unit.test_statistics_app import rig, shop

__all__ = ["rig", "shop"]


async def piped(rig: Rig, query: str, **body: Any) -> dict[str, Any]:
    answer = await rig.http.post("/v1/pipes", json={"query": query, "start": 0, "wait": 30, **body})
    assert answer.status_code == 201, answer.text
    page: dict[str, Any] = answer.json()
    assert page["state"] == "done"
    return page


def names(page: dict[str, Any]) -> list[str]:
    return [column["name"] for column in page["columns"]]


async def test_it_is_polled_as_a_query_is(shop: Rig) -> None:
    query = "* | stats count() as n, max(ms) by service"
    created = await shop.http.post("/v1/pipes", json={"query": query, "start": 0})
    assert created.status_code == 201
    page = (await shop.http.get(f"/v1/pipes/{created.json()['id']}", params={"wait": 30})).json()
    assert page["state"] == "done"
    assert page["complete"] is True
    assert page["incomplete"] == []
    assert page["progress"]["rows_matched"] == 9
    assert page["columns"] == [
        {"name": "service", "type": "text"},
        {"name": "n", "type": "number"},
        {"name": "max(ms)", "type": "number"},
    ]
    assert page["rows"] == [["cart", 4, 3.0], ["pay", 4, 30.0], ["ship", 1, None]]
    assert page["rows_total"] == 3
    assert page["ignored"] == {"ms": 2}
    assert "buckets" not in page
    assert (await shop.http.delete(f"/v1/pipes/{page['id']}")).status_code == 200
    assert (await shop.http.get("/v1/pipes/nobody")).status_code == 404


async def test_stages_follow_each_other(shop: Rig) -> None:
    base = "service:pay OR service:cart OR service:ship | stats count() as n, sum(ms) by service"
    assert (await piped(shop, f"{base} | sort by sum(ms)"))["rows"] == [
        ["cart", 4, 6.0],
        ["pay", 4, 60.5],
        ["ship", 1, None],
    ]
    page = await piped(shop, f"{base} | sort by n, sum(ms) desc | limit 2 | fields sum(ms), service")
    assert names(page) == ["sum(ms)", "service"]
    assert page["rows"] == [[None, "ship"], [60.5, "pay"]]
    assert (await piped(shop, f"{base} | top 1 by sum(ms)"))["rows"] == [["pay", 4, 60.5]]
    assert (await piped(shop, f"{base} | top 1"))["rows"] == [["cart", 4, 6.0]]
    assert (await piped(shop, f"{base} | limit 1 | sort by n"))["rows"] == [["cart", 4, 6.0]]


async def test_every_makes_a_row_of_each_bucket(shop: Rig) -> None:
    page = await piped(shop, "* | stats count() every 1m", start=BASE_US, end=BASE_US + 2 * MINUTE_US)
    assert page["columns"][0] == {"name": "time", "type": "time"}
    assert page["rows"] == [[at(0), 3], [at(MINUTE_US), 6]]
    assert page["interval_s"] == 60
    page = await piped(shop, "* | stats count() by service every 1m | sort by time desc, service | limit 1")
    assert page["rows"] == [[at(MINUTE_US), "cart", 3]]


async def test_nothing_found_is_a_row_of_none_or_no_row(shop: Rig) -> None:
    assert (await piped(shop, "nosuchword | stats count(), avg(ms), rate()"))["rows"] == [[0, None, 0]]
    assert (await piped(shop, "nosuchword | stats count() by service"))["rows"] == []
    assert (await piped(shop, "nosuchword | stats count() every 1m"))["rows"] == []


async def test_no_more_rows_than_a_table_may_have_and_it_says_so(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "MAX_TABLE_ROWS", 2)
    page = await piped(shop, "* | stats count() by service")
    assert (len(page["rows"]), page["rows_total"], page["complete"]) == (2, 3, False)
    assert "the table has 3 rows, the first 2 are here" in page["incomplete"][0]
    assert (await piped(shop, "* | stats count() by service | limit 2"))["complete"] is True


async def test_groups_beyond_those_told_apart_are_named(shop: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_GROUPS", 1)
    page = await piped(shop, "* | stats max(ms) by service | sort by max(ms) desc")
    assert page["rows"] == [["pay", 30.0]]
    assert page["incomplete"] == [table.MORE_GROUPS]


@pytest.mark.parametrize(
    ("query", "position", "says"),
    [
        ("level:ERROR", 11, "a pipe has stages behind its query"),
        ("level: | nothing (", 17, "never closed"),
        ("a | stats median(x)", 10, "there is no function median"),
        ("a | stats count() every soon", 24, '"soon" is no interval'),
        ("a | stats count() | sort by m", 28, 'no column "m"'),
        ("(a | stats count()", 0, "never closed"),
        ("a | patterns | sort by b", 23, 'no column "b"'),
        ("a | fields b", 2, "begin with `| stats"),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(shop: Rig, query: str, position: int, says: str) -> None:
    answer = await shop.http.post("/v1/pipes", json={"query": query})
    assert answer.status_code == 400
    assert answer.json()["position"] == position
    assert says in answer.json()["detail"]


async def test_a_query_for_rows_refuses_stages(shop: Rig) -> None:
    answer = await shop.http.post("/v1/queries", json={"query": "a | stats count()"})
    assert (answer.status_code, answer.json()["position"]) == (400, 2)
    assert "/search/v1/pipes" in answer.json()["detail"]


@pytest.mark.parametrize("wait", [-1, 31, "long"])
async def test_how_long_to_wait_has_bounds(shop: Rig, wait: Any) -> None:
    answer = await shop.http.post("/v1/pipes", json={"query": "* | stats count()", "wait": wait})
    assert answer.status_code == 400
