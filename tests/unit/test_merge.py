"""The ordered merge: total order, progressive release, repeats, limit."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.merge import OrderedMerge, top
from ess_ray.core.query import Order

Make = Callable[..., pa.Table]


def offsets(table: pa.Table) -> list[int]:
    return list(table.column("offset").to_pylist())


def test_rows_are_released_once_nothing_unfinished_can_precede_them(make_events: Make, t0_us: int) -> None:
    merge = OrderedMerge("newest", 10)
    merge.add(make_events([t0_us + 5, t0_us + 1]))
    assert offsets(merge.release(t0_us + 5)) == []  # a tie may still come
    assert offsets(merge.release(t0_us + 4)) == [0]
    merge.add(make_events([t0_us + 3], first=7))
    assert offsets(merge.release(None)) == [7, 1]


def test_the_limit_ends_the_merge(make_events: Make, t0_us: int) -> None:
    merge = OrderedMerge("oldest", 2)
    merge.add(make_events([t0_us + i for i in range(5)]))
    assert offsets(merge.release(None)) == [0, 1]
    assert merge.done


def test_the_first_copy_in_answer_order_wins(make_events: Make, t0_us: int) -> None:
    merge = OrderedMerge("newest", 10)
    merge.add(make_events([t0_us, t0_us + 1], event_id=["a", "a"]))
    assert offsets(merge.release(t0_us)) == [1]
    assert offsets(merge.release(None)) == []
    assert merge.duplicates_suppressed == 1


def test_the_same_id_with_other_content_is_another_event(make_events: Make, t0_us: int) -> None:
    one, other = b"1" * 16, b"2" * 16
    merge = OrderedMerge("oldest", 10)
    hashes = [one, other, one, None, None]
    merge.add(make_events([t0_us + n for n in range(5)], event_id=["a"] * 5, event_hash=hashes))
    assert offsets(merge.release(None)) == [0, 1, 3]
    assert merge.duplicates_suppressed == 2


def merged_naively(rows: list[tuple[int, str | None]], order: Order) -> list[int]:
    """Give the numbers of (time, id) rows in answer order; of those with one id, the first alone."""
    ranked = sorted(((time, n, event_id) for n, (time, event_id) in enumerate(rows)), reverse=order == "newest")
    kept: list[int] = []
    seen: set[str] = set()
    for _, number, event_id in ranked:
        if event_id is None or event_id not in seen:
            kept.append(number)
            seen |= {event_id} if event_id else set()
    return kept


rows = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([None, "a", "b", "c"])), max_size=12)


@given(parts=st.lists(rows, max_size=4), limit=st.integers(1, 20), order=st.sampled_from(["newest", "oldest"]))
@pytest.mark.parametrize("cut", [False, True])
def test_merging_parts_is_sorting_the_whole(
    make_events: Make, t0_us: int, parts: list[list[tuple[int, str | None]]], limit: int, order: Order, cut: bool
) -> None:
    """Also when every part was cut to its own first `limit` distinct rows before (as scan tasks do)."""
    flat = [(t0_us + time, event_id) for part in parts for time, event_id in part]
    expected = merged_naively(flat, order)
    merge = OrderedMerge(order, limit)
    first = 0
    for part in parts:
        table = make_events([t0_us + t for t, _ in part], first=first, event_id=[e for _, e in part])
        first += len(part)
        merge.add(top(table, order, limit)[0] if cut else table)
    assert offsets(merge.release(None)) == expected[:limit]


@given(parts=st.lists(rows, max_size=8), limit=st.integers(1, 6), data=st.data())
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_rows_that_come_between_releases_and_what_the_bound_leaves_out_change_nothing(
    make_events: Make,
    t0_us: int,
    order: Order,
    parts: list[list[tuple[int, str | None]]],
    limit: int,
    data: st.DataObject,
) -> None:
    """Parts arrive in any order; rows strictly behind the bound of the moment are left out, as later tasks do."""
    flat = [(time, event_id) for part in parts for time, event_id in part]
    expected = merged_naively(flat, order)
    first, tables = 0, []
    for part in parts:
        tables.append((part, make_events([t0_us + t for t, _ in part], first=first, event_id=[e for _, e in part])))
        first += len(part)
    merge = OrderedMerge(order, limit)
    released: list[int] = []
    bounds: list[int] = []
    for at, (_, table) in enumerate(waiting := data.draw(st.permutations(tables))):
        bound_us, times, needed = merge.bound_us, table.column("timestamp").cast(pa.int64()), table
        if bound_us is not None:
            bounds.append(bound_us if order == "oldest" else -bound_us)
            keep = pc.greater_equal if order == "newest" else pc.less_equal
            needed = table.filter(keep(times, bound_us))
        merge.add(needed)
        left = [t0_us + time for part, _ in waiting[at + 1 :] for time, _ in part]
        best = (max if order == "newest" else min)(left, default=None)
        released += offsets(merge.release(best))
        assert released == expected[: len(released)], "in final order only"
    assert released + offsets(merge.release(None)) == expected[:limit]
    assert bounds == sorted(bounds, reverse=True), "a bound only gets tighter"
