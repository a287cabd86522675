"""The state machine of a rule: pending, firing, resolved, missing data, incomplete answers. No clock but slots."""

from __future__ import annotations

import pytest

from ess_ray.alerts.policy import FORGET_US, MAX_ALERTS, Answer, Row, evaluate
from ess_ray.alerts.rules import Rule, read_rule
from ess_ray.alerts.states import RuleState, decode_state, encode_state
from tests.alerting import INCOMPLETE, MINUTE_US, T0_US, counted, grouped, rule

BY_SERVICE = "level:ERROR | stats count() as n by service"


def read(**changes: object) -> Rule:
    return read_rule(rule(**changes))


def states_of(read: Rule, *answers: Answer, step_us: int = MINUTE_US) -> list[RuleState]:
    """Give the states that answers lead to, a minute apart; each passes through what is kept of it."""
    state, found = RuleState(read.meaning), []
    for at, answer in enumerate(answers):
        slot_us = T0_US + at * step_us
        state = evaluate(read, state, answer, slot_us=slot_us, window=(slot_us - read.window_us, slot_us))
        (state,) = decode_state(encode_state({"one": state}), "test").values()
        found.append(state)
    return found


def live(state: RuleState) -> dict[str, str]:
    return {one.labels.get("service", ""): one.state for one in state.live.values()}


def test_a_condition_that_is_met_fires_at_once_and_resolves_at_once() -> None:
    before, met, still, after = states_of(read(), counted(0), counted(3), counted(5), counted(0))
    assert (live(before), live(met), live(still), live(after)) == ({}, {"": "firing"}, {"": "firing"}, {})
    (one,) = still.live.values()
    assert (one.since_us, one.fired_us, one.value) == (T0_US + MINUTE_US, T0_US + MINUTE_US, 5)
    (ended,) = after.ended
    assert (ended.state, ended.ended_us) == ("resolved", T0_US + 3 * MINUTE_US)


def test_with_for_it_is_pending_first_and_begins_anew_after_a_pause() -> None:
    told = states_of(read(for_="2m"), *map(counted, [1, 1, 0, 1, 1, 1, 0]))
    assert [set(live(one).values()) for one in told] == [
        {"pending"},
        {"pending"},
        set(),
        {"pending"},
        {"pending"},
        {"firing"},
        set(),
    ]
    assert [one.fired_us for one in told[-1].ended] == [T0_US + 5 * MINUTE_US]


def test_an_incomplete_answer_neither_fires_nor_resolves_nor_stops_the_clock() -> None:
    told = states_of(read(for_="2m"), INCOMPLETE, counted(1), INCOMPLETE, INCOMPLETE, counted(1), INCOMPLETE)
    assert [set(live(one).values()) for one in told] == [
        set(),
        {"pending"},
        {"pending"},
        {"pending"},
        {"firing"},
        {"firing"},
    ]
    assert told[-1].last is not None
    assert (told[-1].last.complete, told[-1].last.incomplete) == (False, INCOMPLETE.incomplete)


def test_each_row_of_groups_is_an_alert_of_its_own() -> None:
    by = read(expr=BY_SERVICE, condition="n > 2", labels={"team": "{{ $labels.service }}-team"})
    told = states_of(by, grouped(a=3, b=1), grouped(a=1, b=5, c=9), grouped(c=3))
    assert [live(one) for one in told] == [{"a": "firing"}, {"b": "firing", "c": "firing"}, {"c": "firing"}]
    (c,) = told[-1].live.values()
    assert c.labels == {"alertname": "High", "service": "c", "team": "c-team"}


def test_annotations_tell_of_value_and_labels() -> None:
    text = "{{ $value }} of {{$labels.service}} and {{ $labels.none }}."
    (state,) = states_of(read(expr=BY_SERVICE, condition="n > 2", annotations={"summary": text}), grouped(a=3.5))
    (one,) = state.live.values()
    assert one.annotations == {"summary": "3.5 of a and ."}


@pytest.mark.parametrize(("missing", "expected"), [("ok", set()), ("alert", {"firing"}), ("keep", {"firing"})])
def test_data_that_is_missing_in_a_value(missing: str, expected: set[str]) -> None:
    slow = read(expr="* | stats avg(ms)", condition="avg(ms) > 5", missing_data=missing)
    _, after = states_of(slow, counted(9), counted(None, 0))
    assert set(live(after).values()) == expected


@pytest.mark.parametrize(
    ("missing", "condition", "expected"),
    [("ok", "count() < 1", {"firing"}), ("alert", "count() > 100", {"firing"}), ("keep", "count() < 1", set())],
)
def test_nothing_at_all_is_a_count_of_0_unless_it_is_missing_data(
    missing: str, condition: str, expected: set[str]
) -> None:
    (state,) = states_of(read(condition=condition, missing_data=missing), counted(0))
    assert set(live(state).values()) == expected


def test_a_group_that_stops_is_missing_data() -> None:
    heart = read(expr="beat | stats count() as n by service", condition="n < 1", missing_data="alert")
    told = states_of(heart, grouped(a=3, b=3), grouped(b=2), grouped(a=1, b=1))
    assert [live(one) for one in told] == [{}, {"a": "firing"}, {}]


def test_without_any_group_missing_data_is_an_alert_without_one() -> None:
    heart = read(expr="beat | stats count() as n by service", condition="n < 1", missing_data="alert")
    told = states_of(heart, grouped(), grouped(a=1), grouped())
    assert [live(one) for one in told] == [{"": "firing"}, {}, {"a": "firing"}]


def test_a_group_that_was_gone_for_a_day_is_forgotten() -> None:
    heart = read(expr="beat | stats count() as n by service", condition="n < 1", missing_data="alert")
    told = states_of(heart, grouped(a=1, b=1), grouped(b=1), grouped(b=1), step_us=FORGET_US // 2 + 1)
    assert [live(one) for one in told] == [{}, {"a": "firing"}, {}]


def test_with_keep_a_group_that_stops_stays_as_it_is() -> None:
    keep = read(expr=BY_SERVICE, condition="n > 2", for_="2m", missing_data="keep")
    told = states_of(keep, grouped(a=3), grouped(), grouped(), grouped(a=3), grouped(a=1))
    assert [live(one) for one in told] == [{"a": "pending"}] * 3 + [{"a": "firing"}, {}]


def test_a_flood_is_cut_and_says_so() -> None:
    by = read(expr=BY_SERVICE, condition="n > 2")
    rows = tuple(Row({"service": f"s{at}"}, 3.0) for at in range(MAX_ALERTS + 5))
    (state,) = states_of(by, Answer(rows, 9, True))
    assert len(state.live) == MAX_ALERTS
    assert state.last is not None
    assert state.last.notes == (f"5 more groups meet the condition: {MAX_ALERTS:,} are alerts",)


def test_no_text_and_an_absent_field_are_one_alert() -> None:
    by = read(expr=BY_SERVICE, condition="n > 2")
    (state,) = states_of(by, Answer((Row({"service": ""}, 1.0), Row({"service": ""}, 4.0)), 5, True))
    assert [one.value for one in state.live.values()] == [4.0]
