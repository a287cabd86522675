"""What `ess push` reads: lines of any format, NDJSON and JSON, as events ready to send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from ess_ray.cli.content import SNIFF_BYTES, is_utf8
from ess_ray.cli.documents import events_under, spans_of
from ess_ray.cli.items import Bad, Defaults, Form, Item, Reading, loads, object_item
from ess_ray.cli.line_items import TOO_LONG, read_lines
from ess_ray.cli.position import Position
from ess_ray.intake.lines.catalog import ALSO_CALLED, JSON_LINES
from ess_ray.intake.lines.raw import cut_lines
from ess_ray.intake.lines.recognise import recognise

__all__ = ["Bad", "Defaults", "Form", "Item", "Reading", "form_named", "form_of", "read_items"]

MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024
"""A JSON array is parsed whole, at about ten times its size in memory: larger ones must come as NDJSON."""


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
        return "json" if events_under(event) is not None else "ndjson"
    if text[:1] == b"[" and text[1:].lstrip()[:1] in (b"{", b"]"):  # `[error] ...` and `[24/Nov/...` are lines
        return "json"
    return "lines"


def form_named(name: str, head: bytes) -> Form:
    """Give the form that a name of `--format` stands for; `auto`: as the start of a text looks."""
    if name != "auto":
        return ALSO_CALLED.get(name, name)
    form = form_of(head)
    if form == "json":
        return form
    lines = head.decode("utf-8", "replace").split("\n")
    if len(head) >= SNIFF_BYTES and len(lines) > 1:
        lines.pop()  # it is cut off
    found = recognise(lines, time.time_ns() // 1000)
    return found if form == "lines" or found == "docker" else JSON_LINES


def read_items(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
    """Read a text as events from `position` on, which moves along: at each event it is behind that.

    Raises ValueError when the form is not what is there, and at a line whose time nobody can tell.
    """
    if reading.form == "json":
        return _document(pieces, reading, position)
    if reading.form == "ndjson":
        return _ndjson(pieces, reading, position)
    return read_lines(pieces, reading, position)


def _ndjson(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
    for one in cut_lines(pieces):
        if reading.only_ended and not one.ended:
            return
        position.take(one.content, one.size, ended=one.ended)
        if one.is_too_long:
            yield Bad(position.lines, TOO_LONG)
        elif line := one.content.strip():
            try:
                event = loads(line)
            except ValueError as error:
                yield Bad(position.lines, f"not JSON: {error}")
                continue
            if not is_utf8(line):
                position.count_broken()
            if isinstance(event, dict):
                yield object_item(position.lines, event, reading, line)
            else:
                yield Bad(position.lines, _NO_OBJECT)


_NO_OBJECT: Final = "not a JSON object"


def _document(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
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
    decoded = text.decode("utf-8", "surrogateescape")  # names may differ in bad bytes alone: they are sent as they are
    if not is_utf8(text):
        position.count_broken()
    del text
    for start, end in spans_of(decoded)[position.items :]:
        raw = decoded[start:end].encode("utf-8", "surrogateescape")
        position.items += 1
        try:
            event = loads(raw)
        except ValueError as error:
            yield Bad(position.items, f"not JSON: {error}")
            continue
        # A newline in valid JSON is white space: as NDJSON it would end the event.
        raw = raw.replace(b"\n", b" ").replace(b"\r", b" ")
        if isinstance(event, dict):
            yield object_item(position.items, event, reading, raw)
        else:
            yield Bad(position.items, _NO_OBJECT)
