"""Rows in question, as operators see them: the columns that they ask for, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from ess_ray.core import attribute
from ess_ray.core.field import TIME_COLUMNS, Field


class Block:
    """Rows in question, their columns loaded (or copied together from the wider block) when first asked for."""

    def __init__(self, rows: int, load: Callable[[str], pa.Array]) -> None:
        self.rows = rows
        self._load = load
        self._columns: dict[str, pa.Array] = {}

    def column(self, name: str) -> pa.Array:
        """Give a stored column. Raises KeyError for one that is not there."""
        if name not in self._columns:
            self._columns[name] = self._load(name)
        return self._columns[name]

    def text(self, field: Field) -> pa.StringArray | pa.DictionaryArray:
        """Give a field as text: an attribute's value, a column's text, a number's digits, a time's epoch microseconds.

        An attribute is taken from the key of its own name alone. What is stored as a dictionary stays one.
        """
        if field.attribute:
            return attribute.lookup(self.column("attributes"), field.name)
        values = self.column(field.name)
        if field.name in TIME_COLUMNS:
            values = values.cast(pa.int64())
        is_text = pa.types.is_string(values.type) or pa.types.is_dictionary(values.type)
        return values if is_text else values.cast(pa.string())

    def narrow(self, mask: pa.BooleanArray) -> Block:
        """Give the block of the rows for which `mask` is true."""
        return Block(mask.true_count, lambda name: self.column(name).filter(mask))

    def all(self, value: bool) -> pa.BooleanArray:
        """Give one value for every row."""
        return pa.repeat(pa.scalar(value), self.rows)
