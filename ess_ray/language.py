"""The query language: what people type, turned into a frozen tree. The only user of lark.

Two steps. `_Scanner` cuts text into tokens and reads every term (a word, a phrase, a regex, FIELD:value) into a leaf;
where a term starts and what it means depends on what stands before it, which terminals of a grammar say badly. The
grammar then carries the structure: NOT over AND (and juxtaposition) over OR, and parentheses. LALR, no recursion.
May live here: text to Node, text to time. May not: matching, defaults of a request.

    timeout  time*out    message contains it, ignoring case; `*` is any text, newlines too
    "Exact text"         message contains it, case kept; `\\"` and `\\\\` are the only escapes
    /user=\\d+/  /x/i      message matches the regex (RE2)
    FIELD:value  FIELD:"value"  FIELD:val*  FIELD:/regex/  FIELD:*  FIELD:>=5  FIELD:[1 TO 5]  FIELD:(a OR b)
    a b  a AND b  a OR b  NOT a  -a  ( )

What the contract leaves open is decided so:
- `FIELD:value` is equality for `message` too; `message:*text*` contains it.
- `name://...` is a word (a URL), whatever the name. `name:` with nothing behind it is an error that says: quote it.
- A `-` negates at a term's start when a term follows at once; before another `-` or alone it is text (`--verbose`).
- `//` is a word, not an empty regex. Quotes inside a word are text (`{"key":"value"}` is one word).
- FIELD:(...) gives its field to the bare terms inside. `{1 TO 5}` excludes its ends, as in Lucene.
- Values of time columns may be RFC 3339 or epoch numbers by magnitude, as in pushed events.
- A lone surrogate is U+FFFD, as in pushed events.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedToken, v_args
from lark.lexer import Lexer

from ess_ray.core import regex
from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.event import normalize_level, parse_timestamp_us
from ess_ray.core.filter import NUMBER_PATTERN
from ess_ray.core.query import (
    COLUMNS,
    NUMBER_COLUMNS,
    TIME_COLUMNS,
    All,
    And,
    Compare,
    Comparison,
    Contains,
    Equals,
    Exists,
    Field,
    Node,
    Not,
    Or,
    Regex,
)

MAX_QUERY_BYTES: Final = 16 * 1024
"""Of UTF-8 text: the contract's limit; longer queries are machine-made and belong in code over the stored table."""
MAX_PATTERN_CHARS: Final = 1_000
"""Of one regex, or one term with wildcards: the contract's limit, so that no pattern compiles for seconds."""
MAX_NESTING: Final = 50
"""Parentheses inside parentheses: trees are walked and pickled recursively, and Python's stack holds 1,000 calls."""

MESSAGE: Final = Field("message")
_ATTRIBUTES = "attributes."

