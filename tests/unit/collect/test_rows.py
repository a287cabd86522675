"""The first rows in an order: in flight, in an object, and folded; what bounds the rest."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pyarrow as pa
import pytest

from ess_ray.core.collect import ROWS, Block, Partial
from ess_ray.core.query import Query

Make = Callable[..., pa.Table]
BLOCK = Block(0, 0)


def offsets(rows: pa.Table) -> list[int]:
    found: list[int] = rows.column("offset").to_pylist()
    return found


@pytest.mark.parametrize(("order", "expected"), [("newest", [5, 4, 3]), ("oldest", [0, 1, 2])])
def test_parts_in_any_order_fold_to_the_same_rows(
    make_events: Make, t0_us: int, order: str, expected: list[int]
) -> None:
    rows = make_events([t0_us + i for i in range(6)])
    query = Query(limit=3, order=order)  # type: ignore[arg-type]
    for parts in permutations([rows.slice(0, 2), rows.slice(2, 2), rows.slice(4, 2)]):
        fold = ROWS.fold(query)
        for part in parts:
            fold.add(Partial(ROWS.from_rows(part), len(part)))
        found = fold.partial()
        assert offsets(found.table) == expected
        assert found.rows_matched == 6


def test_the_bound_leaves_out_what_lies_strictly_behind_enough_rows(make_events: Make, t0_us: int) -> None:
    query = Query(limit=2)
    fold = ROWS.fold(query)
    assert fold.bound.narrowed(query) == query
    fold.add(Partial(make_events([t0_us + i for i in range(4)])))
    narrowed = fold.bound.narrowed(query)
    assert narrowed is not None
    assert narrowed.start_us == t0_us + 2, "one of the same time may still come before it"
    assert offsets(fold.release(t0_us + 2)) == [3]
    assert not fold.bound.done
    assert offsets(fold.release(None)) == [2]
    assert fold.bound.done
    assert fold.bound.narrowed(query) is None


def test_repeats_are_counted_wherever_they_are_found(make_events: Make, t0_us: int) -> None:
    fold = ROWS.fold(Query(limit=10))
    fold.add(Partial(make_events([t0_us], event_id=["a"]), 3, 2))
    fold.add(Partial(make_events([t0_us + 1], event_id=["a"]), 1))
    found = fold.partial()
    assert (len(found.table), found.rows_matched, found.duplicates_suppressed) == (1, 4, 3)


def test_an_objects_rows_come_in_order_and_end_with_the_limit(make_events: Make, t0_us: int) -> None:
    gather = ROWS.gather(Query(limit=3, order="oldest"))
    assert (gather.kept, gather.missing) == (0, 3)
    gather.add(make_events([t0_us, t0_us], event_id=["a", "a"]), BLOCK)
    assert (gather.kept, gather.missing) == (1, 2)
    gather.add(make_events([t0_us + 1] * 5, first=10), BLOCK)
    assert gather.missing == 0
    found = gather.partial()
    assert (offsets(found.table), found.duplicates_suppressed) == ([0, 10, 11], 1)


def test_a_stream_brings_the_newest_last(make_events: Make, t0_us: int) -> None:
    gather = ROWS.gather(Query(limit=3))
    gather.add(make_events([t0_us + 9], first=9), BLOCK)
    for first in (0, 2, 4):
        gather.add_before(make_events([t0_us + first + 1, t0_us + first], offset=[first + 1, first]), BLOCK)
    gather.settle()
    assert offsets(gather.partial().table) == [9, 5, 4]
