"""Events read by their layouts, made up: always what the rules of one event give."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import TooLarge
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE, FieldTable, Found
from ess_ray.intake.formats import gelf
from ess_ray.intake.formats.gelf import event_of
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around, Held, Time, read_held, time_of
from ess_ray.intake.formats.json_values import lenient
from ess_ray.intake.formats.otlp_columns import log_columns
from ess_ray.intake.formats.otlp_rows import Log, Origin, read_log
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken
from tests.examples import examples

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
TABLES = [FIELD_TABLE, FIELD_TABLE.with_names({"level": ["detected_level"], "service": ["a", "team.name"]})]

texts = st.sampled_from(["", "x", "shop", "ERROR", "00", "AB", "7", "77", "2026-09-21T10:00:00Z", "line\r\n", "é"])
numbers = st.sampled_from([0, 3, 30, 35, NOW_US, -5, 2**80]) | st.floats(allow_nan=False, allow_infinity=False)
scalars = texts | numbers | st.booleans() | st.none()
TIMES_AND_TEXTS = ["message", "msg", "log", "timestamp", "@timestamp", "time", "level", "severity", "PRIORITY"]
NAMES = ["detected_level", "service", "service.name", "app", "job", "ident", "source", "host", "instance", "name"]
OTHERS = [
    "kubernetes",
    "kubernetes.host",
    "team",
    "id",
    "attributes",
    "attributes.a",
    "attributes.a.b",
    "a",
    "a.b",
    "a#2",
    "b",
    "_ess.x",
]
names = st.sampled_from([*TIMES_AND_TEXTS, *NAMES, *OTHERS, "trace_id", "traceId", "span_id"])
values = st.recursive(
    scalars,
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(names, values | scalars | texts, max_size=5)
arounds = st.lists(st.dictionaries(names, values | texts | texts, max_size=4), min_size=0, max_size=3)
times = (
    st.none()
    | st.integers(NOW_US - 10**9, NOW_US + 10**6).map(lambda us: Time(us, us))
    | st.sampled_from([Time(None, "x", "why"), Time(5, 5), Time(2**62, "late")])
    | scalars.map(time_of)
)
bodies = st.none() | texts | scalars | st.lists(scalars, max_size=2)
helds = st.lists(
    st.tuples(st.integers(0, 2), bodies, times, objects, st.just({}) | objects, st.integers(1, 3)) | st.just(None),
    min_size=1,
    max_size=6,
)


def built(given_: list[Any], around: list[list[dict[str, Any]]], is_sourced: bool) -> list[Held | Broken]:
    """Make events anew, nothing of one being another's."""
    groups = []
    for holders in copy.deepcopy(around):
        source = None
        if is_sourced and holders and isinstance(holders[-1].get("source"), str) and holders[-1]["source"]:
            source = Found("source", holders[-1], "source")
        groups.append(Around(tuple(holders), source))
    events: list[Held | Broken] = []
    for each in given_:
        if each is None:
            events.append(Broken("broken"))
            continue
        group, body, time, own, beside, count = each
        around_it = groups[group % len(groups)]
        events += [Held(around_it, body, time, copy.deepcopy(own), copy.deepcopy(beside)) for _ in range(count)]
    return events


def outcome(read: Any, *args: Any) -> Decoded | str:
    try:
        decoded: Decoded = read(*args)
    except (Inexact, TooLarge) as error:
        return type(error).__name__
    decoded.batch.validate(full=True)
    return decoded


def check_same(found: Decoded | str, expected: Decoded | str) -> None:
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    assert found.rejected == expected.rejected
    assert found.adjusted == expected.adjusted
    assert found.batch.to_pylist() == expected.batch.to_pylist()
    assert found.batch.equals(expected.batch)


@settings(max_examples=examples(400))
@given(helds, st.lists(arounds, min_size=1, max_size=3), st.booleans(), st.booleans(), st.sampled_from(TABLES))
@example([(0, "x", None, {"a": 1}, {}, 2)], [[{"a": "x"}]], False, True, FIELD_TABLE)
@example(
    [(0, None, None, {"timestamp": 0}, {}, 1), (0, None, None, {"timestamp": 5.5}, {"a": 1}, 1)],
    [[]],
    False,
    True,
    FIELD_TABLE,
)
def test_events_in_objects_are_read_as_by_the_rules(
    given_: list[Any], around: list[list[dict[str, Any]]], is_sourced: bool, exact: bool, table: FieldTable
) -> None:
    expected = outcome(odd_columns, built(given_, around, is_sourced), Reading(NOW_US, LIMITS, exact, table), read_held)
    found = outcome(held_columns, built(given_, around, is_sourced), Reading(NOW_US, LIMITS, exact, table))
    check_same(found, expected)


