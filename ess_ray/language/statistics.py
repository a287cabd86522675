"""Functions as they are written, `p95(duration_ms)`, read into statistics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from lark import Token

from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.statistics import FAMILIES, Statistic
from ess_ray.language.names import field_named
from ess_ray.language.writing import unquoted, written_name

FUNCTIONS: Final = (
    "count(), count_distinct(FIELD), sum(FIELD), avg(FIELD), min(FIELD), max(FIELD), p50(FIELD) to p99(FIELD) and "
    "p99.9(FIELD), quantile(Q, FIELD) with Q from 0 to 1, rate()"
)
"""What there is, for people."""
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,9})?)", re.ASCII)
_SHARE = re.compile(r"(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})", re.ASCII)
_WITHOUT_FIELD: Final = frozenset({"count", "rate"})


def statistic_of(function: Token, arguments: Sequence[Token]) -> Statistic:
    """Read a function of arguments: names (in quotes or not) and numbers. Raises QueryError, with the position."""
    name, at = str(function), function.start_pos
    percentile = _PERCENTILE.fullmatch(name)
    if name in _WITHOUT_FIELD:
        if arguments:
            raise QueryError(f"{name}() takes nothing between its parentheses", arguments[0].start_pos)
        return Statistic(f"{name}()", name)
    if percentile is not None:
        q = Fraction(percentile[1]) / 100
        if q > 1:
            raise QueryError(f"there is no {name}: percentiles go from p0 to p100, such as p95 or p99.9", at)
        return _of_field(name, "quantile", f"{name}(FIELD)", function, arguments=arguments, q=q)
    if name == "quantile":
        return _quantile(function, arguments)
    if name not in FAMILIES:
        raise QueryError(f"there is no function {name[:40]}: there are {FUNCTIONS}", at)
    return _of_field(name, name, f"{name}(FIELD)", function, arguments=arguments)


def _quantile(function: Token, arguments: Sequence[Token]) -> Statistic:
    usage = "quantile(0.95, FIELD)"
    if len(arguments) != 2:
        raise QueryError(f"quantile takes a number from 0 to 1 and a field: {usage}", function.start_pos)
    share = arguments[0]
    q = Fraction(str(share)) if _SHARE.fullmatch(share) else None
    if q is None or q > 1:
        raise QueryError(f'"{share[:40]}" is no number from 0 to 1: {usage} gives the 95th percentile', share.start_pos)
    made = _of_field("quantile", "quantile", usage, function, arguments=arguments[1:], q=q)
    return replace(made, text=f"quantile({share}, {made.text.removeprefix('quantile(')}")


def _of_field(
    name: str, family: str, usage: str, function: Token, *, arguments: Sequence[Token], q: Fraction = Fraction(0)
) -> Statistic:
    if len(arguments) != 1:
        raise QueryError(f"{name} takes one field: {usage}", function.start_pos)
    (argument,) = arguments
    written = name_in(argument)
    if argument.type == "NUMBER":
        raise QueryError(f"{name} takes a field, not a number: {usage}; quote a name of digits", argument.start_pos)
    try:
        field = field_named(written)
    except BadRequest as error:
        raise QueryError(error.message, argument.start_pos) from None
    return Statistic(f"{name}({written_name(written)})", family, field, written, q)


def name_in(token: Token) -> str:
    """Give the name that a token is, without its quotes."""
    return unquoted(token) if token.startswith('"') else str(token)
