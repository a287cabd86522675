"""Patterns of a running system, of the command line too: stored by Ray tasks and in flight, the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.systems import System

ROWS = 40
NAMES = [f"{chr(97 + at)}x" for at in range(20)]


@pytest.fixture(scope="module")
def expected(system: System) -> dict[str, int]:
    """Push messages of three patterns: the first half is stored, the rest in flight."""
    for half in range(2):
        rows = range(half * ROWS // 2, (half + 1) * ROWS // 2)
        messages = [f"order {row} took {row * 7}ms" for row in rows]
        messages += [f'user {NAMES[row % 20]} opened "a{row}" from 10.0.0.{row}' for row in rows]
        messages += [f"retry {row} of 40" for row in rows if row % 4 == 0]
        system.push([{"message": message, "service": "pattern-shop"} for message in messages])
        if half == 0:
            system.ess("flush")
    return {
        "order <num> took <duration>": ROWS,
        'user <*> opened "<str>" from <ip>': ROWS,
        "retry <num> of <num>": ROWS // 4,
    }


def asked(system: System, **body: Any) -> dict[str, Any]:
    body = {"query": "service:pattern-shop", "start": "-1h", "wait": 30, **body}
    page: dict[str, Any] = system.http.post("/search/v1/patterns", json=body).json()
    assert (page["state"], page["complete"]) == ("done", True), page
    return page


def test_patterns_are_the_same_stored_and_in_flight(system: System, expected: dict[str, int]) -> None:
    bounds = {"start": "-2h", "end": "2100-01-01"}
    before = asked(system, **bounds)
    assert {row[0]: row[1] for row in before["rows"]} == expected
    system.ess("flush")
    after = asked(system, **bounds)
    apart = [[*row[:8]] for row in after["rows"]]  # the range, and so its steps, has moved on
    assert (after["columns"], apart) == (before["columns"], [[*row[:8]] for row in before["rows"]])


def test_each_query_finds_its_rows(system: System, expected: dict[str, int]) -> None:
    for row in asked(system)["rows"]:
        found = system.search(row[6])
        assert len(found) == row[1], row[6]
        assert row[5] in [event["message"] for event in found]


def test_the_command_line_shows_them(system: System, expected: dict[str, int]) -> None:
    told = json.loads(system.ess("patterns", "service:pattern-shop", "--new-since", "1h", "--json").stdout)
    assert {row[0]: (row[1], row[7]) for row in told["rows"]} == {name: (n, True) for name, n in expected.items()}
    lines = system.ess("patterns", "service:pattern-shop", "--limit", "1").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["order <num> took <duration>", str(ROWS)]]
    pipe = "service:pattern-shop | patterns | sort by count | limit 1 | fields count, pattern"
    assert system.ess("search", pipe).stdout == f"{ROWS // 4}\tretry <num> of <num>\n"
