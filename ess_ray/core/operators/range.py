"""A field whose number lies between two others: `duration_ms:[100 TO 500]`, `n:{1 TO 5]`; of an array, one value does.

Two comparisons are another question: of an array, each may be met by another value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.field import NUMBER_COLUMNS, TIME_COLUMNS
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.compare import (
    Comparison,
    Number,
    compare_integers,
    compare_numbers,
    number_of,
    numbers_alone,
)
from ess_ray.core.operators.operator import TextOperator, Writing
from ess_ray.core.operators.told import field_values, read_field

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

_COST: Final = 30


@dataclass(frozen=True, slots=True)
class Range(TextOperator):
    """The field's value is a number between `low` and `high`, each of which lies within if it is said so.

    Compared exactly, as `Compare` does.
    """

    NAME: ClassVar[str] = "range"

    low: Number
    with_low: bool
    high: Number
    with_high: bool

    @property
    def above(self) -> Comparison:
        """How a value within stands to `low`."""
        return ">=" if self.with_low else ">"

    @property
    def below(self) -> Comparison:
        """How a value within stands to `high`."""
        return "<=" if self.with_high else "<"

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        numbers = numbers_alone(texts)
        return pc.and_(compare_numbers(numbers, self.above, self.low), compare_numbers(numbers, self.below, self.high))

    def test_column(self, block: Block) -> pa.BooleanArray:
        if self.field.name in TIME_COLUMNS | NUMBER_COLUMNS:
            values = block.column(self.field.name).cast(pa.int64())
            return pc.and_(
                compare_integers(values, self.above, self.low), compare_integers(values, self.below, self.high)
            )
        return TextOperator.test_column(self, block)

    def test_cost(self) -> int:
        return _COST

    def values(self) -> list[Any]:
        low, high = (str(Decimal(number)) for number in (self.low, self.high))  # as text, see `Compare`
        return [*field_values(self.field), low, self.with_low, high, self.with_high]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        match values:
            case [name, attribute, str(low), bool(with_low), str(high), bool(with_high)]:
                return cls(read_field([name, attribute]), number_of(low), with_low, number_of(high), with_high)
        raise ValueError(f"no range: {str(values)[:80]}")

    def in_words(self, writing: Writing) -> str:
        first = "<=" if self.with_low else "<"
        return f"{self.low} {first} {writing.name(self.field)} {self.below} {self.high}"
