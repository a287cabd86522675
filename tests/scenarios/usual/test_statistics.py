"""Statistics and tables of a running system, of the command line too: stored by Ray tasks and in flight, the same."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from tests.systems import System

SERVICES, ROWS = ("stat-pay", "stat-cart", "stat-ship"), 60


class Case(NamedTuple):
    """A function, what it must be of the numbers of a service, and by how much of it it may be off."""

    function: str
    of: Any
    error: float = 0.0


CASES = (
    Case("count()", len),
    Case("sum(stat_ms)", math.fsum),
    Case("avg(stat_ms)", lambda numbers: float(sum(map(Fraction, numbers)) / len(numbers))),
    Case("min(stat_ms)", min),
    Case("max(stat_ms)", max),
    Case("count_distinct(stat_ms)", lambda numbers: len(set(numbers))),
    Case("p50(stat_ms)", lambda numbers: sorted(numbers)[(len(numbers) - 1) // 2], 0.01),
    Case("p99.9(stat_ms)", lambda numbers: sorted(numbers)[(len(numbers) - 1) * 999 // 1000], 0.01),
)


def number_of(row: int, service: int) -> float:
    return (row * 37 + service * 11) % 50 / 8 + 0.1 * service


@pytest.fixture(scope="module")
def numbers(system: System) -> dict[str, list[float]]:
    """Push events with numbers: the first half is stored, the rest in flight."""
    pushed: dict[str, list[float]] = {service: [] for service in SERVICES}
    for half in range(2):
        for at, service in enumerate(SERVICES):
            made = [number_of(row, at) for row in range(half * ROWS // 2, (half + 1) * ROWS // 2)]
            pushed[service] += made
            events = [{"message": "stat", "service": service, "attributes": {"stat_ms": one}} for one in made]
            system.push(events)
        if half == 0:
            system.ess("flush")
    return pushed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.function)
def test_a_function_tells_what_python_does(system: System, numbers: dict[str, list[float]], case: Case) -> None:
    page = system.count("message:stat", by=["service"], stats=[case.function])
    found = {bucket["by"]["service"]: bucket["stats"][case.function] for bucket in page["buckets"]}
    expected = {service: case.of(values) for service, values in numbers.items()}
    assert found == pytest.approx(expected, rel=case.error, abs=0)
    assert page["ignored"] == ({} if case.function.startswith("count") else {"stat_ms": 0})


def test_a_table_is_the_same_stored_and_in_flight(system: System, numbers: dict[str, list[float]]) -> None:
    query = "message:stat | stats count() as n, sum(stat_ms) as ms by service | sort by service | fields service, ms, n"
    body = {"query": query, "start": "-1h", "wait": 30}
    before = system.http.post("/search/v1/pipes", json=body).json()
    assert before["rows"] == [[name, math.fsum(numbers[name]), ROWS] for name in sorted(numbers)]
    assert (before["state"], before["complete"]) == ("done", True)
    system.ess("flush")
    after = system.http.post("/search/v1/pipes", json=body).json()
    assert (after["columns"], after["rows"]) == (before["columns"], before["rows"])


def test_the_command_line_shows_the_table(system: System, numbers: dict[str, list[float]]) -> None:
    query = "message:stat | stats max(stat_ms) as most by service | top 1 by most"
    most, name = max((max(values), name) for name, values in numbers.items())
    told = json.loads(system.ess("search", query, "--json").stdout)
    assert told["rows"] == [[name, most]]
    assert system.ess("search", query).stdout == f"{name}\t{most:g}\n"
