"""JSON bodies: bytes to values.

Array, envelope, object, NDJSON or lines of text all become one list of values, each to be an event.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from ess_ray.core.decimals import read_decimal
from ess_ray.core.errors import BadRequest, Unsupported
from ess_ray.intake.compression import Content
from ess_ray.intake.digits import Exactness, Sent
from ess_ray.intake.formats.json_scanner import is_whole, objects_of, values_of_array
from ess_ray.intake.lines.bodies import read_text
from ess_ray.intake.names import MENDED, SURROGATE, mended_object
from ess_ray.intake.rows import Broken

NDJSON: Final = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/jsonlines",
    }
)
_JSON: Final = frozenset(
    # The last two are what curl -d, and clients that were told nothing, send.
    {"application/json", "text/json", "", "application/x-www-form-urlencoded", "application/octet-stream"}
)
PLAIN: Final = "text/plain"
_MAX_DIGITS: Final = 4_000
"""Of a number that Python reads (its own guard for integers stops at 4,300); longer ones are kept as text."""
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_CHARSETS: Final = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii", ""), None),
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be")},
}
"""How a text is decoded, by what its Content-Type calls it; None is UTF-8, and needs no decoding."""
_BINARY: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x89PNG\r\n\x1a\n": "PNG",
}
"""What such files begin with, and no text does."""
_CONTROL: Final = bytes(code for code in range(0x20) if code not in b"\a\b\t\n\v\f\r\x1b")
"""Codes that text has none of: a terminal's colours and bells aside."""
_LOOKED_AT_BYTES: Final = 4096
_MAX_CONTROL_SHARE: Final = 0.05
"""Of the first bytes of a text: of compressed ones about a tenth are control codes."""
_ENVELOPE: Final = re.compile(rb'^\s*\{\s*"events"\s*:\s*(\[.*\])\s*\}\s*$', re.DOTALL)
_OPENS_MANY: Final = re.compile(rb'\s*(?:\{\s*"events"\s*:\s*)?\[\s*(?:\{|$)')
_FIRST_LINE = re.compile(rb"\s*([^\n]*)")


class TooDeep(BadRequest):
    """The JSON is nested deeper than its parsers go."""


@dataclass(frozen=True)
class Values:
    """A body's values in order. `exact`: whether numbers lost digits, or the text to ask (see `read_values`)."""

    values: list[Any]
    exact: Exactness


Parse = Callable[[bytes], list[Any]]


def _parsed(text: bytes, parse: Parse) -> Values:
    values = parse(text)
    if not values:
        raise BadRequest(
            "there are no events in it: its lines are empty, or name the columns of those that are missing"
        )
    return Values(values, exact=True)


def partial_parse(form: str | None, now_us: int) -> Parse | None:
    """Give what reads lines of text in a format, received at `now_us`; None where each is a message."""
    return None if form is None else partial(read_text, form=form, now_us=now_us)


def read_values(body: Content, content_type: str | None, exact: bool = False, parse: Parse | None = None) -> Values:
    """Read a decompressed body as the list of its values: the bytes tell what JSON it is, whatever the type says.

    As `text/plain` each line is an event of that message, unless every line is a JSON object, or `parse` reads them.
    `exact` reads with the standard library: slow, but numbers stay what they are, however many digits they have.
    Raises BadRequest (empty, not JSON, too deep, no events in it), Unsupported (content type).
    """
    kind, text = text_of(body, content_type)
    text = bytes(text)  # which it is; a large body is read by pieces (`json_pieces`)
    if kind == PLAIN:
        lines = lines_of(text)
        values = [read_line(line) if exact or not is_object(line) else orjson.loads(line) for line in lines]
        return (
            Values(values, exact or Sent(text))
            if all(isinstance(value, dict) for value in values)
            else read_messages(lines)
            if parse is None
            else _parsed(text, parse)
        )
    if text[:1] == b"[" and kind not in NDJSON and not exact:
        try:  # what nearly all bodies are
            return Values(_events_of(orjson.loads(text)), Sent(text))
        except orjson.JSONDecodeError:
            pass
    first = _FIRST_LINE.match(text)
    assert first is not None  # it matches anything
    has_more = text.find(b"\n", first.end()) >= 0
    if has_more and first[1][:1] != b"[" and (kind in NDJSON or is_object(first[1])):
        return _values_of_lines(text, exact)
    try:
        return read_document(text, exact)
    except BadRequest:
        opens = opens_many(text) and not is_line(first[1], kind)
        if not has_more or opens or not has_objects(read_lines(lines_of(text), exact=True)):
            raise
        return _values_of_lines(text, exact)


