"""One of several: `a OR b`. The cheapest first, each only on the rows that none before has matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.literals import ANYTHING, MAX_DEPTH, Formula, any_of
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.contains import joined
from ess_ray.core.operators.joining import Joining
from ess_ray.core.prefilter import Condition, one_of


@dataclass(frozen=True, slots=True)
class Or(Joining):
    """Matches what a child matches; without children, nothing."""

    NAME: ClassVar[str] = "or"
    WORD: ClassVar[str] = "OR"

    def match(self, block: Block) -> pa.BooleanArray:
        mask = block.all(False)
        for child in sorted(joined(self.children), key=lambda child: child.cost()):
            mask = pc.or_(mask, child.among(block, pc.invert(mask)))
        return mask

    def needs(self, depth: int = 0) -> Formula:
        return any_of(child.needs(depth + 1) for child in self.children) if depth < MAX_DEPTH else ANYTHING

    def conditions(self) -> tuple[Condition, ...]:
        return tuple(one_of([child.conditions() for child in self.children]))
