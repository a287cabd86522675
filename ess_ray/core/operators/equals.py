"""A field that is a text: `level:ERROR`, `service:"api gw"`, `region:eu-1`; a number, if it was one: `n:1.5`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import pattern, regex
from ess_ray.core.attribute import canonical_number
from ess_ray.core.field import MESSAGE
from ess_ray.core.fold import fold_text
from ess_ray.core.literals import Formula, any_of, text_of, value_of
from ess_ray.core.operators.operator import COST_FIND_IGNORING_CASE, TextOperator, Writing
from ess_ray.core.operators.told import field_values, read_sought
from ess_ray.core.prefilter import Condition, conditions_of

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

_COST: Final = 80


@dataclass(frozen=True, slots=True)
class Equals(TextOperator):
    """The field's text is `text`; numeric columns compare as their decimal text; times as epoch microseconds.

    Of attributes, what was a number when it was pushed equals `text` as a number, too (1.50, 1.5).
    """

    NAME: ClassVar[str] = "equals"

    text: str
    ignore_case: bool

    @property
    def numeral(self) -> str | None:
        return self.text

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        if self.ignore_case:
            return regex.find(texts, rf"\A{regex.quote(self.text)}\z", True)
        return pc.equal(texts, pa.scalar(self.text, pa.string()))

    def test_cost(self) -> int:
        return COST_FIND_IGNORING_CASE if self.ignore_case else _COST

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} is {writing.text(self.text, self.ignore_case)}"

    def values(self) -> list[Any]:
        return [*field_values(self.field), self.text, self.ignore_case]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(*read_sought(values))

    def needs(self, depth: int = 0) -> Formula:
        if self.field == MESSAGE:
            return text_of(fold_text(self.text))
        ways = {self.text, canonical_number(self.text) or self.text} if self.field.attribute else {self.text}
        return any_of(value_of(self.field, fold_text(way)) for way in sorted(ways))

    def conditions(self) -> tuple[Condition, ...]:
        return conditions_of(pattern.literal(self.text, self.ignore_case)) if self.field == MESSAGE else ()