def text_of(body: Content, content_type: str | None) -> tuple[str, Content]:
    """Give a body's kind, by its Content-Type, and its text in UTF-8. Raises Unsupported, BadRequest (empty)."""
    kind, charset = _kind_of(content_type)
    if body[:2] in _UTF_16_MARKS:
        charset = "utf-16"
    text = body if charset is None else body.decode(charset, "replace").encode("utf-8", "replace")
    if text[: len(_BOM)] == _BOM:
        text = text[len(_BOM) :]
    if not text or text.isspace():
        raise BadRequest('the body is empty: send a JSON array of events, {"events": [...]}, one event, or NDJSON')
    if kind == PLAIN:
        _check_text(text)
        if b"\r" in text and b"\n" not in text:
            text = text.replace(b"\r", b"\n")
    return kind, text


def _check_text(text: Content) -> None:
    """Raise BadRequest for what is no text, but would be taken line by line."""
    start = bytes(text[:_LOOKED_AT_BYTES])
    name = next((name for magic, name in _BINARY.items() if start.startswith(magic)), None)
    if name is None and len(start) - len(start.translate(None, _CONTROL)) <= _MAX_CONTROL_SHARE * len(start):
        return
    what = "binary data" if name is None else name
    raise BadRequest(
        f"the body is {what}, not lines of text: say its Content-Encoding (gzip, zstd, deflate or snappy) if it is "
        "compressed text, and send nothing but text as text/plain"
    )


def lines_of(text: bytes) -> list[bytes]:
    """Give the lines that are not blank."""
    return [line for line in text.split(b"\n") if line and not line.isspace()]


