"""Entries of the forward protocol: packed pairs of a time and a record to events, and many of them to pieces.

A time is a number of seconds, an EventTime (an extension of eight bytes: seconds, nanoseconds), or Fluent Bit's pair of
a time and metadata. What is no entry costs no other; behind bytes that are no MessagePack nothing can be read.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgpack

from ess_ray.core.event import MAX_ATTRIBUTE_DEPTH, MAX_EVENT_BYTES
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.holders import Around, Held, Time, time_of
from ess_ray.intake.formats.msgpack_walk import Malformed, Walker
from ess_ray.intake.names import kept_apart, mended_object
from ess_ray.intake.rows import Broken

EVENT_BYTES: Final = 100
"""What an entry counts beyond its bytes: about what a row takes beyond its text."""
MAX_ENTRY_BYTES: Final = 4 * MAX_EVENT_BYTES
"""An entry that is longer is no event, and is not read: its text stands in it as it is."""
UNREADABLE: Final = Broken("what stands here and behind it is no MessagePack")
_NO_ENTRY: Final = Broken("it is no entry: those are arrays of a time and a record")
_ODD: Final = Broken("it cannot be read: a key of a map is no text or number, or an extension is not what it says")
_TOO_DEEP: Final = Broken(f"attributes are nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
_TOO_LARGE: Final = Broken(f"the event is larger than {MAX_EVENT_BYTES} bytes")
_EVENT_TIME: Final = 0
_EVENT_TIME_BYTES: Final = 8
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_TEXT: Final = frozenset({str})
_END: Final = b"\xc0"
_NON_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


class EventTime(NamedTuple):
    """Seconds and nanoseconds since 1970."""

    seconds: int
    nanoseconds: int

    def __str__(self) -> str:
        return f"{self.seconds}.{self.nanoseconds:09d}"


class TooDeep(Exception):
    """A record is nested deeper than an event's attributes may be."""


def read_entries(packed: bytes, around: Around) -> list[Held | Broken]:
    """Read entries, one event each; the last is UNREADABLE where the bytes end in the middle or are no MessagePack."""
    try:
        found = _unpacked(packed)
    except (ValueError, TypeError, RecursionError):
        return list(_one_by_one(packed, around))
    return [_read(entry, around) for entry in found]


def _unpacked(packed: bytes) -> list[Any]:
    """Unpack all entries at once. Raises what the library does, and ValueError where they do not end at the end."""
    try:
        found = _unpacked_by(_unpacker(len(packed) + len(_END)), packed)
    except UnicodeDecodeError:  # rare, and keys that were told apart may be alike once they are mended
        mending = _unpacker(len(packed) + len(_END), unicode_errors="replace", object_pairs_hook=mended_object)
        found = _unpacked_by(mending, packed)
    # In the middle of an entry the mark would be a part of that.
    if not found or found.pop() is not None:
        raise ValueError("the last entry is not whole")
    return found


def _unpacked_by(unpacker: Any, packed: bytes) -> list[Any]:
    unpacker.feed(packed)
    unpacker.feed(_END)
    return list(unpacker)


def _unpacker(max_bytes: int, **more: Any) -> Any:
    return msgpack.Unpacker(raw=False, strict_map_key=False, ext_hook=_extension, max_buffer_size=max_bytes, **more)


def _one_by_one(packed: bytes, around: Around) -> Iterator[Held | Broken]:
    """Read what cannot be unpacked at once: each entry by itself."""
    start = 0
    while start < len(packed):
        walker = Walker(start)
        try:
            is_whole = walker.walk(packed)
        except Malformed:
            is_whole = False
        if not is_whole:
            yield UNREADABLE
            return
        yield _entry(packed[start : walker.at], around)
        start = walker.at


def _entry(packed: bytes, around: Around) -> Held | Broken:
    try:
        (found,) = _unpacked(packed)
    except msgpack.StackError:
        return _TOO_DEEP
    except (ValueError, TypeError, RecursionError):
        return _ODD
    return _read(found, around)


