"""The tree of a pattern over bytes, and what can be told from it without any text.

May live here: nodes, how they are put together, what holds for all texts that a tree accepts. May not: RE2's syntax.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ALL_ASCII: Final = frozenset(range(128))
MAX_REPEATS: Final = 64
"""Copies of a repeated part that are told apart; beyond, any number may follow. Engines unroll them."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Exactly these bytes."""

    text: bytes


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character: an ASCII byte in the set, or, if `wide`, any character beyond ASCII."""

    ascii: frozenset[int]
    wide: bool


@dataclass(frozen=True, slots=True)
class AnyByte:
    r"""RE2's \C."""


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


Tree = Bytes | OneOf | AnyByte | Seq | Alt | Repeat
EMPTY: Final = Seq(())


def sequence(parts: Iterable[Tree]) -> Tree:
    """Join parts, neighbouring bytes into one literal."""
    flat: list[Tree] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Seq) else (part,):
            if flat and isinstance(piece, Bytes) and isinstance(flat[-1], Bytes):
                flat[-1] = Bytes(flat[-1].text + piece.text)
            else:
                flat.append(piece)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def min_bytes(tree: Tree) -> int:
    """Tell how short an accepted text can be."""
    match tree:
        case Bytes(text):
            return len(text)
        case OneOf() | AnyByte():
            return 1
        case Seq(parts):
            return sum(map(min_bytes, parts))
        case Alt(choices):
            return min(map(min_bytes, choices))
        case Repeat(part, least, _):
            return least * min_bytes(part)


def ascii_only(tree: Tree) -> Tree | None:
    """Give the tree that accepts the ASCII texts among those that this one does; None if there are none."""
    match tree:
        case Bytes(text):
            return tree if text.isascii() else None
        case OneOf(codes, _):
            return OneOf(codes, False) if codes else None
        case AnyByte():
            return OneOf(ALL_ASCII, False)
        case Seq(parts):
            kept = [ascii_only(part) for part in parts]
            return None if None in kept else sequence(part for part in kept if part is not None)
        case Alt(choices):
            possible = tuple(part for choice in choices if (part := ascii_only(choice)) is not None)
            return Alt(possible) if len(possible) > 1 else possible[0] if possible else None
        case Repeat(part, least, most):
            inner = ascii_only(part)
            return repeat(inner, least, most) if inner is not None else None if least else EMPTY


def repeat(part: Tree, least: int, most: int | None) -> Tree:
    """Repeat a part, its counts bounded by MAX_REPEATS (more copies may then follow)."""
    if part == EMPTY or most == 0:
        return EMPTY
    if (least, most) == (1, 1):
        return part
    if least > MAX_REPEATS or (most or 0) > MAX_REPEATS:
        least, most = min(least, MAX_REPEATS), None
    return Repeat(part, least, most)
