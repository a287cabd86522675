"""What a query can ask: one operator a file, with all that is known about it.

Each says which rows match (on Arrow), what a block must hold for it (the skip index), which bytes every match holds
(the prefilter), what it costs, how it reads in `explain`, and how it travels. A new operator is its file, its name in
`node` and here, the grammar that reads it, and the page's tokens; its test stands in `tests/unit/operators`.

- `contains`, `regex`, `equals`, `compare`, `range`, `exists`: of one field.
- `all`, `conjunction`, `disjunction`, `negation`: of all rows, and how others join.
- `operator`: the questions, and what operators on fields have in common; `attributes`: how an attribute is tested;
  `block`: the rows in question; `node`: all that there are; `told`: what they share in JSON.
"""

from ess_ray.core.operators.all import All
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.compare import Compare
from ess_ray.core.operators.conjunction import And
from ess_ray.core.operators.contains import Contains
from ess_ray.core.operators.disjunction import Or
from ess_ray.core.operators.equals import Equals
from ess_ray.core.operators.exists import Exists
from ess_ray.core.operators.negation import Not
from ess_ray.core.operators.node import Leaf, Node, decode_node
from ess_ray.core.operators.operator import Operator
from ess_ray.core.operators.range import Range
from ess_ray.core.operators.regex import Regex

__all__ = [
    "All",
    "And",
    "Block",
    "Compare",
    "Contains",
    "Equals",
    "Exists",
    "Leaf",
    "Node",
    "Not",
    "Operator",
    "Or",
    "Range",
    "Regex",
    "decode_node",
]
