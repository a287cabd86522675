"""A query's text, cut into tokens; every term is read into its leaf on the way."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lark import Token

from ess_ray.core.errors import QueryError
from ess_ray.core.query import Field, Node
from ess_ray.language.names import fields_named, is_bare_name
from ess_ray.language.terms import (
    MESSAGE,
    NUMBER,
    any_of_fields,
    compared_leaf,
    interval_leaf,
    phrase_leaf,
    regex_leaf,
    value_leaf,
)
from ess_ray.language.writing import unquoted

MAX_NESTING: Final = 50
"""Parentheses inside parentheses: trees are walked and pickled recursively, and Python's stack holds 1,000 calls."""

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()]+")
PHRASE: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
# What may be a name, up to what no name has.
NAME: Final = re.compile(r'[^\s():"<>=!]++')
_COLON = re.compile(r":(?!:|//|\\)")
_COMPARED = re.compile(rf"[<>]=?{NUMBER.pattern}(?=[\s()]|\Z)")
_MINUS = re.compile(r"-(?![\s)-]|\Z)")
_SLASH_AT_END = re.compile(r"/(i?)(?=[\s)]|\Z)")
_COMPARED_PHRASE = re.compile(rf"([<>]=?)({PHRASE.pattern})", re.DOTALL)
_BOUND: Final = r'("[^"\\]++"|[^\s\]}"][^\s\]}]*+)'
_RANGE = re.compile(rf"([\[{{])\s*{_BOUND}\s+TO\s+{_BOUND}\s*([\]}}])")
STAGES: Final = ("stats", "patterns", "sort", "top", "limit", "fields")
"""What a `|` must have behind it to be a pipe."""
_PIPE = re.compile(rf"(?<!\S)\|\s+(?:{'|'.join(STAGES)})(?![^\s|(])")
_OPERATORS: Final = {"AND": "_AND", "OR": "_OR", "NOT": "_NOT"}


@dataclass(frozen=True, slots=True)
class Named:
    """A field's name in a query: where it stands, without what joins it to its value, and which fields it names."""

    start: int
    end: int
    fields: tuple[Field, ...]


class Piece(Token):  # type: ignore[misc]
    """A token, with the name that stands right before it."""

    named: Named | None = None


class Term(Piece):
    """A TERM token with the leaf that it stands for."""

    node: Node


def _token(kind: str, text: str, position: int) -> Piece:
    return Piece(kind, text, start_pos=position)


