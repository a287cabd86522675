"""The expressions of `| pattern`, `|>` and `!>`: literals, and what stands between them under a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ess_ray.core import regex

_CAPTURE: Final = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
UNNAMED: Final = "_"
ANY: Final = f"<{UNNAMED}>"
"""Stands for any text of at least one character."""
MAX_LINE_PATTERN_CHARS: Final = 4_000
"""Of a filter of lines: the pattern of a long message has a thousand, and more where placeholders stand in it."""


@dataclass(frozen=True, slots=True)
class PatternParts:
    """`head`, then by turns a capture's name and the literal behind it; the last literal may be empty: to the end."""

    head: str
    captures: tuple[tuple[str, str], ...]


def check_pattern(pattern: str) -> PatternParts:
    """Read a pattern. Raises ValueError, saying what is wrong."""
    pieces = _CAPTURE.split(pattern)
    names, literals = pieces[1::2], pieces[2::2]
    if not any(name != UNNAMED for name in names):
        raise ValueError("it names nothing to capture: write <name> where a value stands")
    if any(not literal for literal in literals[:-1]):
        raise ValueError("two captures stand side by side: a literal must tell where the first one ends")
    named = [name for name in names if name != UNNAMED]
    if len(set(named)) < len(named):
        raise ValueError("it names one capture twice")
    return PatternParts(pieces[0], tuple(zip(names, literals, strict=True)))


def line_regex(pattern: str) -> str:
    """Give the RE2 expression that a filter of lines means: all of the line, each `<_>` at least one character of it.

    Raises ValueError, saying what is wrong.
    """
    pieces = _CAPTURE.split(pattern)
    names, literals = pieces[1::2], pieces[::2]
    if any(name != UNNAMED for name in names):
        raise ValueError(f"a filter of lines captures nothing: write {ANY} in place of a name")
    if any(not literal for literal in literals[1:-1]):
        raise ValueError("two captures stand side by side: one is enough")
    if len(pattern) > MAX_LINE_PATTERN_CHARS:
        raise ValueError(f"it is longer than {MAX_LINE_PATTERN_CHARS:,} characters")
    return rf"(?s)\A{'.+'.join(map(regex.quote, literals))}\z"
