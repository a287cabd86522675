"""Rows and bytes of their messages per time bucket and group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ess_ray.core.collect import BYTES, PLACES, Partial, Volumes, decode_collector, encode_collector
from ess_ray.core.query import Field, Query

Make = Callable[..., pa.Table]
LEVEL = Field("level")


def test_bytes_are_those_of_utf_8_and_add_up_in_any_order(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us, t0_us + 1, t0_us + 2], ["a", "ä€", ""], level=["INFO", "INFO", None])
    counting = Volumes(None, (LEVEL,))
    assert counting.columns() == {"level", "message"}
    parts = [counting.from_rows(rows.slice(at, 1)) for at in (2, 0, 1)]
    fold = counting.fold(Query())
    for part in parts:
        fold.add(Partial(part, counting.rows_of(part)))
    table = fold.partial().table
    found = dict(zip(table.column("by_0").to_pylist(), table.column(BYTES).to_pylist(), strict=True))
    assert found == {"INFO": 6, None: 0}
    assert dict(zip(table.column("by_0").to_pylist(), table.column("count").to_pylist(), strict=True)) == {
        "INFO": 2,
        None: 1,
    }


def test_without_keys_and_in_flight(make_events: Make, t0_us: int) -> None:
    rows = make_events([t0_us, t0_us + 1], ["abc", "de"])
    assert Volumes().from_rows(rows).column(BYTES).to_pylist() == [5]
    kept_apart = Volumes().from_rows(rows, where=PLACES)
    assert sum(kept_apart.column(BYTES).to_pylist()) == 5
    assert Volumes().from_rows(rows.slice(0, 0)).num_rows == 0


def test_statistics_tell_nothing_and_it_travels() -> None:
    counting = Volumes(1_000, (LEVEL,))
    assert not counting.tellable(Query(), np.array([0], np.int64), np.array([1], np.int64)).any()
    assert decode_collector(encode_collector(counting)) == counting
    assert type(decode_collector(encode_collector(counting))) is Volumes
