"""What covers what: views, snapshot, and the offsets that neither has; tasks by bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.collect import Bound
from ess_ray.core.query import Order, Query
from ess_ray.language import parse
from ess_ray.ports import ARRIVAL_SLACK_US, ObjectEntry, ScanTask, VnodeRange
from ess_ray.search.plan import (
    OBJECT_COST_BYTES,
    Plan,
    Tasks,
    count_tasks,
    make_plan,
    not_stored,
    standing,
    tasks_in_place,
    uncovered,
)
from ess_ray.testing import MemorySnapshot


@pytest.mark.parametrize(
    ("end", "view", "stored", "missing"),
    [
        (10, VnodeRange(4, 10), 4, []),
        (10, VnodeRange(4, 12), 10, []),
        (10, VnodeRange(4, 10), 3, [(3, 4)]),  # a snapshot older than the view's beginning
        (10, VnodeRange(4, 8), 4, [(8, 10)]),  # an owner that did not catch up
        (10, VnodeRange(4, 8), 10, []),
        (10, None, 10, []),  # no owner, but all is stored
        (10, None, 7, [(7, 10)]),
        (10, None, None, [(0, 10)]),
        (0, None, None, []),
    ],
)
def test_uncovered(end: int, view: VnodeRange | None, stored: int | None, missing: list[tuple[int, int]]) -> None:
    ranges = {} if view is None else {0: view}
    got = uncovered({0: end}, standing({0: stored}, {0: 0}), ranges)
    assert [(gap.first, gap.end) for gap in got] == missing


def test_buffered_rows_that_the_snapshot_holds_are_dropped(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    rows = pa.concat_tables([make_events([t0_us] * 4, vnode=0), make_events([t0_us] * 4, vnode=1)])
    kept = not_stored(rows, standing({0: 2, 1: None}, {0: 0, 1: 0}))
    pairs = list(zip(kept.column("vnode").to_pylist(), kept.column("offset").to_pylist(), strict=True))
    assert pairs == [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]


def entry(number: int, size: int, min_us: int, max_us: int, tenant: str = "default") -> ObjectEntry:
    return ObjectEntry(f"k{number}", size, tenant, "2026-01-01", 0, 1, min_us, max_us, 0)


MIB = 1 << 20
BASE_US = 1_790_000_000_000_000


def plan_of(entries: list[ObjectEntry], query: Query = Query()) -> Plan:  # noqa: B008
    snapshot = MemorySnapshot(1, {one.key: one for one in entries}, {})
    return make_plan("default", query, snapshot)


def keys(task: ScanTask) -> list[str]:
    return [one.key for one in task.entries]


def test_a_plan_counts_exactly() -> None:
    entries = [entry(0, 5, 0, 10), entry(1, 7, 10, 30), entry(2, 50, 31, 40), entry(3, 1, 0, 99, "other")]
    plan = plan_of(entries, Query(start_us=10, end_us=31))
    assert (plan.objects_total, plan.objects_pruned, plan.bytes_total, len(plan)) == (3, 1, 12, 2)
    nothing = plan_of([])
    assert (nothing.objects_total, nothing.bytes_left, Tasks(nothing, MIB).watermark_us) == (0, 0, None)
    assert list(Tasks(nothing, MIB)) == []


def test_bytes_left_to_read_are_the_share_in_the_time_asked_for_and_the_opening() -> None:
    plan = plan_of([entry(0, 100 * MIB, 0, 99), entry(1, 10, 0, 99)], Query(start_us=50, end_us=60))
    assert plan.bytes_left == 10 * MIB + OBJECT_COST_BYTES


@pytest.mark.parametrize(
    ("order", "expected"), [("newest", ["k3", "k1", "k2", "k0"]), ("oldest", ["k0", "k3", "k1", "k2"])]
)
def test_tasks_come_in_scan_order_and_grow(order: Order, expected: list[str]) -> None:
    entries = [entry(0, 5, 0, 10), entry(1, 5, 5, 30), entry(2, 50, 7, 20), entry(3, 1, 1, 40)]
    tasks = Tasks(plan_of(entries, Query(order=order)), MIB)
    made = [keys(task) for task in tasks]
    assert made == [expected[:1], expected[1:]], "first one object, then as many as fit"


def test_tasks_are_cut_by_bytes_are_small_at_both_ends_and_never_split_an_object() -> None:
    entries = [entry(n, size * MIB, -n, -n) for n, size in enumerate([9, 1, 1, 1, 1, 1, 9, 2, 2, 2])]
    made = [keys(task) for task in Tasks(plan_of(entries), 4 * MIB)]
    assert made == [["k0"], ["k1"], ["k2", "k3"], ["k4", "k5"], ["k6"], ["k7"], ["k8"], ["k9"]]


@given(sizes=st.lists(st.integers(1, 9 * MIB), max_size=40), task_bytes=st.sampled_from([1, MIB, 4 * MIB, 1 << 40]))
def test_tasks_are_counted_without_being_made(sizes: list[int], task_bytes: int) -> None:
    plan = plan_of([entry(n, size, -n, -n) for n, size in enumerate(sizes)])
    assert count_tasks(plan, task_bytes) == len(list(Tasks(plan, task_bytes)))
    assert plan.sizes.tolist() == sizes


@pytest.mark.parametrize(
    ("sizes", "in_place_mib", "expected"),
    [([], 0, 0), ([1, 2], 4, 2), ([1, 2], 3, 2), ([1, 2], 2, 1), ([2, 1], 2, 1), ([3, 1], 2, 0), ([1], 0, 0)],
)
def test_what_is_small_is_done_in_place(sizes: list[int], in_place_mib: int, expected: int) -> None:
    plan = plan_of([entry(n, size * MIB, -n, -n) for n, size in enumerate(sizes)])
    assert tasks_in_place(plan, in_place_mib * MIB) == expected


@pytest.mark.parametrize("order", ["newest", "oldest"])
@given(data=st.data())
def test_the_watermark_is_the_best_of_what_is_unfinished(order: Order, data: st.DataObject) -> None:
    times = data.draw(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
    entries = [entry(n, MIB, low, low + span) for n, (low, span) in enumerate(times)]
    tasks = Tasks(plan_of(entries, Query(order=order)), 2 * MIB)
    left, running = dict(enumerate(entries)), []
    while left:
        # Each step starts a task or finishes one: no draw leaves things as they are, so that the loop ends.
        task = next(tasks, None) if not running or data.draw(st.booleans()) else None
        if task is not None:
            running.append((tasks.made - 1, task))
        else:
            index, task = running.pop(data.draw(st.integers(0, len(running) - 1)))
            assert tasks.finish(index) is task
            for one in task.entries:
                del left[int(one.key[1:])]
        best = max(e.max_us for e in left.values()) if left and order == "newest" else None
        best = min(e.min_us for e in left.values()) if left and order == "oldest" else best
        assert tasks.watermark_us == best
        assert tasks.open is bool(left)


def test_what_cannot_matter_is_not_started_and_later_tasks_read_less() -> None:
    entries = [entry(n, MIB, 100 - 10 * n, 109 - 10 * n) for n in range(6)]
    tasks = Tasks(plan_of(entries, Query(start_us=0)), MIB)
    assert keys(next(tasks)) == ["k0"]
    tasks.tighten(Bound(87))
    assert keys(second := next(tasks)) == ["k1"]
    assert second.query == Query(start_us=87)
    tasks.tighten(Bound(89))  # a tie with an object's best row: that object may matter
    assert [keys(task) for task in tasks] == [["k2"]]
    assert tasks.watermark_us == 109
    for index in range(3):
        tasks.finish(index)
    assert (tasks.watermark_us, tasks.open) == (79, False), "what is left of the plan is not asked for any more"


def test_when_nothing_can_matter_no_task_is_made() -> None:
    tasks = Tasks(plan_of([entry(n, MIB, n, n) for n in range(6)]), MIB)
    next(tasks)
    assert (tasks.left, tasks.open) == (True, True)
    tasks.tighten(Bound(done=True))
    assert (next(tasks, None), tasks.left, tasks.open) == (None, False, True), "one still runs"
    tasks.finish(0)
    assert not tasks.open


def test_a_second_result_of_one_task_is_refused() -> None:
    tasks = Tasks(plan_of([entry(0, 1, 0, 0)]), MIB)
    next(tasks)
    tasks.finish(0)
    with pytest.raises(KeyError):
        tasks.finish(0)


@pytest.mark.parametrize(
    ("query", "bound_us", "expected"),
    [
        (Query(), 5, Query(start_us=5)),
        (Query(start_us=9), 5, Query(start_us=9)),
        (Query(order="oldest"), 5, Query(order="oldest", end_us=6)),
        (Query(order="oldest", end_us=5), 5, Query(order="oldest", end_us=5)),
        (Query(start_us=1, end_us=2), None, Query(start_us=1, end_us=2)),
    ],
)
def test_a_bounded_query_keeps_ties(query: Query, bound_us: int | None, expected: Query) -> None:
    assert query.bounded(bound_us) == expected


ARRIVALS = [(5, 9), (20, 30), (None, None), (None, None)]
PUT_US = [0, 0, -ARRIVAL_SLACK_US, 40]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("_ess.observed_timestamp:[10 TO 19]", ["k3"]),
        ("_ess.observed_timestamp:>=20 a", ["k1", "k3"]),
        ("_ess.observed_timestamp:[9 TO 20} level:ERROR", ["k0", "k3"]),
        ("_ess.observed_timestamp:<20", ["k0", "k2", "k3"]),
        ("a OR _ess.observed_timestamp:<20", ["k0", "k1", "k2", "k3"]),
        ("-_ess.observed_timestamp:<20", ["k0", "k1", "k2", "k3"]),
        ("a", ["k0", "k1", "k2", "k3"]),
    ],
)
def test_objects_in_which_nothing_arrived_then_are_left_out(text: str, kept: list[str]) -> None:
    """Where it is not known (the last two), nothing was received after they were put."""
    entries = [
        replace(entry(n, 1, 0, 99), modified_us=BASE_US + put_us)
        if first is None or last is None
        else replace(entry(n, 1, 0, 99), first_arrival_us=BASE_US + first, last_arrival_us=BASE_US + last)
        for n, ((first, last), put_us) in enumerate(zip(ARRIVALS, PUT_US, strict=True))
    ]
    micros = re.sub(r"\b(\d+)\b", lambda found: str(BASE_US + int(found[1])), text)
    plan = plan_of(entries, Query(parse(micros)))
    assert sorted(one.key for one in plan.entries(0, len(plan))) == kept
    assert plan.objects_pruned == 4 - len(kept)
    assert plan.bytes_total == len(kept)
