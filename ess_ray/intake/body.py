"""A request's body: bytes to JSON values, bounded while they are read.

Compressed or not, array, envelope, object or NDJSON, all become one list of values, each to be an event. The limits are
counted while decompressing, so a bomb costs its limit and no more. May live here: content types and encodings, JSON
syntax. May not: what an event is (`rows`, `columns`).
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
import zstandard

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.intake.limits import IntakeLimits

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
_PLAIN: Final = "text/plain"
_STEP_BYTES: Final = 64 * 1024
"""Input and output of one gzip step: the limit is overrun by this much at the most."""
_ZSTD_INPUT_BYTES: Final = 256
"""Input of one zstd step, which gives all its output: four bytes become a block of 128 KiB, so 8 MiB at the most."""
_MAX_FRAMES: Final = 1_000
"""Members of a compressed body: empty ones would take time without counting towards the size."""
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""The window a zstd frame may ask for (level 19's): what every decoder must support by the RFC."""
_MAX_DIGITS: Final = 4_000
"""Of a number that Python reads (its own guard for integers stops at 4,300); longer ones are kept as text."""
_BOM: Final = b"\xef\xbb\xbf"
_FIRST_LINE = re.compile(rb"\s*([^\n]*)")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for an NDJSON line that is no JSON."""

    reason: str


@dataclass(frozen=True)
class Values:
    """A body's values in order. `exact` false: numbers beyond 64 bits came as floats (see `read_values`)."""

    values: list[Any]
    exact: bool


Grown = Callable[[int], None]
"""Told how many bytes there are by now; what it raises ends the decompression."""


def decompress(body: bytes, encoding: str | None, max_bytes: int, grown: Grown = lambda _: None) -> bytes:
    """Undo `Content-Encoding` (gzip, zstd, identity), telling the decompressed bytes as they become more.

    Raises Unsupported, TooLarge beyond `max_bytes`, BadRequest, and whatever `grown` raises.
    """
    name = (encoding or "identity").strip().lower()
    if name in ("", "identity"):
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    if name in ("gzip", "x-gzip"):
        return _gunzip(body, _Output(max_bytes, grown))
    if name == "zstd":
        return _unzstd(body, _Output(max_bytes, grown))
    raise Unsupported(f"the Content-Encoding {name!r} is not spoken here: use gzip, zstd or none")


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes (decompressed): send smaller batches", limit=max_bytes)


class _Output:
    """What was decompressed so far, within its limit."""

    def __init__(self, max_bytes: int, grown: Grown) -> None:
        self.content = bytearray()
        self._max_bytes, self._grown, self._told_bytes = max_bytes, grown, 0

    def add(self, content: bytes) -> None:
        self.content += content
        size = len(self.content)
        if size > self._max_bytes:
            raise _too_large(self._max_bytes)
        if size - self._told_bytes >= _STEP_BYTES:
            self._told_bytes = size
            self._grown(size)


def _gunzip(body: bytes, out: _Output) -> bytes:
    try:
        return _each_frame(body, out, _gunzip_member)
    except zlib.error as error:
        raise BadRequest(f"the body is not gzip, though its Content-Encoding says so: {error}") from error


def _unzstd(body: bytes, out: _Output) -> bytes:
    try:
        return _each_frame(body, out, _unzstd_frame)
    except zstandard.ZstdError as error:
        raise BadRequest(f"the body is not zstd, though its Content-Encoding says so: {error}") from error


def _each_frame(body: bytes, out: _Output, read: Callable[[bytes, int, _Output], int]) -> bytes:
    """Read gzip members or zstd frames one after another: several are one stream, and log shippers append them."""
    at = 0
    for _ in range(_MAX_FRAMES):
        if at == len(body):
            return bytes(out.content)
        at = read(body, at, out)
    raise BadRequest(f"the body has more than {_MAX_FRAMES} compressed members: compress it as one")


def _gunzip_member(body: bytes, at: int, out: _Output) -> int:
    """Add one member's content to `out`; gives where the member ends."""
    member = zlib.decompressobj(wbits=31)
    while not member.eof:
        piece = member.unconsumed_tail
        if not piece:
            piece = body[at : at + _STEP_BYTES]
            at += len(piece)
        content = member.decompress(piece, _STEP_BYTES)
        out.add(content)
        if not piece and not content and not member.eof:
            raise BadRequest("the gzip body ends in the middle: send it again")
    at -= len(member.unused_data)
    return at if body[at:].strip(b"\0") else len(body)  # zeros after the last member are padding


def _unzstd_frame(body: bytes, at: int, out: _Output) -> int:
    """Add one frame's content to `out`; gives where the frame ends."""
    frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj(write_size=_STEP_BYTES)
    while at < len(body):
        piece = body[at : at + _ZSTD_INPUT_BYTES]
        at += len(piece)
        out.add(frame.decompress(piece))
        if frame.eof:
            return at - len(frame.unused_data)
    raise BadRequest("the zstd body ends in the middle: send it again")


