"""Names that ours would shadow: what a client calls so is his, ours have a prefix."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.scenarios.reports.told import RANGE, attributes, messages, push_twice
from tests.systems import System

SERVICE = "own-names"
NAMES = ["offset", "row", "vnode", "log_id", "event_id", "observed_timestamp", "attribute_types", "event_hash"]
EVENTS: list[dict[str, Any]] = [
    *({"message": name, name: f"mine-{name}"} for name in NAMES),
    {"message": "numbers", "offset": 7_000_000_007, "row": True},
    {"message": "prefixed", "_ess.offset": "mine"},
    {"message": "nested", "_ess": {"offset": "mine, too"}},
    {"message": "dotted", "attributes.zone": "a", "resource.attributes.zone": "b"},
    {"message": "both", "zone": "a", "attributes.zone": "b", "attributes": {"zone": "c", "attributes.zone": "d"}},
    {"message": "of a column's name", "attributes.level": "a", "attributes.message": "b", "attributes.id": "c"},
    {"message": "of ours", "attributes._ess.offset": "z", "_ess.zone": "e"},
    {"message": "severe", "severity_number": 21},
    {"message": "identified", "id": "o-7"},
]


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    push_twice(system, SERVICE, EVENTS)


FOUND: list[tuple[str, list[str]]] = [
    *((f"{name}:mine-{name}", [name]) for name in NAMES),
    ("attributes.offset:mine-offset", ["offset"]),
    ("row:mine*", ["row"]),
    ("offset:7000000007", ["numbers"]),
    ("offset>7000000006", ["numbers"]),
    ("row:true", ["numbers"]),
    ('"_ess.offset#2":mine', ["prefixed"]),
    ("attributes._ess.offset:mine*", ["nested", "prefixed"]),
    ("_ess.offset:mine", []),
    ("attributes.zone:a", ["both", "dotted"]),
    ("zone:a", ["both", "dotted"]),
    *((f"attributes.zone:{value}", ["both"]) for value in "bc"),
    ("attributes.attributes.zone:d", ["both"]),
    ("resource.attributes.zone:b", ["dotted"]),
    ("attributes.level:a attributes.message:b attributes.id:c", ["of a column's name"]),
    ("attributes._ess.offset:z _ess.zone:e", ["of ours"]),
    ("severity_number:21", ["severe"]),
    ("severity_number:>=17", ["severe"]),
    ("id:o-7", ["identified"]),
    ("_ess.event_id:o-7", ["identified"]),
]


@pytest.mark.parametrize(("query", "found"), FOUND)
def test_it_is_found(system: System, query: str, found: list[str]) -> None:
    assert messages(system, SERVICE, query) == sorted(found)


@pytest.mark.parametrize("name", ["_ess.offset", "_ess.row", "_ess.vnode", "_ess.log_id", "_ess.observed_timestamp"])
def test_every_event_has_ours(system: System, name: str) -> None:
    assert len(messages(system, SERVICE, f"{name}:*")) == len(EVENTS)


@pytest.mark.parametrize("name", ["offset", "event_id", "observed_timestamp"])
def test_counts_values_and_answers_have_the_clients(system: System, name: str) -> None:
    page = system.count(f"service:{SERVICE} message:{name}", by=[name], **RANGE)
    assert [(bucket["by"], bucket["count"]) for bucket in page["buckets"]] == [({name: f"mine-{name}"}, 2)]
    asked = {**RANGE, "query": f"service:{SERVICE} message:{name}"}
    values = system.http.get(f"/search/v1/fields/{quote(name)}/values", params=asked).json()["values"]
    assert values == [{"value": f"mine-{name}", "count": 2}]
    fields = system.http.get("/search/v1/fields", params=asked).json()["fields"]
    assert {"name": name, "kind": "attribute", "count": 2} in fields
    assert attributes(system, SERVICE, name) == {name: f"mine-{name}"}


def test_ours_are_counted_by_under_their_prefix(system: System) -> None:
    page = system.count(f"service:{SERVICE} message:offset", by=["_ess.row"], **RANGE)
    assert sum(bucket["count"] for bucket in page["buckets"]) == 2
    assert all(bucket["by"]["_ess.row"].isdigit() for bucket in page["buckets"])


def test_the_command_line_means_the_same(system: System) -> None:
    since = ("--since", "2026-11-20", "--until", "2026-11-21")
    counted = system.ess("count", f"service:{SERVICE} message:offset", "--by", "offset", *since).stdout
    assert "mine-offset\t2" in counted
