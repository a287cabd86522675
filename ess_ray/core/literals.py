"""What a block of rows must hold for a query to find anything in it: a monotone formula over atoms.

AllOf and AnyOf over two kinds of atoms: a piece of folded text that some message holds, and a value (or just presence)
of a field. Each operator gives its own (`operators`), `needs` a query's. It is a superset, never another opinion on
what matches: where nothing is known it says ANYTHING, and so under NOT. What a regular expression requires is told by
its tree (`pattern`), as far as that is understood for certain; for the rest, ANYTHING.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from ess_ray.core.field import Field
from ess_ray.core.fold import fold_text
from ess_ray.core.pattern import Alt, Chars, Repeat, Seq, Tree, parse

if TYPE_CHECKING:
    from ess_ray.core.query import Query

VALUE_COLUMNS: Final = ("trace_id", "span_id", "event_id", "service", "host", "level")
"""The columns whose values (and presence) are atoms, as are all attributes. `message` is text; numbers are not."""

MAX_EXACT: Final = 16
"""Alternatives kept apart while a regex's pieces are joined: more are rarely told apart by an index either."""
MAX_EXACT_CHARS: Final = 256
"""Of one alternative; beyond, it is required in parts."""
MAX_CLASS_MEMBERS: Final = 64
"""Code points of a character class that are folded and counted; larger ones stand for any character, as named ones."""
MAX_DEPTH: Final = 100
"""Nodes inside nodes of a query's tree: deeper says nothing: Python's stack is short."""


@dataclass(frozen=True, slots=True)
class Text:
    """Some message, folded, contains this (folded, UTF-8, not empty)."""

    folded: bytes


@dataclass(frozen=True, slots=True)
class Holds:
    """Some row's field has this value (folded, UTF-8); None: the field is there, even if its value is null.

    Of what an attribute has, see `query.Field`; a number is held as it is written, and as `canonical_number` writes it.
    """

    field: Field
    folded: bytes | None


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Formula, ...]


Formula = Text | Holds | AllOf | AnyOf
ANYTHING: Final = AllOf(())
NOTHING: Final = AnyOf(())


def needs(query: Query) -> Formula:
    """Tell what a block must hold to have a row that the query's tree matches (its time range aside)."""
    return query.root.needs()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def text_of(folded: str) -> Formula:
    """Give the atom of a folded text; every message contains the empty one."""
    return Text(_utf8(folded)) if folded else ANYTHING


def value_of(field: Field, folded: str) -> Formula:
    """Give the atom of a field's value; ANYTHING for a field whose values are not known."""
    return Holds(field, _utf8(folded)) if _is_indexed(field) else ANYTHING


def presence_of(field: Field) -> Formula:
    """Give the atom of a field that is there; ANYTHING for a field of which that is not known."""
    return Holds(field, None) if _is_indexed(field) else ANYTHING


def _is_indexed(field: Field) -> bool:
    return field.attribute or field.name in VALUE_COLUMNS


def all_of(parts: Iterable[Formula]) -> Formula:
    """Conjoin, without what is always true and without repeats."""
    flat: dict[Formula, None] = {}
    for part in parts:
        if part == NOTHING:
            return NOTHING
        flat.update(dict.fromkeys(part.parts if isinstance(part, AllOf) else (part,)))
    return next(iter(flat)) if len(flat) == 1 else AllOf(tuple(flat))


def any_of(parts: Iterable[Formula]) -> Formula:
    """Disjoin, without what is never true and without repeats."""
    flat: dict[Formula, None] = {}
    for part in parts:
        if part == ANYTHING:
            return ANYTHING
        flat.update(dict.fromkeys(part.parts if isinstance(part, AnyOf) else (part,)))
    return next(iter(flat)) if len(flat) == 1 else AnyOf(tuple(flat))


# ----------------------------------------------------------------------------------------------- regular expressions
@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a pattern: whatever it matches, folded, is one of `exact` (None: unknown), and satisfies `needs`."""

    exact: frozenset[str] | None
    needs: Formula = ANYTHING

    def formula(self) -> Formula:
        return self.needs if self.exact is None else any_of(text_of(text) for text in sorted(self.exact))


_EMPTY: Final = _Piece(frozenset([""]))
_UNKNOWN: Final = _Piece(None)


def regex_needs(pattern: str, ignore_case: bool = False) -> Formula:
    """Tell what a text must contain for RE2 to find `pattern`, case folded (so that flags do not matter)."""
    tree = parse(pattern, ignore_case)
    return ANYTHING if tree is None else _joined(_pieces(tree)).formula()


def _pieces(tree: Tree) -> list[_Piece]:
    """Give what a tree comes to, piece after piece."""
    match tree:
        case Chars():
            return [_one_of(tree)]
        case Seq(parts):
            return [piece for part in parts for piece in _pieces(part)]
        case Alt(choices):
            return [_alternatives([_joined(_pieces(choice)) for choice in choices])]
        case Repeat(part, least, most):
            return _times(_joined(_pieces(part)), least, most)


def _one_of(chars: Chars) -> _Piece:
    """Give the members of a class, folded, if they are spelt out and few."""
    if not chars.spelt or sum(last - first + 1 for first, last in chars.ranges) > MAX_CLASS_MEMBERS:
        return _UNKNOWN
    members = {fold_text(chr(code)) for first, last in chars.ranges for code in range(first, last + 1)}
    return _UNKNOWN if len(members) > MAX_EXACT else _Piece(frozenset(members))


def _alternatives(branches: list[_Piece]) -> _Piece:
    exact: set[str] = set()
    for branch in branches:
        if branch.exact is None or len(exact | branch.exact) > MAX_EXACT:
            return _Piece(None, any_of(branch.formula() for branch in branches))
        exact |= branch.exact
    return _Piece(frozenset(exact))


def _joined(pieces: Iterable[_Piece]) -> _Piece:
    """Put pieces one after the other: exact ones grow together, others part them."""
    required: list[Formula] = []
    exact = _EMPTY.exact
    assert exact is not None
    whole = True
    for piece in pieces:
        if piece.exact is None:
            required += [_Piece(exact).formula(), piece.needs]
            whole, exact = False, frozenset([""])
            continue
        grown = _product(exact, piece.exact)
        if grown is None:
            required.append(_Piece(exact).formula())
            whole, grown = False, piece.exact
        exact = grown
    return _Piece(exact) if whole else _Piece(None, all_of([*required, _Piece(exact).formula()]))


def _product(left: frozenset[str], right: frozenset[str]) -> frozenset[str] | None:
    if len(left) * len(right) > MAX_EXACT:
        return None
    longest = max(map(len, left), default=0) + max(map(len, right), default=0)
    return None if longest > MAX_EXACT_CHARS else frozenset(a + b for a, b in product(left, right))


def _times(piece: _Piece, low: int, high: int | None) -> list[_Piece]:
    """Repeat a piece `low` to `high` times (None: without end)."""
    if low == 0:
        if high == 1 and piece.exact is not None and len(piece.exact) < MAX_EXACT:
            return [_Piece(piece.exact | {""})]
        return [_UNKNOWN]
    if piece.exact is None:
        return [piece]
    repeated, whole = piece.exact, high == low
    for _ in range(1, low):
        grown = _product(repeated, piece.exact)
        if grown is None:
            whole = False
            break
        repeated = grown
    # Open-ended, it begins with the least that it repeats and ends with it, joined to what stands before and behind.
    return [_Piece(repeated)] if whole else [_Piece(repeated), _UNKNOWN, _Piece(repeated)]