# ------------------------------------------------------------------------------------------------------------ lexis
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()]+")
_PHRASE = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_FIELD = re.compile(r"([A-Za-z_][\w.]*+):(?!//)")
_MINUS = re.compile(r"-(?![\s)-]|\Z)")
_SLASH_AT_END = re.compile(r"/(i?)(?=[\s)]|\Z)")
_COMPARE = re.compile(r"([<>]=?)(.*)", re.DOTALL)
_RANGE = re.compile(r"([\[{])\s*([^\s\]}]+)\s+TO\s+([^\s\]}]+)\s*([\]}])")
_NUMBER = re.compile(NUMBER_PATTERN)
_INT64 = re.compile(r"[+-]?[0-9]{1,19}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPERATORS: Final = {"AND": "_AND", "OR": "_OR", "NOT": "_NOT"}


class _Term(Token):  # type: ignore[misc]
    """A TERM token with the leaf that it stands for."""

    node: Node


def _token(kind: str, text: str, position: int) -> Token:
    return Token(kind, text, start_pos=position)


class _Scanner:
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
        field = _field(named[1], at)
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
            return self._leaf(_phrase(field, re.sub(r'\\(["\\])', r"\1", quoted[1]), at), quoted.end())
        closer = self._closer(at)
        if closer is not None:
            pattern = re.sub(
                r"\\(.)", lambda m: "/" if m[1] == "/" else m[0], text[at + 1 : closer.start()], flags=re.S
            )
            return self._leaf(_regex(field or MESSAGE, pattern, bool(closer[1]), at), closer.end())
        interval = _RANGE.match(text, at) if field is not None else None
        if field is not None and interval is not None:
            return self._leaf(_interval(field, interval), interval.end())
        word = _WORD.match(text, at)
        assert word is not None  # no space, no parenthesis stands here
        if not named and word[0] in _OPERATORS:
            return _token(_OPERATORS[word[0]], word[0], at)
        return self._leaf(_word(word[0], at) if field is None else _value(field, word[0], at), word.end())

    def _leaf(self, node: Node, end: int) -> Token:
        term = _Term("TERM", self._text[self._at : end], start_pos=self._at)
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


# ------------------------------------------------------------------------------------------------------------ leaves
def without_surrogates(text: str) -> str:
    """Replace lone surrogates, as in all that is pushed: they are no text that could be found, or answered with."""
    return _SURROGATE.sub("\ufffd", text)


def field_named(name: str) -> Field:
    """Find what a field's name means: a column, else an attribute's key. Raises BadRequest where there is no key."""
    name = without_surrogates(name)
    if name == "id":
        return Field("event_id")
    if name in COLUMNS:
        return Field(name)
    key = name.removeprefix(_ATTRIBUTES)
    if not key or name == "attributes":
        raise BadRequest(f'"{name}" names no field: an attribute is attributes.KEY, or just KEY')
    return Field(key, attribute=True)


def _field(name: str, at: int) -> Field:
    try:
        return field_named(name)
    except BadRequest:
        raise QueryError("name the attribute: attributes.KEY:value, or just KEY:value", at) from None


def _phrase(field: Field | None, text: str, at: int) -> Node:
    return _checked(Contains(MESSAGE, text, ignore_case=False), at) if field is None else _equals(field, text, at)


def _word(text: str, at: int) -> Node:
    if not text.strip("*"):
        return All()
    text = text.strip("*")  # contains is open at both ends anyway
    if "*" in text:
        return _wildcard(MESSAGE, text, "{}", ignore_case=True, at=at)
    return _checked(Contains(MESSAGE, text, ignore_case=True), at)


def _value(field: Field, text: str, at: int) -> Node:
    """Read FIELD:text, text without quotes."""
    compare = _COMPARE.fullmatch(text)
    if compare is not None:
        return Compare(field, _comparison(compare[1]), _number(field, compare[2], at))
    if text[0] == "[":
        raise QueryError("a range is [LOW TO HIGH], * for an open end; quote the value if it is text", at)
    if not text.strip("*"):
        return Exists(field)
    if "*" in text:
        return _wildcard(field, text, r"\A{}\z", ignore_case=field.name == "level" and not field.attribute, at=at)
    return _equals(field, text, at)


def _equals(field: Field, text: str, at: int) -> Node:
    if field == Field("level"):
        return _checked(Equals(field, normalize_level(text)[0], ignore_case=True), at)
    if not field.attribute and field.name in TIME_COLUMNS:
        return Equals(field, str(_time_us(text, at)), ignore_case=False)
    return Equals(field, text, ignore_case=False)


def _interval(field: Field, match: re.Match[str]) -> Node:
    low, high = match[2], match[3]
    tests: list[Node] = []
    if low != "*":
        tests.append(Compare(field, ">=" if match[1] == "[" else ">", _number(field, low, match.start(2))))
    if high != "*":
        tests.append(Compare(field, "<=" if match[4] == "]" else "<", _number(field, high, match.start(3))))
    if not tests:
        return Compare(field, ">=", float("-inf"))  # any number
    return tests[0] if len(tests) == 1 else And(tuple(tests))


def _comparison(text: str) -> Comparison:
    comparisons: dict[str, Comparison] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return comparisons[text]


def _number(field: Field, text: str, at: int) -> float:
    if not field.attribute and field.name in TIME_COLUMNS:
        return _time_us(text, at)
    if _NUMBER.fullmatch(text) is None:
        raise QueryError(f'"{text[:40]}" is no number: compare with one (12, -3.5, 1e3), or quote the value', at)
    # Offsets grow beyond the integers that a float tells apart.
    exact = not field.attribute and field.name in NUMBER_COLUMNS and _INT64.fullmatch(text) is not None
    return int(text) if exact else float(text)


def _time_us(text: str, at: int) -> int:
    try:
        return parse_timestamp_us(text)
    except (ValueError, OverflowError) as error:
        raise QueryError(f'"{text[:40]}" is no time: {error}', at) from error


def _wildcard(field: Field, text: str, form: str, ignore_case: bool, at: int) -> Node:
    if len(text) > MAX_PATTERN_CHARS:
        raise QueryError(f"a term with wildcards has at most {MAX_PATTERN_CHARS} characters: shorten or quote it", at)
    pattern = ".*".join(regex.quote(piece) for piece in re.split(r"\*+", text))
    return _checked(Regex(field, "(?s)" + form.format(pattern), ignore_case), at)


def _regex(field: Field, pattern: str, ignore_case: bool, at: int) -> Node:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise QueryError(f"a regex has at most {MAX_PATTERN_CHARS} characters, this one {len(pattern)}: shorten it", at)
    return _checked(Regex(field, pattern, ignore_case), at)


def _checked(leaf: Contains | Equals | Regex, at: int) -> Node:
    """Let RE2 say now whether it takes the leaf, so that no scan fails later."""
    if isinstance(leaf, Regex):
        reason = regex.invalid_reason(leaf.pattern, leaf.ignore_case)
    elif len(leaf.text) > MAX_PATTERN_CHARS:  # a literal is always valid, but may be too large
        reason = regex.invalid_reason(rf"\A{regex.quote(leaf.text)}\z", leaf.ignore_case)
    else:
        reason = None
    if reason is not None:
        raise QueryError(f"RE2 does not take this: {reason}. Its syntax: https://github.com/google/re2/wiki/Syntax", at)
    return leaf


# --------------------------------------------------------------------------------------------------------- structure
_GRAMMAR: Final = """
?start: any
?any: every | every (_OR every)+ -> any_of
?every: factor | factor (_AND? factor)+ -> every_of
?factor: TERM -> term | _NOT factor -> negated | _LPAR any _RPAR
%declare TERM _AND _OR _NOT _LPAR _RPAR
"""


class _Passing(Lexer):  # type: ignore[misc]
    """Hands lark the tokens that the scanner made."""

    def __init__(self, lexer_conf: Any) -> None:
        pass

    def lex(self, tokens: Iterable[Token]) -> Iterable[Token]:
        return tokens


@v_args(inline=True)
class _Build(Transformer[Token, Node]):  # type: ignore[misc]
    """Builds the tree while the parser reduces; nested ANDs and ORs become one, double negation none."""

    def term(self, token: _Term) -> Node:
        return token.node

    def negated(self, child: Node) -> Node:
        return child.child if isinstance(child, Not) else Not(child)

    def every_of(self, *children: Node) -> Node:
        return And(tuple(g for child in children for g in (child.children if isinstance(child, And) else (child,))))

    def any_of(self, *children: Node) -> Node:
        return Or(tuple(g for child in children for g in (child.children if isinstance(child, Or) else (child,))))


_PARSER: Final = Lark(_GRAMMAR, parser="lalr", lexer=_Passing, transformer=_Build())


def parse(text: str) -> Node:
    """Read a query. Empty text and `*` are everything. Raises QueryError, with the position, and nothing else."""
    text = without_surrogates(text)
    size = len(text.encode())
    if size > MAX_QUERY_BYTES:
        raise QueryError(f"the query has {size} bytes, at most {MAX_QUERY_BYTES} are read: shorten it", len(text))
    tokens = list(_Scanner(text).tokens())
    if not tokens:
        return All()
    try:
        tree: Node = _PARSER.parse(tokens)
    except UnexpectedToken as error:
        raise _misplaced(tokens, error.token) from None
    return tree


def _misplaced(tokens: Sequence[Token], found: Token) -> QueryError:
    """Say what is wrong where the grammar stopped: only operators without operands and empty parentheses do that."""
    index = next((i for i, token in enumerate(tokens) if token is found), len(tokens))
    before = tokens[index - 1] if index else None
    if found.type in ("_AND", "_OR"):
        return QueryError(f'{found} needs a term before it; quote it ("{found}") to find the word', found.start_pos)
    if before is not None and before.type in ("_AND", "_OR", "_NOT"):
        return QueryError(f'{before} needs a term after it; quote it ("{before}") to find the word', before.start_pos)
    position = before.start_pos if before is not None else 0
    return QueryError("these parentheses are empty: put a term between them, or quote them", position)


# -------------------------------------------------------------------------------------------------------------- time
_RELATIVE = re.compile(r"([+-])(\d{1,12})(s|m|h|d|w)", re.ASCII)
UNIT_US: Final = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6, "w": 604_800 * 10**6}
_FIRST_US: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 10**6
_LAST_US: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 10**6
_TIME_HELP = "use RFC 3339 (2026-11-24T10:00:00Z), an epoch number, now, or a relative time (-15m; s, m, h, d, w)"


