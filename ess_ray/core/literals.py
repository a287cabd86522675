"""What a block of rows must hold for a query to find anything in it: a monotone formula over atoms.

`needs` turns a query's tree into AllOf/AnyOf over two kinds of atoms: a piece of folded text that some message holds,
and a value (or just presence) of a field. It is a superset, never another opinion on what matches: where nothing is
known it says ANYTHING, and so under NOT. What a regular expression requires is read by a parser of the part of RE2's
syntax that is understood for certain; for the rest of it, ANYTHING. May live here: queries -> formulas. May not:
bytes, indexes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from ess_ray.core.attribute import canonical_number
from ess_ray.core.fold import fold_text
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Regex

VALUE_COLUMNS: Final = ("trace_id", "span_id", "event_id", "service", "host", "level")
"""The columns whose values (and presence) are atoms, as are all attributes. `message` is text; numbers are not."""

MAX_EXACT: Final = 16
"""Alternatives kept apart while a regex's pieces are joined: more are rarely told apart by an index either."""
MAX_EXACT_CHARS: Final = 256
"""Of one alternative; beyond, it is required in parts."""
MAX_CLASS_MEMBERS: Final = 64
"""Code points of a character class that are folded and counted; larger classes stand for any character."""
MAX_DEPTH: Final = 100
"""Groups inside groups of a regex, and nodes inside nodes of a tree: deeper says nothing: Python's stack is short."""


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
    return _needs(query.root, 0)


def _needs(node: Node, depth: int) -> Formula:
    match node:
        case And(children) if depth < MAX_DEPTH:
            return all_of(_needs(child, depth + 1) for child in children)
        case Or(children) if depth < MAX_DEPTH:
            return any_of(_needs(child, depth + 1) for child in children)
        case All() | Not() | And() | Or():
            return ANYTHING
        case _:
            return _leaf_needs(node)


def _leaf_needs(node: Contains | Regex | Equals | Compare | Exists) -> Formula:
    match node:
        case Contains(Field("message", False), text, _) | Equals(Field("message", False), text, _):
            return text_of(fold_text(text))
        case Regex(Field("message", False), pattern, _):
            return regex_needs(pattern)
        case Equals(field, text, _) if _is_indexed(field):
            ways = {text, canonical_number(text) or text} if field.attribute else {text}
            return any_of(Holds(field, _utf8(fold_text(way))) for way in sorted(ways))
        case Contains(field) | Regex(field) | Compare(field) | Exists(field) if _is_indexed(field):
            return Holds(field, None)
        case _:
            return ANYTHING


def _is_indexed(field: Field) -> bool:
    return field.attribute or field.name in VALUE_COLUMNS


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def text_of(folded: str) -> Formula:
    """Give the atom of a folded text; every message contains the empty one."""
    return Text(_utf8(folded)) if folded else ANYTHING


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


# ------------------------------------------------------------------------------------------------- regular expressions
class _NotUnderstood(Exception):
    """The pattern has something of which this parser is not certain."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a pattern: whatever it matches, folded, is one of `exact` (None: unknown), and satisfies `needs`."""

    exact: frozenset[str] | None
    needs: Formula = ANYTHING

    def formula(self) -> Formula:
        return self.needs if self.exact is None else any_of(text_of(text) for text in sorted(self.exact))


_EMPTY: Final = _Piece(frozenset([""]))
_UNKNOWN: Final = _Piece(None)


def regex_needs(pattern: str) -> Formula:
    """Tell what a text must contain for RE2 to find `pattern`, case folded (so that flags do not matter)."""
    try:
        parser = _Parser(pattern)
        piece = parser.alternatives(0)
        return piece.formula() if parser.at == len(pattern) else ANYTHING
    except _NotUnderstood:
        return ANYTHING


_REPEAT: Final = re.compile(r"\{(0|[1-9]\d{0,8})(,(0|[1-9]\d{0,8})?)?\}", re.ASCII)
"""RE2 reads braces around anything else, such as a leading zero, as text."""
_FLAGS: Final = re.compile(r"\?(?:P?<[A-Za-z0-9_]+>|[imsU]*(?:-[imsU]+)?([:)]))", re.ASCII)
_CLASS_NAME: Final = re.compile(r"\[:\^?[a-z]+:\]", re.ASCII)
_PROPERTY: Final = re.compile(r"[pP](?:\{\^?[A-Za-z_]+\}|[A-Z])", re.ASCII)
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})", re.ASCII)
_CONTROL: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ZERO_WIDTH: Final = "AzbB"
_PERL_CLASSES: Final = "dDsSwW"


