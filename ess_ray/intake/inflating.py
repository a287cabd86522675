"""Content-Encoding of a body that has no end in sight: undone as it comes, a bounded piece at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import zstandard

from ess_ray.core.errors import BadRequest, Unsupported

_STEP_BYTES: Final = 64 * 1024
"""Output of one step of zlib."""
_ZSTD_INPUT_BYTES: Final = 256
"""Input of one zstd step, which gives all its output: four bytes become a block of 128 KiB, so 8 MiB at the most."""
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""The window a zstd frame may ask for: what every decoder must support by the RFC."""
SPOKEN: Final = ("zstd", "gzip")


class Inflater(Protocol):
    """Undoes one stream's encoding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what the next bytes become, in pieces. Raises BadRequest."""

    def close(self) -> None:
        """Tell that nothing more comes. Raises BadRequest where something is missing."""


def inflater(encoding: str | None) -> Inflater:
    """Give what undoes a Content-Encoding. Raises Unsupported."""
    names = [name for each in (encoding or "").lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if not names:
        return _Plain()
    if names == ["zstd"]:
        return _Zstd()
    if names in (["gzip"], ["x-gzip"]):
        return _Gzip()
    raise Unsupported(f"the Content-Encoding {encoding!r} is not spoken here: use {' or '.join(SPOKEN)}, or none")


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def close(self) -> None:
        pass


class _Gzip:
    """Members one behind another are one stream."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self._begun and not (data := data.lstrip(b"\0")):  # zeros between members, and behind the last
                return
            self._begun = True
            try:
                piece = self._member.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise _broken("gzip", error) from error
            yield piece
            if self._member.eof:
                data = self._member.unused_data
                self._member, self._begun = zlib.decompressobj(wbits=31), False
            else:
                data = self._member.unconsumed_tail

    def close(self) -> None:
        if self._begun:
            raise _short("gzip")


class _Zstd:
    """Frames one behind another are one stream: journald makes one of each piece that it sends."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._frame = self._new()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            given = data[at : at + _ZSTD_INPUT_BYTES]
            at += len(given)
            self._begun = True
            try:
                yield self._frame.decompress(given)
            except zstandard.ZstdError as error:
                raise _broken("zstd", error) from error
            if self._frame.eof:
                at -= len(self._frame.unused_data)
                self._frame, self._begun = self._new(), False

    def close(self) -> None:
        if self._begun:
            raise _short("zstd")

    def _new(self) -> zstandard.ZstdDecompressionObj:
        return self._decompressor.decompressobj(write_size=_STEP_BYTES)


def _broken(name: str, error: Exception) -> BadRequest:
    return BadRequest(f"the body is not {name}, though its Content-Encoding says so: {error}")


def _short(name: str) -> BadRequest:
    return BadRequest(f"the {name} body ends in the middle: send it again")
