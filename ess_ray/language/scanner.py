"""A query's text, cut into tokens; every term is read into its leaf on the way.

May live here: where a token begins and ends. May not: what a term means (`terms`), how tokens join (`grammar`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from lark import Token

from ess_ray.core.errors import QueryError
from ess_ray.core.query import Field, Node
from ess_ray.language.terms import MESSAGE, field_at, interval_leaf, phrase_leaf, regex_leaf, value_leaf, word_leaf

MAX_NESTING: Final = 50
"""Parentheses inside parentheses: trees are walked and pickled recursively, and Python's stack holds 1,000 calls."""

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()]+")
_PHRASE = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_FIELD = re.compile(r"([A-Za-z_][\w.]*+):(?!//)")
_MINUS = re.compile(r"-(?![\s)-]|\Z)")
_SLASH_AT_END = re.compile(r"/(i?)(?=[\s)]|\Z)")
_RANGE = re.compile(r"([\[{])\s*([^\s\]}]+)\s+TO\s+([^\s\]}]+)\s*([\]}])")
_OPERATORS: Final = {"AND": "_AND", "OR": "_OR", "NOT": "_NOT"}


class Term(Token):  # type: ignore[misc]
    """A TERM token with the leaf that it stands for."""

    node: Node


def _token(kind: str, text: str, position: int) -> Token:
    return Token(kind, text, start_pos=position)


class Scanner:
    """Cuts one text into tokens, front to back, in time linear in its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        # One entry per open parenthesis: where it is, and the field that terms inside have when they name none.
        self._open: list[tuple[int, Field | None]] = []
        # Where a regex may end, found once: looking anew from each term that starts with a slash would be quadratic.
        self._closers = [m for m in _SLASH_AT_END.finditer(text) if not _is_escaped(text, m.start())]
        self._closer_starts = [m.start() for m in self._closers]

    def tokens(self) -> Iterator[Token]:
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

    def _next(self) -> Token:
        text, at = self._text, self._at
        if text[at] == "(":
            return self._parenthesis(at, self._open[-1][1] if self._open else None)
        if text[at] == ")":
            if not self._open:
                raise QueryError('no "(" belongs to this ")": remove it, or quote it', at)
            self._open.pop()
            return _token("_RPAR", ")", at)
        if _MINUS.match(text, at):
            return _token("_NOT", "-", at)
        named = _FIELD.match(text, at)
        if named is None:
            return self._term(self._open[-1][1] if self._open else None, named=False)
        field = field_at(named[1], at)
        self._at = named.end()
        if self._at == len(text) or text[self._at].isspace() or text[self._at] == ")":
            message = f'"{named[0]}" has no value: write {named[0]}VALUE without a space, or quote it to find the text'
            raise QueryError(message, at)
        if text[self._at] == "(":
            return self._parenthesis(self._at, field)
        return self._term(field, named=True)

    def _parenthesis(self, at: int, field: Field | None) -> Token:
        if len(self._open) >= MAX_NESTING:
            raise QueryError(f"parentheses nest deeper than {MAX_NESTING}: write the query flatter", at)
        self._open.append((at, field))
        return _token("_LPAR", "(", at)

    def _term(self, field: Field | None, named: bool) -> Token:
        """Read one term at the current place, and go behind it; `named`: a field stands right before it."""
        text, at = self._text, self._at
        if text[at] == '"':
            quoted = _PHRASE.match(text, at)
            if quoted is None:
                raise QueryError('this quote is never closed: add a ", or write \\" inside quotes to find one', at)
            return self._leaf(phrase_leaf(field, re.sub(r'\\(["\\])', r"\1", quoted[1]), at), quoted.end())
        closer = self._closer(at)
        if closer is not None:
            pattern = re.sub(
                r"\\(.)", lambda m: "/" if m[1] == "/" else m[0], text[at + 1 : closer.start()], flags=re.S
            )
            return self._leaf(regex_leaf(field or MESSAGE, pattern, bool(closer[1]), at), closer.end())
        interval = _RANGE.match(text, at) if field is not None else None
        if field is not None and interval is not None:
            return self._leaf(interval_leaf(field, interval), interval.end())
        word = _WORD.match(text, at)
        assert word is not None  # no space, no parenthesis stands here
        if not named and word[0] in _OPERATORS:
            return _token(_OPERATORS[word[0]], word[0], at)
        return self._leaf(word_leaf(word[0], at) if field is None else value_leaf(field, word[0], at), word.end())

    def _leaf(self, node: Node, end: int) -> Token:
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


def _is_escaped(text: str, at: int) -> bool:
    before = at
    while before and text[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1