class Scanner:
    """Cuts one text into tokens, front to back, in time linear in its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        # One entry per open parenthesis: where it is, and the fields that terms inside have when they name none.
        self._open: list[tuple[int, tuple[Field, ...]]] = []
        # Where a regex may end, found once: looking anew from each term that starts with a slash would be quadratic.
        self._closers = [m for m in _SLASH_AT_END.finditer(text) if not _is_escaped(text, m.start())]
        self._closer_starts = [m.start() for m in self._closers]

    def tokens(self) -> Iterator[Piece]:
        """Give all tokens. Raises QueryError."""
        while self._skip_space() < len(self._text):
            token = self._next()
            self._at = max(self._at, token.start_pos + len(token))
            yield token
        if self._open:
            raise QueryError('this "(" is never closed: add ")", or quote it', self._open[-1][0])

    def _skip_space(self) -> int:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _next(self) -> Piece:
        text, at = self._text, self._at
        around = self._open[-1][1] if self._open else ()
        if text[at] == "(":
            return self._parenthesis(at, around)
        if text[at] == ")":
            if not self._open:
                raise QueryError('no "(" belongs to this ")": remove it, or quote it', at)
            self._open.pop()
            return _token("_RPAR", ")", at)
        if _MINUS.match(text, at):
            return _token("_NOT", "-", at)
        named = self._name()
        if named is None:
            return self._term(around, named=False)
        piece = self._parenthesis(self._at, named.fields) if text[self._at] == "(" else self._term(named.fields, True)
        piece.named = named
        return piece

    def _name(self) -> Named | None:
        """Read the field's name that starts here, if one does, and go to its value, a comparison's sign included."""
        text, at = self._text, self._at
        found = PHRASE.match(text, at) or NAME.match(text, at)
        if found is None:
            return None
        colon = _COLON.match(text, found.end())
        if colon is None and _COMPARED.match(text, found.end()) is None:
            return None
        is_quoted = text[at] == '"'
        if not is_quoted and not is_bare_name(found[0]):
            return None
        end = found.end() if colon is None else colon.end()
        rest = text[end:].lstrip()
        if rest and text[end].isspace():
            return None  # `error: it failed` is a text
        name = unquoted(found[0]) if is_quoted else found[0]
        if rest[:1] in ("", ")"):
            whole = text[at:end]
            message = f"`{whole}` has no value: write {whole}VALUE without a space, or quote it to find the text"
            raise QueryError(message, at)
        self._at = end
        return Named(at, found.end(), fields_named(name, at))

    def _parenthesis(self, at: int, fields: tuple[Field, ...]) -> Piece:
        if len(self._open) >= MAX_NESTING:
            raise QueryError(f"parentheses nest deeper than {MAX_NESTING}: write the query flatter", at)
        self._open.append((at, fields))
        return _token("_LPAR", "(", at)

    def _term(self, fields: tuple[Field, ...], named: bool) -> Piece:
        """Read one term at the current place, and go behind it; `named`: a field stands right before it."""
        text, at = self._text, self._at

        def leaf(make: Callable[[Field | None], Node], end: int) -> Term:
            return self._leaf(any_of_fields(fields, make), end)

        if text[at] == '"':
            quoted = PHRASE.match(text, at)
            if quoted is None:
                raise QueryError('this quote is never closed: add a ", or write \\" inside quotes to find one', at)
            content = unquoted(quoted[0])
            return leaf(lambda field: phrase_leaf(field, content, at), quoted.end())
        closer = self._closer(at)
        if closer is not None:
            pattern = re.sub(
                r"\\(.)", lambda m: "/" if m[1] == "/" else m[0], text[at + 1 : closer.start()], flags=re.S
            )
            return leaf(lambda field: regex_leaf(field or MESSAGE, pattern, bool(closer[1]), at), closer.end())
        interval = _RANGE.match(text, at) if fields else None
        if interval is not None:
            return leaf(lambda field: interval_leaf(field or MESSAGE, interval), interval.end())
        compared = _COMPARED_PHRASE.match(text, at) if fields else None
        if compared is not None:
            sign, bound, bound_at = compared[1], unquoted(compared[2]), compared.start(2)
            return leaf(lambda field: compared_leaf(field, sign, bound, bound_at), compared.end())
        word = _WORD.match(text, at)
        assert word is not None  # no space, no parenthesis stands here
        if not named and word[0] in _OPERATORS:
            return _token(_OPERATORS[word[0]], word[0], at)
        return leaf(lambda field: value_leaf(field, word[0], at), word.end())

    def _leaf(self, node: Node, end: int) -> Term:
        term = Term("TERM", self._text[self._at : end], start_pos=self._at)
        term.node = node
        self._at = end
        return term

    def _closer(self, at: int) -> re.Match[str] | None:
        """Find the slash that closes the regex which starts at `at`, if one does."""
        if self._text[at] != "/":
            return None
        index = bisect_right(self._closer_starts, at)
        if index == len(self._closers) or self._closer_starts[index] == at + 1:
            return None
        return self._closers[index]


def pipe_in(text: str) -> int | None:
    """Give where the first pipe of a text is: a word `|` with a stage's name behind it. Raises QueryError.

    Most texts have none; of others the terms before it are read, as it may stand in quotes or a regex.
    """
    places = {found.start() for found in _PIPE.finditer(text)}
    if not places:
        return None
    last = max(places)
    for token in Scanner(text).tokens():
        at: int = token.start_pos
        if at in places and token == "|":
            return at
        if at > last:
            break
    return None


def _is_escaped(text: str, at: int) -> bool:
    before = at
    while before and text[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1
