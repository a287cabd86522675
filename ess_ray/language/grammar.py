"""How terms join: NOT over AND (and juxtaposition) over OR, and parentheses. LALR, no recursion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedToken, v_args
from lark.lexer import Lexer

from ess_ray.core.errors import QueryError
from ess_ray.core.query import All, And, Node, Not, Or
from ess_ray.language.names import without_surrogates
from ess_ray.language.scanner import Scanner, Term, pipe_in

MAX_QUERY_BYTES: Final = 16 * 1024
"""Of UTF-8 text: the contract's limit; longer queries are machine-made and belong in code over the stored table."""

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

    def term(self, token: Term) -> Node:
        return token.node

    def negated(self, child: Node) -> Node:
        return child.child if isinstance(child, Not) else Not(child)

    def every_of(self, *children: Node) -> Node:
        return And(tuple(g for child in children for g in (child.children if isinstance(child, And) else (child,))))

    def any_of(self, *children: Node) -> Node:
        return Or(tuple(g for child in children for g in (child.children if isinstance(child, Or) else (child,))))


_PARSER: Final = Lark(_GRAMMAR, parser="lalr", lexer=_Passing, transformer=_Build())


def parse(text: str) -> Node:
    """Read a query. Empty text and `*` are everything. Raises QueryError, with the position, and nothing else.

    One with stages behind it (`pipes`) gives no rows, and is refused.
    """
    text = without_surrogates(text)
    check_size(text)
    at = pipe_in(text)
    if at is not None:
        message = "stages such as `| stats` make a table: ess search shows it, POST /search/v1/pipes answers with it; "
        raise QueryError(message + 'put the | in quotes ("|") to find the text', at)
    return parse_terms(text)


def check_size(text: str) -> None:
    """Raise QueryError for a text that is too long."""
    size = len(text.encode())
    if size > MAX_QUERY_BYTES:
        raise QueryError(f"the query has {size} bytes, at most {MAX_QUERY_BYTES} are read: shorten it", len(text))


def parse_terms(text: str) -> Node:
    """Read a query without stages, checked already. Raises QueryError."""
    tokens = list(Scanner(text).tokens())
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
