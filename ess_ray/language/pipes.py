"""Pipes: what is made of the rows that a query finds, stage by stage. `QUERY | stats count() as n by service | top 5`.

A pipe is a `|` between spaces, neither in quotes nor in a regex, with a stage's name behind it; any other is text.

    | stats FUNCTION [as NAME], ... [by FIELD, ...] [every 5m]     a row for each group, and each time bucket
    | patterns                                                     a row for each pattern of messages
    | sort by COLUMN [asc|desc], ...   | top N [by COLUMN]   | limit N   | fields COLUMN, ...

A column is called as `as` says, else as its function or field is written; that of `every` is `time`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.field import Field
from ess_ray.core.query import Node
from ess_ray.core.statistics import Statistic
from ess_ray.language.grammar import check_size, parse_terms
from ess_ray.language.names import field_named, without_surrogates
from ess_ray.language.scanner import pipe_in
from ess_ray.language.statistics import FUNCTIONS, name_in, statistic_of

TIME_COLUMN: Final = "time"
COUNT_COLUMN: Final = "count"
PATTERN_COLUMNS: Final = ("pattern", COUNT_COLUMN, "share", "first", "last", "example", "query", "new", "trend")
MAX_STATISTICS: Final = 50
"""In one stage: more columns than anybody reads."""
MAX_GROUPED_BY: Final = 8
"""Fields to group by: each multiplies the groups."""
MAX_COUNT: Final = 10_000
"""Rows that `limit` and `top` may ask for: as many as a table has."""

_GRAMMAR: Final = r"""
pipe: stage+
function: FUNCTION "(" [argument ("," argument)*] ")"
?argument: NAME | QUOTED | NUMBER

?stage: "|" "stats" statistic ("," statistic)* [by] [every] -> stats
      | "|" "sort" "by" order ("," order)*                  -> sort
      | "|" "top" NUMBER ["by" column]                      -> top
      | "|" "limit" NUMBER                                  -> limit
      | "|" "fields" column ("," column)*                   -> fields
      | "|" "patterns"                                      -> patterns
statistic: function ["as" name]
by: "by" name ("," name)*
every: "every" WIDTH
order: column [DIRECTION]
?column: function | name
?name: NAME | QUOTED

DIRECTION: "asc" | "desc"
FUNCTION.2: /[A-Za-z_][A-Za-z0-9_.]*(?=\s*\()/
NUMBER: /[0-9.][0-9.a-zA-Z_+-]*/
WIDTH: /[^\s|,()]+/
NAME: /[^\W\d][^\s():"<>=!,|]*|@[^\s():"<>=!,|]+/
QUOTED: /"(?:[^"\\]|\\.)*"/s
%ignore /\s+/
"""
_WORDS: Final = {
    "FUNCTION": "a function such as count() or p95(FIELD)",
    "NAME": "a name",
    "NUMBER": "a number",
    "WIDTH": "a width such as 5m",
    "LPAR": '"("',
    "RPAR": '")"',
    "COMMA": '","',
    "VBAR": "another stage",
    "DIRECTION": "asc, desc",
    "$END": "the end",
}


@dataclass(frozen=True, slots=True)
class Stats:
    """Make a row of each group, and each bucket of `every` (a width as it is written; None: no buckets)."""

    statistics: tuple[Statistic, ...]
    columns: tuple[str, ...]
    """The names of the statistics' columns."""
    by: tuple[Field, ...] = ()
    by_names: tuple[str, ...] = ()
    every: str | None = None
    every_at: int = 0
    """Where it stands in the text."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """Make a row of each pattern of messages."""

    columns: tuple[str, ...] = PATTERN_COLUMNS


@dataclass(frozen=True, slots=True)
class Sort:
    """Order rows by columns (name, whether descending); what has no value comes last."""

    keys: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """Keep the first rows."""

    rows: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Keep some columns, in this order."""

    names: tuple[str, ...]


Step = Sort | Limit | Fields


