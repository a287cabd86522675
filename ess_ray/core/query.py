"""A query as frozen values: a tree of operators, what it requires of the time range, how much of the answer is wanted.

`ess_ray.language` makes these from text; `ess_ray.core.filter` decides rows by them. They pickle, and a Lambda
receives them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ess_ray.core.answer import MAX_LIMIT
from ess_ray.core.field import (
    COLUMNS,
    NUMBER_COLUMNS,
    OWN_COLUMNS,
    OWN_PREFIX,
    STRING_COLUMNS,
    TIME_COLUMNS,
    Field,
)
from ess_ray.core.operators import All, And, Compare, Contains, Equals, Exists, Leaf, Node, Not, Or, Range, Regex
from ess_ray.core.operators.compare import Comparison, Number
from ess_ray.core.operators.operator import FieldOperator

Order = Literal["newest", "oldest"]

__all__ = [
    "COLUMNS",
    "MAX_LIMIT",
    "NUMBER_COLUMNS",
    "OWN_COLUMNS",
    "OWN_PREFIX",
    "STRING_COLUMNS",
    "TIME_COLUMNS",
    "All",
    "And",
    "Compare",
    "Comparison",
    "Contains",
    "Equals",
    "Exists",
    "Field",
    "Leaf",
    "Node",
    "Not",
    "Number",
    "Or",
    "Order",
    "Query",
    "Range",
    "Regex",
]


@dataclass(frozen=True, slots=True)
class Query:
    """A whole question: `root` over rows with start_us <= timestamp < end_us (either may be None: unbounded)."""

    root: Node = All()  # noqa: RUF009 (frozen)
    start_us: int | None = None
    end_us: int | None = None
    limit: int = 1000
    order: Order = "newest"

    def overlaps(self, min_us: int, max_us: int) -> bool:
        """Tell whether a block whose timestamps lie in [min_us, max_us] can hold a matching row."""
        after_start = self.start_us is None or max_us >= self.start_us
        return after_start and (self.end_us is None or min_us < self.end_us)

    def covers(self, min_us: int, max_us: int) -> bool:
        """Tell whether all timestamps in [min_us, max_us] lie in the time range."""
        after_start = self.start_us is None or min_us >= self.start_us
        return after_start and (self.end_us is None or max_us < self.end_us)

    def bounded(self, bound_us: int | None) -> Query:
        """Give this query without the rows that answer order puts strictly behind `bound_us` (None: as it is)."""
        if bound_us is None:
            return self
        if self.order == "newest":
            return self if self.start_us is not None and self.start_us >= bound_us else replace(self, start_us=bound_us)
        return self if self.end_us is not None and self.end_us <= bound_us + 1 else replace(self, end_us=bound_us + 1)

    def columns(self) -> frozenset[str]:
        """Name the stored columns that deciding a row needs (for an attribute: all attributes, and their types)."""
        times = set() if self.start_us is None and self.end_us is None else {"timestamp"}
        return self.root.columns() | times

    def arrivals(self) -> tuple[int | None, int | None]:
        """Give the first and last time of receipt, in microseconds, that a matching row can have; None: any."""
        return arrivals_of(self.root)

    def tested(self) -> Iterator[FieldOperator]:
        """Give every leaf that tests a field."""
        return self.root.tested()


def arrivals_of(node: Node) -> tuple[int | None, int | None]:
    """Give the bounds of receipt that follow from what every match must meet: a superset, as everything that prunes."""
    match node:
        case Compare(Field("observed_timestamp", False), op, number) if math.isfinite(number):
            return (_first(number, op == ">="), None) if op in (">", ">=") else (None, _last(number, op == "<="))
        case Range(Field("observed_timestamp", False), low, with_low, high, with_high) if math.isfinite(
            low
        ) and math.isfinite(high):
            return _first(low, with_low), _last(high, with_high)
        case And(children):
            found = [arrivals_of(child) for child in children]
            firsts = [first for first, _ in found if first is not None]
            lasts = [last for _, last in found if last is not None]
            return max(firsts, default=None), min(lasts, default=None)
    return None, None


def _first(bound: Number, inclusive: bool) -> int:
    return math.ceil(bound) if inclusive else math.floor(bound) + 1


def _last(bound: Number, inclusive: bool) -> int:
    return math.floor(bound) if inclusive else math.ceil(bound) - 1
