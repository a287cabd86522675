"""What an operator's values are in JSON: fields, texts. Each reads what the other writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ess_ray.core.field import Field


def field_values(field: Field) -> list[Any]:
    """Give a field as JSON values."""
    return [field.name, field.attribute]


def read_field(values: Sequence[Any]) -> Field:
    """Read a field, and no more. Raises ValueError."""
    match values:
        case [str(name), bool(attribute)]:
            return Field(name, attribute)
    raise ValueError(f"no field: {str(values)[:80]}")


def read_sought(values: Sequence[Any]) -> tuple[Field, str, bool]:
    """Read a field, a text, and whether case is ignored. Raises ValueError."""
    match values:
        case [str(name), bool(attribute), str(text), bool(ignore_case)]:
            return Field(name, attribute), text, ignore_case
    raise ValueError(f"no text that is sought in a field: {str(values)[:80]}")
