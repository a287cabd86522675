"""What a text must hold for an RE2 pattern to match it: a simpler pattern over bytes, a superset, as a tree.

RE2's syntax is read as far as we are sure of it; everything else gives None: no prefilter. The tree accepts at least
every text in which RE2 finds the pattern: zero-width assertions are left out, ignored case is spelled out (the long s
and the Kelvin sign too), and whatever depends on Unicode tables becomes "any character beyond ASCII".

- `tree`: the nodes, and what can be told from them.
- `characters`: characters and classes, and what they fold to.
- `syntax`: RE2's syntax, read.

May live here: syntax to tree, and what can be told from a tree. May not: engines, rows, or deciding a match.
"""

from ess_ray.core.pattern.syntax import literal, superset
from ess_ray.core.pattern.tree import Alt, AnyByte, Bytes, OneOf, Repeat, Seq, Tree, ascii_only, min_bytes

__all__ = [
    "Alt",
    "AnyByte",
    "Bytes",
    "OneOf",
    "Repeat",
    "Seq",
    "Tree",
    "ascii_only",
    "literal",
    "min_bytes",
    "superset",
]
