"""The functions of LogQL, and what each takes. Others are refused by their names."""

from __future__ import annotations

from typing import Final

LINE_FUNCTIONS: Final = frozenset({"count_over_time", "rate", "bytes_over_time", "bytes_rate", "absent_over_time"})
"""Of lines, whatever they hold."""
UNWRAPPED_FUNCTIONS: Final = frozenset(
    {
        *("rate", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time"),
        *("first_over_time", "last_over_time", "stdvar_over_time", "stddev_over_time", "quantile_over_time"),
        *("absent_over_time", "count_over_time"),
    }
)
"""Of the numbers that `unwrap` gives."""
GROUPED_FUNCTIONS: Final = frozenset(
    {
        *("avg_over_time", "min_over_time", "max_over_time", "first_over_time", "last_over_time"),
        *("stdvar_over_time", "stddev_over_time", "quantile_over_time"),
    }
)
"""Those that take `by` and `without` themselves: their results cannot be put together afterwards."""
RANGE_FUNCTIONS: Final = LINE_FUNCTIONS | UNWRAPPED_FUNCTIONS
PICKING: Final = frozenset({"topk", "bottomk"})
VECTOR_FUNCTIONS: Final = frozenset({"sum", "avg", "min", "max", "count", "stddev", "stdvar", *PICKING})
SORTING: Final = frozenset({"sort", "sort_desc"})
COMPARISONS: Final = frozenset({"==", "!=", ">", ">=", "<", "<="})
SETS: Final = frozenset({"and", "or", "unless"})
