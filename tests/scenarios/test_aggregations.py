"""Counts, fields and values of a running system: stored by Ray tasks, in flight by their owners, each event once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.systems import System, running

HOURS, ROWS = 6, 90
SECOND_US = 1_000_000
LEVELS = ("ERROR", "INFO", None)


def events(hour: int, now_us: int) -> list[dict[str, Any]]:
    made = []
    for row in range(ROWS):
        event: dict[str, Any] = {
            "message": f"hour {hour} row {row}",
            "timestamp": now_us - hour * 3600 * SECOND_US - (row + 1) * SECOND_US,
            "attributes": {"region": f"r{row % 4}", "n": row % 2},
        }
        if (level := LEVELS[row % 3]) is not None:
            event["level"] = level
        made.append(event)
    return made


@pytest.fixture(scope="module")
def pushed() -> list[dict[str, Any]]:
    now_us = time.time_ns() // 1000
    return [event for hour in range(HOURS) for event in events(hour, now_us)]


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory, pushed: list[dict[str, Any]]) -> Iterator[System]:
    """A system that makes a Ray task of every object; the last half of what was pushed is in flight."""
    with running(
        tmp_path_factory.mktemp("ess") / "data",
        ESS_SEARCH__IN_PLACE_BYTES="0",
        ESS_SEARCH__TASK_BYTES="1",
        ESS_PERSIST__SEAL_AGE_S="3600",
    ) as made:
        half = len(pushed) // 2
        for at in range(0, half, ROWS):
            made.push(pushed[at : at + ROWS])
        made.ess("flush")
        for at in range(half, len(pushed), ROWS):
            made.push(pushed[at : at + ROWS])
        yield made


def cells(page: dict[str, Any]) -> Counter[tuple[Any, ...]]:
    return Counter({(b["start"], *b["by"].values()): b["count"] for b in page["buckets"]})


def start_of(event: dict[str, Any], interval_s: int) -> str:
    second = event["timestamp"] // SECOND_US // interval_s * interval_s
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(second))


def test_every_event_is_counted_once_stored_or_in_flight(counting: System, pushed: list[dict[str, Any]]) -> None:
    page = counting.count()
    assert page["buckets"] == [{"start": None, "by": {}, "count": len(pushed)}]
    assert page["progress"]["in_flight_rows"] == len(pushed) // 2
    assert page["progress"]["objects_total"] >= HOURS // 2


@pytest.mark.parametrize("interval_s", [1, 60, 3600])
def test_buckets_and_groups_are_exact(counting: System, pushed: list[dict[str, Any]], interval_s: int) -> None:
    page = counting.count("row", interval=f"{interval_s}s", by=["level", "region"], top=1000)
    expected = Counter((start_of(e, interval_s), e.get("level"), e["attributes"]["region"]) for e in pushed)
    assert cells(page) == expected
    assert page["interval_s"] == interval_s
    assert page["progress"]["objects_done"] == page["progress"]["objects_total"]


def test_a_range_cuts_buckets(counting: System, pushed: list[dict[str, Any]]) -> None:
    start, end = pushed[-1]["timestamp"] + 5, pushed[ROWS]["timestamp"]
    page = counting.count("level:ERROR", start=start, end=end, interval="1h")
    inside = [e for e in pushed if start <= e["timestamp"] < end and e.get("level") == "ERROR"]
    assert cells(page) == Counter((start_of(e, 3600),) for e in inside)


def test_auto_gives_few_buckets_and_top_tells_the_rest_together(counting: System, pushed: list[dict[str, Any]]) -> None:
    page = counting.count(interval="auto", by=["region"], top=2)
    assert len({bucket["start"] for bucket in page["buckets"]}) <= 60
    assert page["interval_s"] % 60 == 0
    assert sum(bucket["count"] for bucket in page["buckets"]) == len(pushed)
    assert {bucket["by"]["region"] for bucket in page["buckets"] if not bucket.get("other")} == {"r0", "r1"}
    assert any(bucket.get("other") for bucket in page["buckets"])


def test_a_stream_ends_with_the_buckets(counting: System, pushed: list[dict[str, Any]]) -> None:
    body = {"query": "", "start": 0, "by": ["level"]}
    query_id = counting.http.post("/search/v1/aggregations", json=body).json()["id"]
    with counting.http.stream("GET", f"/search/v1/queries/{query_id}/stream") as answer:
        parts = "".join(answer.iter_text()).strip().split("\n\n")
    kinds = [part.split("\n")[0].removeprefix("event: ") for part in parts]
    assert set(kinds) <= {"progress", "done"}
    assert kinds[-1] == "done"
    done = json.loads(parts[-1].split("data: ", 1)[1])
    assert cells(done) == Counter((None, event.get("level")) for event in pushed)


def test_a_cancelled_aggregation_says_so_and_the_next_one_works(counting: System, pushed: list[dict[str, Any]]) -> None:
    body = {"query": r"/(row|hour)+ \d+/", "start": 0, "by": ["message"], "top": 1000}
    path = f"/search/v1/aggregations/{counting.http.post('/search/v1/aggregations', json=body).json()['id']}"
    cancelled = counting.http.delete(path).json()
    assert cancelled["state"] in ("cancelled", "done")
    assert cancelled["complete"] is (cancelled["state"] == "done")
    assert counting.http.get(path).json()["state"] == cancelled["state"]
    assert len(counting.count("row", by=["message"], top=1000)["buckets"]) == len(pushed)


def test_fields_and_their_values(counting: System, pushed: list[dict[str, Any]]) -> None:
    found = counting.http.get("/search/v1/fields", params={"start": 0}).json()
    assert (found["complete"], found["rows"]) == (True, len(pushed))
    counts = {(field["name"], field["kind"]): field["count"] for field in found["fields"]}
    assert counts["message", "column"] == counts["timestamp", "column"] == len(pushed)
    assert counts["level", "column"] == counts["severity_number", "column"] == len(pushed) * 2 // 3
    assert counts["region", "attribute"] == counts["n", "attribute"] == len(pushed)
    assert [f["count"] for f in found["fields"]] == sorted((f["count"] for f in found["fields"]), reverse=True)

    path = "/search/v1/fields/attributes.region/values"
    values = counting.http.get(path, params={"start": 0, "query": "level:ERROR", "prefix": "r", "top": 3}).json()
    expected = Counter(e["attributes"]["region"] for e in pushed if e.get("level") == "ERROR")
    assert [(v["value"], v["count"]) for v in values["values"]] == sorted(
        expected.items(), key=lambda pair: (-pair[1], pair[0])
    )[:3]
    assert (values["distinct"], values["rows"], values["complete"]) == (4, sum(expected.values()), True)


def test_the_command_line_tells_the_same(counting: System, pushed: list[dict[str, Any]]) -> None:
    lines = counting.ess("count", "row", "--by", "level", "--since", "all", "--json").stdout.splitlines()
    levels = Counter(event.get("level") for event in pushed)
    assert {b["by"]["level"]: b["count"] for b in map(json.loads, lines)} == levels
    plain = counting.ess("fields", "level", "--since", "all").stdout.splitlines()
    assert sorted(plain) == [f"{level}\t{levels[level]}" for level in ("ERROR", "INFO")]
    assert "region\tattribute" in counting.ess("fields", "--since", "all").stdout
    assert "interval" in counting.ess("count", "--interval", "soon", ok=(2,)).stderr
