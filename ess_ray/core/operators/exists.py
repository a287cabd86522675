"""A field that is there: `trace_id:*`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import pyarrow as pa

from ess_ray.core import attribute
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.operator import FieldOperator, Writing
from ess_ray.core.operators.told import field_values, read_field

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

_COST: Final = 1


@dataclass(frozen=True, slots=True)
class Exists(FieldOperator):
    """The field is not null (an attribute: the key is there)."""

    NAME: ClassVar[str] = "exists"

    def test_column(self, block: Block) -> pa.BooleanArray:
        return block.column(self.field.name).is_valid()

    def test_key(self, key: str, held: pa.MapArray, block: Block) -> pa.BooleanArray:
        return attribute.has_key(held, key)

    def test_cost(self) -> int:
        return _COST

    def values(self) -> list[Any]:
        return field_values(self.field)

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(read_field(values))

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} is there"

    def columns(self) -> frozenset[str]:
        return frozenset({"attributes" if self.field.attribute else self.field.name})
