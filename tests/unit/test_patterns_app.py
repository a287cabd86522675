"""Patterns of messages over HTTP, of what is stored and what is in flight."""

from __future__ import annotations

from typing import Any

import pytest

from ess_ray.core.collect import patterns as collector
from ess_ray.search import stages
from tests.aggregating import MINUTE_US, at, push
from tests.unit.test_pipes_app import names, piped
from tests.unit.test_search_app import Rig
from tests.unit.test_statistics_app import rig

__all__ = ["rig"]

NAMES = ["pattern", "count", "share", "first", "last", "example", "query", "new", "trend"]


def event(message: str, minute: int = 0, **more: Any) -> dict[str, Any]:
    return {"message": message, "timestamp": minute * MINUTE_US, **more}


@pytest.fixture
async def logs(rig: Rig) -> Rig:
    """Give a system with two objects, and events in flight in two virtual nodes."""
    await push(rig, event("took 12 ms"), event("took 7 ms"), event("user 1 is away", level="ERROR"), flush=True)
    await push(rig, event("took 3 ms", 5), event('said "x" to 10.0.0.1', 5), flush=True)
    await push(rig, event("took 900 ms", 19), event('said "" to 10.0.0.2', 6))
    await push(rig, event("took 5 ms", 19), event("user 44 is away", 10, level="ERROR"), vnode=1)
    return rig


async def told(rig: Rig, query: str = "", **body: Any) -> dict[str, Any]:
    bounds = {"start": at(0), "end": at(20 * MINUTE_US)}
    answer = await rig.http.post("/v1/patterns", json={"query": query, "wait": 30, **bounds, **body})
    assert answer.status_code == 201, answer.text
    page: dict[str, Any] = answer.json()
    assert (page["state"], page["complete"]) == ("done", True), page
    assert names(page) == NAMES
    return page


async def test_messages_are_grouped_by_what_does_not_vary(logs: Rig) -> None:
    page = await told(logs)
    assert [row[:5] for row in page["rows"]] == [
        ["took <num> ms", 5, 5 / 9, at(0), at(19 * MINUTE_US)],
        ['said "<str>" to <ip>', 2, 2 / 9, at(5 * MINUTE_US), at(6 * MINUTE_US)],
        ["user <num> is away", 2, 2 / 9, at(0), at(10 * MINUTE_US)],
    ]
    assert [row[5] for row in page["rows"]] == ["took 12 ms", 'said "x" to 10.0.0.1', "user 1 is away"]
    assert {row[7] for row in page["rows"]} == {None}
    assert page["rows"][0][8] == [2, 0, 0, 0, 0, 1, *[0] * 13, 2]
    assert (page["trend_start"], page["trend_step_s"]) == (at(0), 60.0)
    assert (page["rows_total"], page["patterns_total"], page["progress"]["rows_matched"]) == (3, 3, 9)
    assert "buckets" not in page


async def test_each_query_finds_the_rows_of_its_pattern(logs: Rig) -> None:
    for asked in ("", "level:ERROR OR took"):
        for row in (await told(logs, asked))["rows"]:
            found = await logs.finished(await logs.start(row[6]))
            assert len(found["events"]) == row[1], row
            assert row[5] in [event["message"] for event in found["events"]]


async def test_new_patterns_come_first(logs: Rig) -> None:
    page = await told(logs, new_since=at(5 * MINUTE_US))
    assert [(row[0], row[7]) for row in page["rows"]] == [
        ('said "<str>" to <ip>', True),
        ("took <num> ms", False),
        ("user <num> is away", False),
    ]


async def test_the_most_frequent_are_told(logs: Rig) -> None:
    page = await told(logs, limit=1)
    assert ([row[0] for row in page["rows"]], page["patterns_total"]) == (["took <num> ms"], 3)
    assert page["complete"] is True


async def test_it_is_polled_and_cancelled_as_a_query_is(logs: Rig) -> None:
    created = await logs.http.post("/v1/patterns", json={"start": 0})
    assert (created.status_code, created.json()["state"]) == (201, "running")
    page = (await logs.http.get(f"/v1/patterns/{created.json()['id']}", params={"wait": 30})).json()
    assert (page["state"], len(page["rows"])) == ("done", 3)
    assert (await logs.http.delete(f"/v1/patterns/{page['id']}")).status_code == 200
    assert (await logs.http.get("/v1/patterns/nobody")).status_code == 404


async def test_stages_follow_in_a_pipe(logs: Rig) -> None:
    page = await piped(logs, "* | patterns | sort by count, pattern desc | limit 2 | fields count, pattern")
    assert page["columns"] == [{"name": "count", "type": "number"}, {"name": "pattern", "type": "text"}]
    assert page["rows"] == [[2, "user <num> is away"], [2, 'said "<str>" to <ip>']]
    assert [row[1] for row in (await piped(logs, "level:ERROR | patterns | top 5"))["rows"]] == [2]
    assert "(level:ERROR) AND /" in (await piped(logs, "level:ERROR | patterns"))["rows"][0][6]


async def test_nothing_found_has_no_patterns(logs: Rig) -> None:
    page = await told(logs, "nosuchword")
    assert (page["rows"], page["rows_total"], page["patterns_total"]) == ([], 0, 0)


async def test_what_cannot_be_held_or_shown_is_told(logs: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "MAX_TABLE_ROWS", 2)
    page = await piped(logs, "* | patterns")
    assert (len(page["rows"]), page["rows_total"], page["complete"]) == (2, 3, False)
    monkeypatch.setattr("ess_ray.core.collect.cells.MAX_HELD_BYTES", 240)
    page = await piped(logs, "* | patterns")
    left = 9 - sum(row[1] for row in page["rows"])
    assert (page["rows"][0][:2], left > 0) == (["took <num> ms", 5], True)
    assert page["incomplete"] == [
        f"there are more different templates of messages than can be held: {left} rows with the rarest of them are in "
        "no pattern, so that counts are lower bounds; narrow the query, or its time range"
    ]
    assert page["progress"]["groups"] is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"query": "level: | nothing ("}, "never closed"),
        ({"query": "a | patterns"}, "stages such as"),
        ({"new_since": "soon"}, "soon"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"top": 5}, "top"),
    ],
)
async def test_what_is_wrong_is_told(logs: Rig, body: dict[str, Any], says: str) -> None:
    answer = await logs.http.post("/v1/patterns", json=body)
    assert answer.status_code == 400
    assert says in answer.text


async def test_steps_of_a_range_that_is_empty(logs: Rig) -> None:
    page = await told(logs, start=at(0), end=at(0))
    assert (page["rows"], page["trend_step_s"]) == ([], 1e-6)
    assert collector.STEPS == 20
