r"""Patterns as RE2 reads them, read once into a tree of code points, from which others tell what a match must hold.

RE2's syntax is read as far as we are sure of it; everything else gives None: nothing is known. The tree accepts at
least every text in which RE2 finds the pattern: zero-width assertions are left out, and whatever depends on Unicode
tables is any character. Two folds go over it: `literals` tells what a block must hold (for the skip index, in folded
text), `prefilter` which bytes a row must hold. What is simple for one is simple for the other.

- `tree`: the nodes, and how they are put together.
- `classes`: characters, classes of them, named ones.
- `syntax`: RE2's syntax, read.
"""

from ess_ray.core.pattern.syntax import literal, parse
from ess_ray.core.pattern.tree import Alt, Chars, Repeat, Seq, Tree, ascii_only

__all__ = ["Alt", "Chars", "Repeat", "Seq", "Tree", "ascii_only", "literal", "parse"]
