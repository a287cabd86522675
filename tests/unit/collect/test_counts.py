"""Rows per time bucket and group: from rows, from statistics, and folded. `property/test_aggregate` has the oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ess_ray.core.collect import PLACES, Block, Grouping, Partial
from ess_ray.core.query import All, Equals, Field, Query

Make = Callable[..., pa.Table]
LEVEL = Field("level")


def cells(table: pa.Table) -> list[tuple[object, ...]]:
    names = [name for name in table.column_names if name != "other"]
    return sorted(zip(*(table.column(name).to_pylist() for name in names), strict=True), key=repr)


def test_a_block_in_one_bucket_needs_no_times(make_events: Make, t0_us: int) -> None:
    start_us = t0_us - t0_us % 1_000_000
    counting = Grouping(1_000_000, (LEVEL,))
    inside, across = Block(start_us, start_us + 999_999), Block(start_us, start_us + 1_000_000)
    assert counting.columns(inside) == {"level"}
    assert counting.columns(across) == counting.columns() == {"level", "timestamp"}
    rows = make_events([start_us, start_us + 5], level=["INFO", "INFO"])
    assert cells(counting.from_rows(rows.select(["level"]), inside)) == [(start_us, "INFO", 2)]
    assert cells(counting.from_rows(rows, across)) == [(start_us, "INFO", 2)]


def test_statistics_tell_what_matches_wholly_in_one_bucket(t0_us: int) -> None:
    start_us = t0_us - t0_us % 1_000
    counting = Grouping(1_000)
    first_us = np.array([start_us, start_us, start_us + 1_000], np.int64)
    last_us = np.array([start_us + 999, start_us + 1_000, start_us + 1_500], np.int64)
    assert counting.tellable(Query(), first_us, last_us).tolist() == [True, False, True]
    assert counting.tellable(Query(All(), start_us + 1), first_us, last_us).tolist() == [False, False, True]
    assert not counting.tellable(Query(Equals(LEVEL, "INFO", False)), first_us, last_us).any()
    assert not Grouping(1_000, (LEVEL,)).tellable(Query(), first_us, last_us).any()
    told = counting.from_statistics(np.array([7, 9], np.int64), first_us[[0, 2]])
    assert cells(told) == [(start_us, 7), (start_us + 1_000, 9)]
    assert counting.rows_of(told) == 16


def test_what_is_in_flight_is_kept_apart_by_record(make_events: Make, t0_us: int) -> None:
    counting = Grouping(None, (LEVEL,))
    rows = make_events([t0_us] * 3, level=["INFO"] * 3, offset=[1, 1, 2])
    fold = counting.fold(Query(), PLACES)
    fold.add(Partial(counting.from_rows(rows, where=PLACES), 3))
    table = fold.partial().table
    assert table.schema == counting.schema(PLACES)
    assert cells(table) == [(0, 1, None, "INFO", 2), (0, 2, None, "INFO", 1)]


def test_parts_one_behind_another_are_one_part(make_events: Make, t0_us: int) -> None:
    counting = Grouping(None, (LEVEL,))
    parts = [Partial(counting.from_rows(make_events([t0_us], level=[level])), 1) for level in ("INFO", "WARN", "INFO")]
    folded, put = counting.fold(Query()), counting.fold(Query())
    for part in parts:
        folded.add(part)
    put.add(parts[0] + parts[1] + parts[2])
    assert cells(folded.partial().table) == cells(put.partial().table) == [(None, "INFO", 2), (None, "WARN", 1)]
    assert folded.partial().rows_matched == put.partial().rows_matched == 3
