"""Messages of the forward protocol for tests, as agents pack them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha512
from typing import Any, Literal

import msgpack
import zstandard

Mode = Literal["message", "forward", "packed", "gzip", "zstd"]
MODES: tuple[Mode, ...] = ("message", "forward", "packed", "gzip", "zstd")
Entry = tuple[Any, Any]


def event_time(ns: int) -> msgpack.ExtType:
    """Give Fluentd's EventTime."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + rest.to_bytes(4, "big"))


def pack(value: Any) -> bytes:
    """Pack anything, text that is no UTF-8 as `surrogateescape` has it."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def packed_entries(entries: Sequence[Entry]) -> bytes:
    """Pack entries one behind another."""
    return b"".join(pack(list(entry)) for entry in entries)


def message(entries: Sequence[Entry], mode: Mode = "packed", tag: str = "app", **options: Any) -> bytes:
    """Give a message, in mode `message` one for each entry."""
    if mode == "message":
        return b"".join(pack([tag, *entry, *([options] if options else [])]) for entry in entries)
    if mode == "forward":
        return pack([tag, [list(entry) for entry in entries], *([options] if options else [])])
    content = packed_entries(entries)
    if mode != "packed":
        options = {**options, "compressed": mode}
        # Several members, as where an agent compresses what it adds to a chunk.
        half = len(content) // 2
        parts = [content[:half], content[half:]]
        content = b"".join(gzip.compress(part) if mode == "gzip" else zstandard.compress(part) for part in parts)
    return pack([tag, content, *([options] if options else [])])


def ping(helo: bytes, shared_key: str, *, host: str = "client", user: str = "", password: str = "") -> bytes:
    """Answer a HELO as an agent does."""
    said, options = msgpack.unpackb(helo)
    assert said == "HELO"
    salt, auth = b"\xff\x00salt", options["auth"]
    auth = auth.encode() if isinstance(auth, str) else auth
    digest = sha512(salt + host.encode() + options["nonce"] + shared_key.encode()).hexdigest()
    shown = sha512(auth + user.encode() + password.encode()).hexdigest() if auth else ""
    return pack(["PING", host, salt, digest, user, shown])
