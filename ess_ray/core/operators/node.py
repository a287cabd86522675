"""The operators that there are, and a tree of them read from JSON: what a task carries, what is kept beside an
answer.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from ess_ray.core.operators.all import All
from ess_ray.core.operators.compare import Compare
from ess_ray.core.operators.conjunction import And
from ess_ray.core.operators.contains import Contains
from ess_ray.core.operators.disjunction import Or
from ess_ray.core.operators.equals import Equals
from ess_ray.core.operators.exists import Exists
from ess_ray.core.operators.negation import Not
from ess_ray.core.operators.range import Range
from ess_ray.core.operators.regex import Regex

Leaf = All | Contains | Regex | Equals | Compare | Range | Exists
Node = Leaf | And | Or | Not

_NAMED: Final[dict[str, type[Node]]] = {operator.NAME: operator for operator in get_args(Node)}


def decode_node(value: Any) -> Node:
    """Read what `Operator.encoded` gave. Raises ValueError or RecursionError for anything else."""
    match value:
        case [str(name), *values] if name in _NAMED:
            return _NAMED[name].decode(values, decode_node)
    raise ValueError(f"no test of a query: {str(value)[:80]}")
