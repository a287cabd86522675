"""The tree of a pattern over code points: nodes, how they are put together, what of a tree is left within ASCII."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

Ranges = tuple[tuple[int, int], ...]
"""Code points, (first, last) each: ascending, with others in between."""

LAST_ASCII: Final = 0x7F
LAST_CODE: Final = 0x10FFFF
EVERY: Final[Ranges] = ((0, LAST_CODE),)
_REMEMBERED: Final = 1_024
"""Characters and classes, of which texts and patterns have few different ones."""
FOLDS_BEYOND_ASCII: Final = {"s": "\u017f", "k": "\u212a"}
"""The only two ASCII letters with a fold orbit beyond ASCII (a test asks RE2 about every code point)."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character: a code point of the ranges, or, if `any_case`, one that RE2's (?i) takes for the same as one.

    `spelt`: each stands in the pattern itself. Otherwise it is a class that names them (`\\d`), or what they are not.
    """

    ranges: Ranges
    any_case: bool = False
    spelt: bool = True

    @property
    def only(self) -> int | None:
        """The code point, where it is the only one (with others of its orbit if `any_case`)."""
        first, last = self.ranges[0] if self.ranges else (0, -1)
        return first if first == last and len(self.ranges) == 1 else None

    @property
    def reaches_beyond_ascii(self) -> bool:
        """Whether it may be a character beyond ASCII. Which of them fold alike only RE2 knows."""
        beyond = bool(self.ranges) and self.ranges[-1][1] > LAST_ASCII
        return beyond or (self.any_case and not {"s", "k", "S", "K"}.isdisjoint(map(chr, self._within_ascii())))

    def ascii_codes(self) -> frozenset[int]:
        """Give the ASCII characters that it may be."""
        codes = self._within_ascii()
        if self.any_case:
            codes.update(ord(letter) for letter, beyond in FOLDS_BEYOND_ASCII.items() if self._names(ord(beyond)))
            codes.update([ord(chr(code).swapcase()) for code in codes if chr(code).isalpha()])
        return frozenset(codes)

    def _within_ascii(self) -> set[int]:
        return {code for first, last in self.ranges for code in range(first, min(last, LAST_ASCII) + 1)}

    def _names(self, code: int) -> bool:
        return any(first <= code <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class Seq:
    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    choices: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` copies and up to `most` (None: no bound)."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Seq | Alt | Repeat
EMPTY: Final = Seq(())


def sequence(parts: Iterable[Tree]) -> Tree:
    """Join parts, those of a sequence in it among the others."""
    flat: list[Tree] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Seq) else (part,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def repeat(part: Tree, least: int, most: int | None) -> Tree:
    """Repeat a part."""
    if part == EMPTY or most == 0:
        return EMPTY
    return part if (least, most) == (1, 1) else Repeat(part, least, most)


def united(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Put ranges in order, and those together that meet."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return tuple(found)


def complement(ranges: Ranges) -> Ranges:
    """Give all other code points."""
    firsts = [0, *(last + 1 for _, last in ranges)]
    lasts = [*(first - 1 for first, _ in ranges), LAST_CODE]
    return tuple((first, last) for first, last in zip(firsts, lasts, strict=True) if first <= last)


def ascii_only(tree: Tree) -> Tree | None:
    """Give the tree that accepts the ASCII texts of this one, itself if it has no others; None if there are none."""
    match tree:
        case Chars():
            return _ascii_chars(tree)
        case Seq(parts):
            kept = [ascii_only(part) for part in parts]
            if all(map(operator.is_, kept, parts)):
                return tree
            return None if None in kept else sequence(part for part in kept if part is not None)
        case Alt(choices):
            possible = tuple(part for choice in choices if (part := ascii_only(choice)) is not None)
            return Alt(possible) if len(possible) > 1 else possible[0] if possible else None
        case Repeat(part, least, most):
            inner = ascii_only(part)
            return repeat(inner, least, most) if inner is not None else None if least else EMPTY


@lru_cache(_REMEMBERED)
def _ascii_chars(chars: Chars) -> Chars | None:
    if chars.ranges and not chars.reaches_beyond_ascii:
        return chars
    codes = chars.ascii_codes()
    return replace(chars, ranges=united((code, code) for code in codes), any_case=False) if codes else None
