"""Where an export is cut in time, and how much its slices take."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.query import Order, Query
from ess_ray.ports import ObjectEntry, Selection
from ess_ray.search.plan import OBJECT_COST_BYTES
from ess_ray.search.slices import Appetite, SliceLimits, rest_behind, rest_from, slice_end
from ess_ray.testing import MemorySnapshot

MIB = 1 << 20
Times = list[tuple[int, int]]


def selection(times: Times, query: Query, size: int = MIB) -> Selection:
    entries = [ObjectEntry(f"k{n}", size, "t", "2026-01-01", 0, 1, a, b, 0) for n, (a, b) in enumerate(times)]
    return MemorySnapshot(1, {one.key: one for one in entries}, {}).select("t", query.start_us, query.end_us)


@pytest.mark.parametrize(
    ("order", "times", "read_bytes", "expected"),
    [
        ("newest", [], 0, None),
        ("newest", [(0, 9)], MIB, None),
        ("oldest", [(0, 9)], MIB, None),
        ("newest", [(0, 9), (100, 109)], MIB, 9),  # one object, and the opening of the next
        ("oldest", [(0, 9), (100, 109)], MIB, 100),
        ("newest", [(0, 99)], MIB // 2 - OBJECT_COST_BYTES, 50),
        ("oldest", [(0, 99)], MIB // 2 - OBJECT_COST_BYTES, 49),
        ("newest", [(5, 5)] * 50, 0, None),  # of one microsecond: they cannot be cut
        ("oldest", [(0, 99)] * 50, 0, 11),  # as long as opening them is what costs
    ],
)
def test_a_slice_takes_what_fits(order: Order, times: Times, read_bytes: int, expected: int | None) -> None:
    query = Query(order=order)
    assert slice_end(selection(times, query), query, read_bytes) == expected


def test_a_slice_ends_within_the_time_asked_for() -> None:
    for order, expected in (("newest", 45), ("oldest", 44)):
        query = Query(start_us=40, end_us=50, order=order)
        chosen = selection([(0, 99), (200, 300)], query, 50 * MIB)
        assert slice_end(chosen, query, 5 * MIB // 2 - MIB // 2) == expected


@pytest.mark.parametrize("order", ["newest", "oldest"])
@given(
    times=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)).map(lambda t: (t[0], t[0] + t[1])), max_size=15),
    read_bytes=st.integers(0, 3 * MIB),
)
def test_slices_follow_each_other_to_the_end(order: Order, times: Times, read_bytes: int) -> None:
    """Each microsecond that an object may have rows of is in one slice, in answer order, and every slice ends."""
    rest, covered = Query(order=order), []
    while (end_us := slice_end(selection(times, rest), rest, read_bytes)) is not None:
        part = rest.bounded(end_us)
        covered.append({us for us in range(262) if part.overlaps(us, us)})
        rest = rest_behind(rest, end_us)
        assert len(covered) <= 262
    covered.append({us for us in range(262) if rest.overlaps(us, us)})
    assert sum(map(len, covered)) == 262
    assert set().union(*covered) == set(range(262))
    first, last = (max, min) if order == "newest" else (min, max)
    edges = [(first(part), last(part)) for part in covered if part]
    assert edges == sorted(edges, reverse=order == "newest")


@pytest.mark.parametrize(
    ("query", "from_5", "behind_5"),
    [
        (Query(start_us=1, end_us=9), Query(start_us=1, end_us=6), Query(start_us=1, end_us=5)),
        (
            Query(start_us=1, end_us=9, order="oldest"),
            Query(start_us=5, end_us=9, order="oldest"),
            Query(start_us=6, end_us=9, order="oldest"),
        ),
    ],
)
def test_the_rest_of_a_query(query: Query, from_5: Query, behind_5: Query) -> None:
    assert rest_from(query, 5) == from_5
    assert rest_behind(query, 5) == behind_5


def test_an_appetite_grows_with_rare_hits_and_shrinks_with_many(make_events: Callable[..., pa.Table]) -> None:
    appetite = Appetite(SliceLimits(10_000, 20, 5, 100, 8, 64))
    assert (appetite.rows, appetite.read_bytes) == (20, 8)
    grown = []
    for _ in range(5):
        appetite.fed(make_events([]), cut=False)
        grown.append(appetite.read_bytes)
    assert grown == [16, 32, 64, 64, 64]
    assert appetite.rows == 20, "nothing is known of rows that did not come"
    appetite.fed(make_events([0] * 15, ["x" * 1_000] * 15), cut=True)
    assert appetite.read_bytes == 32
    assert 5 <= appetite.rows <= 10, "as many rows as fill the memory"
    appetite.fed(make_events([0] * 7, ["x" * 100_000] * 7), cut=True)
    assert appetite.rows == 5
    appetite.fed(make_events([0] * 100, ["x"] * 100), cut=False)
    assert (appetite.rows, appetite.read_bytes) == (100, 16), "half filled or more: it stays"
