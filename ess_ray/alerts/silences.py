"""Silences: for how long nobody is told of alerts whose labels match. Matchers as Alertmanager writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ess_ray.core import regex
from ess_ray.core.errors import BadRequest
from ess_ray.language import MAX_PATTERN_CHARS, parse_length_us

MAX_MATCHERS: Final = 20
MAX_COMMENT_CHARS: Final = 1_000
MAX_LENGTH_US: Final = 400 * 86_400_000_000
"""A year and a month: what is to be silent for longer is no alert."""
_MATCHER = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s",{}]*)\s*', re.ASCII | re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label compared with a text, or a regular expression that must match all of it; an absent label is empty."""

    name: str
    sign: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it."""
        value = labels.get(self.name, "")
        if self.sign in ("=", "!="):
            return (value == self.value) == (self.sign == "=")
        found = regex.find(pa.array([value]), _whole(self.value), False)[0].as_py()
        return bool(found) == (self.sign == "=~")

    def __str__(self) -> str:
        text = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.name}{self.sign}"{text}"'


@dataclass(frozen=True, slots=True)
class Silence:
    """Matchers that must all match, and for how long; epoch microseconds, `ends_us` exclusive."""

    id: str
    tenant: str
    matchers: tuple[Matcher, ...]
    starts_us: int
    ends_us: int
    comment: str = ""
    created_by: str = ""

    def covers(self, labels: Mapping[str, str], now_us: int) -> bool:
        """Tell whether nobody is to be told of an alert just now."""
        return self.starts_us <= now_us < self.ends_us and all(one.matches(labels) for one in self.matchers)


def covering(silences: Iterable[Silence], labels: Mapping[str, str], now_us: int) -> list[str]:
    """Name the silences that cover an alert."""
    return [one.id for one in silences if one.covers(labels, now_us)]


def read_matchers(text: str) -> tuple[Matcher, ...]:
    """Read `alertname="X", service=~"api.*"`, also in braces. Raises BadRequest."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    found: list[Matcher] = []
    at = 0
    while at < len(inner) and inner[at:].strip():
        match = _MATCHER.match(inner, at)
        if match is None or (match.end() < len(inner) and inner[match.end()] != ","):
            raise BadRequest(
                f'"{inner[at : at + 60]}" is no matcher: write alertname="High", service=~"api.*" (=, !=, =~, !~)'
            )
        value = match[3]
        if value.startswith('"'):
            value = _ESCAPED.sub(r"\1", value[1:-1])
        found.append(Matcher(match[1], match[2], value))
        at = match.end() + 1
    return check_matchers(found)


def check_matchers(matchers: Sequence[Matcher]) -> tuple[Matcher, ...]:
    """Give matchers back. Raises BadRequest for none, too many, a regex that is none, and those that match anything."""
    if not 1 <= len(matchers) <= MAX_MATCHERS:
        raise BadRequest(f"a silence has 1 to {MAX_MATCHERS} matchers, such as alertname=High")
    for one in matchers:
        if one.sign in ("=~", "!~"):
            if len(one.value) > MAX_PATTERN_CHARS:
                raise BadRequest(f"the regex of {one.name} has more than {MAX_PATTERN_CHARS:,} characters")
            regex.find(pa.array([""]), _whole(one.value), False)
    if all(one.matches({}) for one in matchers):
        raise BadRequest("this would silence alerts without any of these labels, too: name a value that one has")
    return tuple(matchers)


def silence_us(text: str) -> int:
    """Read how long a silence is. Raises BadRequest."""
    exact = parse_length_us(text.strip())
    if exact is None or not 0 < exact <= MAX_LENGTH_US:
        raise BadRequest(f'"{text[:60]}" is no length of time for a silence, such as 2h or 1d12h (at most 400d)')
    return int(exact)


def matcher_of(told: Mapping[str, Any]) -> Matcher:
    """Read a matcher as it is kept."""
    return Matcher(str(told["name"]), str(told["sign"]), str(told["value"]))


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"
