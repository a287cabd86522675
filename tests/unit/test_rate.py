"""Events a second, of counters that grow, begin anew and go away."""

from __future__ import annotations

import pytest

from ess_ray.runtime.rate import Rate


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_counted_before_the_first_look_is_not_of_now(clock: Clock) -> None:
    rate = Rate(10.0, clock)
    assert rate.per_s() == 0.0
    rate.look("a", 5_000_000)
    clock.now_s += 2
    rate.look("a", 5_000_200)
    rate.look("b", 77)
    assert rate.per_s() == 100.0


def test_the_window_goes_along(clock: Clock) -> None:
    rate = Rate(10.0, clock)
    for second in range(60):
        rate.look("a", second * 30)
        clock.now_s += 1
    assert rate.per_s() == pytest.approx(30.0, rel=0.2)
    clock.now_s += 11
    assert rate.per_s() == 0.0


def test_a_counter_that_begins_anew_takes_nothing_away(clock: Clock) -> None:
    rate = Rate(10.0, clock)
    rate.look("a", 1000)
    clock.now_s += 1
    rate.look("a", 0)
    rate.look("a", 50)
    rate.forget("a")
    rate.look("a", 9000)
    assert rate.per_s() == 50.0
