"""A query's tree, read from JSON values: what a task carries, and what is kept beside an answer: its form is for ever.

May live here: which operator a name means. May not: what an operator's values are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ess_ray.core.operators.all import All
from ess_ray.core.operators.compare import Compare
from ess_ray.core.operators.conjunction import And
from ess_ray.core.operators.contains import Contains
from ess_ray.core.operators.disjunction import Or
from ess_ray.core.operators.equals import Equals
from ess_ray.core.operators.exists import Exists
from ess_ray.core.operators.negation import Not
from ess_ray.core.operators.regex import Regex

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

_OPERATORS: Final[tuple[type[Node], ...]] = (All, And, Compare, Contains, Equals, Exists, Not, Or, Regex)
_NAMED: Final = {operator.NAME: operator for operator in _OPERATORS}


def decode_node(value: Any) -> Node:
    """Read what `Operator.encoded` gave. Raises ValueError or RecursionError for anything else."""
    match value:
        case [str(name), *values] if name in _NAMED:
            return _NAMED[name].decode(values, decode_node)
    raise ValueError(f"no test of a query: {str(value)[:80]}")
