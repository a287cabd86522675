"""What `ess push` reads: NDJSON, JSON and plain lines, as events ready to send.

May live here: telling the forms apart and turning each into items. May not: encodings (`content`), recognising times
(`intake.lines.times`), sending.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

import orjson

from ess_ray.cli.content import is_utf8
from ess_ray.cli.documents import spans_of
from ess_ray.cli.position import PROOF_BYTES, Position
from ess_ray.core.event import MAX_EVENT_BYTES, format_timestamp, parse_timestamp_us
from ess_ray.intake.lines.times import LineReader

Form = Literal["auto", "ndjson", "json", "lines"]
MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024
"""A JSON array is parsed whole, at about ten times its size in memory: larger ones must come as NDJSON."""


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

    def missing_in(self, event: dict[str, Any]) -> dict[str, str]:
        """Give what an event lacks of them."""
        return {
            name: value
            for name, value in (("service", self.service), ("host", self.host), ("level", self.level))
            if value is not None and event.get(name) is None
        }


def form_of(head: bytes) -> Form:
    """Tell a form by the start of a text: an object or array of JSON, else plain lines."""
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


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text is read. `form` is never `auto`; `crlf`: a CR before a newline is no part of a line."""

    form: Form
    defaults: Defaults
    reader: LineReader
    crlf: bool = False


def read_items(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
    """Read a text as events from `position` on, which moves along: at each event it is behind that.

    Raises ValueError when the form is not what is there, and at a line whose time nobody can tell.
    """
    if reading.form == "lines":
        return _plain(pieces, reading, position)
    if reading.form == "ndjson":
        return _ndjson(pieces, reading.defaults, position)
    return _document(pieces, reading.defaults, position)


def loads(text: bytes) -> Any:
    """Parse JSON. Raises ValueError. What orjson refuses (lone surrogates, NaN) the standard library may still take."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text.decode("utf-8", "replace"))
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def dumps(event: dict[str, Any]) -> bytes:
    """Write JSON that reads back as `event`, lone surrogates and large numbers too."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return json.dumps(event).encode("ascii")


def _lines(pieces: Iterator[bytes], position: Position) -> Iterator[bytes | None]:
    """Give each line without its newline, None for one that is longer than an event may be."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        parts.append(first)
        size += len(first)
        for other in others:
            line = parts[0] if len(parts) == 1 else b"".join(parts)
            position.take(line, size, ended=True)
            yield line if size <= MAX_EVENT_BYTES else None
            parts, size = [other], len(other)
        if size > MAX_EVENT_BYTES:  # its start and end alone are still wanted, for the file to be known again
            whole = b"".join(parts)
            parts = [whole[:PROOF_BYTES], whole[-PROOF_BYTES:]]
    if size:
        line = b"".join(parts)
        position.take(line, size, ended=False)
        yield line if size <= MAX_EVENT_BYTES else None


_TOO_LONG: Final = f"the line is longer than {MAX_EVENT_BYTES // 1024} KiB, the most that an event may have"


def _plain(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
    reader, defaults = reading.reader, reading.defaults
    is_placed = position.before_us is not None
    for raw in _lines(pieces, position):
        if raw is None:
            yield Bad(position.lines, _TOO_LONG)
            continue
        line = raw.removesuffix(b"\r") if reading.crlf else raw
        if not line:
            continue
        try:
            message = line.decode()
        except UnicodeDecodeError:
            message = line.decode("utf-8", "replace")
            position.count_broken()
        try:
            facts = reader.read(message)
        except ValueError as error:
            raise ValueError(f"line {position.lines:,}: {error}") from error
        has_time = facts.timestamp_us is not None
        is_placed |= has_time
        position.untimed.count(position.lines, message, has_time=has_time, follows=is_placed)
        if facts.timestamp_us is not None:
            position.before_us = facts.timestamp_us
        elif position.before_us is None:
            position.before_us = reader.now_us
        event = {
            "timestamp": format_timestamp(position.before_us),
            "message": message,
            "level": defaults.level or facts.level,
            "service": defaults.service or facts.service,
            "host": defaults.host or facts.host,
        }
        body = dumps({name: value for name, value in event.items() if value is not None})
        yield Item(position.lines, body, position.before_us)


def _ndjson(pieces: Iterator[bytes], defaults: Defaults, position: Position) -> Iterator[Item | Bad]:
    for raw in _lines(pieces, position):
        if raw is None:
            yield Bad(position.lines, _TOO_LONG)
        elif line := raw.strip():
            try:
                event = loads(line)
            except ValueError as error:
                yield Bad(position.lines, f"not JSON: {error}")
                continue
            if not is_utf8(line):
                position.count_broken()
            yield _item(position.lines, event, defaults, line)


def _document(pieces: Iterator[bytes], defaults: Defaults, position: Position) -> Iterator[Item | Bad]:
    """Read one JSON value. Its position counts items: it is the same document when all of it is."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size > MAX_DOCUMENT_BYTES:
            raise ValueError(
                f"a JSON document over {MAX_DOCUMENT_BYTES // 1024**2} MiB is not read whole: send it as NDJSON "
                "(one object a line; `jq -c '.[]'` makes it so)"
            )
    text = b"".join(parts)
    parts.clear()
    document = sha256(text).hexdigest()
    if position.document not in (None, document):
        position.items = 0
    position.document = document
    decoded = text.decode("utf-8", "replace")
    if not is_utf8(text):
        position.count_broken()
    del text
    for start, end in spans_of(decoded)[position.items :]:
        raw = decoded[start:end].encode("utf-8")
        position.items += 1
        # A newline in valid JSON is white space: as NDJSON it would end the event.
        yield _item(position.items, loads(raw), defaults, raw.replace(b"\n", b" ").replace(b"\r", b" "))


def _item(position: int, event: Any, defaults: Defaults, raw: bytes) -> Item | Bad:
    if not isinstance(event, dict):
        return Bad(position, "not a JSON object")
    timestamp_us = None
    if event.get("timestamp") is not None:
        try:
            timestamp_us = parse_timestamp_us(event["timestamp"])
        except (ValueError, OverflowError):
            timestamp_us = None  # the server says what is wrong with it, beside its other rules
    missing = defaults.missing_in(event)
    if missing:
        # Written behind what is there, which stays as it stands: numbers of any size, and NaN. Of two, the last counts.
        raw = raw.rstrip()[:-1] + (b"," if event else b"") + dumps(missing)[1:]
    return Item(position, raw, timestamp_us)
