"""What the grammar found -> the tree of `tree`, and what a grammar cannot say about it."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, cast

from lark import Token, Transformer, v_args

from ess_ray.core import regex
from ess_ray.core.errors import QueryError
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.addresses import Addresses, read_addresses
from ess_ray.language.logql.functions import (
    GROUPED_FUNCTIONS,
    LINE_FUNCTIONS,
    PICKING,
    RANGE_FUNCTIONS,
    SETS,
    SORTING,
    UNWRAPPED_FUNCTIONS,
    VECTOR_FUNCTIONS,
)
from ess_ray.language.logql.patterns import check_pattern, line_regex
from ess_ray.language.logql.quantities import duration_ns, size_bytes
from ess_ray.language.logql.template import parse_template
from ess_ray.language.logql.texts import unquote
from ess_ray.language.terms import MAX_PATTERN_CHARS

ANCHORED: Final = r"\A(?s:{})\z"
"""A label's expression matches the whole value, and `.` any character, as in Prometheus and Loki."""


_NAMED_GROUP: Final = re.compile(r"\(\?P?<[A-Za-z_]")


def anchored(pattern: str) -> str:
    """Give a pattern that finds what a label's expression matches."""
    return ANCHORED.format(pattern)


@v_args(inline=True)
class Build(Transformer[Token, Any]):  # type: ignore[misc]
    """Builds the tree while the parser reduces."""

    # ------------------------------------------------------------------------------------------------ log queries
    def inner(self, value: Any) -> Any:
        return value

    def log_query(self, matchers: tuple[t.Matcher, ...], *stages: t.Stage) -> t.LogQuery:
        return t.LogQuery(matchers, stages)

    def selector(self, *matchers: t.Matcher | None) -> tuple[t.Matcher, ...]:
        given = tuple(matcher for matcher in matchers if matcher is not None)
        if not any(_excludes_empty(matcher) for matcher in given):
            raise QueryError(
                "queries require at least one regexp or equality matcher that does not have an empty-compatible value. "
                'For instance, app=~".*" does not meet this requirement, but app=~".+" will'
            )
        return given

    def matcher(self, name: Token, op: Token, value: Token) -> t.Matcher:
        text = _text(value)
        if op.type in ("RE", "NRE"):
            _check_regex(anchored(text), value)
        return t.Matcher(str(name), cast(t.MatchOp, str(op)), text)

    def text(self, value: Token) -> Token:
        return value

    def ip(self, value: Token) -> Addresses:
        return _addresses(value)

    def line_filter(self, op: Token, *given: Token | Addresses) -> t.LineFilter:
        addresses = tuple(one for one in given if isinstance(one, Addresses))
        if addresses and op not in ("|=", "!="):
            raise QueryError(f"ip(..) stands behind |= or !=, not behind {op}", op.start_pos or 0)
        values = [one for one in given if isinstance(one, Token)]
        texts = tuple(map(_text, values))
        for text, value in zip(texts, values, strict=True):
            if op in ("|~", "!~"):
                _check_regex(text, value)
            elif op in ("|>", "!>"):
                _check_line_pattern(text, value)
        return t.LineFilter(cast(t.LineOp, str(op)), texts, addresses)

    def extraction(self, label: Token, _: Token | None, source: Token | None) -> t.Extraction:
        return t.Extraction(str(label), str(label) if source is None else _text(source))

    def json(self, *extractions: t.Extraction | None) -> t.Json:
        return t.Json(_given(extractions))

    def logfmt(self, *parts: Token | t.Extraction | None) -> t.Logfmt:
        flags = {str(part) for part in parts if isinstance(part, Token)}
        found = tuple(part for part in parts if isinstance(part, t.Extraction))
        return t.Logfmt(found, "--strict" in flags, "--keep-empty" in flags)

    def regexp(self, value: Token) -> t.Regexp:
        text = _text(value)
        _check_regex(text, value)
        if _NAMED_GROUP.search(text) is None:
            message = "regexp needs a named group: write (?P<name>..) where a value stands"
            raise QueryError(message, value.start_pos or 0)
        return t.Regexp(text)

    def pattern(self, value: Token) -> t.Pattern:
        text = _text(value)
        try:
            check_pattern(text)
        except ValueError as error:
            raise QueryError(f"the pattern {text!r} cannot be: {error}", value.start_pos or 0) from None
        return t.Pattern(text)

    def unpack(self) -> t.Unpack:
        return t.Unpack()

    def line_format(self, value: Token) -> t.LineFormat:
        return t.LineFormat(_template(value))

    def renamed(self, label: Token, _: Token, source: Token) -> t.Relabel:
        return t.Relabel(str(label), str(source), False)

    def made(self, label: Token, _: Token, value: Token) -> t.Relabel:
        return t.Relabel(str(label), _template(value), True)

    def label_format(self, *parts: t.Relabel) -> t.LabelFormat:
        return t.LabelFormat(parts)

    def chosen(self, what: Token | t.Matcher) -> t.Chosen:
        return t.Chosen(what.name, what) if isinstance(what, t.Matcher) else t.Chosen(str(what))

    def drop(self, *chosen: t.Chosen) -> t.Drop:
        return t.Drop(chosen)

    def keep(self, *chosen: t.Chosen) -> t.Keep:
        return t.Keep(chosen)

    def decolorize(self) -> t.Decolorize:
        return t.Decolorize()

    def string_filter(self, matcher: t.Matcher) -> t.Matcher:
        return matcher

    def any_filter(self, *children: t.LabelFilter) -> t.AnyOf:
        return t.AnyOf(children)

    def every_filter(self, *children: t.LabelFilter) -> t.AllOf:
        return t.AllOf(children)

    def quantity(self, name: Token, op: Token, sign: Token | None, value: Token) -> t.Quantity:
        number, kind = _number(value)
        compared = cast(t.CompareOp, "==" if op == "=" else str(op))
        return t.Quantity(str(name), compared, -number if sign == "-" else number, kind)

    def ip_filter(self, name: Token, op: Token, value: Token) -> t.AddressFilter:
        return t.AddressFilter(str(name), op == "!=", _addresses(value))

    # ------------------------------------------------------------------------------------------------------ ranges
    def range(self, value: Token) -> int:
        width_us = _microseconds(value)
        if width_us < 1:
            raise QueryError("a range must be at least a microsecond long", value.start_pos or 0)
        return width_us

    def offset(self, sign: Token | None, value: Token) -> int:
        return -_microseconds(value) if sign == "-" else _microseconds(value)

    def unwrap(self, first: Token, second: Token | None, *filters: t.LabelFilter) -> t.Unwrap:
        if second is None:
            return t.Unwrap(str(first), None, filters)
        conversions = {"duration": "duration", "duration_seconds": "duration", "bytes": "bytes"}
        if first not in conversions:
            raise QueryError(
                f"unwrap knows no {first}(..): only duration, duration_seconds, bytes", first.start_pos or 0
            )
        return t.Unwrap(str(second), cast(Literal["duration", "bytes"], conversions[first]), filters)

    def log_range(self, matchers: tuple[t.Matcher, ...], *parts: Any) -> t.LogRange:
        *stages, unwrap, width_us, offset_us = parts
        return t.LogRange(t.LogQuery(matchers, tuple(stages)), width_us, offset_us or 0, unwrap)

    def early_range(
        self, matchers: tuple[t.Matcher, ...], width_us: int, offset_us: int | None, *rest: Any
    ) -> t.LogRange:
        *stages, unwrap = rest
        return t.LogRange(t.LogQuery(matchers, tuple(stages)), width_us, offset_us or 0, unwrap)

    def closed_range(self, query: t.LogQuery, width_us: int, offset_us: int | None) -> t.LogRange:
        return t.LogRange(query, width_us, offset_us or 0)

    # ----------------------------------------------------------------------------------------------------- metrics
    def names(self, *names: Token | None) -> tuple[str, ...]:
        return tuple(str(name) for name in names if name is not None)

    def grouping(self, word: Token, names: tuple[str, ...]) -> t.Grouping:
        return t.Grouping(names, word == "without")

    def number(self, sign: Token | None, value: Token) -> t.Scalar:
        return t.Scalar(-float(value) if sign == "-" else float(value))

    def matching(self, word: Token, names: tuple[str, ...]) -> t.Matching:
        return t.Matching(names, word == "on")

    def modifier(
        self, as_bool: Token | None, matching: t.Matching | None, side: Token | None, taken: tuple[str, ...] | None
    ) -> tuple[bool, t.Matching | None, t.ManySide | None]:
        if side is None:
            return as_bool is not None, matching, None
        if matching is None:
            raise QueryError(f"{side} stands behind on (..) or ignoring (..)", side.start_pos or 0)
        many = t.ManySide("left" if side == "group_left" else "right", taken or ())
        return as_bool is not None, matching, many

    def binary(
        self,
        left: t.Metric,
        op: Token,
        modifier: tuple[bool, t.Matching | None, t.ManySide | None],
        right: t.Metric,
    ) -> t.Binary:
        as_bool, matching, many = modifier
        if many is not None and op in SETS:
            raise QueryError(f"{op} takes no group_{many.side}: its series are not joined", op.start_pos or 0)
        return t.Binary(str(op), left, right, as_bool, matching, many)

    def call(self, name: Token, before: t.Grouping | None, *rest: Any) -> t.Metric:
        *arguments, after = rest
        if before is not None and after is not None:
            raise QueryError(f"{name} is grouped twice", name.start_pos or 0)
        return _call(name, arguments, before or after)

    def start(self, expression: t.Expression) -> t.Expression:
        return expression


