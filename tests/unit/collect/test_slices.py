"""The rows of a slice of an export end where a timestamp is whole."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from ess_ray.core.collect import ROWS, SLICE_ROWS, Partial
from ess_ray.core.query import Query

Make = Callable[..., pa.Table]


@pytest.mark.parametrize(
    ("order", "limit", "expected", "behind"),
    [
        ("oldest", 9, [0, 1, 2, 3], None),
        ("oldest", 4, [0, 1], 1),
        ("oldest", 3, [0, 1], 1),
        ("oldest", 2, [], 0),
        ("newest", 3, [3, 2], 0),
        ("newest", 1, [], 1),
    ],
)
def test_a_slice_ends_before_a_timestamp_that_may_not_be_whole(
    make_events: Make, t0_us: int, order: str, limit: int, expected: list[int], behind: int | None
) -> None:
    fold = SLICE_ROWS.fold(Query(limit=limit, order=order))  # type: ignore[arg-type]
    for row in (3, 0, 2, 1):  # two of one time, two of the next
        fold.add(Partial(make_events([t0_us + row // 2], offset=[row])))
    rows, us = fold.whole()
    assert rows.column("offset").to_pylist() == expected
    assert us == (None if behind is None else t0_us + behind)


def test_what_travels_is_rows(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us])
    assert SLICE_ROWS.schema() == ROWS.schema()
    assert SLICE_ROWS.from_rows(rows).equals(rows)
    assert SLICE_ROWS.name != ROWS.name