def _read(entry: Any, around: Around) -> Held | Broken:
    """Make an event of an unpacked entry."""
    if type(entry) is not list or len(entry) < 2:
        return _NO_ENTRY
    sent, record = entry[0], entry[1]
    beside: dict[str, Any] = {}
    try:
        if type(sent) is list:  # Fluent Bit's head of an entry
            if len(sent) > 1 and sent[1]:
                metadata = _plain(sent[1], 1)
                beside = metadata if isinstance(metadata, dict) else {"metadata": metadata}
            sent = sent[0] if sent else None
        time = _time(sent)
        if type(record) is not dict:
            return Held(around, "" if record is None else _plain(record, 1), time, {}, beside)
        return Held(around, None, time, _plain(record, 1), beside)
    except TooDeep:
        return _TOO_DEEP


def _time(sent: Any) -> Time | None:
    if type(sent) is EventTime:
        return Time(sent.seconds * 1_000_000 + sent.nanoseconds // 1_000, sent)
    if isinstance(sent, msgpack.Timestamp):
        return Time(sent.to_unix_nano() // 1_000, _text_of_timestamp(sent))
    sent = _plain(sent, 1)
    if isinstance(sent, list | dict):
        return Time(None, sent, "its time is neither a number nor text")
    return time_of(sent)


def _plain(value: Any, depth: int) -> Any:
    """Give a value as JSON's: binary is text, keys are text, other numbers are their names. Raises TooDeep."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is not dict and kind is not list:
        return _plain_scalar(value)
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise TooDeep
    if kind is list:
        return [_plain(inner, depth + 1) for inner in value]
    if set(map(type, value)) - _TEXT:
        return kept_apart((_key(key), _plain(inner, depth + 1)) for key, inner in value.items())
    for key, inner in value.items():
        if type(inner) not in _PLAIN:
            value[key] = _plain(inner, depth + 1)  # which is nobody else's, and no key is added
    return value


def _plain_scalar(value: Any) -> str | float:
    if isinstance(value, float):
        return value if math.isfinite(value) else _NON_FINITE.get(value, "NaN")
    if isinstance(value, bytes):  # Ruby's way of sending text of no encoding, which is most of what Fluentd reads
        return value.decode("utf-8", "replace")
    if isinstance(value, EventTime):
        return str(value)
    if isinstance(value, msgpack.Timestamp):
        return _text_of_timestamp(value)
    return base64.b64encode(value.data).decode()


def _key(key: Any) -> str:
    if key is None or key is True or key is False:
        return {None: "null", True: "true", False: "false"}[key]
    plain = _plain(key, 1)
    return plain if isinstance(plain, str) else str(plain)


def _extension(code: int, data: bytes) -> EventTime | msgpack.ExtType:
    if code == _EVENT_TIME and len(data) == _EVENT_TIME_BYTES:
        return EventTime(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big"))
    return msgpack.ExtType(code, data)


def _text_of_timestamp(timestamp: Any) -> str:
    return f"{timestamp.seconds}.{timestamp.nanoseconds:09d}"


# ------------------------------------------------------------------------------------------------------------- pieces
def cut_entries(packed: Content, piece_bytes: int, each_bytes: int) -> list[tuple[int, int]]:
    """Cut entries into runs, each counted with `each_bytes` beyond its own. What is behind something unreadable stands
    in the last run with it, cut where a piece would be."""
    spans: list[tuple[int, int]] = []
    start = size = at = 0
    while at < len(packed):
        walker = Walker(at)
        try:
            is_whole = walker.walk(packed)
        except Malformed:
            is_whole = False
        if not is_whole:
            return [*spans, (start, min(len(packed), max(at + 1, start + piece_bytes)))]
        weight = walker.at - at + each_bytes
        if size and size + weight > piece_bytes:
            spans.append((start, at))
            start, size = at, 0
        size += weight
        at = walker.at
    return [*spans, (start, at)] if size else spans


def read_run(packed: Content, span: tuple[int, int], around: Around) -> list[Held | Broken]:
    """Read the entries of a run."""
    start, end = span
    if end - start > MAX_ENTRY_BYTES:  # more than a piece holds only where it is a single entry
        return [_TOO_LARGE]
    with memoryview(packed) as view:
        return read_entries(bytes(view[start:end]), around)