def _call(name: Token, arguments: list[Any], grouping: t.Grouping | None) -> t.Metric:  # noqa: PLR0911 (one for each kind)
    """Make a function of its arguments. Raises QueryError for one that is not known, or takes others."""
    at = name.start_pos or 0
    match str(name), arguments:
        case "vector", [t.Scalar(value)] if grouping is None:
            return t.Vector(value)
        case "label_replace", [inner, Token() as target, Token() as made, Token() as source, Token() as pattern] if (
            grouping is None and _is_metric(inner)
        ):
            text = _text(pattern)
            _check_regex(anchored(text), pattern)
            return t.LabelReplace(inner, _text(target), _text(made), _text(source), text)
        case function, [t.LogRange() as lines] if function in RANGE_FUNCTIONS and function != "quantile_over_time":
            return _range_function(name, lines, None, grouping)
        case "quantile_over_time", [t.Scalar(share), t.LogRange() as lines]:
            return _range_function(name, lines, share, grouping)
        case function, [inner] if function in VECTOR_FUNCTIONS - PICKING and _is_metric(inner):
            return t.VectorFunction(function, inner, None, grouping)
        case function, [inner] if function in SORTING and grouping is None and _is_metric(inner):
            return t.VectorFunction(function, inner)
        case function, [t.Scalar(count), inner] if function in PICKING and _is_metric(inner):
            if count < 1 or count != int(count):
                raise QueryError(f"{name} takes a whole number from 1 on", at)
            return t.VectorFunction(function, inner, count, grouping)
    known = RANGE_FUNCTIONS | VECTOR_FUNCTIONS | SORTING | {"vector", "label_replace"}
    if name in known:
        raise QueryError(f"the arguments of {name} are not those that it takes", at)
    raise QueryError(f"the function {name} is not known here", at)