log_values = st.tuples(
    st.sampled_from([0, NOW_US * 1_000, NOW_US * 1_000 + 1, 5, 2**64, "x"]),
    st.sampled_from([0, NOW_US * 1_000, "y"]),
    st.sampled_from([0, 9, 17, 77]),
    st.sampled_from(["", " ", "info", "Odd"]),
    bodies | objects,
    st.dictionaries(names | st.sampled_from(["flags", "event_name", "log.record.uid"]), values | texts, max_size=5),
    st.sampled_from([0, 3]),
    st.sampled_from([0, 1]),
    st.sampled_from(["", "0" * 32, "AB" * 16, "x"]),
    st.sampled_from(["", "00", "ab" * 8]),
    st.sampled_from(["", "e"]),
)


@settings(max_examples=examples(400))
@given(
    st.lists(st.tuples(st.integers(0, 1), log_values, st.integers(1, 3)) | st.just(None), min_size=1, max_size=5),
    st.lists(st.tuples(objects, objects), min_size=1, max_size=2),
    st.sampled_from(TABLES),
)
def test_log_records_are_read_as_by_the_rules(given_: list[Any], around: list[Any], table: FieldTable) -> None:
    def logs() -> list[Log | Broken]:
        origins = [Origin(resource, scope) for resource, scope in copy.deepcopy(around)]
        made: list[Log | Broken] = []
        for each in given_:
            if each is None:
                made.append(Broken("broken"))
                continue
            origin, sent, count = each
            made += [Log(origins[origin % len(origins)], *copy.deepcopy(sent)) for _ in range(count)]
        return made

    expected = outcome(odd_columns, logs(), Reading(NOW_US, LIMITS, True, table), read_log)
    check_same(outcome(log_columns, logs(), Reading(NOW_US, LIMITS, True, table)), expected)


def test_usual_events_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ess_ray.intake.layout_columns.odd_columns", None)
    around, origin = Around(({"app": "shop", "level": "info"},)), Origin({"service.name": "shop"}, {"scope.name": "s"})
    time = Time(NOW_US, NOW_US)
    helds = [Held(around, "m", time, {"a": str(index), "host": "h"}) for index in range(9)]
    assert held_columns(helds, Reading(NOW_US, LIMITS, True)).batch.column("host").to_pylist() == ["h"] * 9
    logs = [Log(origin, NOW_US * 1_000, NOW_US * 1_000, 9, "INFO", "m", {"a": index}) for index in range(9)]
    assert log_columns(logs, Reading(NOW_US, LIMITS, True)).batch.column("service").to_pylist() == ["shop"] * 9


gelf_numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.sampled_from(["_a", "_b", "timestamp", "level"]), gelf_numbers), max_size=3), texts, texts)
@example([("_a", "1.00000000000000000001"), ("_b", "1.0")], '":1.0,', "x")
def test_messages_of_graylog_lose_no_digit(fields: list[tuple[str, str]], text: str, space: str) -> None:
    named = "".join(f', "{name}" {" " * len(space)}: {number}' for name, number in fields)
    content = f'{{"short_message": {json.dumps(text)}{named}}}'.encode()
    expected = held_columns([event_of(lenient(content), Around(({},)))], Reading(NOW_US, LIMITS, True))
    check_same(gelf.decode([Received(content)], NOW_US, LIMITS), expected)


@pytest.mark.parametrize("chars", [100, 2_000, 20_000, 200_000])
def test_what_is_too_much_together_is_refused_alike(chars: int) -> None:
    events = [Held(Around(({"a": "x" * chars},)), "m", None, {"b": "é" * 400, "c": [index]}) for index in range(40)]
    for left in (0, 5_000, 50_000, 60_000, 100_000, 10_000_000):
        found = outcome(held_columns, events, Reading(NOW_US, LIMITS, True, chars_left=left))
        for held in events:
            held.around.shared = held.around.group = None
        check_same(found, outcome(odd_columns, events, Reading(NOW_US, LIMITS, True, chars_left=left), read_held))
