"""Groups of rules and silences as they are written: what is read, what is refused and how."""

from __future__ import annotations

from typing import Any

import pytest

from ess_ray.alerts.condition import Condition, read_condition
from ess_ray.alerts.rules import SETTLE_US, read_group, read_rule
from ess_ray.alerts.schedule import CATCH_UP_US, RETRY_US, slots_due
from ess_ray.alerts.silences import Matcher, Silence, covering, read_matchers, silence_us
from ess_ray.alerts.states import Evaluation, RuleState
from ess_ray.core.errors import BadRequest, QueryError
from tests.alerting import MINUTE_US, T0_US, group, rule

PIPE = "level:ERROR | stats count() as n, p95(duration_ms) by service, attributes.region | sort by n desc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count() > 0", Condition("count()", ">", 0)),
        ("n>=5", Condition("n", ">=", 5)),
        ("p95(duration_ms) < 1e3", Condition("p95(duration_ms)", "<", 1000)),
        ('"my n" != -2.5', Condition("my n", "!=", -2.5)),
        ("n = 1", Condition("n", "=", 1)),
    ],
)
def test_a_condition_is_read(text: str, expected: Condition) -> None:
    assert read_condition(text) == expected


@pytest.mark.parametrize("text", ["", "n", "n > ", "> 5", "n > five", "n > 1e999", "n > 5 5"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_condition(text)


def test_a_rule_is_read_with_its_defaults() -> None:
    read = read_rule(rule())
    assert (read.window_us, read.for_us, read.missing_data) == (5 * MINUTE_US, 0, "ok")
    assert (read.column, read.condition.number, read.has_groups) == ("count()", 0, False)
    assert group().interval_us == MINUTE_US


@pytest.mark.parametrize(
    ("condition", "column"), [("n > 1", "n"), ("count() > 1", "n"), ("p95( duration_ms ) > 2", "p95(duration_ms)")]
)
def test_a_condition_names_a_column_or_its_function(condition: str, column: str) -> None:
    assert read_rule(rule(expr=PIPE, condition=condition)).column == column


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        (None, "count"),
        ("count > 5", "count"),
        ("count() > 5", "count"),
        ("share > 0.5", "share"),
        ("age_s < 60", "first"),
    ],
)
def test_each_pattern_is_an_alert_of_its_own(condition: str | None, column: str) -> None:
    read = read_rule(rule(expr="level:ERROR | patterns | top 5", condition=condition))
    assert (read.column, read.group_columns, read.has_groups) == (column, ("pattern",), True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"expr": "* | patterns", "condition": "first > 1"}, "expr` gives count, share, age_s"),
        ({"expr": "* | patterns | fields count, share"}, "leaves out pattern"),
        ({"expr": "* | patterns | fields count, pattern", "condition": "age_s < 60"}, "leaves out first"),
        ({"expr": PIPE, "condition": "service > 1"}, "expr` gives n, p95(duration_ms)"),
        ({"expr": "* | stats avg(ms)"}, "avg(ms)"),  # the default is count() > 0
        ({"expr": "* | stats count() every 1m"}, "every"),
        ({"expr": "* | stats count() by a.b, a-b"}, "same label"),
        ({"expr": "* | stats count() by service | fields count()"}, "leaves out service"),
        ({"window": "5"}, "window"),
        ({"window": "8d"}, "window"),
        ({"for_": "-1m"}, "for"),
        ({"missing_data": "perhaps"}, "ok, alert, keep"),
        ({"labels": {"a b": "c"}}, "a b"),
        ({"labels": {"alertname": "c"}}, "alertname"),
        ({"labels": {"a": ["c"]}}, "text"),
        ({"annotations": "no"}, "annotations"),
        ({"keep_firing_for": "5m"}, "keep_firing_for"),
        ({"alert": ""}, "alert"),
        ({"alert": "a/b"}, "slash"),
        ({"expr": None}, "expr"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match="group g, rule 1") as refused:
        group(rule(**changes))
    assert says in refused.value.message


def test_where_a_query_is_wrong_is_said() -> None:
    with pytest.raises(QueryError, match="rule 2") as refused:
        group(rule(), rule(alert="Other", expr="level:ERROR AND"))
    assert refused.value.position > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": []},
        {"rules": "x"},
        {"rules": ["x"]},
        {"interval": "0s"},
        {"receivers": "x"},
        {"name": "a/b"},
        {"x": 1},
    ],
)
def test_what_is_no_group_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_group({"name": "g", "rules": [rule()], **changes})
    with pytest.raises(BadRequest, match="the same"):
        group(rule(), rule())


