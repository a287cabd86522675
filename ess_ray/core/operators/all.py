"""Everything: the empty query, `*`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from ess_ray.core.operators.block import Block
from ess_ray.core.operators.operator import FieldOperator, Operator, Writing


@dataclass(frozen=True, slots=True)
class All(Operator):
    """Matches every row."""

    def match(self, block: Block) -> pa.BooleanArray:
        return block.all(True)

    def cost(self) -> int:
        return 0

    def in_words(self, writing: Writing) -> str:
        return "everything"

    def tested(self) -> Iterator[FieldOperator]:
        yield from ()
