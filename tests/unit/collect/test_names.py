"""Which fields rows have, and how many rows have each. `property/test_aggregate` has the oracle."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from ess_ray.core.collect import COLUMN, Block, FieldNames, Partial
from ess_ray.core.query import Query

Make = Callable[..., pa.Table]


def test_columns_count_where_they_are_there_and_attributes_by_key(make_events: Make, t0_us: int) -> None:
    rows = make_events(
        [t0_us] * 3, level=["INFO", None, "WARN"], attributes=[[("user", "a")], None, [("user", "b"), ("k", "v")]]
    )
    names = FieldNames()
    fold = names.fold(Query())
    for at in (2, 0, 1):
        fold.add(Partial(names.from_rows(rows.slice(at, 1)), 1))
    table = fold.partial().table
    assert names.rows_of(table) == 3
    found = {(cell["by_0"], cell["by_1"]): cell["count"] for cell in table.to_pylist()}
    assert found == {
        **{(name, COLUMN): 3 for name in ("timestamp", "observed_timestamp", "message")},
        ("level", COLUMN): 2,
        ("user", "attribute"): 2,
        ("k", "attribute"): 1,
    }


def test_ids_are_read_only_where_there_are_some() -> None:
    names = FieldNames()
    assert "event_id" in names.columns()
    assert names.columns(Block(0, 1, ids=True)) == names.columns()
    assert names.columns(Block(0, 1, ids=False)) == names.columns() - {"event_id"}