class _Parser:
    """Reads one pattern, front to back, by recursive descent. `at` is the next character."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def _peek(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _match(self, form: re.Pattern[str]) -> re.Match[str] | None:
        found = form.match(self._pattern, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def alternatives(self, depth: int) -> _Piece:
        """Read up to the closing parenthesis of this group, or the end."""
        if depth > MAX_DEPTH:
            raise _NotUnderstood
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence(depth))
        exact: set[str] = set()
        for branch in branches:
            if branch.exact is None or len(exact | branch.exact) > MAX_EXACT:
                return _Piece(None, any_of(branch.formula() for branch in branches))
            exact |= branch.exact
        return _Piece(frozenset(exact))

    def _sequence(self, depth: int) -> _Piece:
        pieces: list[_Piece] = []
        while self._peek() not in ("", "|", ")"):
            if self._pattern.startswith(r"\Q", self.at):
                pieces.extend(self._quoted())
                continue
            pieces += self._repeated(self._atom(depth))
        return _joined(pieces)

    def _quoted(self) -> list[_Piece]:
        """Read backslash Q up to backslash E or the end; what repeats behind it repeats the last character alone."""
        end = self._pattern.find(r"\E", self.at + 2)
        text = self._pattern[self.at + 2 : end if end >= 0 else None]
        self.at = end + 2 if end >= 0 else len(self._pattern)
        pieces = [_Piece(frozenset([fold_text(char)])) for char in text]
        if self._repetition_follows():
            if not pieces:
                raise _NotUnderstood
            pieces[-1:] = self._repeated(pieces[-1])
        return pieces

    def _repetition_follows(self) -> bool:
        return self._peek() in ("*", "+", "?") or _REPEAT.match(self._pattern, self.at) is not None

    def _repeated(self, piece: _Piece) -> list[_Piece]:
        """Read the repetition behind `piece`, if there is one, and give what both come to, in order."""
        char = self._peek()
        low, high = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(char or " ", (-1, -1))
        if low >= 0:
            self.at += 1
        elif char == "{" and (found := self._match(_REPEAT)) is not None:
            low = int(found[1])
            high = low if not found[2] else int(found[3]) if found[3] else -1
        else:
            return [piece]
        if self._peek() == "?":
            self.at += 1
        if self._repetition_follows():
            raise _NotUnderstood  # RE2 refuses most repetitions of repetitions
        return _times(piece, low, high)

    def _atom(self, depth: int) -> _Piece:
        char = self._peek()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._class()
        self.at += 1
        match char:
            case "\\":
                return self._escape()
            case ".":
                return _UNKNOWN
            case "^" | "$":
                return _EMPTY
            case "*" | "+" | "?":
                raise _NotUnderstood
        return _Piece(frozenset([fold_text(char)]))

    def _group(self, depth: int) -> _Piece:
        self.at += 1
        if self._peek() == "?":
            found = self._match(_FLAGS)
            if found is None:
                raise _NotUnderstood
            if found[1] == ")":
                if self._repetition_follows():
                    raise _NotUnderstood  # RE2 repeats what stands before the flags: (?i)* makes it optional
                return _EMPTY
        inside = self.alternatives(depth + 1)
        if self._peek() != ")":
            raise _NotUnderstood
        self.at += 1
        return inside

    def _escape(self) -> _Piece:
        """Read what follows a backslash outside a class."""
        char = self._peek()
        if char and char in _ZERO_WIDTH:
            self.at += 1
            return _EMPTY
        code = self._escaped_character()
        return _UNKNOWN if code is None else _Piece(frozenset([fold_text(code)]))

    def _escaped_character(self) -> str | None:
        """Read the character that an escape means, or None for a class of them."""
        char = self._peek()
        if (found := self._match(_HEX)) is not None:
            code = int(found[1] or found[2], 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise _NotUnderstood
            return chr(code)
        if self._match(_PROPERTY) is not None:
            return None
        self.at += 1
        if char and (char in _PERL_CLASSES or char == "C"):
            return None
        if char in _CONTROL:
            return _CONTROL[char]
        if char and char.isascii() and not char.isalnum():
            return char
        raise _NotUnderstood  # octal, a back reference, or an escape of another engine

    def _class(self) -> _Piece:
        """Read a character class: its members, folded, if they are few."""
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        members: set[str] | None = set()
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._class_member()
            high = low
            if self._peek() == "-" and self._pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._class_member()
                if low is None or high is None:
                    raise _NotUnderstood
            if low is None or high is None or members is None or ord(high) - ord(low) >= MAX_CLASS_MEMBERS:
                members = None
            else:
                members.update(fold_text(chr(code)) for code in range(ord(low), ord(high) + 1))
        self.at += 1
        return _UNKNOWN if negated or members is None or len(members) > MAX_EXACT else _Piece(frozenset(members))

    def _class_member(self) -> str | None:
        if self._match(_CLASS_NAME) is not None:
            return None
        char = self._peek()
        if not char or self._pattern.startswith("[:", self.at):
            raise _NotUnderstood
        self.at += 1
        return self._escaped_character() if char == "\\" else char


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


def _times(piece: _Piece, low: int, high: int) -> list[_Piece]:
    """Repeat a piece `low` to `high` times (-1: without end)."""
    if low == 0:
        if high == 1 and piece.exact is not None and len(piece.exact) < MAX_EXACT:
            return [_Piece(piece.exact | {""})]
        return [_EMPTY if high == 0 else _UNKNOWN]
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
