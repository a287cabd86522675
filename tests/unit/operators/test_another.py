"""An operator that nobody else knows is asked all the same: filter, index, prefilter, costs and words know none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import pattern
from ess_ray.core.fold import fold_text
from ess_ray.core.literals import AllOf, Formula, Text, needs, text_of
from ess_ray.core.operators import And, Contains, Node, Not, Or
from ess_ray.core.operators.operator import COST_FIND, TextOperator, Writing
from ess_ray.core.operators.told import field_values
from ess_ray.core.prefilter import Condition, conditions_of, prefilter
from ess_ray.core.query import Field, Query
from tests.unit.operators.asked import rows_of, sought, words

MESSAGE = Field("message")


@dataclass(frozen=True, slots=True)
class EndsWith(TextOperator):
    """The field's text ends with `text`."""

    NAME: ClassVar[str] = "ends_with"

    text: str

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        return pc.ends_with(texts, self.text)

    def test_cost(self) -> int:
        return COST_FIND // 10

    def needs(self, depth: int = 0) -> Formula:
        return text_of(fold_text(self.text))

    def conditions(self) -> tuple[Condition, ...]:
        return conditions_of(pattern.literal(self.text, False))

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} ends with {writing.text(self.text, False)}"

    def values(self) -> list[Any]:
        return [*field_values(self.field), self.text]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        raise NotImplementedError


def test_it_is_asked_wherever_it_stands() -> None:
    ends: Any = EndsWith(MESSAGE, "7 ms")
    get = Contains(MESSAGE, "GET", True)
    assert rows_of(ends) == rows_of(And((get, ends))) == [0]
    assert rows_of(Or((ends, Contains(MESSAGE, "out", False)))) == [0, 1]
    assert rows_of(Not(ends)) == [1, 2]
    assert rows_of(EndsWith(Field("tags", attribute=True), "a")) == [0]  # type: ignore[arg-type]
    assert needs(Query(And((get, ends)))) == AllOf((Text(b"get"), Text(b"7 ms")))
    assert sought(And((get, ends))) == [([b"get"], False), ([b"7 ms"], False)]
    search = prefilter([ends])
    assert search is not None
    assert words(Not(And((get, ends)))) == "NOT (message contains <GET> (any case) AND message ends with <7 ms>)"
    assert Not(ends).encoded() == ["not", ["ends_with", "message", False, "7 ms"]]
    assert ends.cost() < get.cost()
