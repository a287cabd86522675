"""A regular expression in a field: `/user=\\d+7/`, `host:/web-\\d+/`, and wildcards (`service:api*`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from ess_ray.core import regex
from ess_ray.core.field import MESSAGE
from ess_ray.core.literals import Formula, presence_of, regex_needs
from ess_ray.core.operators.operator import COST_FIND, COST_FIND_IGNORING_CASE, TextOperator, Writing
from ess_ray.core.operators.told import field_values, read_sought
from ess_ray.core.pattern import parse
from ess_ray.core.prefilter import Condition, conditions_of

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class Regex(TextOperator):
    """RE2 finds `pattern` anywhere in the field's text. `.` does not match newline unless the pattern says (?s)."""

    NAME: ClassVar[str] = "regex"

    pattern: str
    ignore_case: bool

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        return regex.find(texts, self.pattern, self.ignore_case)

    def test_cost(self) -> int:
        return COST_FIND_IGNORING_CASE if self.ignore_case else COST_FIND

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} matches /{self.pattern}/{writing.case(self.ignore_case)}"

    def values(self) -> list[Any]:
        return [*field_values(self.field), self.pattern, self.ignore_case]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(*read_sought(values))

    def needs(self, depth: int = 0) -> Formula:
        return regex_needs(self.pattern, self.ignore_case) if self.field == MESSAGE else presence_of(self.field)

    def conditions(self) -> tuple[Condition, ...]:
        tree = parse(self.pattern, self.ignore_case) if self.field == MESSAGE else None
        return () if tree is None else conditions_of(tree)
