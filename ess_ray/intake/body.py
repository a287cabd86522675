"""A request's body: bytes to JSON values, bounded while they are read.

Compressed or not, array, envelope, object or NDJSON, all become one list of values, each to be an event. The limits are
counted while decompressing, so a bomb costs its limit and no more. May live here: content types and encodings, JSON
syntax. May not: what an event is (`rows`, `columns`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

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
    # The last three are what curl -d, and clients that were told nothing, send.
    {"application/json", "text/json", "", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"}
)
_STEP_BYTES: Final = 64 * 1024
"""Input and output of one gzip step: the limit is overrun by this much at the most."""
_ZSTD_INPUT_BYTES: Final = 256
"""Input of one zstd step, which gives all its output: four bytes become a block of 128 KiB, so 8 MiB at the most."""
_MAX_FRAMES: Final = 1_000
"""Members of a compressed body: empty ones would take time without counting towards the size."""
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""The window a zstd frame may ask for (level 19's): what every decoder must support by the RFC."""
_MAX_INT_DIGITS: Final = 4_000
"""Digits of an integer that Python reads (its own guard stops at 4,300); longer ones are beyond any number's use."""
_BOM: Final = b"\xef\xbb\xbf"
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
    """Read a decompressed body as the list of its values.

    `exact` reads with the standard library: slow, but integers of any size stay what they are.
    Raises BadRequest (empty, not JSON, too deep, no events in it), TooLarge (too many), Unsupported (content type).
    """
    as_lines = _is_ndjson(content_type)
    text = body.removeprefix(_BOM)
    if not text or text.isspace():
        raise BadRequest('the body is empty: send a JSON array of events, {"events": [...]}, one event, or NDJSON')
    if as_lines:
        lines = [line for line in text.split(b"\n") if line and not line.isspace()]
        _check_count(len(lines), limits)
        try:
            return Values([(_line if exact else orjson.loads)(line) for line in lines], exact)
        except orjson.JSONDecodeError:
            return Values([_line(line) for line in lines], exact=True)
    try:
        return Values(_events_of((_lenient if exact else orjson.loads)(text), limits), exact)
    except orjson.JSONDecodeError:
        # Refused for lone surrogates or numbers beyond a double, or no JSON at all: the lenient reader tells.
        return read_values(body, content_type, limits, exact=True)


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


def _is_ndjson(content_type: str | None) -> bool:
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if charset.startswith("charset=") and charset not in ("charset=utf-8", "charset=utf8", "charset=us-ascii"):
        raise Unsupported(f"the charset of {content_type!r} is not spoken here: send UTF-8")
    if kind in NDJSON:
        return True
    if kind in _JSON or kind.endswith("+json"):
        return False
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


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else float(digits)


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant)


def _lenient(text: bytes) -> Any:
    """Parse with the standard library, lone surrogates as U+FFFD. Raises BadRequest (not JSON, not UTF-8, too deep)."""
    try:
        decoded = text.decode()
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
