"""What `ess push` reads: NDJSON, JSON and plain lines, from files, gzip and standard input, as events ready to send.

May live here: telling the forms apart and turning each into items. May not: recognising times (`lines`), sending.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, cast

import orjson

from ess_ray.cli.lines import LineReader
from ess_ray.core.event import MAX_EVENT_BYTES, format_timestamp, parse_timestamp_us

Form = Literal["auto", "ndjson", "json", "lines"]
MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024
"""A JSON array is parsed whole, at about ten times its size in memory: larger ones must come as NDJSON."""
SNIFF_BYTES: Final = 64 * 1024
"""How much of the input decides its form."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event to send: its JSON without newlines, its time if it has one, its line or index from 1."""

    position: int
    body: bytes
    timestamp_us: int | None


@dataclass(frozen=True, slots=True)
class Bad:
    """A part of the input that is no event, and is not sent."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """Fields for events that do not have them."""

    service: str | None = None
    host: str | None = None
    level: str | None = None

    def fill(self, event: dict[str, Any]) -> bool:
        """Add what is missing; tells whether anything was added."""
        missing = {
            name: value
            for name, value in (("service", self.service), ("host", self.host), ("level", self.level))
            if value is not None and event.get(name) is None
        }
        event.update(missing)
        return bool(missing)


def open_input(raw: BinaryIO, name: str) -> BinaryIO:
    """Give the readable bytes of a file: a name that ends in .gz is decompressed."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb")) if name.endswith(".gz") else raw


def read_items(stream: BinaryIO, form: Form, defaults: Defaults, reader: LineReader) -> Iterator[Item | Bad]:
    """Read a stream as events. `auto` looks at its start: an object or array of JSON, else plain lines.

    Raises ValueError when the form that was asked for is not what is there.
    """
    stream = cast(BinaryIO, _Peekable(stream))
    head = stream.peek()  # type: ignore[attr-defined]
    if form == "auto":
        form = _form_of(head)
    if form == "lines":
        return _plain(stream, defaults, reader)
    if form == "ndjson":
        return _ndjson(stream, defaults)
    return _document(stream, defaults)


class _Peekable:
    """A stream whose start can be looked at: gzip and pipes cannot seek."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._head = stream, b""

    def peek(self) -> bytes:
        self._head = self._stream.read(SNIFF_BYTES) or b""
        return self._head

    def readline(self, limit: int) -> bytes:
        if not self._head:
            return self._stream.readline(limit)
        end = self._head.find(b"\n") + 1 or len(self._head)
        line, self._head = self._head[: min(end, limit)], self._head[min(end, limit) :]
        if line.endswith(b"\n") or len(line) == limit:
            return line
        return line + self._stream.readline(limit - len(line))

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._stream.read(size - len(head))


def _form_of(head: bytes) -> Form:
    text = head.lstrip()
    if text[:1] == b"{":
        line, newline, _ = text.partition(b"\n")
        try:
            event = loads(line)
        except ValueError:
            # One object over many lines, or a line longer than what was looked at; or no JSON at all.
            opened = text[1:].lstrip()[:1] == b'"' and not (newline and line.rstrip().endswith(b"}"))
            return "json" if opened else "lines"
        return "json" if isinstance(event.get("events"), list) and "message" not in event else "ndjson"
    if text[:1] == b"[" and text[1:].lstrip()[:1] in (b"{", b"]"):  # `[error] ...` and `[24/Nov/...` are lines
        return "json"
    return "lines"


def loads(text: bytes) -> Any:
    """Parse JSON. Raises ValueError. What orjson refuses (lone surrogates, NaN) the standard library may still take."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def dumps(event: dict[str, Any]) -> bytes:
    """Write JSON that reads back as `event`, lone surrogates and large numbers too."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return json.dumps(event).encode("ascii")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Give (line number, line without its newline), None for one that is longer than an event may be."""
    number = 0
    while line := stream.readline(MAX_EVENT_BYTES + 2):
        number += 1
        too_long = not line.endswith(b"\n") and len(line) > MAX_EVENT_BYTES
        while too_long and line and not line.endswith(b"\n"):
            line = stream.readline(MAX_EVENT_BYTES)
        yield number, None if too_long else line.removesuffix(b"\n")


_TOO_LONG: Final = f"the line is longer than {MAX_EVENT_BYTES // 1024} KiB, the most that an event may have"


def _plain(stream: BinaryIO, defaults: Defaults, reader: LineReader) -> Iterator[Item | Bad]:
    before_us = reader.now_us
    for number, raw in _lines(stream):
        if raw is None:
            yield Bad(number, _TOO_LONG)
            continue
        if not raw:
            continue
        message = raw.decode("utf-8", "replace")
        facts = reader.read(message)
        before_us = facts.timestamp_us if facts.timestamp_us is not None else before_us
        event = {
            "timestamp": format_timestamp(before_us),
            "message": message,
            "level": defaults.level or facts.level,
            "service": defaults.service or facts.service,
            "host": defaults.host or facts.host,
        }
        body = orjson.dumps({name: value for name, value in event.items() if value is not None})
        yield Item(number, body, before_us)


def _ndjson(stream: BinaryIO, defaults: Defaults) -> Iterator[Item | Bad]:
    for number, raw in _lines(stream):
        if raw is None:
            yield Bad(number, _TOO_LONG)
        elif raw.strip():
            try:
                event = loads(raw)
            except ValueError as error:
                yield Bad(number, f"not JSON: {error}")
                continue
            yield _item(number, event, defaults, raw.strip())


def _document(stream: BinaryIO, defaults: Defaults) -> Iterator[Item | Bad]:
    text = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(text) > MAX_DOCUMENT_BYTES:
        raise ValueError(
            f"a JSON document over {MAX_DOCUMENT_BYTES // 1024**2} MiB is not read whole: send it as NDJSON "
            "(one object a line; `jq -c '.[]'` makes it so)"
        )
    try:
        found = loads(text)
    except ValueError as error:
        raise ValueError(
            f"not JSON: {error}; if it is one object a line or a plain log, say --format ndjson or lines"
        ) from error
    if isinstance(found, dict):
        inner = found.get("events")
        found = inner if isinstance(inner, list) and "message" not in found else [found]
    if not isinstance(found, list):
        raise ValueError('the JSON is neither an array of events, nor {"events": [...]}, nor one event')
    for position, event in enumerate(found, 1):
        yield _item(position, event, defaults, None)


def _item(position: int, event: Any, defaults: Defaults, raw: bytes | None) -> Item | Bad:
    if not isinstance(event, dict):
        return Bad(position, "not a JSON object")
    filled = defaults.fill(event)
    timestamp_us = None
    if event.get("timestamp") is not None:
        try:
            timestamp_us = parse_timestamp_us(event["timestamp"])
        except (ValueError, OverflowError):
            timestamp_us = None  # the server says what is wrong with it, beside its other rules
    body = raw if raw is not None and not filled else dumps(event)
    return Item(position, body, timestamp_us)