def parse_time_us(value: str | int | float | None, now_us: int) -> int | None:
    """Read a bound of a query as epoch microseconds; None stays None (unbounded).

    RFC 3339 (UTC without an offset), an epoch number or digit string in s, ms, us or ns told by its magnitude, `now`,
    or relative to `now_us`: `-30s`, `-15m`, `-1h`, `-7d`, `-2w`. Raises BadRequest.
    """
    if value is None:
        return None
    try:
        us = _relative_us(value.strip(), now_us) if isinstance(value, str) else None
        if us is None:
            us = parse_timestamp_us(value)
    except (ValueError, OverflowError) as error:
        shown = str(value)[:60]
        raise BadRequest(f'"{shown}" is no time that a search can begin or end at ({error}): {_TIME_HELP}') from error
    if not _FIRST_US <= us <= _LAST_US:
        raise BadRequest(f'"{str(value)[:60]}" lies outside the years 1 to 9999: {_TIME_HELP}')
    return us


def _relative_us(text: str, now_us: int) -> int | None:
    """Read `now` or a relative time; None when the text is neither."""
    if text == "now":
        return now_us
    match = _RELATIVE.fullmatch(text)
    if match is None:
        if text.startswith("-"):
            raise ValueError("a relative time needs a whole number and a unit")
        return None
    sign = -1 if match[1] == "-" else 1
    return now_us + sign * int(match[2]) * UNIT_US[match[3]]