def read_values(body: bytes, content_type: str | None, limits: IntakeLimits, exact: bool = False) -> Values:
    """Read a decompressed body as the list of its values: the bytes tell what JSON it is, whatever the type says.

    As `text/plain` each line is an event of that message, unless every line is a JSON object. `exact` reads with the
    standard library: slow, but integers of any size stay what they are.
    Raises BadRequest (empty, not JSON, too deep, no events in it), TooLarge (too many), Unsupported (content type).
    """
    kind = _kind_of(content_type)
    text = body.removeprefix(_BOM)
    if not text or text.isspace():
        raise BadRequest('the body is empty: send a JSON array of events, {"events": [...]}, one event, or NDJSON')
    if kind == _PLAIN:
        return _plain_lines(text, limits, exact)
    if text[:1] == b"[" and kind not in NDJSON and not exact:
        try:  # what nearly all bodies are
            return Values(_events_of(orjson.loads(text), limits), exact=False)
        except orjson.JSONDecodeError:
            pass
    first = _FIRST_LINE.match(text)
    assert first is not None  # it matches anything
    has_more = text.find(b"\n", first.end()) >= 0
    if has_more and first[1][:1] != b"[" and (kind in NDJSON or _is_whole(first[1])):
        return _values_of_lines(text, limits, exact)
    try:
        return _document(text, limits, exact)
    except BadRequest:
        if not has_more or not any(map(_is_whole, text.split(b"\n"))):
            raise
        return _values_of_lines(text, limits, exact)


def _lines_of(text: bytes, limits: IntakeLimits) -> list[bytes]:
    lines = [line for line in text.split(b"\n") if line and not line.isspace()]
    _check_count(len(lines), limits)
    return lines


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _values_of_lines(text: bytes, limits: IntakeLimits, exact: bool) -> Values:
    lines = _lines_of(text, limits)
    if len(lines) == 1:
        return _document(text, limits, exact)
    if not exact:
        try:
            return Values([orjson.loads(line) for line in lines], exact=False)
        except orjson.JSONDecodeError:
            pass
    values = [_line(line) for line in lines]
    if isinstance(values[0], Broken):  # perhaps one document over many lines
        with contextlib.suppress(BadRequest):
            return _document(text, limits, exact=True)
    return Values(values, exact=True)


def _document(text: bytes, limits: IntakeLimits, exact: bool) -> Values:
    if not exact:
        try:
            return Values(_events_of(orjson.loads(text), limits), exact=False)
        except orjson.JSONDecodeError:
            pass  # bad bytes, lone surrogates, numbers beyond a double, or no JSON at all: the lenient reader tells
    return Values(_events_of(_lenient(text), limits), exact=True)


def _plain_lines(text: bytes, limits: IntakeLimits, exact: bool) -> Values:
    lines = _lines_of(text, limits)
    values = [_line(line) if exact or not _is_whole(line) else orjson.loads(line) for line in lines]
    if all(isinstance(value, dict) for value in values):
        return Values(values, exact)
    return Values([{"message": line.removesuffix(b"\r").decode("utf-8", "replace")} for line in lines], exact=True)


def _line(line: bytes) -> Any:
    try:
        return _lenient(line)
    except BadRequest as error:
        return Broken(error.message)


def _check_count(count: int, limits: IntakeLimits) -> None:
    """Raise TooLarge for more events than a request may hold."""
    if count > limits.max_events:
        raise TooLarge(
            f"{count} events are more than the {limits.max_events} of one request: send smaller batches",
            limit=limits.max_events,
        )


def _kind_of(content_type: str | None) -> str:
    """Read a Content-Type. Raises Unsupported for what is no JSON, or not in UTF-8."""
    kind, _, parameters = (content_type or "").split(",")[0].partition(";")  # two headers are joined by a comma
    kind = kind.strip().lower()
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if charset.startswith("charset=") and charset not in ("charset=utf-8", "charset=utf8", "charset=us-ascii"):
        raise Unsupported(f"the charset of {content_type!r} is not spoken here: send UTF-8")
    if kind in NDJSON or kind in _JSON or kind == _PLAIN or kind.endswith("+json"):
        return kind
    raise Unsupported(f"the Content-Type {kind!r} is not spoken here: use application/json or application/x-ndjson")


def _events_of(document: Any, limits: IntakeLimits) -> list[Any]:
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
    _check_count(len(values), limits)
    return values


def _number(digits: str, read: Callable[[str], int | float]) -> int | float | str:
    """Read a number; one that is beyond a double, or has thousands of digits, is kept as text."""
    value = read(digits) if len(digits) <= _MAX_DIGITS else math.inf
    return value if isinstance(value, int) or math.isfinite(value) else digits


_DECODER: Final = json.JSONDecoder(
    parse_int=partial(_number, read=int),
    parse_float=partial(_number, read=float),
    parse_constant=str,  # NaN and the infinities, which JSON does not have, as their names
)


def _lenient(text: bytes) -> Any:
    """Parse with the standard library; bad bytes and lone surrogates become U+FFFD, what is no JSON number text.

    Raises BadRequest (not JSON, too deep).
    """
    try:
        decoded = text.decode("utf-8", "replace")
        value = _DECODER.decode(decoded)
        # Only an escape can make a lone surrogate: the bytes were UTF-8.
        return _mend(value) if "\\u" in decoded else value
    except RecursionError as error:
        raise BadRequest("the JSON is nested too deep to be read: events may nest 100 levels") from error
    except ValueError as error:
        raise BadRequest(f"this is not JSON: {error}") from error


def _mend(value: Any) -> Any:
    """Replace lone surrogates by U+FFFD, in keys too. Recursive: the parser has bounded the depth."""
    if isinstance(value, str):
        # The parser has joined the valid pairs, so what still is a surrogate stands alone.
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value
