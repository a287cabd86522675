"""Templates of `line_format` and `label_format`: the part of Go's text/template that log queries use.

Texts, `{{ .label }}`, `{{ __line__ }}`, `{{ __timestamp__ }}`, functions and pipes, `if`, `else if`, `else` and `end`.
Anything else is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ess_ray.language.logql.texts import unquote

MAX_NESTED: Final = 20
"""Conditions and parentheses in one another."""

FUNCTIONS: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(("ToLower", "ToUpper", "lower", "upper", "title", "trim", "TrimSpace", "quote", "len"), (1, 1)),
    **dict.fromkeys(("urlencode", "urldecode", "b64enc", "b64dec", "int", "float64", "ceil", "floor", "not"), (1, 1)),
    **dict.fromkeys(("bytes", "duration", "duration_seconds", "unixToTime"), (1, 1)),
    **dict.fromkeys(("Trim", "TrimLeft", "TrimRight", "TrimPrefix", "TrimSuffix", "trimAll"), (2, 2)),
    **dict.fromkeys(("trimPrefix", "trimSuffix", "contains", "hasPrefix", "hasSuffix", "indent", "nindent"), (2, 2)),
    **dict.fromkeys(("trunc", "default", "repeat", "count", "alignLeft", "alignRight", "sub", "div", "mod"), (2, 2)),
    **dict.fromkeys(("subf", "divf", "addf", "mulf"), (2, 9)),
    **dict.fromkeys(("add", "mul", "and", "or", "max", "min", "maxf", "minf"), (2, 9)),
    **dict.fromkeys(("eq",), (2, 9)),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), (2, 2)),
    **dict.fromkeys(("replace", "substr", "regexReplaceAll", "regexReplaceAllLiteral"), (3, 3)),
    **dict.fromkeys(("Replace",), (4, 4)),
    **dict.fromkeys(("round",), (2, 3)),
    **dict.fromkeys(("printf",), (1, 9)),
    **dict.fromkeys(("__line__", "__timestamp__"), (0, 0)),
}
"""By name: the least and the most arguments."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """`.name`: a label's value, empty where it is absent."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A text or number of the template."""

    value: str | int | float


@dataclass(frozen=True, slots=True)
class Call:
    """A function of values."""

    name: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class If:
    """One of two templates."""

    condition: Value
    then: tuple[TemplateNode, ...]
    otherwise: tuple[TemplateNode, ...]


Value = Label | Constant | Call
TemplateNode = Text | Value | If

