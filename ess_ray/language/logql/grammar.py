"""LogQL text -> tree. LALR by `lark`, no recursion while it reads.

Whatever is not known here is refused by its name: nothing is left out of a query in silence.
"""

from __future__ import annotations

from typing import Any, Final

from lark import Lark, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ess_ray.core.errors import QueryError
from ess_ray.language.grammar import check_size
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.building import Build
from ess_ray.language.logql.quantities import UNIT
from ess_ray.language.names import without_surrogates

MAX_DEPTH: Final = 60
"""Of expressions in one another: more is nobody's dashboard, and each takes a frame of Python's stack."""

_GRAMMAR: Final = rf"""
start: log_query | metric
log_query: selector stage* | "(" log_query ")" -> inner
selector: "{{" [matcher ("," matcher)* [","]] "}}"
matcher: NAME (EQ | RE | NEQ | NRE) STRING

?stage: line_filter | "|" piped
line_filter: (LINE_OP | NEQ | NRE) line_value ("or" line_value)*
?line_value: STRING -> text
           | "ip" "(" STRING ")" -> ip
?piped: json | logfmt | regexp | pattern | unpack | line_format | label_format | drop | keep | decolorize | any_filter
json: "json" [extraction ("," extraction)*]
logfmt: "logfmt" FLAG* [extraction ("," extraction)*]
extraction: NAME [EQ STRING]
regexp: "regexp" STRING
pattern: "pattern" STRING
unpack: "unpack"
line_format: "line_format" STRING
label_format: "label_format" relabel ("," relabel)*
relabel: NAME EQ NAME -> renamed
       | NAME EQ STRING -> made
drop: "drop" chosen ("," chosen)*
keep: "keep" chosen ("," chosen)*
chosen: NAME | matcher
decolorize: "decolorize"

?any_filter: every_filter ("or" every_filter)*
?every_filter: one_filter (("and" | ",") one_filter)*
?one_filter: matcher -> string_filter
           | NAME (COMPARE | EQ | NEQ) [SIGN] (NUMBER | DURATION | BYTES) -> quantity
           | NAME (EQ | NEQ) "ip" "(" STRING ")" -> ip_filter
           | "(" any_filter ")"

log_range: selector stage* [unwrap] range [offset]
         | selector range [offset] stage+ [unwrap] -> early_range
         | selector range [offset] unwrap -> early_range
         | "(" log_query ")" range [offset] -> closed_range
         | "(" log_range ")" -> inner
unwrap: "|" "unwrap" NAME ["(" NAME ")"] ("|" any_filter)*
range: "[" DURATION "]"
offset: "offset" [SIGN] DURATION

?metric: set_of
?set_of: together | set_of SET_OR modifier together -> binary
?together: compared | together SET_AND modifier compared -> binary
?compared: added | compared (COMPARE | NEQ) modifier added -> binary
?added: multiplied | added SIGN modifier multiplied -> binary
?multiplied: raised | multiplied TIMES modifier raised -> binary
?raised: atom | atom POWER modifier raised -> binary
modifier: [BOOL] [matching] [GROUP_SIDE ["(" names ")"]]
matching: (ON | IGNORING) "(" names ")"
?atom: "(" metric ")"
     | number
     | call
number: [SIGN] NUMBER
call: NAME [grouping] "(" argument ("," argument)* ")" [grouping]
?argument: metric | log_range | log_query | STRING -> text
grouping: (BY | WITHOUT) "(" names ")"
names: [NAME ("," NAME)*]

SET_OR.2: "or"
SET_AND.2: "and" | "unless"
BOOL: "bool"
ON: "on"
IGNORING: "ignoring"
GROUP_SIDE.2: /group_(?:left|right)(?![A-Za-z0-9_:])/
BY: "by"
WITHOUT: "without"
RE: "=~"
EQ: "="
NEQ: "!="
NRE: "!~"
LINE_OP: "|=" | "|~" | "|>" | "!>"
COMPARE: "==" | ">=" | "<=" | ">" | "<"
SIGN: "+" | "-"
TIMES: "*" | "/" | "%"
POWER: "^"
FLAG: "--strict" | "--keep-empty"
STRING: /"(?:[^"\\\n]|\\.)*"|`[^`]*`/
DURATION.3: /(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:{UNIT}))+(?![A-Za-z0-9_.])/
BYTES.2: /(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[kKmMgGtTpPeE]i?)?[bB](?![A-Za-z0-9_.])/
NUMBER.1: /(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])/
NAME: /[A-Za-z_][A-Za-z0-9_:]*/
COMMENT: /#[^\n]*/
%ignore COMMENT
%ignore /[ \t\r\n]+/
"""

_PARSER: Final = Lark(_GRAMMAR, parser="lalr", transformer=Build(), maybe_placeholders=True)


def parse_logql(text: str) -> t.Expression:
    """Read LogQL. Raises QueryError, with the position, and nothing else."""
    text = without_surrogates(text)
    check_size(text)
    try:
        expression: t.Expression = _PARSER.parse(text)
    except UnexpectedInput as error:
        raise _unexpected(text, error) from None
    except QueryError as error:
        raise QueryError(f"parse error at {_place(text, error.position)}: {error.message}", error.position) from None
    _check_depth(expression)
    return expression


def parse_selector(text: str) -> t.LogQuery:
    """Read a selector, with or without a pipeline; what is a metric is refused. Raises QueryError."""
    expression = parse_logql(text)
    if not isinstance(expression, t.LogQuery):
        raise QueryError("only a log query can stand here, not a metric")
    return expression


def _unexpected(text: str, error: UnexpectedInput) -> QueryError:
    at = getattr(error, "pos_in_stream", None)
    at = len(text) if at is None or at < 0 else at
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        found = str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        found = text[at : at + 20].split(maxsplit=1)[0] if text[at:].split() else "end"
    else:
        at, found = len(text), "the end"
    behind = text[:at].split()[-1:]
    where = f" behind {behind[0][-40:]}" if behind else ""
    return QueryError(f"parse error at {_place(text, at)}: syntax error: unexpected {found}{where}", at)


def _place(text: str, at: int) -> str:
    before = text[:at]
    return f"line {before.count(chr(10)) + 1}, col {at - (before.rfind(chr(10)) + 1) + 1}"


def _check_depth(expression: t.Expression) -> None:
    """Raise QueryError where expressions are too deep in one another."""
    waiting: list[tuple[Any, int]] = [(expression, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise QueryError(f"more than {MAX_DEPTH} expressions are in one another")
        match node:
            case t.Binary():
                waiting += [(node.left, depth + 1), (node.right, depth + 1)]
            case t.VectorFunction() | t.LabelReplace():
                waiting.append((node.inner, depth + 1))
            case t.RangeFunction():
                waiting += [(stage, depth + 1) for stage in node.range.query.stages]
            case t.LogQuery():
                waiting += [(stage, depth + 1) for stage in node.stages]
            case t.AllOf() | t.AnyOf():
                waiting += [(child, depth + 1) for child in node.children]
