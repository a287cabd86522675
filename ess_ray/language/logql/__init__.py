"""LogQL, Grafana Loki's language: text <-> a frozen tree. What it is answered with stands in `ess_ray.search.logql`.

- `tree`: the shapes. `grammar`: text to them, by `lark`; `building`: one rule after the other.
- `texts`, `quantities`, `addresses`, `patterns`, `template`, `functions`: parts of it. `writing`: tree to text.
"""

from ess_ray.language.logql.building import anchored
from ess_ray.language.logql.grammar import parse_logql, parse_selector
from ess_ray.language.logql.writing import write_logql

__all__ = ["anchored", "parse_logql", "parse_selector", "write_logql"]
