"""What templates of `line_format` and `label_format` make of a line and its labels."""

from __future__ import annotations

import base64
import math
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import regex
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language.logql import template as p
from ess_ray.language.logql.quantities import duration_s, size_bytes
from ess_ray.search.logql.entries import Entry

TEMPLATE_ERROR: Final = "TemplateFormatErr"
MAX_TEXT: Final = 1 << 20
"""Characters that a template may make of one line."""


class Rendered:
    """A template, ready to be used."""

    def __init__(self, nodes: Sequence[p.TemplateNode]) -> None:
        self.nodes = nodes


def render(template: Rendered, entry: Entry) -> str:
    """Give the text of a template. Raises ValueError where a function cannot take what it is given."""
    parts: list[str] = []
    _render(template.nodes, entry, parts)
    text = "".join(parts)
    if len(text) > MAX_TEXT:
        raise ValueError("the template makes too long a text")
    return text


def _render(nodes: Sequence[p.TemplateNode], entry: Entry, parts: list[str]) -> None:
    for node in nodes:
        if isinstance(node, p.Text):
            parts.append(node.text)
        elif isinstance(node, p.If):
            _render(node.then if _truth(_value(node.condition, entry)) else node.otherwise, entry, parts)
        else:
            parts.append(_shown(_value(node, entry)))


def _value(node: p.Value, entry: Entry) -> Any:
    match node:
        case p.Label(name):
            return entry.get(name) or ""
        case p.Constant(value):
            return value
        case p.Call("__line__"):
            return entry.line
        case p.Call("__timestamp__"):
            return format_timestamp(entry.us)
        case p.Call(name, arguments):
            try:
                return _FUNCTIONS[name](*(_value(argument, entry) for argument in arguments))
            except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
                raise ValueError(f"{name}: {error}") from None


