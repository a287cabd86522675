"""What operators that join others have in common: `a b`, `a OR b`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ess_ray.core.operators.operator import FieldOperator, Operator, Writing

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class Joining(Operator):
    """Joins any number of other operators."""

    WORD: ClassVar[str]
    """What stands between its children, for people."""

    children: tuple[Node, ...]

    def cost(self) -> int:
        return sum(child.cost() for child in self.children)

    def values(self) -> list[Any]:
        return [child.encoded() for child in self.children]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(tuple(map(decode, values)))

    def in_words(self, writing: Writing) -> str:
        return f" {self.WORD} ".join(child.nested(writing) for child in self.children)

    def nested(self, writing: Writing) -> str:
        words = self.in_words(writing)
        return f"({words})" if len(self.children) > 1 else words

    def tested(self) -> Iterator[FieldOperator]:
        for child in self.children:
            yield from child.tested()
