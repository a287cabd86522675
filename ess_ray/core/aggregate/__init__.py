"""Counting rows instead of giving them: per time bucket and group, or per field name.

A partial count is an Arrow table, one row a cell: `start_us` (the bucket, null without an interval), a string column a
key (`by_0`, ...; null: the row has no such field), `other` (true: what small groups were added to), `count`. Partial
counts of disjoint rows, added up in any order, are the count of all of them.

- `buckets`: where time buckets begin.
- `grouping`: what is counted by, as frozen values that travel to tasks.
- `count`: a batch of rows -> a partial count.
- `add`: partial counts -> one, within bounds; which groups come first.

May live here: pure functions over Arrow tables. May not: which rows match, where they lie, I/O.
"""

from ess_ray.core.aggregate.add import (
    MAX_CELLS,
    MAX_HELD_BYTES,
    MAX_HELD_CELLS,
    MAX_VIEW_CELLS,
    Counts,
    Top,
    coarser,
    group_count,
    top_groups,
)
from ess_ray.core.aggregate.buckets import UTC_CLOCK, LocalClock, bucket_starts
from ess_ray.core.aggregate.count import count_rows, count_told, rows_of, tellable
from ess_ray.core.aggregate.grouping import COLUMN, FIELD_COLUMNS, Counting, FieldNames, Grouping, counts_schema

__all__ = [
    "COLUMN",
    "FIELD_COLUMNS",
    "MAX_CELLS",
    "MAX_HELD_BYTES",
    "MAX_HELD_CELLS",
    "MAX_VIEW_CELLS",
    "UTC_CLOCK",
    "Counting",
    "Counts",
    "FieldNames",
    "Grouping",
    "LocalClock",
    "Top",
    "bucket_starts",
    "coarser",
    "count_rows",
    "count_told",
    "counts_schema",
    "group_count",
    "rows_of",
    "tellable",
    "top_groups",
]
