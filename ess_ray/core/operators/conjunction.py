"""All of several: `a b`, `a AND b`. The cheapest first, each only on the rows that are left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from ess_ray.core.literals import ANYTHING, MAX_DEPTH, Formula, all_of
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.contains import Contains
from ess_ray.core.operators.disjunction import Or
from ess_ray.core.operators.joining import Joining
from ess_ray.core.operators.negation import Not
from ess_ray.core.prefilter import Condition

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class And(Joining):
    """Matches what all children match; without children, everything."""

    NAME: ClassVar[str] = "and"
    WORD: ClassVar[str] = "AND"

    def match(self, block: Block) -> pa.BooleanArray:
        mask = block.all(True)
        for child in sorted(_exclusions_together(self.children), key=lambda child: child.cost()):
            mask = child.among(block, mask)
        return mask

    def needs(self, depth: int = 0) -> Formula:
        return all_of(child.needs(depth + 1) for child in self.children) if depth < MAX_DEPTH else ANYTHING

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(condition for child in self.children for condition in child.conditions())


def _exclusions_together(children: tuple[Node, ...]) -> list[Node]:
    """Turn `-a -b -c` into -(a OR b OR c), so that what is excluded is sought in one pass."""
    excluded = tuple(child.child for child in children if isinstance(child, Not) and isinstance(child.child, Contains))
    others = [child for child in children if not (isinstance(child, Not) and isinstance(child.child, Contains))]
    return [*others, Not(Or(excluded))] if excluded else others