def _truth(value: Any) -> bool:
    return bool(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
        return str(int(value)) if value == int(value) and abs(value) < 1e21 else f"{value:g}"
    return str(value)


def _int(value: Any) -> int:
    """Read a whole number as Sprig does: what is none is 0."""
    try:
        return int(value) if not isinstance(value, str) else int(value, 10)
    except ValueError:
        try:
            return int(float(value))
        except (ValueError, OverflowError):
            return 0


def _float(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0


def _quotient(left: int, right: int) -> int:
    """Divide as Go does: towards zero."""
    found: int = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


def _regex_replace(pattern: Any, text: Any, made: Any, *, literal: bool) -> str:
    reason = regex.invalid_reason(str(pattern), False)
    if reason is not None:
        raise ValueError(f"RE2 does not take {pattern!r}: {reason}")
    replacement = str(made).replace("\\", "\\\\")
    if not literal:
        for digit in "0123456789":
            replacement = replacement.replace(f"${{{digit}}}", f"\\{digit}").replace(f"${digit}", f"\\{digit}")
    return str(pc.replace_substring_regex(pa.array([str(text)]), str(pattern), replacement)[0].as_py())


def _substr(start: Any, end: Any, text: Any) -> str:
    first, last, whole = _int(start), _int(end), _shown(text)
    if first < 0:
        return whole[: max(0, last)]
    return whole[first:] if last < 0 or last > len(whole) else whole[first:last]


def _trunc(count: Any, text: Any) -> str:
    kept, whole = _int(count), _shown(text)
    return whole[kept:] if kept < 0 and len(whole) + kept > 0 else whole[:kept] if kept >= 0 else whole


def _printf(form: Any, *values: Any) -> str:
    text, rest = "", list(values)
    pieces = str(form).split("%%")
    return "%".join(_formatted(piece, rest) for piece in pieces) + text


def _formatted(piece: str, values: list[Any]) -> str:
    """Format a piece with Go's verbs that Python has, too. Raises ValueError for others."""
    first, *parts = piece.split("%")
    text = first
    for part in parts:
        flags = part[: len(part) - len(part.lstrip("-+ 0123456789."))]
        verb, rest = part[len(flags) : len(flags) + 1], part[len(flags) + 1 :]
        if not values:
            raise ValueError("printf has too few values")
        value = values.pop(0)
        if verb in ("s", "v"):
            text += f"%{flags}s" % _shown(value)
        elif verb == "q":
            text += '"' + _shown(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        elif verb in ("d", "x", "X", "o"):
            text += f"%{flags}{verb}" % _int(value)
        elif verb in ("f", "e", "g"):
            text += f"%{flags}{verb}" % _float(value)
        else:
            raise ValueError(f"%{verb} of printf is not known here")
        text += rest
    return text


def _aligned(count: Any, text: Any, left: bool) -> str:
    width, whole = min(_int(count), MAX_TEXT), _shown(text)
    if len(whole) >= width:
        return whole[:width] if left else whole[len(whole) - width :]
    return whole.ljust(width) if left else whole.rjust(width)


def _repeat(count: Any, text: Any) -> str:
    times, whole = _int(count), _shown(text)
    if times * len(whole) > MAX_TEXT:
        raise ValueError("it makes too long a text")
    return whole * times


def _b64dec(text: Any) -> str:
    return base64.b64decode(_shown(text), validate=True).decode("utf-8", "replace")


def _known(value: float | None, text: Any, what: str) -> float:
    if value is None:
        raise ValueError(f"{_shown(text)[:80]!r} is no {what}")
    return value


def _compare(left: Any, right: Any) -> int:
    if isinstance(left, str) != isinstance(right, str):
        left, right = (_shown(left), _shown(right)) if isinstance(left, str) else (left, _float(right))
    return int(left > right) - int(left < right)


def _first(values: Sequence[Any], wanted: bool) -> Any:
    return next((value for value in values if _truth(value) is wanted), values[-1])


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **dict.fromkeys(("ToLower", "lower"), lambda text: _shown(text).lower()),
    **dict.fromkeys(("ToUpper", "upper"), lambda text: _shown(text).upper()),
    "title": lambda text: _shown(text).title(),
    **dict.fromkeys(("trim", "TrimSpace"), lambda text: _shown(text).strip()),
    "quote": lambda text: _formatted("%q", [text]),
    "len": lambda text: len(_shown(text).encode()),
    "urlencode": lambda text: urllib.parse.quote_plus(_shown(text)),
    "urldecode": lambda text: urllib.parse.unquote_plus(_shown(text)),
    "b64enc": lambda text: base64.b64encode(_shown(text).encode()).decode(),
    "b64dec": _b64dec,
    "int": _int,
    "float64": _float,
    "ceil": lambda value: float(math.ceil(_float(value))),
    "floor": lambda value: float(math.floor(_float(value))),
    "not": lambda value: not _truth(value),
    "bytes": lambda text: _known(size_bytes(_shown(text)), text, "size"),
    **dict.fromkeys(("duration", "duration_seconds"), lambda text: _known(duration_s(_shown(text)), text, "duration")),
    "unixToTime": lambda seconds: format_timestamp(_int(seconds) * 1_000_000),
    "Trim": lambda text, cut: _shown(text).strip(_shown(cut)),
    "TrimLeft": lambda text, cut: _shown(text).lstrip(_shown(cut)),
    "TrimRight": lambda text, cut: _shown(text).rstrip(_shown(cut)),
    "TrimPrefix": lambda text, cut: _shown(text).removeprefix(_shown(cut)),
    "TrimSuffix": lambda text, cut: _shown(text).removesuffix(_shown(cut)),
    "trimAll": lambda cut, text: _shown(text).strip(_shown(cut)),
    "trimPrefix": lambda cut, text: _shown(text).removeprefix(_shown(cut)),
    "trimSuffix": lambda cut, text: _shown(text).removesuffix(_shown(cut)),
    "contains": lambda part, text: _shown(part) in _shown(text),
    "hasPrefix": lambda part, text: _shown(text).startswith(_shown(part)),
    "hasSuffix": lambda part, text: _shown(text).endswith(_shown(part)),
    "indent": lambda width, text: _repeat(width, " ") + _shown(text).replace("\n", "\n" + _repeat(width, " ")),
    "nindent": lambda width, text: "\n" + _repeat(width, " ") + _shown(text).replace("\n", "\n" + _repeat(width, " ")),
    "trunc": _trunc,
    "default": lambda other, value: value if _truth(value) else other,
    "repeat": _repeat,
    "count": lambda pattern, text: pc.count_substring_regex(pa.array([_shown(text)]), _shown(pattern))[0].as_py(),
    "alignLeft": lambda count, text: _aligned(count, text, True),
    "alignRight": lambda count, text: _aligned(count, text, False),
    "add": lambda *values: sum(map(_int, values)),
    "mul": lambda *values: math.prod(map(_int, values)),
    "sub": lambda left, right: _int(left) - _int(right),
    "div": lambda left, right: _quotient(_int(left), _int(right)),
    "mod": lambda left, right: int(math.fmod(_int(left), _int(right))),
    "addf": lambda *values: sum(map(_float, values)),
    "mulf": lambda *values: math.prod(map(_float, values)),
    "subf": lambda first, *values: _float(first) - sum(map(_float, values)),
    "divf": lambda first, *values: _float(first) / math.prod(map(_float, values)),
    "max": lambda *values: max(map(_int, values)),
    "min": lambda *values: min(map(_int, values)),
    "maxf": lambda *values: max(map(_float, values)),
    "minf": lambda *values: min(map(_float, values)),
    "round": lambda value, digits=0, *_: round(_float(value), _int(digits)),
    "and": lambda *values: _first(values, False),
    "or": lambda *values: _first(values, True),
    "eq": lambda first, *others: any(_compare(first, other) == 0 for other in others),
    "ne": lambda left, right: _compare(left, right) != 0,
    "lt": lambda left, right: _compare(left, right) < 0,
    "le": lambda left, right: _compare(left, right) <= 0,
    "gt": lambda left, right: _compare(left, right) > 0,
    "ge": lambda left, right: _compare(left, right) >= 0,
    "replace": lambda old, new, text: _shown(text).replace(_shown(old), _shown(new)),
    "Replace": lambda text, old, new, count: _shown(text).replace(_shown(old), _shown(new), _int(count)),
    "substr": _substr,
    "regexReplaceAll": lambda pattern, text, made: _regex_replace(pattern, text, made, literal=False),
    "regexReplaceAllLiteral": lambda pattern, text, made: _regex_replace(pattern, text, made, literal=True),
    "printf": _printf,
}
