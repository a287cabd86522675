"""One term of a query, cut out already, turned into the leaf that it stands for.

May live here: what a word, a phrase, a regex or FIELD:value means. May not: where a term ends, how terms join.
"""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal, InvalidOperation
from typing import Final

from ess_ray.core import regex
from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.event import normalize_level, parse_timestamp_us
from ess_ray.core.filter import NUMBER_PATTERN
from ess_ray.core.query import (
    COLUMNS,
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
    Number,
    Regex,
)

MAX_PATTERN_CHARS: Final = 1_000
"""Of one regex, or one term with wildcards: the contract's limit, so that no pattern compiles for seconds."""

MESSAGE: Final = Field("message")
_ATTRIBUTES = "attributes."
_COMPARE = re.compile(r"([<>]=?)(.*)", re.DOTALL)
_NUMBER = re.compile(NUMBER_PATTERN)
_SURROGATE = re.compile("[\ud800-\udfff]")


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


def field_at(name: str, at: int) -> Field:
    try:
        return field_named(name)
    except BadRequest:
        raise QueryError("name the attribute: attributes.KEY:value, or just KEY:value", at) from None


def phrase_leaf(field: Field | None, text: str, at: int) -> Node:
    return _checked(Contains(MESSAGE, text, ignore_case=False), at) if field is None else _equals(field, text, at)


def word_leaf(text: str, at: int) -> Node:
    if not text.strip("*"):
        return All()
    text = text.strip("*")  # contains is open at both ends anyway
    if "*" in text:
        return _wildcard(MESSAGE, text, "{}", ignore_case=True, at=at)
    return _checked(Contains(MESSAGE, text, ignore_case=True), at)


def value_leaf(field: Field, text: str, at: int) -> Node:
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


def interval_leaf(field: Field, match: re.Match[str]) -> Node:
    low, high = match[2], match[3]
    tests: list[Node] = []
    if low != "*":
        tests.append(Compare(field, ">=" if match[1] == "[" else ">", _number(field, low, match.start(2))))
    if high != "*":
        tests.append(Compare(field, "<=" if match[4] == "]" else "<", _number(field, high, match.start(3))))
    if not tests:
        return Compare(field, ">=", Decimal("-Infinity"))  # any number
    return tests[0] if len(tests) == 1 else And(tuple(tests))


def _comparison(text: str) -> Comparison:
    comparisons: dict[str, Comparison] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return comparisons[text]


def _number(field: Field, text: str, at: int) -> Number:
    if not field.attribute and field.name in TIME_COLUMNS:
        return _time_us(text, at)
    if _NUMBER.fullmatch(text) is not None:
        with contextlib.suppress(InvalidOperation):  # an exponent of more than 18 digits
            return Decimal(text)
    raise QueryError(f'"{text[:40]}" is no number: compare with one (12, -3.5, 1e3), or quote the value', at)


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