def is_object(line: Content) -> bool:
    """Tell whether this is a JSON object, and needs no lenient reader."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def is_line(line: Content, kind: str) -> bool:
    """Tell whether a first line is one of NDJSON: a value by itself, be it no event."""
    return kind in NDJSON and is_value(line)


def is_value(line: Content) -> bool:
    """Tell whether this is JSON, however leniently read."""
    return not isinstance(read_line(bytes(line)), Broken)


def _values_of_lines(text: bytes, exact: bool) -> Values:
    lines = lines_of(text)
    if len(lines) == 1:
        return read_document(text, exact)
    read = read_lines(lines, exact)
    if isinstance(read.values[0], Broken):  # perhaps one document over many lines
        try:
            return read_document(text, exact=True)
        except BadRequest:
            if opens_many(text):
                raise
    return read


def read_lines(lines: list[bytes], exact: bool, one_each: bool = False) -> Values:
    """Read each line as a value, or as several objects; what is no JSON stands as Broken.

    `one_each`: what is not one value stands as Broken, so that there are as many values as lines.
    """
    if not exact:
        try:
            return Values([orjson.loads(line) for line in lines], Sent(*lines))
        except orjson.JSONDecodeError:
            pass
    if one_each:
        return Values([read_line(line) for line in lines], exact=True)
    return Values([value for line in lines for value in _values_of_line(line)], exact=True)


def _values_of_line(line: bytes) -> list[Any]:
    value = read_line(line)
    if isinstance(value, Broken):
        with contextlib.suppress(BadRequest):
            return read_objects(line, exact=True).values
    return [value]


def read_document(text: bytes, exact: bool) -> Values:
    """Read one JSON document: an array, an envelope, one event, or several one behind another.

    A value that is no JSON stands as Broken where it is sure where it ends. Raises BadRequest, where it is not.
    """
    if not exact:
        try:
            return Values(_events_of(orjson.loads(text)), Sent(text))
        except orjson.JSONDecodeError:
            pass  # bad bytes, lone surrogates, numbers beyond a double, or no JSON at all: the lenient reader tells
    try:
        document = lenient(text)
    except BadRequest:
        values = values_of_array(_ENVELOPE.sub(rb"\1", text))
        if values is not None:
            return _each(values)
        with contextlib.suppress(BadRequest):
            return read_objects(text, exact)
        raise
    return Values(_events_of(document), exact=True)


def read_objects(text: bytes, exact: bool, at_least: int = 2) -> Values:
    """Read objects that stand one behind another, as `read_document` does its values. Raises BadRequest."""
    objects = objects_of(text)
    if objects is None or len(objects) < at_least:
        raise BadRequest("these are no JSON objects one behind another")
    if not exact:
        try:
            return Values([orjson.loads(one) for one in objects], Sent(text))
        except orjson.JSONDecodeError:
            pass
    return _each(objects)


def _each(values: list[bytes]) -> Values:
    """Read values that were cut out of a text. Raises BadRequest where the flaw of one leaves others in doubt."""
    read: list[Any] = []
    for value in values:
        try:
            read.append(lenient(value))
        except BadRequest as error:
            if not isinstance(error, TooDeep) and not is_whole(value):
                raise
            read.append(Broken(error.message))
    return Values(read, exact=True)


def opens_many(text: Content) -> bool:
    """Tell whether a text begins as an array of events does, or an envelope: its lines are none of it each."""
    return _OPENS_MANY.match(text) is not None


def has_objects(read: Values) -> bool:
    """Tell whether something that may be an event was read."""
    return any(isinstance(value, dict) for value in read.values)


def read_messages(lines: list[bytes]) -> Values:
    """Read each line as the message of an event."""
    return Values([{"message": line.removesuffix(b"\r").decode("utf-8", "replace")} for line in lines], exact=True)


def read_line(line: bytes) -> Any:
    """Read one line, leniently; what is no JSON gives Broken. Files put together have marks between them, too."""
    try:
        return lenient(line.removeprefix(_BOM))
    except BadRequest as error:
        return Broken(error.message)


def _kind_of(content_type: str | None) -> tuple[str, str | None]:
    """Read a Content-Type: what it names, and how its text is to be decoded if it is not UTF-8.

    Two headers are joined by a comma: the first one that is spoken here counts. Raises Unsupported.
    """
    for each in filter(str.strip, content_type.split(",")) if content_type else [""]:
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        if not (kind in NDJSON or kind in _JSON or kind == PLAIN or kind.endswith("+json")):
            continue
        charset = next((one.partition("=")[2].strip(' "') for one in parameters if one.startswith("charset")), "utf-8")
        if charset not in _CHARSETS:
            raise Unsupported(f"the charset of {content_type!r} is not spoken here: send UTF-8")
        return kind, _CHARSETS[charset]
    raise Unsupported(
        f"the Content-Type {content_type!r} is not spoken here: use application/json or application/x-ndjson"
    )


def _events_of(document: Any) -> list[Any]:
    """Unwrap an array, `{"events": [...]}` or one event."""
    values = document
    if isinstance(document, dict):
        values = [document]
        inner = document.get("events")
        if isinstance(inner, list) and "message" not in document:
            if len(document) > 1:
                other = sorted(set(document) - {"events"})[0]
                raise BadRequest(
                    f"{other!r} stands beside `events`: an envelope holds `events` alone, put it into each event"
                )
            values = inner
    if not isinstance(values, list):
        raise BadRequest('the body is JSON, but neither an array of events, nor {"events": [...]}, nor an event')
    return values


def _number(digits: str, read: Callable[[str], int | float]) -> int | float | str:
    """Read a number; one that is beyond a double, or has thousands of digits, is kept as text."""
    value = read(digits) if len(digits) <= _MAX_DIGITS else math.inf
    return value if isinstance(value, int) or math.isfinite(value) else digits


_READ_NUMBERS: Final[dict[str, Any]] = {
    "parse_int": partial(_number, read=int),
    "parse_float": partial(_number, read=read_decimal),
    "parse_constant": str,  # NaN and the infinities, which JSON does not have, as their names
}
_DECODER: Final = json.JSONDecoder(**_READ_NUMBERS)
_MENDING_DECODER: Final = json.JSONDecoder(**_READ_NUMBERS, object_pairs_hook=mended_object)


def lenient(text: bytes) -> Any:
    """Parse with the standard library; bad bytes and lone surrogates become U+FFFD, what is no JSON number text.

    Raises BadRequest (not JSON, too deep).
    """
    try:
        decoded = text.decode("utf-8", "replace")
        # Only an escape can make a lone surrogate: the bytes were UTF-8.
        may_have_surrogates = "\\u" in decoded
        decoder = _MENDING_DECODER if may_have_surrogates or MENDED in decoded else _DECODER
        value = decoder.decode(decoded)
        return _mend(value) if may_have_surrogates else value
    except RecursionError as error:
        raise TooDeep("the JSON is nested too deep to be read: events may nest 100 levels") from error
    except ValueError as error:
        raise BadRequest(f"this is not JSON: {error}") from error


def _mend(value: Any) -> Any:
    """Replace lone surrogates by U+FFFD in values. Recursive: the parser has bounded the depth."""
    if isinstance(value, str):
        # The parser has joined the valid pairs, so what still is a surrogate stands alone.
        return SURROGATE.sub(MENDED, value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {key: _mend(item) for key, item in value.items()}
    return value
