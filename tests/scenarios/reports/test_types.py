"""Attributes as they were pushed: numbers and booleans in every kind of answer."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.scenarios.reports.told import RANGE, push_twice
from tests.systems import System

SERVICE = "types"
VALUES: dict[str, Any] = {
    "whole": 7,
    "part": 0.25,
    "float": 100.0,
    "big": 2**53 + 1,
    "huge": 10**30,
    "on": True,
    "off": False,
    "text": "7",
    "word": "true",
}
QUERY = f"service:{SERVICE}"


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    push_twice(system, SERVICE, [{"message": "typed", **VALUES}])


def same(found: dict[str, Any]) -> bool:
    return found == VALUES and all(type(found[name]) is type(value) for name, value in VALUES.items())


def test_answers_and_the_command_line(system: System) -> None:
    found = [event["attributes"] for event in system.search(QUERY, **RANGE)]
    options = ("--since", "2026-11-20", "--until", "2026-11-21", "--json")
    found += [json.loads(line)["attributes"] for line in system.ess("search", QUERY, *options).stdout.splitlines()]
    assert len(found) == 4
    assert all(map(same, found))
    text = system.ess("search", QUERY, *options[:-1]).stdout
    assert "on=true off=false" in text
    assert f"huge={10**30}" in text


@pytest.mark.parametrize("name", ["ndjson", "csv", "parquet"])
def test_exports(system: System, name: str) -> None:
    created = system.http.post("/search/v1/queries", json={"query": QUERY, "limit": 1, **RANGE}).json()
    body = system.http.get(f"/search/v1/queries/{created['id']}/export", params={"format": name})
    assert body.status_code == 200
    if name == "ndjson":
        assert all(same(json.loads(line)["attributes"]) for line in body.content.splitlines())
    elif name == "csv":
        assert body.text.count('""whole"":7,') == body.text.count('""on"":true') == 2
    else:
        rows = pq.read_table(io.BytesIO(body.content)).to_pylist()
        assert [dict(row["attributes"])["whole"] for row in rows] == ["7", "7"]
        numbers = {key: float(value) for key, value in VALUES.items() if type(value) in (int, float)}
        assert [dict(row["attribute_numbers"]) for row in rows] == [numbers, numbers]
        assert [dict(row["attribute_booleans"]) for row in rows] == [{"on": True, "off": False}] * 2
