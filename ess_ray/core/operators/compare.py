"""A field compared with a number or a time: `severity_number:>=17`, `duration_ms>500`.

Exactly, whatever the digits: Arrow compares integers as integers, and texts as floats, which keep the order of numbers
but make neighbours equal: those alone have their digits looked at.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import regex
from ess_ray.core.field import NUMBER_COLUMNS, TIME_COLUMNS
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.operator import TextOperator, Writing
from ess_ray.core.operators.told import field_values, read_field

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

Comparison = Literal["<", "<=", ">", ">="]
Number = int | float | Decimal
"""What a value is compared with: exactly, however many digits it has. Text makes a Decimal; infinities are allowed."""

NUMBER_PATTERN: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""Text that is a number: as Python and RE2 read it alike. No spaces, no `nan`, no `inf`, ASCII digits only."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_COST: Final = 20


@dataclass(frozen=True, slots=True)
class Compare(TextOperator):
    """The field's value is a number and stands in this relation to `number`; otherwise the row does not match.

    Numbers are compared as what their digits say: integers of any size and decimals lose nothing to binary fractions.
    """

    NAME: ClassVar[str] = "compare"

    op: Comparison
    number: Number

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        return compare_numbers(numbers_alone(texts), self.op, self.number)

    def test_column(self, block: Block) -> pa.BooleanArray:
        if self.field.name in TIME_COLUMNS | NUMBER_COLUMNS:
            return compare_integers(block.column(self.field.name).cast(pa.int64()), self.op, self.number)
        return TextOperator.test_column(self, block)

    def test_cost(self) -> int:
        return _COST

    def values(self) -> list[Any]:
        # The number as text: JSON has no infinity, and its readers round.
        return [*field_values(self.field), self.op, str(Decimal(self.number))]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        match values:
            case [name, attribute, "<" | "<=" | ">" | ">=" as op, str(number)]:
                return cls(read_field([name, attribute]), op, number_of(number))
        raise ValueError(f"no comparison: {str(values)[:80]}")

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} {self.op} {self.number}"


_COMPARISONS: Final[dict[Comparison, Callable[[pa.Array, pa.Scalar], pa.BooleanArray]]] = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_EXACTLY: Final[dict[Comparison, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def numbers_alone(texts: pa.StringArray) -> pa.StringArray:
    """Give the texts that are numbers, null for the others: Arrow's cast raises on the first value that is none."""
    is_number = regex.find(texts, rf"\A{NUMBER_PATTERN}\z", False)
    return pc.if_else(is_number, texts, pa.scalar(None, pa.string()))


def compare_numbers(numbers: pa.StringArray, op: Comparison, number: Number) -> pa.BooleanArray:
    """Compare texts that are numbers, or null, exactly.

    Rounding to floats keeps the order of numbers, but makes neighbours equal: only what rounds to the same float as
    `number` needs its digits looked at, each text once.
    """
    values, nearest = numbers.cast(pa.float64()), pa.scalar(float(number), pa.float64())
    matches = _COMPARISONS[op](values, nearest)
    equal = pc.fill_null(pc.equal(values, nearest), False)
    if not equal.true_count:
        return matches
    texts = numbers.filter(equal).dictionary_encode()
    exactly = [_EXACTLY[op](_decimal(text), number) for text in texts.dictionary.to_pylist()]
    return pc.replace_with_mask(matches, equal, pa.array(exactly, pa.bool_()).take(texts.indices))


def number_of(text: str) -> Decimal:
    """Read what a number is as text among an operator's values. Raises ValueError."""
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text[:80]!r} is no number") from error


def _decimal(text: str) -> Decimal:
    """Read a number's digits. An exponent of 18 digits and more, which is nobody's, gives infinity or zero."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(float(text))


def compare_integers(values: pa.Int64Array, op: Comparison, number: Number) -> pa.BooleanArray:
    """Compare exactly, as Python compares an int with any number: Arrow would round integers beyond 2**53 to floats."""
    if math.isnan(number):
        return pc.and_(values.is_valid(), False)
    if not _INT64_MIN <= number <= _INT64_MAX:
        below = number > 0  # every value lies below the bound
        return pc.and_(values.is_valid(), below == (op in ("<", "<=")))
    bound = math.ceil(number) if op in (">=", "<") else math.floor(number)
    return _COMPARISONS[op](values, pa.scalar(bound, pa.int64()))
