"""Parsers of lines: JSON, logfmt, regular expressions, patterns, what Promtail packs.

A line that cannot be parsed stays, with `__error__`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.language.logql import tree as t
from ess_ray.language.logql.patterns import UNNAMED, PatternParts, check_pattern
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import label_name

MAX_LABELS: Final = 1_000
"""Taken of one line: more are nobody's fields."""
MAX_DEPTH: Final = 100

JSON_ERROR: Final = "JSONParserErr"
LOGFMT_ERROR: Final = "LogfmtParserErr"
_ENTRY: Final = "_entry"


class _Digits(str):
    """A number, as it was written."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(parse_int=_Digits, parse_float=_Digits, parse_constant=_Digits, strict=False)
_PAIR: Final = re.compile(r'([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)(?=\s|$)))?(?=\s|$)', re.DOTALL)
_STEP: Final = re.compile(r'\.?([A-Za-z_@][\w@-]*)|\[(\d{1,9})\]|\["((?:[^"\\]|\\.)*)"\]', re.ASCII)
_GROUP: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?!\?)|\(\?P?<([A-Za-z_]\w*)>", re.DOTALL)

Parse = Callable[[Sequence[Entry]], None]


def parser_of(stage: t.Parser) -> Parse:
    """Give what parses the lines of entries. Raises ValueError for what cannot be."""
    match stage:
        case t.Json(extractions):
            paths = [(one.label, _path(one.source)) for one in extractions]
            return partial(_each, partial(_json_paths, paths) if paths else _json)
        case t.Logfmt(extractions, strict, keep_empty):
            wanted = {one.source: one.label for one in extractions}
            return partial(_each, partial(_logfmt, wanted, strict, keep_empty))
        case t.Regexp(pattern):
            return partial(_regexp, named_groups_alone(pattern))
        case t.Pattern(pattern):
            return partial(_each, partial(_pattern, check_pattern(pattern)))
        case t.Unpack():
            return partial(_each, _unpack)


def _each(parse: Callable[[Entry], None], entries: Sequence[Entry]) -> None:
    for entry in entries:
        parse(entry)


# ------------------------------------------------------------------------------------------------------------ JSON
def _object(line: str) -> dict[str, Any]:
    """Read a line's JSON object. Raises ValueError."""
    try:
        value = _DECODER.decode(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _json(entry: Entry) -> None:
    try:
        value = _object(entry.line)
    except ValueError as error:
        entry.fail(JSON_ERROR, str(error))
        return
    for count, (name, text) in enumerate(_flat(value, "", 0)):
        if count >= MAX_LABELS:
            break
        entry.extract(name, text)


def _flat(value: dict[str, Any], before: str, depth: int) -> Iterator[tuple[str, str]]:
    """Give the fields of an object, those of inner ones with `_` between; arrays are left out."""
    for key, inner in value.items():
        name = label_name(before + key)
        if isinstance(inner, dict):
            if depth < MAX_DEPTH:
                yield from _flat(inner, f"{before}{key}_", depth + 1)
        elif not isinstance(inner, list) and inner is not None:
            yield name, _text(inner)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    return "" if value is None else json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, _Digits):
        try:
            return int(value)
        except ValueError:
            return float(value)
    return value


def _path(source: str) -> list[str | int]:
    """Read where a value stands: `a.b[0]["c d"]`. Raises ValueError."""
    steps: list[str | int] = []
    at = 0
    while at < len(source):
        found = _STEP.match(source, at)
        if found is None:
            raise ValueError(f"the path {source!r} of json cannot be read at {source[at:]!r}")
        name, index, quoted = found.groups()
        steps.append(int(index) if index is not None else name if name is not None else json.loads(f'"{quoted}"'))
        at = found.end()
    return steps


def _json_paths(paths: Sequence[tuple[str, Sequence[str | int]]], entry: Entry) -> None:
    try:
        value = _object(entry.line)
    except ValueError as error:
        entry.fail(JSON_ERROR, str(error))
        return
    for label, steps in paths:
        inner: Any = value
        for step in steps:
            if isinstance(step, int):
                inner = inner[step] if isinstance(inner, list) and step < len(inner) else None
            else:
                inner = inner.get(step) if isinstance(inner, dict) else None
        entry.extract(label, _text(inner))


def _unpack(entry: Entry) -> None:
    try:
        value = _object(entry.line)
    except ValueError as error:
        entry.fail(JSON_ERROR, str(error))
        return
    for key, inner in value.items():
        if isinstance(inner, str) and key != _ENTRY and not isinstance(inner, _Digits):
            entry.extract(label_name(key), inner)
    packed = value.get(_ENTRY)
    if isinstance(packed, str):
        entry.line = packed


# ---------------------------------------------------------------------------------------------------------- logfmt
def _logfmt(wanted: dict[str, str], strict: bool, keep_empty: bool, entry: Entry) -> None:
    at, count, found_keys = 0, 0, set()
    line = entry.line
    while at < len(line) and count < MAX_LABELS:
        if line[at].isspace():
            at += 1
            continue
        found = _PAIR.match(line, at)
        if found is None:
            if strict:
                entry.fail(LOGFMT_ERROR, f"logfmt syntax error at pos {at + 1}")
                return
            at = _next_space(line, at)
            continue
        key, quoted, bare = found.groups()
        value = _unescaped(quoted) if quoted is not None else bare or ""
        at, count = found.end(), count + 1
        if wanted:
            if key in wanted:
                found_keys.add(key)
                entry.extract(wanted[key], value)
        elif value or keep_empty:
            entry.extract(label_name(key), value)
    for key, label in wanted.items():
        if key not in found_keys:
            entry.extract(label, "")


def _next_space(line: str, at: int) -> int:
    while at < len(line) and not line[at].isspace():
        at += 1
    return at


def _unescaped(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted
    try:
        return str(json.loads(f'"{quoted}"', strict=False))
    except ValueError:
        return quoted


# ------------------------------------------------------------------------------------- regular expressions, patterns
def named_groups_alone(pattern: str) -> str:
    """Have an RE2 expression capture its named groups alone. Raises ValueError where there are none."""
    named = []

    def plain(found: re.Match[str]) -> str:
        if found[1] is not None:
            named.append(found[1])
            return f"(?P<{found[1]}>"
        return "(?:" if found[0] == "(" else found[0]

    made = _GROUP.sub(plain, pattern)
    if not named:
        raise ValueError("regexp needs a named group: write (?P<name>..) where a value stands")
    if len(set(named)) < len(named):
        raise ValueError("regexp has two groups of one name")
    return made


def _regexp(pattern: str, entries: Sequence[Entry]) -> None:
    found = pc.extract_regex(pa.array([entry.line for entry in entries], pa.string()), pattern)
    for entry, groups in zip(entries, found.to_pylist(), strict=True):
        for name, value in (groups or {}).items():
            if value:
                entry.extract(name, value)


def _pattern(parts: PatternParts, entry: Entry) -> None:
    line = entry.line
    if not line.startswith(parts.head):
        return
    at = len(parts.head)
    for name, literal in parts.captures:
        end = line.find(literal, at) if literal else len(line)
        value = line[at:] if end < 0 else line[at:end]
        if name != UNNAMED:
            entry.extract(name, value)
        if end < 0:
            return
        at = end + len(literal)
