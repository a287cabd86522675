"""What else parts of a query may have been meant as: for people whose query found nothing.

A text means what it means, whatever the data; these are other texts that they may want to try.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ess_ray.core.errors import QueryError
from ess_ray.core.query import Compare, Equals, Field, Node, Or
from ess_ray.language.grammar import parse
from ess_ray.language.names import is_bare_name, name_of, without_surrogates
from ess_ray.language.scanner import NAME, PHRASE, Named, Piece, Scanner, Term
from ess_ray.language.terms import MESSAGE
from ess_ray.language.writing import quoted, written_name

ReadingKind = Literal["field", "operator", "contains"]

MAX_READINGS: Final = 5
"""Of one query: each is parsed, and nobody looks at more."""
_AS_OPERATOR: Final = {"and": "AND", "or": "OR", "not": "NOT", "&&": "AND", "||": "OR"}
_AS_PREFIX: Final = {"!": "-", "+": ""}
_GLUED: Final = re.compile(r"(?<=[^\s&|])(&&|\|\|)(?=[^\s&|])")
_SIGN = re.compile(r"(!?)==?(?!=)|([<>]=?)")
_APART: Final = re.compile(rf"(\s*)(?:(!?)==?(?!=)|([<>]=?)|:)(\s*)({PHRASE.pattern}|[^\s()=<>:!][^\s()]*)", re.DOTALL)
"""A sign and a value, with space around the sign: `duration_ms > 500`, `service = "api"`, `service :api`."""
_OF_FIELDS: Final = {"_exists_": "", "_missing_": "-"}
"""What Lucene calls a test whether a field is there, or not there."""
_SIMPLE_WORD = re.compile(r"\w+")
_ODD_NAME = re.compile(r"""([^\s:"(){}\[\],;=<>/\\]+):(?![:/\\])(?=.)""")
"""A name that a query wants in quotes, before a value: `$price:5`, `it's:x`, `message#2:v`; no `C:\\x`, `http://x`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Another reading of a query: `part` of it, as written, and the whole `query` with that part written otherwise."""

    kind: ReadingKind
    part: str
    query: str


@dataclass(frozen=True, slots=True)
class AttributeTerm:
    """A term that requires something of an attribute: `part` as written; `name`: where the attribute is named in it.

    `as_text`: the query that looks for the term's text in messages instead; None where it can be no text.
    """

    field: Field
    part: str
    as_text: str | None
    _text: str
    _named: Named

    def of(self, field: Field) -> str:
        """Write the query with another field in this one's place."""
        return self._text[: self._named.start] + written_name(name_of(field)) + self._text[self._named.end :]


def attribute_terms(text: str) -> list[AttributeTerm]:
    """Find the terms of a query that require something of an attribute. Raises QueryError as `parse` does."""
    text = without_surrogates(text)
    found = []
    for piece, _ in _required(text):
        named = piece.named
        if named is None or not all(field.attribute for field in named.fields):
            continue
        end = piece.start_pos + len(piece)
        is_text = isinstance(piece, Term) and isinstance(piece.node, Equals | Compare)
        part = text[named.start : end if isinstance(piece, Term) else named.end]
        as_text = text[: named.start] + quoted(part) + text[end:] if is_text else None
        found.append(AttributeTerm(named.fields[0], part, as_text, text, named))
    return found


def other_readings(text: str) -> list[Reading]:
    """Find what is a text, but may be meant as a field or an operator, and the like. Raises QueryError as `parse`."""
    candidates = itertools.islice(_candidates(without_surrogates(text)), MAX_READINGS)
    return [reading for reading in candidates if _is_readable(reading.query)]


def _candidates(text: str) -> Iterator[Reading]:
    yield from _operators(text)
    for piece, following in _required(text):
        if isinstance(piece, Term):
            if piece.named is None:
                yield from _as_field(text, piece, following)
            else:
                yield from _as_contained(text, piece)
                yield from _as_presence(text, piece)


def _required(text: str) -> Iterator[tuple[Piece, Piece | None]]:
    """Give the terms and parentheses that no NOT stands before, each with the token behind it."""
    pieces = list(Scanner(text).tokens())
    around, negated = [False], False
    for piece, following in itertools.zip_longest(pieces, pieces[1:]):
        if piece.type == "_NOT":
            negated = not negated
        elif piece.type == "_RPAR":
            around.pop()
        elif piece.type in ("TERM", "_LPAR"):
            negated = negated != around[-1]
            if not negated:
                yield piece, following
            if piece.type == "_LPAR":
                around.append(negated)
            negated = False


def _operators(text: str) -> Iterator[Reading]:
    """Read `a and b`, `a && b`, `a||b`, `!a` and `+a` as people mean them."""
    written, at, first = "", 0, ""
    for piece in Scanner(text).tokens():
        word = str(piece)
        meant = _AS_OPERATOR.get(word.lower()) if word not in _AS_OPERATOR.values() else None
        if meant is None and word[0] in _AS_PREFIX and len(word) > 1 and word[1] not in "=+":
            meant = _AS_PREFIX[word[0]] + word[1:]
        if meant is None and word[0] not in '"/' and _GLUED.search(word):
            meant = _GLUED.sub(lambda match: f" {_AS_OPERATOR[match[1]]} ", word)
        if piece.type == "TERM" and meant is not None:
            first = first or word
            written += text[at : piece.start_pos] + meant
            at = piece.start_pos + len(word)
    if first:
        yield Reading("operator", first, written + text[at:])


def _as_field(text: str, word: Term, following: Piece | None) -> Iterator[Reading]:
    """Read `name=value`, `name>=time` and `name: value` as a field's."""
    start, end = word.start_pos, word.start_pos + len(word)
    odd = _ODD_NAME.match(word)
    if odd is not None and not is_bare_name(odd[1]) and any(map(str.isalpha, odd[1])):
        yield Reading("field", str(word), f"{text[:start]}{quoted(odd[1])}:{text[start + odd.end() :]}")
        return
    name = NAME.match(word)
    if name is None or not is_bare_name(name[0]):
        return
    if word[name.end() :] == ":":
        if (
            following is not None
            and following.type in ("TERM", "_LPAR")
            and not text[end : following.start_pos].strip()
        ):
            meant = text[following.start_pos : following.start_pos + len(following)]
            yield Reading("field", f"{word} {meant}", text[:end] + text[following.start_pos :])
        return
    apart = _APART.match(text, start + name.end())
    if apart is not None and (apart[1] or apart[4]):
        negation = "-" if apart[2] else ""
        written = f"{negation}{name[0]}:{apart[3] or ''}{apart[5].strip(chr(39))}"
        yield Reading("field", text[start : apart.end()], text[:start] + written + text[apart.end() :])
        return
    sign = _SIGN.match(word, name.end())
    if sign is None or sign.end() == len(word):
        return
    phrase = PHRASE.match(text, start + sign.end())
    if phrase is not None:
        end, value = phrase.end(), phrase[0]
    else:
        value = word[sign.end() :].strip("'")
    negation = "-" if sign[1] else ""
    written = f"{negation}{name[0]}:{sign[2] or ''}{value}"
    yield Reading("field", text[start:end], text[:start] + written + text[end:])


def _as_contained(text: str, term: Term) -> Iterator[Reading]:
    """Read `message:word`, which is the whole message, as a word in it."""
    if term.named is None or not _is_whole_message(term.node):
        return
    start, end = term.named.start, term.start_pos + len(term)
    value = str(term)
    written = value if value[0] == '"' or _SIMPLE_WORD.fullmatch(value) else quoted(value)
    yield Reading("contains", text[start:end], text[:start] + written + text[end:])


def _as_presence(text: str, term: Term) -> Iterator[Reading]:
    """Read Lucene's `_exists_:name` as `name:*`."""
    assert term.named is not None  # its caller looked
    sign = _OF_FIELDS.get(text[term.named.start : term.named.end])
    if sign is not None:
        end = term.start_pos + len(term)
        name = str(term) if str(term)[0] == '"' else written_name(str(term))
        part = text[term.named.start : end]
        yield Reading("field", part, f"{text[: term.named.start]}{sign}{name}:*{text[end:]}")


def _is_whole_message(node: Node) -> bool:
    if isinstance(node, Or):
        return any(map(_is_whole_message, node.children))
    return isinstance(node, Equals) and node.field == MESSAGE


def _is_readable(query: str) -> bool:
    try:
        parse(query)
    except QueryError:
        return False
    return True
