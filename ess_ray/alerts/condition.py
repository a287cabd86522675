"""What a rule holds against its answer: a column compared with a number, `p95(duration_ms) >= 500`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.core.operators.compare import NUMBER_PATTERN

DEFAULT: Final = "count() > 0"
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_CONDITION = re.compile(rf"\s*(.+?)\s*(>=|<=|==|!=|>|<|=)\s*({NUMBER_PATTERN})\s*", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """A column's name (or the function that it is of), a comparison and a number."""

    column: str
    sign: str
    number: float

    def holds(self, value: float) -> bool:
        """Tell whether a value meets it."""
        return _OPERATORS[self.sign](value, self.number)


def read_condition(text: str) -> Condition:
    """Read a condition. Raises BadRequest."""
    match = _CONDITION.fullmatch(text)
    if match is None or not math.isfinite(float(match[3])):
        raise BadRequest(
            f'"{text[:80]}" is no condition: compare a column with a number, such as `count() > 100` or `n >= 5` '
            f"(there are {', '.join(_OPERATORS)})"
        )
    column = match[1]
    if len(column) > 1 and column[0] == column[-1] == '"':
        column = column[1:-1]
    return Condition(column, match[2], float(match[3]))
