"""Classes of characters, named or spelt out, as ranges of code points."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ess_ray.core.pattern.tree import EVERY, LAST_ASCII, Chars, Ranges, complement, united

_REMEMBERED: Final = 1024
"""Characters: texts are made of few different ones."""


@lru_cache(_REMEMBERED)
def character(char: str, ignore_case: bool) -> Chars:
    """Give one character as it is, or as its fold orbit."""
    has_case = char.isalpha() if char.isascii() else True  # beyond ASCII, only RE2 knows
    return Chars(((ord(char), ord(char)),), ignore_case and has_case)


def _ranges(*pairs: str) -> Ranges:
    return united((ord(pair[0]), ord(pair[-1])) for pair in pairs)


_DIGITS, _WORD = _ranges("09"), _ranges("09", "AZ", "az", "_")
PERL: Final = {"d": _DIGITS, "s": _ranges("\t\n", "\f\r", " "), "w": _WORD}
POSIX: Final = {
    "alnum": _ranges("09", "AZ", "az"),
    "alpha": _ranges("AZ", "az"),
    "ascii": ((0, LAST_ASCII),),
    "blank": _ranges("\t", " "),
    "cntrl": _ranges("\0\x1f", "\x7f"),
    "digit": _DIGITS,
    "graph": _ranges("!~"),
    "lower": _ranges("az"),
    "print": _ranges(" ~"),
    "punct": _ranges("!/", ":@", "[`", "{~"),
    "space": _ranges("\t\r", " "),
    "upper": _ranges("AZ"),
    "word": _WORD,
    "xdigit": _ranges("09", "AF", "af"),
}


class CharacterSet:
    """A character class being read: what it holds at least, and at most."""

    def __init__(self) -> None:
        self._known: list[tuple[int, int]] = []
        self._has_unknown = False
        self._spelt = True

    def add(self, first: int, last: int) -> None:
        self._known.append((first, last))

    def add_named(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._known.extend(ranges)
        self._spelt = False

    def add_unknown(self) -> None:
        r"""Add what only RE2's tables know (\pN)."""
        self._has_unknown = True

    def tree(self, negated: bool, ignore_case: bool) -> Chars:
        known = united(self._known)
        if negated:  # what is known is out, in any case; what is unknown may be in
            return Chars(complement(known), spelt=False)
        if self._has_unknown:
            return Chars(EVERY, spelt=False)
        return Chars(known, ignore_case, self._spelt)
