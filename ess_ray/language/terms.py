"""One term of a query, cut out already, turned into the leaf that it stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from ess_ray.core import regex
from ess_ray.core.attribute import canonical_number
from ess_ray.core.errors import QueryError
from ess_ray.core.event import normalize_level
from ess_ray.core.operators.compare import NUMBER_PATTERN
from ess_ray.core.query import (
    NUMBER_COLUMNS,
    TIME_COLUMNS,
    All,
    Compare,
    Comparison,
    Contains,
    Equals,
    Exists,
    Field,
    Node,
    Not,
    Number,
    Or,
    Range,
    Regex,
)
from ess_ray.language.times import absolute_us
from ess_ray.language.writing import unquoted

MAX_PATTERN_CHARS: Final = 1_000
"""Of one regex, or one term with wildcards: the contract's limit, so that no pattern compiles for seconds."""

MESSAGE: Final = Field("message")
_COMPARE = re.compile(r"([<>]=?)(.*)", re.DOTALL)
# Atomic: what follows a number never makes it be read again, so that long ones cost no more than their length.
NUMBER: Final = re.compile(rf"(?>{NUMBER_PATTERN})")
_PLAUSIBLE_FROM_US: Final = 10**15
"""September 2001: a number below that, as a time, is more likely none."""


def any_of_fields(fields: Sequence[Field], make: Callable[[Field | None], Node]) -> Node:
    """Make the leaf of each field that a name means: one of them is enough. Without a name, the leaf of None.

    Of several the first is the one that has this name, the others have it among clients only: there a value that is
    none of theirs is no mistake, nor here one that is theirs alone (`@timestamp:>2026-11-20`). Raises QueryError.
    """
    if len(fields) < 2:
        return make(fields[0] if fields else None)
    leaves: list[Node] = []
    mistake: QueryError | None = None
    for field in fields:
        try:
            leaf = make(field)
        except QueryError as error:
            mistake = mistake or error
        else:
            leaves += [leaf] if field == fields[0] or field.name not in TIME_COLUMNS or _is_plausible(leaf) else []
    if mistake is not None and not leaves:
        raise mistake
    return Or(tuple(leaves)) if len(leaves) > 1 else leaves[0]


def _is_plausible(test: Node) -> bool:
    """Tell whether a test of a time is of one at which something was logged: `time:>0.35` is a duration."""
    if isinstance(test, Range):
        return min(test.low, test.high) >= _PLAUSIBLE_FROM_US
    if isinstance(test, Compare):
        return test.number >= _PLAUSIBLE_FROM_US
    return not isinstance(test, Equals) or int(test.text) >= _PLAUSIBLE_FROM_US


def phrase_leaf(field: Field | None, text: str, at: int) -> Node:
    return _checked(Contains(MESSAGE, text, ignore_case=False), at) if field is None else _equals(field, text, at)


def _word_leaf(text: str, at: int) -> Node:
    if not text.strip("*"):
        return All()
    text = text.strip("*")  # contains is open at both ends anyway
    if "*" in text:
        return _wildcard(MESSAGE, text, "{}", ignore_case=True, at=at)
    return _checked(Contains(MESSAGE, text, ignore_case=True), at)


def value_leaf(field: Field | None, text: str, at: int) -> Node:
    """Read FIELD:text, text without quotes; None: a word by itself."""
    if field is None:
        return _word_leaf(text, at)
    compare = _COMPARE.fullmatch(text)
    if compare is not None:
        return _compare(field, _comparison(compare[1]), compare[2], at)
    if text[0] == "[":
        raise QueryError("a range is [LOW TO HIGH], * for an open end; quote the value if it is text", at)
    if not text.strip("*"):
        return Exists(field)
    if "*" in text:
        return _wildcard(field, text, r"\A{}\z", ignore_case=field.name == "level" and not field.attribute, at=at)
    return _equals(field, text, at)


def compared_leaf(field: Field | None, sign: str, text: str, at: int) -> Node:
    """Read FIELD:>=text, text that stood in quotes: a time may hold spaces."""
    return _compare(field or MESSAGE, _comparison(sign), text, at)


def _equals(field: Field, text: str, at: int) -> Node:
    if field == Field("level"):
        return _checked(Equals(field, normalize_level(text)[0], ignore_case=True), at)
    if not field.attribute and field.name in TIME_COLUMNS:
        exact_us = _time_us(text, at)
        # No event lies between two microseconds.
        return Equals(field, str(exact_us), ignore_case=False) if exact_us.denominator == 1 else Not(All())
    if not field.attribute and field.name in NUMBER_COLUMNS:
        text = canonical_number(text) or text
    return Equals(field, text, ignore_case=False)


def interval_leaf(field: Field, match: re.Match[str]) -> Node:
    low, high = (unquoted(one) if one[0] == '"' else one for one in match.group(2, 3))
    above, below = None, None
    if low != "*":
        above = _compare(field, ">=" if match[1] == "[" else ">", low, match.start(2))
    if high != "*":
        below = _compare(field, "<=" if match[4] == "]" else "<", high, match.start(3))
    if above is None or below is None:
        return above or below or Compare(field, ">=", Decimal("-Infinity"))  # any number
    return Range(field, above.number, above.op == ">=", below.number, below.op == "<=")


def _comparison(text: str) -> Comparison:
    comparisons: dict[str, Comparison] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return comparisons[text]


def _compare(field: Field, op: Comparison, text: str, at: int) -> Compare:
    if not field.attribute and field.name in TIME_COLUMNS:
        exact_us = _time_us(text, at)
        # An event's time is a whole number of microseconds: at or after 0.5 is from 1 on, after 0.5 is after 0.
        return Compare(field, op, math.ceil(exact_us) if op in (">=", "<") else math.floor(exact_us))
    return Compare(field, op, _number(text, at))


def _number(text: str, at: int) -> Number:
    if NUMBER.fullmatch(text) is not None:
        with suppress(InvalidOperation):  # an exponent of more than 18 digits
            return Decimal(text)
    raise QueryError(f'"{text[:40]}" is no number: compare with one (12, -3.5, 1e3), or quote the value', at)


def _time_us(text: str, at: int) -> Fraction:
    try:
        return absolute_us(text)
    except (ValueError, OverflowError) as error:
        raise QueryError(f'"{text[:40]}" is no time: {error}', at) from error


def _wildcard(field: Field, text: str, form: str, ignore_case: bool, at: int) -> Node:
    if len(text) > MAX_PATTERN_CHARS:
        raise QueryError(f"a term with wildcards has at most {MAX_PATTERN_CHARS} characters: shorten or quote it", at)
    pattern = ".*".join(regex.quote(piece) for piece in re.split(r"\*+", text))
    return _checked(Regex(field, "(?s)" + form.format(pattern), ignore_case), at)


def regex_leaf(field: Field, pattern: str, ignore_case: bool, at: int) -> Node:
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
