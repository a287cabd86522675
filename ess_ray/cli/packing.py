"""Compressed files, told by their first bytes and unpacked piece by piece, whole or with an error that says so."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import zstandard

_PIECE_BYTES: Final = 256 * 1024
"""Read, and unpacked, at a time: a few thousand bytes may unpack to gigabytes."""
_ZSTD_PIECE_BYTES: Final = 1024
"""Fed to zstd at a time, which gives all that they become: at the most 32 MiB."""


class _Decoder(Protocol):
    """One compressed part, as `bz2.BZ2Decompressor` and `lzma.LZMADecompressor` are."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Zstd:
    needs_input = True

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, _: int) -> bytes:
        return self._inner.decompress(data)


@dataclass(frozen=True)
class Packing:
    """A format of compression: its name, how a part begins, and what unpacks one part."""

    name: str
    magics: tuple[bytes, ...]
    new: Callable[[], _Decoder]
    piece_bytes: int = _PIECE_BYTES


_PACKINGS: Final = (
    Packing("gzip", (b"\x1f\x8b\x08",), _Gzip),
    Packing(
        "bzip2",
        tuple(b"BZh%d%s" % (n, m) for n in range(1, 10) for m in (b"1AY&SY", b"\x17rE8P\x90")),
        bz2.BZ2Decompressor,
    ),
    Packing("xz", (b"\xfd7zXZ\0",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)),
    Packing(
        "zstd",
        (b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))),
        _Zstd,
        _ZSTD_PIECE_BYTES,
    ),
)
MAGIC_BYTES: Final = max(len(magic) for packing in _PACKINGS for magic in packing.magics)


def packing_of(head: bytes) -> Packing | None:
    """Tell how something is compressed by its first MAGIC_BYTES; None: it is not, or in a way that is unknown."""
    return next((packing for packing in _PACKINGS if head.startswith(packing.magics)), None)


def unpacked(pieces: Iterator[bytes], packing: Packing) -> Iterator[bytes]:
    """Unpack all parts that follow each other, as `cat a.gz b.gz` writes them.

    Raises EOFError where the last one is cut off, OSError for damaged parts, and for what is no part behind one.
    """
    feed = _Feed(pieces, packing.piece_bytes)
    data = feed.next()
    while data:
        decoder = packing.new()
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = feed.next()
                if not data:
                    yield from _flushed(decoder, packing)
                    break
            try:
                content = decoder.decompress(data if decoder.needs_input else b"", _PIECE_BYTES)
            except (zlib.error, OSError, ValueError, lzma.LZMAError, zstandard.ZstdError) as error:
                raise OSError(f"its {packing.name} data is damaged: {error}") from error
            data = b""
            if content:
                yield content
        data = feed.after(decoder.unused_data)
        if data and not data.startswith(packing.magics):
            raise OSError(f"behind its {packing.name} data stands something else, which was not read")


def _flushed(decoder: _Decoder, packing: Packing) -> Iterator[bytes]:
    """Give what a decoder still holds at the input's end."""
    while content := decoder.decompress(b"", _PIECE_BYTES):
        yield content
    if not decoder.eof:
        raise EOFError(f"its {packing.name} data is cut off")


class _Feed:
    """Pieces of at most so many bytes."""

    def __init__(self, pieces: Iterator[bytes], piece_bytes: int) -> None:
        self._pieces, self._piece_bytes, self._rest = pieces, piece_bytes, b""

    def next(self) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[: self._piece_bytes], self._rest[self._piece_bytes :]
        return piece

    def after(self, unused: bytes) -> bytes:
        """Give what stands behind a part, without the zeros that pad it, and enough of it to tell what it is."""
        data = unused.lstrip(b"\0")
        while (len(data) < MAGIC_BYTES) and (more := self.next()):
            data = (data + more).lstrip(b"\0")
        return data
