"""The state machine of a rule: where it stood, an answer and a moment -> where it stands. Pure.

    condition met    nothing -> pending (or firing, without `for`); pending for so long -> firing
    not met          pending -> nothing; firing -> resolved
    incomplete       nothing changes: such an answer neither fires nor resolves

Data is missing where no event matched in the window, where a group of before has no row any more, or where a function
has no value. `missing_data` says what that means: `ok`, the condition is not met (`count()` is 0, which it may be
compared with); `alert`, it is met; `keep`, all stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ess_ray.alerts.rules import Rule
from ess_ray.alerts.states import Episode, Evaluation, RuleState, fingerprint

MAX_ALERTS: Final = 1_000
"""Of one rule at a time: more is a flood, of which the first are as good as all."""
FORGET_US: Final = 24 * 3_600_000_000
"""A group that has sent nothing for so long is gone for good: `missing_data: alert` ends for it."""
_TEMPLATE = re.compile(r"\{\{\s*\$(value|labels\.([a-zA-Z_][a-zA-Z0-9_]*))\s*\}\}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an answer: the labels of its group (none without groups), and the value that is compared."""

    labels: Mapping[str, str]
    value: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule's question gave. `events`: how many matched."""

    rows: tuple[Row, ...]
    events: int
    complete: bool
    incomplete: tuple[str, ...] = ()
    elapsed_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says of one alert; `met` None: nothing that changes it."""

    labels: Mapping[str, str]
    value: float | None
    met: bool | None


def evaluate(
    rule: Rule, state: RuleState, answer: Answer, *, slot_us: int, window: tuple[int, int], forgotten_us: int = 0
) -> RuleState:
    """Give where a rule stands after an answer about what was received in `window`, at the moment `slot_us`.

    `forgotten_us`: when events were deleted last: an alert that began before and is kept as it is for want of data may
    be of them, and ends. The same arguments give the same state: an evaluation that was not kept may be done again.
    """
    done = Evaluation(
        slot_us,
        *window,
        answer.complete,
        answer.incomplete,
        len(answer.rows),
        answer.events,
        answer.elapsed_ms,
    )
    if not answer.complete:
        return replace(state, last=done)
    live: dict[str, Episode] = {}
    ended = list(state.ended)
    left_out = 0
    seen = _seen(rule, state, answer, slot_us)
    for name, reading in _readings(rule, state, answer, seen):
        episode = state.live.get(name)
        is_forgotten = reading.met is None and episode is not None and episode.since_us <= forgotten_us
        after = _next(rule, episode, replace(reading, met=False) if is_forgotten else reading, slot_us)
        if after is None:
            continue
        if after.ended_us is not None:
            ended.append(after)
        elif episode is None and len(live) >= MAX_ALERTS:
            left_out += 1
        else:
            live[name] = after
    notes = (f"{left_out:,} more groups meet the condition: {MAX_ALERTS:,} are alerts",) if left_out else ()
    return RuleState(state.meaning, live, tuple(ended), seen, replace(done, notes=notes))


def end_all(state: RuleState, now_us: int) -> RuleState:
    """Give where a rule stands that is no more: what fires is resolved."""
    ended = [replace(one, ended_us=now_us) for one in state.live.values() if one.fired_us is not None]
    return replace(state, live={}, ended=(*state.ended, *ended), seen={})


def preview(rule: Rule, answer: Answer) -> list[Reading]:
    """Tell what each row of an answer means by itself, as if the rule were new."""
    state = RuleState(rule.meaning)
    seen = _seen(rule, state, answer, 0)
    return [reading for _, reading in _readings(rule, state, answer, seen)]


def labels_of(rule: Rule, group: Mapping[str, str]) -> dict[str, str]:
    """Give an alert's labels: the rule's own count before those of its group."""
    own = {name: _filled(text, group, None) for name, text in rule.labels.items()}
    return {**group, **own, "alertname": rule.alert}


def _readings(
    rule: Rule, state: RuleState, answer: Answer, seen: Mapping[str, tuple[Mapping[str, str], int]]
) -> Iterator[tuple[str, Reading]]:
    """Give each alert's reading once: those that the answer has, then those that it has no row of."""
    found: dict[str, Reading] = {}
    for row in answer.rows:
        labels = labels_of(rule, row.labels)
        name = fingerprint(labels)
        reading = Reading(labels, row.value, _met(rule, row, answer))
        if name not in found or (reading.met and not found[name].met):  # `null` and empty text are one label
            found[name] = reading
    yield from ((name, found[name]) for name in state.live if name in found)
    yield from ((name, reading) for name, reading in found.items() if name not in state.live)
    nothing = labels_of(rule, {})
    unnamed = fingerprint(nothing)
    gone = {name: episode.labels for name, episode in state.live.items()} | {
        name: one for name, (one, _) in seen.items()
    }
    missing = {"ok": False, "alert": True, "keep": None}[rule.missing_data]
    for name, group in gone.items():
        if name not in found and name != unnamed:
            is_gone_for_good = rule.missing_data == "alert" and name not in seen
            yield name, Reading(group, None, False if is_gone_for_good else missing)
    if rule.has_groups and unnamed not in found and (unnamed in state.live or not found):
        others = any(name != unnamed for name in gone) or bool(found)
        yield unnamed, Reading(nothing, None, False if others else missing)


def _met(rule: Rule, row: Row, answer: Answer) -> bool | None:
    has_data = row.value is not None and (rule.has_groups or answer.events > 0)
    if not has_data and rule.missing_data != "ok":
        return rule.missing_data == "alert" or None
    return row.value is not None and rule.condition.holds(row.value)


def _seen(rule: Rule, state: RuleState, answer: Answer, slot_us: int) -> dict[str, tuple[Mapping[str, str], int]]:
    """Give the groups that rows were seen of within FORGET_US, where somebody wants to know when one stops."""
    if rule.missing_data != "alert" or not rule.has_groups:
        return {}
    now = {fingerprint(labels): (labels, slot_us) for labels in (labels_of(rule, row.labels) for row in answer.rows)}
    before = {name: one for name, one in state.seen.items() if slot_us - one[1] < FORGET_US}
    newest = sorted({**before, **now}.items(), key=lambda item: -item[1][1])
    return dict(newest[:MAX_ALERTS])


def _next(rule: Rule, episode: Episode | None, reading: Reading, slot_us: int) -> Episode | None:
    """Give an alert after a reading; None: there is none."""
    if reading.met is None:
        return episode
    if not reading.met:
        fired = episode is not None and episode.fired_us is not None
        return replace(episode, ended_us=slot_us) if episode is not None and fired else None
    since_us = slot_us if episode is None else episode.since_us
    fired_us = None if episode is None else episode.fired_us
    if fired_us is None and slot_us - since_us >= rule.for_us:
        fired_us = slot_us
    value = reading.value
    annotations = {name: _filled(text, reading.labels, value) for name, text in rule.annotations.items()}
    told = {} if episode is None else episode.told
    return Episode(reading.labels, annotations, since_us, fired_us, None, value, told)


def _filled(text: str, labels: Mapping[str, str], value: float | None) -> str:
    """Put what is told into a text: `{{ $value }}`, `{{ $labels.service }}`."""

    def told(match: re.Match[str]) -> str:
        if match[2] is not None:
            return labels.get(match[2], "")
        return "no data" if value is None else f"{value:.15g}"

    return _TEMPLATE.sub(told, text)
