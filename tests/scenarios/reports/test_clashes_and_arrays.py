"""Several values under one name: flattened names that clash, and arrays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.reports.told import RANGE, attributes, messages, push_twice
from tests.systems import System

SERVICE = "several"
EVENTS: list[dict[str, Any]] = [
    {"message": "clash", "http": {"status": 500}, "http.status": 200},
    {"message": "own second name", "http.status#2": "teapot"},
    {"message": "three", "a": {"b": 1}, "a.b": 2, "attributes": {"a.b": 3}},
    {"message": "tags", "tags": ["prod", "eu"]},
    {"message": "tag", "tags": "prod"},
    {"message": "text of tags", "tags": '["prod","eu"]'},
    {"message": "mixed", "tags": ["a b", 7, 1.5, True, None, ["inner"], {"name": "object"}]},
    {"message": "none", "tags": []},
    {"message": "quoted", "tags": ['say "hi"', "C:\\temp", "東京"]},
]


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    push_twice(system, SERVICE, EVENTS)


FOUND: list[tuple[str, list[str]]] = [
    ("http.status:500", ["clash"]),
    ("http.status:200", ["clash"]),
    ("http.status:>400", ["clash"]),
    ("http.status:404", []),
    ('"http.status#2":200', ["clash"]),
    ("http.status:teapot", ["own second name"]),
    ("http.status:*", ["clash", "own second name"]),
    ("a.b:1 a.b:2 a.b:3", ["three"]),
    ("tags:prod", ["tag", "tags"]),
    ("tags:eu", ["tags"]),
    ("tags:pr*", ["tag", "tags"]),
    ("tags:/^e/", ["tags"]),
    (r'tags:"[\"prod\",\"eu\"]"', ["tags", "text of tags"]),
    ("tags:rod", []),
    ("-tags:prod tags:*", ["mixed", "none", "quoted", "text of tags"]),
    ('tags:"a b"', ["mixed"]),
    ("tags:7.0", ["mixed"]),
    ("tags:>6", ["mixed"]),
    ("tags:1.50", ["mixed"]),
    ("tags:true", ["mixed"]),
    ("tags:inner", ["mixed"]),
    ("tags:*object*", ["mixed"]),
    (r'tags:"say \"hi\""', ["quoted"]),
    (r'tags:"C:\\temp"', ["quoted"]),
    ("tags:東京", ["quoted"]),
]


@pytest.mark.parametrize(("query", "found"), FOUND)
def test_it_is_found(system: System, query: str, found: list[str]) -> None:
    assert messages(system, SERVICE, query) == sorted(found)


def test_all_of_it_is_answered(system: System) -> None:
    assert attributes(system, SERVICE, "clash") == {"http.status": 500, "http.status#2": 200}
    assert attributes(system, SERVICE, "tags") == {"tags": '["prod","eu"]'}


def test_each_event_counts_once(system: System) -> None:
    page = system.count(f"service:{SERVICE} http.status:*", by=["http.status"], **RANGE)
    assert {b["by"]["http.status"]: b["count"] for b in page["buckets"]} == {"500": 2, None: 2}
    page = system.count(f"service:{SERVICE} tags:eu", by=["tags"], **RANGE)
    assert {b["by"]["tags"]: b["count"] for b in page["buckets"]} == {'["prod","eu"]': 2}
