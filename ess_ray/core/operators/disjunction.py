"""One of several: `a OR b`. The cheapest first, each only on the rows that none before has matched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.literals import ANYTHING, MAX_DEPTH, Formula, any_of
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.contains import joined
from ess_ray.core.operators.operator import FieldOperator, Operator, Writing
from ess_ray.core.prefilter import Condition, one_of

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class Or(Operator):
    """Matches what a child matches; without children, nothing."""

    NAME: ClassVar[str] = "or"

    children: tuple[Node, ...]

    def match(self, block: Block) -> pa.BooleanArray:
        mask = block.all(False)
        for child in sorted(joined(self.children), key=lambda child: child.cost()):
            mask = pc.or_(mask, child.among(block, pc.invert(mask)))
        return mask

    def cost(self) -> int:
        return sum(child.cost() for child in self.children)

    def values(self) -> list[Any]:
        return [child.encoded() for child in self.children]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(tuple(map(decode, values)))

    def in_words(self, writing: Writing) -> str:
        return " OR ".join(child.nested(writing) for child in self.children)

    def nested(self, writing: Writing) -> str:
        words = self.in_words(writing)
        return f"({words})" if len(self.children) > 1 else words

    def tested(self) -> Iterator[FieldOperator]:
        for child in self.children:
            yield from child.tested()

    def needs(self, depth: int = 0) -> Formula:
        return any_of(child.needs(depth + 1) for child in self.children) if depth < MAX_DEPTH else ANYTHING

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(one_of([child.conditions() for child in self.children]))
