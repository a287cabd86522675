"""A field that is a text: `level:ERROR`, `service:"api gw"`, `region:eu-1`; a number, if it was one: `n:1.5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import regex
from ess_ray.core.attribute import canonical_number
from ess_ray.core.field import MESSAGE
from ess_ray.core.fold import fold_text
from ess_ray.core.literals import Formula, any_of, text_of, value_of
from ess_ray.core.operators.operator import COST_FIND_IGNORING_CASE, LiteralOperator, Writing

_COST: Final = 80


@dataclass(frozen=True, slots=True)
class Equals(LiteralOperator):
    """The field's text is `text`; numeric columns compare as their decimal text; times as epoch microseconds.

    Of attributes, what was a number when it was pushed equals `text` as a number, too (1.50, 1.5).
    """

    NAME: ClassVar[str] = "equals"

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

    def needs(self, depth: int = 0) -> Formula:
        if self.field == MESSAGE:
            return text_of(fold_text(self.text))
        ways = {self.text, canonical_number(self.text) or self.text} if self.field.attribute else {self.text}
        return any_of(value_of(self.field, fold_text(way)) for way in sorted(ways))
