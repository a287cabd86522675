"""All of several: `a b`, `a AND b`. The cheapest first, each only on the rows that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from ess_ray.core.literals import ANYTHING, MAX_DEPTH, Formula, all_of
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.contains import Contains
from ess_ray.core.operators.disjunction import Or
from ess_ray.core.operators.negation import Not
from ess_ray.core.operators.operator import FieldOperator, Operator, Writing
from ess_ray.core.prefilter import Condition

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class And(Operator):
    """Matches what all children match; without children, everything."""

    NAME: ClassVar[str] = "and"

    children: tuple[Node, ...]

    def match(self, block: Block) -> pa.BooleanArray:
        mask = block.all(True)
        for child in sorted(_exclusions_together(self.children), key=lambda child: child.cost()):
            mask = child.among(block, mask)
        return mask

    def cost(self) -> int:
        return sum(child.cost() for child in self.children)

    def values(self) -> list[Any]:
        return [child.encoded() for child in self.children]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(tuple(map(decode, values)))

    def in_words(self, writing: Writing) -> str:
        return " AND ".join(child.nested(writing) for child in self.children)

    def nested(self, writing: Writing) -> str:
        words = self.in_words(writing)
        return f"({words})" if len(self.children) > 1 else words

    def tested(self) -> Iterator[FieldOperator]:
        for child in self.children:
            yield from child.tested()

    def needs(self, depth: int = 0) -> Formula:
        return all_of(child.needs(depth + 1) for child in self.children) if depth < MAX_DEPTH else ANYTHING

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(condition for child in self.children for condition in child.conditions())


def _exclusions_together(children: tuple[Node, ...]) -> list[Node]:
    """Turn `-a -b -c` into -(a OR b OR c), so that what is excluded is sought in one pass."""
    excluded = tuple(child.child for child in children if isinstance(child, Not) and isinstance(child.child, Contains))
    others = [child for child in children if not (isinstance(child, Not) and isinstance(child.child, Contains))]
    return [*others, Not(Or(excluded))] if excluded else others
