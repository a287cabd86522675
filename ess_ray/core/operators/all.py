"""Everything: the empty query, `*`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from ess_ray.core.operators.block import Block
from ess_ray.core.operators.operator import FieldOperator, Operator, Writing

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class All(Operator):
    """Matches every row."""

    NAME: ClassVar[str] = "all"

    def match(self, block: Block) -> pa.BooleanArray:
        return block.all(True)

    def cost(self) -> int:
        return 0

    def values(self) -> list[Any]:
        return []

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        if values:
            raise ValueError(f"everything, and more: {str(values)[:80]}")
        return cls()

    def in_words(self, writing: Writing) -> str:
        return "everything"

    def tested(self) -> Iterator[FieldOperator]:
        yield from ()
