"""What does not match: `NOT a`, `-a`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.operators.block import Block
from ess_ray.core.operators.operator import FieldOperator, Operator, Writing

if TYPE_CHECKING:
    from ess_ray.core.operators import Node


@dataclass(frozen=True, slots=True)
class Not(Operator):
    """Plain two-valued negation: a row either matches the child or it does not (a null field: it does not).

    Of a block, and of bytes, it requires nothing: they tell what is there, never what is not.
    """

    NAME: ClassVar[str] = "not"

    child: Node

    def match(self, block: Block) -> pa.BooleanArray:
        return pc.invert(self.child.match(block))

    def cost(self) -> int:
        return self.child.cost()

    def values(self) -> list[Any]:
        return [self.child.encoded()]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        (child,) = values
        return cls(decode(child))

    def in_words(self, writing: Writing) -> str:
        return f"NOT {self.child.nested(writing)}"

    def tested(self) -> Iterator[FieldOperator]:
        yield from self.child.tested()
