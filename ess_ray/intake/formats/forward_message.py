"""One message of the forward protocol: which of its four modes it has, its tag, its packed entries and its options.

All modes become one: entries `[time, record]`, packed, one behind another.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgpack

from ess_ray.core.errors import BadRequest
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.forward_stream import Elements
from ess_ray.intake.limits import MAX_KEY_BYTES

LOGS: Final = 0
"""`fluent_signal` of logs, which is also meant where there is none; metrics are 1, traces 2."""
_PAIR: Final = b"\x92"
"""An array of two: what an entry is."""
_ENCODINGS: Final = {"text": None, "gzip": "gzip", "zstd": "zstd"}
"""What `compressed` may say, as a Content-Encoding."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `entries`: packed, compressed where `encoding` says how. `chunk`: what an acknowledgement names."""

    tag: str
    entries: Content
    encoding: str | None = None
    chunk: str | bytes | None = None
    signal: int = LOGS
    fault: str | None = None
    """Why nothing of it can ever be stored, if so: it is acknowledged and counted all the same."""


def read_message(elements: Elements) -> Message:
    """Read a message. What is none has a fault, and its chunk if it has one: an agent that is told nothing would send
    it for ever."""
    options = _options(elements)
    chunk = options.get("chunk")
    chunk = chunk if isinstance(chunk, str | bytes) else None
    if not elements or not elements[0].is_text:
        return Message("", b"", chunk=chunk, fault="it has no tag")
    tag = elements[0].content.decode("utf-8", "replace")
    try:
        entries, encoding = _entries(elements, options)
    except BadRequest as error:
        return Message(tag, b"", chunk=chunk, fault=error.message)
    signal = options.get("fluent_signal")
    return Message(tag, entries, encoding, chunk, signal if type(signal) is int else LOGS)


def _entries(elements: Elements, options: dict[str, Any]) -> tuple[bytes, str | None]:
    """Give the packed entries, and how they are compressed. Raises BadRequest."""
    second = elements[1]
    if second.is_array:
        return second.content, None
    if second.is_text:
        compressed = options.get("compressed")
        if compressed is None:
            return second.content, None
        if compressed not in _ENCODINGS:
            raise BadRequest(f"its entries are compressed by {compressed!r}: gzip and zstd are spoken here")
        return second.content, _ENCODINGS[compressed]
    if len(elements) < 3:
        raise BadRequest("it has a time and no record")
    return _PAIR + second.packed + elements[2].packed, None


def _options(elements: Elements) -> dict[str, Any]:
    """Give a message's options: of the modes with a list of entries the third element, else the fourth."""
    place = 2 if len(elements) > 1 and (elements[1].is_array or elements[1].is_text) else 3
    if len(elements) <= place or not elements[place].is_map:
        return {}
    try:
        found = msgpack.unpackb(
            elements[place].packed, raw=False, unicode_errors="surrogateescape", strict_map_key=False
        )
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def acknowledgement(chunk: str | bytes) -> bytes:
    """Give what tells an agent that a chunk is durable: its name as it was sent, of the same type."""
    packed: bytes = msgpack.packb({"ack": chunk}, unicode_errors="surrogateescape")
    return packed


def key_of(tag: str, chunk: str | bytes, body_hash: str = "") -> str:
    """Give the Idempotency-Key of a chunk of a tag. `body_hash`: where the chunk's own was used for other entries."""
    name = chunk.hex() if isinstance(chunk, bytes) else chunk
    text = f"forward:{len(tag)}:{tag}:{type(chunk).__name__}:{name}{body_hash and ':'}{body_hash}"
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) <= MAX_KEY_BYTES and text.isprintable():
        return text
    return f"forward:sha256:{sha256(encoded).hexdigest()}"