def test_windows_that_do_not_overlap_end_before_what_may_be_on_its_way() -> None:
    read = read_rule(rule(window="1m"))
    assert read.arrival_us(T0_US, MINUTE_US) == (T0_US - MINUTE_US - SETTLE_US, T0_US - SETTLE_US)
    assert read.arrival_us(T0_US, MINUTE_US // 2) == (T0_US - MINUTE_US, T0_US)


# ------------------------------------------------------------------------------------------------------------ schedule
def _state(slot_us: int, window: tuple[int, int], complete: bool = True) -> RuleState:
    return RuleState("m", last=Evaluation(slot_us, *window, complete))


def test_a_rule_is_due_once_an_interval() -> None:
    one = group()
    (read,) = one.rules
    slot_us = one.slot_us(T0_US)
    assert slots_due(one, read, RuleState("m"), T0_US) == [slot_us]
    done = _state(slot_us, read.arrival_us(slot_us, one.interval_us))
    assert slots_due(one, read, done, slot_us + MINUTE_US - 1) == []
    assert slots_due(one, read, done, slot_us + MINUTE_US) == [slot_us + MINUTE_US]


def test_one_that_was_incomplete_is_due_again_a_little_later() -> None:
    one = group()
    (read,) = one.rules
    slot_us = one.slot_us(T0_US)
    failed = _state(slot_us, read.arrival_us(slot_us, one.interval_us), complete=False)
    assert slots_due(one, read, failed, slot_us + 1, tried_us=slot_us) == []
    assert slots_due(one, read, failed, slot_us + RETRY_US, tried_us=slot_us) == [slot_us]
    assert slots_due(one, read, failed, slot_us + MINUTE_US, tried_us=slot_us) == [slot_us + MINUTE_US]


@pytest.mark.parametrize("window", ["1m", "90s", "2m", "5m"])
@pytest.mark.parametrize("minutes", [1, 2, 3, 7, 30, 500])
def test_what_was_missed_is_made_up_for_without_a_gap(window: str, minutes: int) -> None:
    one = group(rule(window=window))
    (read,) = one.rules
    slot_us = one.slot_us(T0_US)
    done = _state(slot_us, read.arrival_us(slot_us, one.interval_us))
    assert done.last is not None
    slots = slots_due(one, read, done, slot_us + minutes * MINUTE_US)
    windows = [read.arrival_us(at, one.interval_us) for at in slots]
    assert slots[-1] == slot_us + minutes * MINUTE_US
    ends = [done.last.end_us, *(end for _, end in windows)]
    if minutes * MINUTE_US > CATCH_UP_US:
        ends = ends[1:]
        windows = windows[1:]
        assert slots[-1] - slots[0] <= CATCH_UP_US
    assert all(first <= before for (first, _), before in zip(windows, ends, strict=False))


# ------------------------------------------------------------------------------------------------------------ silences
@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ('a="b, c"', {"a": "b, c"}, True),
        ('{a="b", c!="d"}', {"a": "b"}, True),
        ('{a="b", c!="d"}', {"a": "b", "c": "d"}, False),
        ('a=~"x.*"', {"a": "xyz"}, True),
        ('a=~"x"', {"a": "xyz"}, False),
        ('a="b",c!~"x|y"', {"a": "b", "c": "y"}, False),
        (r'a="q\"q"', {"a": 'q"q'}, True),
    ],
)
def test_matchers(text: str, labels: dict[str, str], matches: bool) -> None:
    made = Silence("1", "t", read_matchers(text), 10, 20)
    assert covering([made], labels, 10) == (["1"] if matches else [])
    assert covering([made], labels, 9) == covering([made], labels, 20) == []
    assert read_matchers(", ".join(map(str, made.matchers))) == made.matchers


@pytest.mark.parametrize("text", ["", "{}", "a", "=b", "a=b c=d", "a=~'['", 'a=~"["', 'a!="b"', 'a=~".*"', 'a=""'])
def test_what_is_no_matcher_or_matches_everything_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_matchers(text)


@pytest.mark.parametrize("text", ["", "0s", "500d", "2", "x"])
def test_what_is_no_length_of_a_silence_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        silence_us(text)


def test_a_matcher_reads_as_it_was_written() -> None:
    assert str(Matcher("a", "=~", 'x"\\')) == 'a=~"x\\"\\\\"'
