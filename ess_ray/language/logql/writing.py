"""A tree of LogQL -> text that reads back as it."""

from __future__ import annotations

from ess_ray.language.logql import tree as t
from ess_ray.language.logql.addresses import Addresses
from ess_ray.language.logql.quantities import write_duration
from ess_ray.language.logql.texts import quote


def write_logql(expression: t.Expression) -> str:  # noqa: PLR0911 (one for each kind)
    """Write an expression on one line."""
    match expression:
        case t.LogQuery():
            return _query(expression)
        case t.Scalar(value):
            return number(value)
        case t.Vector(value):
            return f"vector({number(value)})"
        case t.RangeFunction(name, lines, parameter, grouping):
            first = "" if parameter is None else f"{number(parameter)}, "
            return f"{name}({first}{_range(lines)}){_grouping(grouping)}"
        case t.VectorFunction(name, inner, parameter, grouping):
            first = "" if parameter is None else f"{number(parameter)}, "
            before = f"{_grouping(grouping)} " if grouping else ""
            return f"{name}{before}({first}{write_logql(inner)})"
        case t.LabelReplace(inner, target, made, source, pattern):
            return f"label_replace({write_logql(inner)}, {', '.join(map(quote, (target, made, source, pattern)))})"
        case t.Binary(op, left, right, as_bool, matching, many):
            how = " bool" if as_bool else ""
            if matching is not None:
                how += f" {'on' if matching.on else 'ignoring'} ({', '.join(matching.names)})"
            if many is not None:
                how += f" group_{many.side} ({', '.join(many.taken)})"
            return f"({write_logql(left)} {op}{how} {write_logql(right)})"


def number(value: float) -> str:
    """Write a number without an exponent where it is whole."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _query(query: t.LogQuery) -> str:
    return " ".join(["{" + ", ".join(map(_matcher, query.matchers)) + "}", *map(_stage, query.stages)])


def _range(lines: t.LogRange) -> str:
    text = _query(lines.query)
    if lines.unwrap is not None:
        label, conversion = lines.unwrap.label, lines.unwrap.conversion
        text += f" | unwrap {label if conversion is None else f'{conversion}({label})'}"
        text += "".join(f" | {_filter(each)}" for each in lines.unwrap.filters)
    text += f" [{write_duration(lines.range_us)}]"
    if lines.offset_us:
        text += f" offset {'-' if lines.offset_us < 0 else ''}{write_duration(abs(lines.offset_us))}"
    return text


def _grouping(grouping: t.Grouping | None) -> str:
    if grouping is None:
        return ""
    return f" {'without' if grouping.without else 'by'} ({', '.join(grouping.names)})"


def _matcher(matcher: t.Matcher) -> str:
    return f"{matcher.name}{matcher.op}{quote(matcher.value)}"


def _stage(stage: t.Stage) -> str:  # noqa: PLR0911 (one for each kind)
    match stage:
        case t.LineFilter(op, values, addresses):
            return f"{op} {' or '.join([*map(quote, values), *map(_addresses, addresses)])}"
        case t.Json(extractions):
            return " ".join(["| json", *([_extractions(extractions)] if extractions else [])])
        case t.Logfmt(extractions, strict, keep_empty):
            flags = ["--strict"] * strict + ["--keep-empty"] * keep_empty
            return " ".join(["| logfmt", *flags, *([_extractions(extractions)] if extractions else [])])
        case t.Regexp(pattern):
            return f"| regexp {quote(pattern)}"
        case t.Pattern(pattern):
            return f"| pattern {quote(pattern)}"
        case t.Unpack():
            return "| unpack"
        case t.LineFormat(template):
            return f"| line_format {quote(template)}"
        case t.LabelFormat(parts):
            return "| label_format " + ", ".join(
                f"{part.label}={quote(part.source) if part.template else part.source}" for part in parts
            )
        case t.Drop(chosen) | t.Keep(chosen):
            word = "drop" if isinstance(stage, t.Drop) else "keep"
            return f"| {word} " + ", ".join(
                one.name if one.matcher is None else _matcher(one.matcher) for one in chosen
            )
        case t.Decolorize():
            return "| decolorize"
        case _:
            return f"| {_filter(stage)}"


def _extractions(extractions: tuple[t.Extraction, ...]) -> str:
    return ", ".join(
        one.label if one.label == one.source else f"{one.label}={quote(one.source)}" for one in extractions
    )


def _addresses(addresses: Addresses) -> str:
    return f"ip({quote(addresses.text)})"


def _filter(asked: t.LabelFilter) -> str:
    match asked:
        case t.Matcher():
            return _matcher(asked)
        case t.Quantity(name, op, value, kind):
            return f"{name} {op} {_quantity(value, kind)}"
        case t.AddressFilter(name, negated, addresses):
            return f"{name} {'!=' if negated else '='} {_addresses(addresses)}"
        case t.AllOf(children):
            return " and ".join(
                f"({_filter(child)})" if isinstance(child, t.AnyOf) else _filter(child) for child in children
            )
        case t.AnyOf(children):
            return " or ".join(map(_filter, children))


def _quantity(value: float, kind: t.QuantityKind) -> str:
    if kind == "number":
        return number(value)
    sign = "-" if value < 0 else ""
    if kind == "bytes":
        return f"{sign}{number(abs(value))}B"
    nanoseconds = abs(value) * 10**9
    return f"{sign}{number(round(nanoseconds))}ns"
