"""Numbers by their value: comparisons and equality, whatever their size and however they are written."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.scenarios.reports.told import AT, RANGE, messages
from tests.systems import System

SERVICE = "numbers"
JSON = [
    ("one and a half", "1.5"),
    ("the same with a zero", "1.50"),
    ("the same with an exponent", "15e-1"),
    ("its text", '"1.5"'),
    ("its other text", '"1.50"'),
    ("even", "9007199254740992"),
    ("odd", "9007199254740993"),
    ("long", "1" + "0" * 30),
    ("a hundred", "100"),
    ("a hundred as float", "100.0"),
    ("zero", "0"),
    ("minus zero", "-0.0"),
    ("a code", '"01234"'),
    ("no code", "1234"),
    ("in a list", "[1.50,7]"),
]
HALVES = ["in a list", "one and a half", "the same with a zero", "the same with an exponent"]


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    for host in ("stored", "in-flight"):
        start = f'"timestamp":"{AT}","service":"{SERVICE}","host":"{host}"'
        body = "\n".join(f'{{{start},"message":"{message}","n":{number}}}' for message, number in JSON)
        headers = {"Content-Type": "application/x-ndjson"}
        answer = httpx.post(f"{system.url}/push/v1/events", content=body.encode(), headers=headers)
        assert (answer.status_code, answer.json()["accepted"]) == (202, len(JSON))
        if host == "stored":
            assert system.ess("flush").returncode == 0


FOUND: list[tuple[str, list[str]]] = [
    ("n:1.5", [*HALVES, "its text"]),
    ("n:1.50", [*HALVES, "its other text"]),
    ("n:15e-1", HALVES),
    ("n:>9007199254740992", ["long", "odd"]),
    ("n:[9007199254740993 TO 9007199254740993]", ["odd"]),
    ("n:9007199254740992", ["even"]),
    ("n:9007199254740993", ["odd"]),
    ("n:1e30", ["long"]),
    ("n:100", ["a hundred", "a hundred as float"]),
    ("n:1e2", ["a hundred", "a hundred as float"]),
    ("n:0", ["minus zero", "zero"]),
    ("n:1234", ["no code"]),
    ("n:01234", ["a code"]),
    ("n:7", ["in a list"]),
    ("severity_number:9.0 n:7", []),
    ("-n:* OR n:nowhere", []),
]


@pytest.mark.parametrize(("query", "found"), FOUND)
def test_it_is_found(system: System, query: str, found: list[str]) -> None:
    assert messages(system, SERVICE, query) == sorted(found)


def test_equal_numbers_are_one_group(system: System) -> None:
    page = system.count(f"service:{SERVICE} n:100 OR (service:{SERVICE} n:0)", by=["n"], **RANGE)
    assert {bucket["by"]["n"]: bucket["count"] for bucket in page["buckets"]} == {"100": 4, "0": 4}


ANSWERED: list[tuple[str, Any]] = [
    ("one and a half", 1.5),
    ("its other text", "1.50"),
    ("odd", 2**53 + 1),
    ("long", 10**30),
    ("a hundred as float", 100.0),
]


@pytest.mark.parametrize(("message", "value"), ANSWERED)
def test_it_is_answered_as_it_was(system: System, message: str, value: Any) -> None:
    found = system.search(f'service:{SERVICE} message:"{message}"', **RANGE)
    values = [event["attributes"]["n"] for event in found]
    assert values == [value, value]
    assert {type(one) for one in values} == {type(value)}
