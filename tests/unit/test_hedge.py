"""When a scan task counts as a straggler: by an injected clock."""

from __future__ import annotations

import pytest

from ess_ray.core.query import Query
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.executors.hedge import Hedge, HedgeLimits, cost_bytes
from ess_ray.search.plan import OBJECT_COST_BYTES

MIB = 1 << 20


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hedge(clock: Clock) -> Hedge:
    return Hedge(clock, HedgeLimits(min_s=1.0, factor=3.0, unknown_s=10.0))


def finish(hedge: Hedge, clock: Clock, index: int, size: int, took_s: float) -> None:
    hedge.started(index, size)
    clock.now_s += took_s
    hedge.finished(index)


def test_nothing_is_overdue_without_tasks(hedge: Hedge) -> None:
    assert (hedge.overdue(), hedge.wait_s()) == (None, None)


def test_a_task_is_overdue_by_its_bytes_and_the_usual_rate(hedge: Hedge, clock: Clock) -> None:
    for index, took_s in enumerate([0.5, 1.0, 40.0]):  # one slow one does not move the median
        finish(hedge, clock, index, 1 * MIB, took_s)
    hedge.started(7, 2 * MIB)
    assert hedge.wait_s() == pytest.approx(6.0)
    clock.now_s += 5.9
    assert hedge.overdue() is None
    clock.now_s += 0.2
    assert hedge.overdue() == 7
    assert hedge.wait_s() == 0


def test_a_fast_peer_does_not_make_everything_a_straggler(hedge: Hedge, clock: Clock) -> None:
    finish(hedge, clock, 0, 16 * MIB, 0.01)
    hedge.started(1, 1 * MIB)
    assert hedge.wait_s() == pytest.approx(1.0)


def test_without_any_peer_it_takes_longer(hedge: Hedge, clock: Clock) -> None:
    hedge.started(0, MIB)
    clock.now_s += 9.9
    assert hedge.overdue() is None
    clock.now_s += 0.2
    assert hedge.overdue() == 0


def test_one_second_copy_and_the_longest_overdue_first(hedge: Hedge, clock: Clock) -> None:
    finish(hedge, clock, 0, MIB, 1.0)
    hedge.started(1, MIB)
    clock.now_s += 1
    hedge.started(2, MIB)
    clock.now_s += 9
    assert hedge.overdue() == 1
    hedge.hedged(1)
    assert hedge.overdue() == 2
    hedge.hedged(2)
    assert (hedge.overdue(), hedge.wait_s()) == (None, None)
    hedge.finished(1)
    hedge.gave_up(2)
    with pytest.raises(KeyError):
        hedge.finished(1)


def test_a_task_that_ends_without_an_answer_tells_nothing_of_the_rate(hedge: Hedge, clock: Clock) -> None:
    hedge.started(0, MIB)
    clock.now_s += 100
    hedge.gave_up(0)
    hedge.started(1, MIB)
    assert hedge.wait_s() == pytest.approx(10.0)


def test_small_objects_cost_their_opening() -> None:
    entries = tuple(ObjectEntry(f"k{n}", size, "t", "2026-01-01", 0, 1, 0, 0, 0) for n, size in enumerate([1, MIB]))
    assert cost_bytes(ScanTask("t", Query(), entries)) == MIB + OBJECT_COST_BYTES