@dataclass(frozen=True, slots=True)
class Pipe:
    """A query, and what is made of its rows. `query`: its text alone. `first`: the stage that makes a table of rows."""

    root: Node
    query: str
    first: Stats | Patterns
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class _Top:
    rows: int
    by: _Column | None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Columns that `fields` names, before it is known whether they are there."""

    columns: tuple[_Column, ...]


@dataclass(frozen=True, slots=True)
class _Order:
    """Columns that `sort` names, each with whether it descends, before it is known whether they are there."""

    keys: tuple[tuple[_Column, bool], ...]


@v_args(inline=True)
class _Build(Transformer[Token, Any]):  # type: ignore[misc]
    """Builds stages. Raises QueryError, which lark wraps."""

    def function(self, name: Token, *arguments: Token | None) -> tuple[Statistic, int]:
        return statistic_of(name, [one for one in arguments if one is not None]), name.start_pos

    def statistic(self, function: tuple[Statistic, int], name: Token | None) -> tuple[Statistic, _Column]:
        statistic, at = function
        column = _Column(statistic.text, at) if name is None else _Column(name_in(name), name.start_pos)
        return statistic, column

    def by(self, *names: Token) -> list[tuple[Field, _Column]]:
        if len(names) > MAX_GROUPED_BY:
            at = names[MAX_GROUPED_BY].start_pos
            raise QueryError(f"at most {MAX_GROUPED_BY} fields are grouped by: leave some out", at)
        return [(_field_at(name), _Column(name_in(name), name.start_pos)) for name in names]

    def every(self, width: Token) -> Token:
        return width

    def order(self, column: Any, direction: Token | None) -> tuple[_Column, bool]:
        return _column_of(column), direction == "desc"

    def stats(self, *parts: Any) -> Stats:
        *statistics, by, every = parts
        if len(statistics) > MAX_STATISTICS:
            raise QueryError(f"at most {MAX_STATISTICS} functions a stage", statistics[MAX_STATISTICS][1].at)
        time = [] if every is None else [_Column(TIME_COLUMN, every.start_pos)]
        grouped = [column for _, column in by or ()]
        _check_apart([*time, *grouped, *(column for _, column in statistics)])
        return Stats(
            tuple(statistic for statistic, _ in statistics),
            tuple(column.name for _, column in statistics),
            tuple(field for field, _ in by or ()),
            tuple(column.name for column in grouped),
            None if every is None else str(every),
            0 if every is None else every.start_pos,
        )

    def sort(self, *orders: tuple[_Column, bool]) -> _Order:
        return _Order(orders)

    def top(self, count: Token, column: Any) -> _Top:
        return _Top(_count_of(count), None if column is None else _column_of(column))

    def limit(self, count: Token) -> Limit:
        return Limit(_count_of(count))

    def fields(self, *columns: Any) -> _Chosen:
        return _Chosen(tuple(map(_column_of, columns)))

    def patterns(self) -> Patterns:
        return Patterns()


_PARSER: Final = Lark(
    _GRAMMAR, parser="lalr", start=["pipe", "function"], maybe_placeholders=True, propagate_positions=False
)
_BUILD: Final = _Build()


def parse_pipe(text: str) -> Pipe | None:
    """Read a query with stages; None: there are none. Raises QueryError, with the position in the whole text."""
    text = without_surrogates(text)
    check_size(text)
    at = pipe_in(text)
    if at is None:
        return None
    tree = _read(text, at, "pipe")
    first, *others = tree.children
    if not isinstance(first, Stats | Patterns):
        message = "begin with `| stats FUNCTION by FIELD` or `| patterns`: other stages work on what these give"
        raise QueryError(message, at)
    return Pipe(parse_terms(text[:at]), text[:at].strip(), first, _steps(first, others, at))


def parse_statistic(text: str) -> Statistic:
    """Read one function, which is shown as it is written. Raises QueryError, with the position."""
    text = without_surrogates(text)
    if not text.strip():
        raise QueryError(f"a function is missing: there are {FUNCTIONS}")
    check_size(text)
    statistic: Statistic = _read(text, 0, "function")[0]
    return replace(statistic, text=text)


def _read(text: str, begin: int, start: str) -> Any:
    """Parse from a place on; positions are those in the whole text."""
    blank = re.sub(r"\S", " ", text[:begin])
    try:
        return _BUILD.transform(_PARSER.parse(blank + text[begin:], start=start))
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        raise _misplaced(text, error, start) from None


def _misplaced(text: str, error: UnexpectedInput, start: str) -> QueryError:
    if isinstance(error, UnexpectedCharacters):
        expected, at = error.allowed, error.pos_in_stream
    elif isinstance(error, UnexpectedToken):
        expected, at = error.accepts or error.expected, error.token.start_pos
        if error.token.type == "$END":
            at = len(text.rstrip())
    else:
        expected, at = getattr(error, "expected", ()), len(text)
    at = len(text) if at is None or at < 0 else at
    told = sorted({_WORDS.get(name, name.lower()) for name in expected or () if name != "QUOTED"})
    found = text[at : at + 20].split("\n", maxsplit=1)[0].strip()
    what = f'"{found}" cannot stand here' if found else "the text cannot end here"
    known = f"; there are {FUNCTIONS}" if start == "function" else ""
    return QueryError(f"{what}, but {' or '.join(told)} can{known}", at)


def _steps(first: Stats | Patterns, found: Sequence[Any], begin: int) -> tuple[Step, ...]:
    """Check that the columns that stages name are there, one stage after the other."""
    columns = list(first.columns)
    if isinstance(first, Stats):
        columns = [*([] if first.every is None else [TIME_COLUMN]), *first.by_names, *columns]
    steps: list[Step] = []
    for stage in found:
        match stage:
            case Stats() | Patterns():
                raise QueryError("`| stats` or `| patterns` stands once, as the first stage", begin)
            case Limit():
                steps.append(stage)
            case _Top(rows, by):
                name = _there(by, columns) if by is not None else _ranking(first, columns, begin)
                steps += [Sort(((name, True),)), Limit(rows)]
            case _Chosen(chosen):
                _check_apart(chosen)
                columns = [_there(column, columns) for column in chosen]
                steps.append(Fields(tuple(columns)))
            case _Order(keys):
                steps.append(Sort(tuple((_there(column, columns), descending) for column, descending in keys)))
    return tuple(steps)


def _ranking(first: Stats | Patterns, columns: Sequence[str], begin: int) -> str:
    """Give the column that `top N` alone means: the first statistic's that is still there."""
    for name in first.columns if isinstance(first, Stats) else (COUNT_COLUMN,):
        if name in columns:
            return name
    raise QueryError("`| top N` needs a column of numbers: keep one, or say by which: `| top N by COLUMN`", begin)


def _there(column: _Column, columns: Sequence[str]) -> str:
    if column.name not in columns:
        known = ", ".join(columns)
        raise QueryError(f'there is no column "{column.name[:60]}" at this stage: there are {known}', column.at)
    return column.name


def _check_apart(columns: Sequence[_Column]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            message = f'two columns would be called "{column.name[:60]}": give one another name by `as NAME`'
            raise QueryError(message, column.at)
        seen.add(column.name)


def _column_of(found: Any) -> _Column:
    if isinstance(found, Token):
        return _Column(name_in(found), found.start_pos)
    statistic, at = found
    return _Column(statistic.text, at)


def _field_at(token: Token) -> Field:
    try:
        return field_named(name_in(token))
    except BadRequest as error:
        raise QueryError(error.message, token.start_pos) from None


def _count_of(token: Token) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", token) or not 1 <= int(token) <= MAX_COUNT:
        raise QueryError(f'"{token[:40]}" is no number of rows from 1 to {MAX_COUNT:,}', token.start_pos)
    return int(token)
