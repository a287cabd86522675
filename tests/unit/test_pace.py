"""How many invocations at a time: halved by a refusal, once a pause."""

from __future__ import annotations

import random

from ess_ray.search.executors.pace import FIRST_PAUSE_S, LAST_PAUSE_S, Pace


def test_a_flock_of_refusals_halves_once_and_answers_raise_it_again() -> None:
    now = [0.0]
    pace = Pace(100, lambda: now[0], random.Random(1))
    for _ in range(30):
        pace.refused()
    assert pace.limit == 50
    assert FIRST_PAUSE_S <= pace.pause_s() <= 2 * FIRST_PAUSE_S
    now[0] += 1
    assert pace.pause_s() == 0
    for _ in range(51):
        pace.went_through()
    assert pace.limit == 51
    for _ in range(100):
        pace.refused()
        now[0] += 2 * LAST_PAUSE_S
    assert pace.limit == 1
    for _ in range(100_000):
        pace.went_through()
    assert pace.limit == 100
