"""Which evaluations of a rule are due: moments on a grid, those that were missed too. Pure.

A window is of times of receipt, which never change: a question about a past window has the same answer later. So what
was missed while nobody evaluated is made up for, with as few questions as leave no gap between windows.
"""

from __future__ import annotations

from typing import Final

from ess_ray.alerts.rules import Group, Rule
from ess_ray.alerts.states import RuleState

CATCH_UP_US: Final = 3_600_000_000
"""How far back is made up for: who was told of nothing for an hour has looked by himself."""
RETRY_US: Final = 5_000_000
"""Pause after an answer that was not complete: mostly an owner that is being replaced, which takes so long."""


def slots_due(group: Group, rule: Rule, state: RuleState, now_us: int, tried_us: int | None = None) -> list[int]:
    """Give the moments to evaluate a rule at, in ascending order; `tried_us`: when that was tried last.

    One whose answer was not complete is due again until the next one is.
    """
    newest, last = group.slot_us(now_us), state.last
    if last is None:
        return [newest]
    if newest <= last.slot_us:
        is_retried = not last.complete and (tried_us is None or now_us - tried_us >= RETRY_US)
        return [last.slot_us] if is_retried else []
    step_us = max(1, rule.window_us // group.interval_us) * group.interval_us
    found = [newest]
    while rule.arrival_us(found[-1], group.interval_us)[0] > last.end_us:
        before = found[-1] - step_us
        if before <= last.slot_us or newest - before > CATCH_UP_US:
            break
        found.append(before)
    return found[::-1]


def next_us(group: Group, rule: Rule, state: RuleState, now_us: int) -> int:
    """Give when something of a rule is due next, once what is due now was done."""
    at_us = group.slot_us(now_us) + group.interval_us
    if state.last is not None and not state.last.complete:
        return min(at_us, now_us + RETRY_US)
    return at_us
