"""Fields that lines have: structured metadata, and what parsers would find in them, with their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ess_ray.language.logql import tree as t
from ess_ray.language.logql.quantities import duration_ns, size_bytes
from ess_ray.search.logql.entries import ERROR, Entry
from ess_ray.search.logql.extracting import parser_of

MAX_FIELD_LINES: Final = 5_000
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?", re.ASCII)


@dataclass
class DetectedField:
    """A field: its values, what they are, which parser finds it (None: metadata), and its path in JSON."""

    name: str
    parser: str | None = None
    values: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    path: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Give the type of its values; text where they differ."""
        if self.kinds <= {"int", "float"} and len(self.kinds) == 2:
            return "float"
        return next(iter(self.kinds)) if len(self.kinds) == 1 else "string"


def detect(entries: Sequence[Entry]) -> dict[str, DetectedField]:
    """Give the fields of lines, by name."""
    found: dict[str, DetectedField] = {}
    for entry in entries:
        for name, value in {**entry.metadata, **entry.parsed}.items():
            if not name.startswith("__"):
                _note(found, name, value, None)
        parser, parsed = _parsed(entry)
        for name, value in parsed:
            _note(found, name, value, parser)
    return found


def _note(found: dict[str, DetectedField], name: str, value: str, parser: str | None) -> None:
    one = found.get(name)
    if one is None:
        one = found[name] = DetectedField(name, parser, path=(name,) if parser == "json" else ())
    if value not in one.values:
        one.values.add(value)
        one.kinds.add(_kind(value))


_PARSERS: Final = {"json": parser_of(t.Json()), "logfmt": parser_of(t.Logfmt())}


def _parsed(entry: Entry) -> tuple[str | None, Iterable[tuple[str, str]]]:
    """Parse a line by the parser that suits it."""
    line = entry.line.lstrip()
    parser = "json" if line.startswith("{") else "logfmt" if "=" in line else None
    if parser is None:
        return None, ()
    fresh = Entry(entry.us, entry.line, entry.stream, {})
    _PARSERS[parser]([fresh])
    return parser, _without_errors(fresh)


def _without_errors(entry: Entry) -> Iterator[tuple[str, str]]:
    if ERROR not in entry.parsed:
        yield from entry.parsed.items()


def _kind(value: str) -> str:
    if value in ("true", "false"):
        return "boolean"
    if _INTEGER.fullmatch(value):
        return "int"
    if _FLOAT.fullmatch(value):
        return "float"
    if duration_ns(value) is not None:
        return "duration"
    return "bytes" if value[-1:] in "bB" and size_bytes(value) is not None else "string"