def _range_function(name: Token, lines: t.LogRange, parameter: float | None, grouping: t.Grouping | None) -> t.Metric:
    at = name.start_pos or 0
    if lines.unwrap is None and name not in LINE_FUNCTIONS:
        raise QueryError(f"{name} needs a number of each line: add | unwrap LABEL", at)
    if lines.unwrap is not None and name not in UNWRAPPED_FUNCTIONS:
        raise QueryError(f"{name} counts lines and takes no unwrap", at)
    if grouping is not None and name not in GROUPED_FUNCTIONS:
        raise QueryError(f"{name} is not grouped by itself: put sum by (..) around it", at)
    return t.RangeFunction(str(name), lines, parameter, grouping)


def _is_metric(value: Any) -> bool:
    return isinstance(value, t.Metric)


def _excludes_empty(matcher: t.Matcher) -> bool:
    """Tell whether a matcher refuses a label that is not there."""
    import pyarrow as pa

    match matcher.op:
        case "=":
            return matcher.value != ""
        case "!=":
            return matcher.value == ""
    found: bool = regex.find(pa.array([""]), anchored(matcher.value), False)[0].as_py()
    return not found if matcher.op == "=~" else found


def _given(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value for value in values if value is not None)


def _text(token: Token) -> str:
    try:
        return unquote(token)
    except ValueError as error:
        raise QueryError(f"the text {token} cannot be read: {error}", token.start_pos or 0) from None


def _template(token: Token) -> str:
    text = _text(token)
    try:
        parse_template(text)
    except ValueError as error:
        raise QueryError(f"the template {text!r} cannot be read: {error}", token.start_pos or 0) from None
    return text


def _check_regex(pattern: str, token: Token) -> None:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise QueryError(f"the regular expression is longer than {MAX_PATTERN_CHARS} characters", token.start_pos or 0)
    reason = regex.invalid_reason(pattern, False)
    if reason is not None:
        raise QueryError(f"RE2 does not take the regular expression {token}: {reason}", token.start_pos or 0)


def _addresses(token: Token) -> Addresses:
    text = _text(token)
    try:
        return read_addresses(text)
    except ValueError:
        message = f'ip({token}) is no address: write ip("10.0.0.1"), ip("10.0.0.1-10.0.0.9") or ip("10.0.0.0/8")'
        raise QueryError(message, token.start_pos or 0) from None


def _check_line_pattern(pattern: str, token: Token) -> None:
    try:
        reason = regex.invalid_reason(line_regex(pattern), False)
    except ValueError as error:
        reason = str(error)
    if reason is not None:
        raise QueryError(f"the pattern {token} cannot be: {reason}", token.start_pos or 0)


def _number(token: Token) -> tuple[float, t.QuantityKind]:
    if token.type == "DURATION":
        return (duration_ns(token) or 0) / 10**9, "duration"
    if token.type == "BYTES":
        return size_bytes(token) or 0, "bytes"
    return float(token), "number"


def _microseconds(token: Token) -> int:
    return int(duration_ns(token) or 0) // 1_000
