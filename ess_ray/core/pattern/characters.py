"""Characters and classes of characters: which bytes they may be, ignoring case or not.

May live here: RE2's tables as far as they are ASCII, and what folds into and out of it. May not: how they are written.
"""

from __future__ import annotations

from typing import Final

from ess_ray.core.pattern.tree import ALL_ASCII, Alt, Bytes, OneOf, Tree

_LONG_S, _KELVIN = "\u017f", "\u212a"
_FOLDS_BEYOND_ASCII: Final = {"s": _LONG_S, "k": _KELVIN}
"""The only two ASCII letters with a fold orbit beyond ASCII (a test asks RE2 about every code point)."""
_FOLDS_TO_ASCII: Final = {_LONG_S: "s", _KELVIN: "k"}


def character(char: str, ignore_case: bool) -> Tree:
    """Give one character as it is, or as its fold orbit."""
    if not ignore_case:
        return Bytes(char.encode())
    letter = _FOLDS_TO_ASCII.get(char, char)
    if not letter.isascii():
        return OneOf(frozenset(), True)  # its orbit lies beyond ASCII; which characters those are only RE2 knows
    if not letter.isalpha():
        return Bytes(letter.encode())
    both = OneOf(frozenset({ord(letter.lower()), ord(letter.upper())}), False)
    beyond = _FOLDS_BEYOND_ASCII.get(letter.lower())
    return Alt((both, Bytes(beyond.encode()))) if beyond else both


def _ascii(*ranges: str) -> frozenset[int]:
    return frozenset(code for pair in ranges for code in range(ord(pair[0]), ord(pair[-1]) + 1))


_DIGITS, _SPACE, _WORD = _ascii("09"), frozenset(b"\t\n\f\r "), _ascii("09", "AZ", "az", "_")
PERL: Final = {"d": _DIGITS, "s": _SPACE, "w": _WORD}
POSIX: Final = {
    "alnum": _ascii("09", "AZ", "az"),
    "alpha": _ascii("AZ", "az"),
    "ascii": ALL_ASCII,
    "blank": frozenset(b"\t "),
    "cntrl": frozenset({*range(32), 127}),
    "digit": _DIGITS,
    "graph": _ascii("!~"),
    "lower": _ascii("az"),
    "print": _ascii(" ~"),
    "punct": _ascii("!/", ":@", "[`", "{~"),
    "space": frozenset(b"\t\n\v\f\r "),
    "upper": _ascii("AZ"),
    "word": _WORD,
    "xdigit": _ascii("09", "AF", "af"),
}


class CharacterSet:
    """A character class being read: `may` hold at least what it holds, `must` at most (for the complement)."""

    def __init__(self) -> None:
        self.may: set[int] = set()
        self.must: set[int] = set()
        self.wide = False

    def add(self, low: int, high: int) -> None:
        self.exact(frozenset(range(low, min(high, 127) + 1)), high > 127)
        # Which code points beyond ASCII these are is not kept, except that their folds may be ASCII: see `tree`.

    def exact(self, ascii_codes: frozenset[int], wide: bool) -> None:
        self.may |= ascii_codes
        self.must |= ascii_codes
        self.wide |= wide

    def unknown(self) -> None:
        r"""Add what only RE2's tables know (\pN)."""
        self.may |= ALL_ASCII
        self.wide = True

    def tree(self, negated: bool, ignore_case: bool) -> Tree:
        if negated:
            return OneOf(ALL_ASCII - self.must, True)
        may, wide = set(self.may), self.wide
        if ignore_case:
            if wide:
                may |= {ord(letter) for letter in _FOLDS_BEYOND_ASCII}
            may |= {ord(chr(code).swapcase()) for code in may if chr(code).isalpha()}
            wide |= any(ord(letter) in may for letter in _FOLDS_BEYOND_ASCII)
        return OneOf(frozenset(may), wide)