_ACTION: Final = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?)|\.(?P<label>[A-Za-z_]\w*)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<mark>[()|.]))""",
    re.ASCII,
)


@lru_cache(maxsize=256)
def parse_template(template: str) -> tuple[TemplateNode, ...]:
    """Read a template. Raises ValueError, saying what is wrong."""
    pieces = _pieces(template)
    nodes, at = _block(pieces, 0, 0)
    if at < len(pieces):
        raise ValueError(f"`{pieces[at][1]}` stands where no `if` is open")
    return nodes


def _pieces(template: str) -> list[tuple[bool, str]]:
    """Cut a template into texts and actions (True)."""
    pieces: list[tuple[bool, str]] = []
    at, trims = 0, False
    for found in _ACTION.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trims else text
        text = text.rstrip() if found[1] else text
        pieces += [(False, text)] if text else []
        pieces += [(True, found[2].strip())]
        at, trims = found.end(), bool(found[3])
    rest = template[at:].lstrip() if trims else template[at:]
    if "{{" in rest:
        raise ValueError("`{{` has no `}}` behind it")
    return pieces + ([(False, rest)] if rest else [])


def _block(pieces: Sequence[tuple[bool, str]], at: int, depth: int) -> tuple[tuple[TemplateNode, ...], int]:
    """Read up to what ends a block (`else`, `end`), or the end."""
    if depth > MAX_NESTED:
        raise ValueError(f"more than {MAX_NESTED} conditions are in one another")
    nodes: list[TemplateNode] = []
    while at < len(pieces):
        is_action, text = pieces[at]
        word = text.split(None, 1)[0] if is_action and text else ""
        if word in ("else", "end"):
            break
        if word == "if":
            node, at = _condition(pieces, at, text.removeprefix("if"), depth)
            nodes.append(node)
            continue
        if word in ("range", "with", "define", "template", "block", "break", "continue"):
            raise ValueError(f"`{word}` of Go's templates is not known here")
        if not text.startswith("/*") or not is_action:
            nodes.append(_value(text) if is_action else Text(text))
        at += 1
    return tuple(nodes), at


def _condition(pieces: Sequence[tuple[bool, str]], at: int, condition: str, depth: int) -> tuple[If, int]:
    then, at = _block(pieces, at + 1, depth + 1)
    if at >= len(pieces):
        raise ValueError("an `if` has no `end`")
    word = pieces[at][1]
    if word == "end":
        return If(_value(condition), then, ()), at + 1
    rest = word.removeprefix("else").strip()
    if rest.startswith("if"):
        inner, at = _condition(pieces, at, rest.removeprefix("if"), depth + 1)
        return If(_value(condition), then, (inner,)), at
    if rest:
        raise ValueError(f"`{word}` is not known here")
    otherwise, at = _block(pieces, at + 1, depth + 1)
    if at >= len(pieces) or pieces[at][1] != "end":
        raise ValueError("an `if` has no `end`")
    return If(_value(condition), then, otherwise), at + 1


def _value(text: str) -> Value:
    """Read an action: values, functions, pipes."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"`{text[at:].strip()[:40]}` is not known here")
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind]))
        at = found.end()
    value, used = _pipeline(tokens, 0, 0)
    if used < len(tokens):
        raise ValueError(f"`{tokens[used][1]}` is not expected in `{text.strip()[:60]}`")
    return value


def _pipeline(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    if depth > MAX_NESTED:
        raise ValueError(f"more than {MAX_NESTED} parentheses are in one another")
    value, at = _command(tokens, at, depth, None)
    while at < len(tokens) and tokens[at] == ("mark", "|"):
        value, at = _command(tokens, at + 1, depth, value)
    return value, at


def _command(tokens: Sequence[tuple[str, str]], at: int, depth: int, piped: Value | None) -> tuple[Value, int]:
    if at >= len(tokens):
        raise ValueError("a value is missing")
    kind, text = tokens[at]
    if kind != "name":
        if piped is not None:
            raise ValueError(f"`{text}` is no function, and cannot stand behind a |")
        return _operand(tokens, at, depth)
    arguments: list[Value] = []
    at += 1
    while at < len(tokens) and tokens[at] not in (("mark", "|"), ("mark", ")")):
        argument, at = _operand(tokens, at, depth)
        arguments.append(argument)
    return _call(text, [*arguments, *([] if piped is None else [piped])]), at


def _operand(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    kind, text = tokens[at]
    match kind:
        case "text":
            return Constant(unquote(text)), at + 1
        case "number":
            return Constant(float(text) if "." in text else int(text)), at + 1
        case "label":
            return Label(text), at + 1
        case "name":
            return _call(text, []), at + 1
    if text == "(":
        value, at = _pipeline(tokens, at + 1, depth + 1)
        if at >= len(tokens) or tokens[at] != ("mark", ")"):
            raise ValueError("a `)` is missing")
        return value, at + 1
    raise ValueError(f"`{text}` is not expected")


def _call(name: str, arguments: Sequence[Value]) -> Value:
    if name in ("true", "false"):
        return Call("eq", (Constant(0), Constant(0 if name == "true" else 1)))
    if name not in FUNCTIONS:
        raise ValueError(f"the template function `{name}` is not known here")
    least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise ValueError(f"the template function `{name}` takes {least} to {most} arguments, not {len(arguments)}")
    return Call(name, tuple(arguments))
