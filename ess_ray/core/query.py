"""A query as frozen values: what it requires of a row, and of the time range. No text, no parsing, no matching.

`ess_ray.language` makes these from text; `ess_ray.core.filter` decides rows by them. They pickle, and a Lambda
receives them. May live here: the tree's node types and questions about the tree. May not: Arrow, engines, I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

Order = Literal["newest", "oldest"]
Comparison = Literal["<", "<=", ">", ">="]
Number = int | float | Decimal
"""What a value is compared with: exactly, however many digits it has. Text makes a Decimal; infinities are allowed."""

MAX_LIMIT: Final = 200_000
"""Rows in one stored answer: beyond, use export."""

STRING_COLUMNS: Final = frozenset({"level", "service", "host", "message", "trace_id", "span_id", "event_id", "log_id"})
NUMBER_COLUMNS: Final = frozenset({"severity_number", "vnode", "offset", "row"})
TIME_COLUMNS: Final = frozenset({"timestamp", "observed_timestamp"})
COLUMNS: Final = STRING_COLUMNS | NUMBER_COLUMNS | TIME_COLUMNS
OWN_COLUMNS: Final = frozenset({"observed_timestamp", "event_id", "log_id", "vnode", "offset", "row"})
"""Columns that no client sends under their name: without OWN_PREFIX, such a name means an attribute of a client's."""
OWN_PREFIX: Final = "_ess."
"""What names of ours begin with (`_ess.offset`): an attribute's key never does."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a test looks at: a stored column, or an attribute: one value that passes is enough.

    An attribute has the values of its key, and of those called `name#2`, ... (`attribute.keys_of`), since `name` was
    taken; of an array its text, and the values in it.
    """

    name: str
    attribute: bool = False


@dataclass(frozen=True, slots=True)
class All:
    """Matches every row."""


@dataclass(frozen=True, slots=True)
class Contains:
    """The field's text contains `text`; `ignore_case` as RE2's (?i). Empty `text` matches every present value."""

    field: Field
    text: str
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class Regex:
    """RE2 finds `pattern` anywhere in the field's text. `.` does not match newline unless the pattern says (?s)."""

    field: Field
    pattern: str
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class Equals:
    """The field's text is `text`; numeric columns compare as their decimal text; times as epoch microseconds.

    Of attributes, what was a number when it was pushed equals `text` as a number, too (1.50, 1.5).
    """

    field: Field
    text: str
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """The field's value is a number and stands in this relation to `number`; otherwise the row does not match.

    Numbers are compared as what their digits say: integers of any size and decimals lose nothing to binary fractions.
    """

    field: Field
    op: Comparison
    number: Number


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is not null (an attribute: the key is there)."""

    field: Field


@dataclass(frozen=True, slots=True)
class And:
    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Plain two-valued negation: a row either matches the child or it does not (a null field: it does not)."""

    child: Node


Leaf = All | Contains | Regex | Equals | Compare | Exists
Node = Leaf | And | Or | Not


@dataclass(frozen=True, slots=True)
class Query:
    """A whole question: `root` over rows with start_us <= timestamp < end_us (either may be None: unbounded)."""

    root: Node = All()
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
        needed = {"attributes" if leaf.field.attribute else leaf.field.name for leaf in self.tested()}
        if any(leaf.field.attribute and not isinstance(leaf, Exists) for leaf in self.tested()):
            needed.add("attribute_types")
        if self.start_us is not None or self.end_us is not None:
            needed.add("timestamp")
        return frozenset(needed)

    def tested(self) -> Iterator[Contains | Regex | Equals | Compare | Exists]:
        """Give every leaf that tests a field."""
        yield from _tested(self.root)


def _tested(node: Node) -> Iterator[Contains | Regex | Equals | Compare | Exists]:
    if isinstance(node, And | Or):
        for child in node.children:
            yield from _tested(child)
    elif isinstance(node, Not):
        yield from _tested(node.child)
    elif not isinstance(node, All):
        yield node
