"""Searches that fan out as Ray tasks: the same rows, in the same order, and cancelled within a second."""

from __future__ import annotations

import time

import pytest

from tests.systems import System

HOURS = 12
ROWS = 400
SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def fanning(system: System) -> System:
    """The system with HOURS of events stored, and some in flight."""
    now_us = time.time_ns() // 1000
    for hour in range(HOURS):
        start_us = now_us - (hour + 1) * 3600 * SECOND_US
        system.push(
            [
                {
                    "message": f"hour {hour} row {row}",
                    "timestamp": start_us + row,
                    "level": "error" if row % 7 else "info",
                }
                for row in range(ROWS)
            ]
        )
    system.ess("flush")
    system.push([{"message": f"hour now row {row}", "level": "error"} for row in range(ROWS)])
    return system


def test_tasks_give_every_row_in_order(fanning: System) -> None:
    events, page = fanning.try_search("row level:ERROR")
    assert (page["state"], page["complete"]) == ("done", True), page
    assert len(events) == ROWS + HOURS * sum(1 for row in range(ROWS) if row % 7)
    order = [(e["timestamp"], e["log_id"], e["vnode"], e["offset"], e["row"]) for e in events]
    assert order == sorted(order, reverse=True)
    assert page["progress"]["objects_done"] == page["progress"]["objects_total"] >= HOURS
    assert page["progress"]["in_flight_rows"] >= ROWS
    oldest = fanning.search("row level:ERROR", order="oldest")
    assert [e["message"] for e in oldest] == [e["message"] for e in events][::-1]


def test_a_limit_stops_the_tasks_early(fanning: System) -> None:
    events, page = fanning.try_search('"hour 0 row"', limit=5)
    assert [e["message"] for e in events] == [f"hour 0 row {row}" for row in range(ROWS - 1, ROWS - 6, -1)]
    assert page["complete"]
    assert page["progress"]["objects_done"] < HOURS


def test_a_cancelled_search_says_so_and_the_next_one_has_the_machine(fanning: System) -> None:
    body = {"query": r"/(row|hour)+ \d+/", "start": 0, "limit": 200_000}
    query_id = fanning.http.post("/search/v1/queries", json=body).json()["id"]
    cancelled = fanning.http.delete(f"/search/v1/queries/{query_id}").json()
    assert cancelled["state"] in ("cancelled", "done")
    assert cancelled["complete"] is (cancelled["state"] == "done")
    assert len(fanning.search('"hour 3 row"')) == ROWS
