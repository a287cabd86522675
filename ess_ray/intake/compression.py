"""Content-Encoding: compressed bodies to plain ones, bounded while they grow.

The limit is counted while decompressing, so a bomb costs its limit and no more; what was read of the input is let go,
so that a body of the limit's size fits however little it was compressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import cramjam
import zstandard

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported

_STEP_BYTES: Final = 64 * 1024
"""Input and output of one step of zlib: the limit is overrun by this much at the most."""
_ZSTD_INPUT_BYTES: Final = 256
"""Input of one zstd step, which gives all its output: four bytes become a block of 128 KiB, so 8 MiB at the most."""
_MAX_FRAMES: Final = 1_000
"""Members of a compressed body that hold next to nothing: they would take time without counting towards the size."""
_FRAME_BYTES: Final = 64
"""What a member holds at the least that does not count as one of those: Fluentd writes one for every few lines."""
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""The window a zstd frame may ask for (level 19's): what every decoder must support by the RFC."""
_SNAPPY_STREAM: Final = b"\xff\x06\x00\x00sNaPpY"
_SNAPPY_DATA: Final = (0, 1)
"""Chunks of the framing format that hold data: at most 64 KiB each. From 2 to 127 a reader must not skip them."""
_ENCODINGS: Final = "gzip, zstd, deflate, snappy"

Content = bytes | bytearray
Grown = Callable[[int], None]
"""Told how many bytes there are by now, input and output; what it raises ends the decompression."""


def decompress(body: Content, encoding: str | None, max_bytes: int, grown: Grown = lambda _: None) -> Content:
    """Undo `Content-Encoding` (gzip, zstd, deflate with or without zlib's header, snappy framed or raw, identity).

    A `bytearray` is emptied on the way. Raises Unsupported, TooLarge beyond `max_bytes`, BadRequest, and whatever
    `grown` raises.
    """
    names = [name for each in (encoding or "").lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if not names:
        if len(body) > max_bytes:
            raise too_large(max_bytes)
        return body
    read = _READERS.get(names[0])
    if read is None or len(names) > 1:
        raise Unsupported(f"the Content-Encoding {encoding!r} is not spoken here: use one of {_ENCODINGS}, or none")
    given = _Input(body)
    out = _Output(max_bytes, grown, given)
    try:
        read(given, out)
    except (zlib.error, zstandard.ZstdError, cramjam.DecompressionError) as error:
        name = names[0].removeprefix("x-")
        raise BadRequest(f"the body is not {name}, though its Content-Encoding says so: {error}") from error
    return out.content


def too_large(max_bytes: int) -> TooLarge:
    """Make the error of a body over its limit."""
    return TooLarge(f"the body is larger than {max_bytes} bytes (decompressed): send smaller batches", limit=max_bytes)


class _Input:
    """What is left of a compressed body."""

    def __init__(self, body: Content) -> None:
        self._left = body if isinstance(body, bytearray) else bytearray(body)
        self._back = b""  # apart: putting it back in front would move all the rest

    def __len__(self) -> int:
        return len(self._back) + len(self._left)

    def take(self, most_bytes: int) -> bytes:
        """Take some bytes from the front: that many, or as many as were given back, or all."""
        if self._back:
            piece, self._back = self._back[:most_bytes], self._back[most_bytes:]
            return piece
        piece = bytes(self._left[:most_bytes])
        del self._left[:most_bytes]
        return piece

    def give_back(self, piece: bytes) -> None:
        self._back = piece + self._back

    def starts(self, prefix: bytes) -> bool:
        return self._left.startswith(prefix)

    def drop_padding(self) -> None:
        """Drop what is left if that is zeros."""
        first = self._back[:1] or self._left[:1]
        if first == b"\0" and not self._back.strip(b"\0") and not self._left.strip(b"\0"):
            self._back = b""
            self._left.clear()


class _Output:
    """What was decompressed so far, within its limit."""

    def __init__(self, max_bytes: int, grown: Grown, given: _Input) -> None:
        self.content = bytearray()
        self._max_bytes, self._grown, self._given, self._told_bytes = max_bytes, grown, given, 0

    def add(self, content: bytes) -> None:
        self.expect(len(content))
        self.content += content

    def expect(self, more_bytes: int) -> None:
        """Raise TooLarge where so many more would be too many."""
        size = len(self.content) + more_bytes
        if size > self._max_bytes:
            raise too_large(self._max_bytes)
        if size - self._told_bytes >= _STEP_BYTES:
            self._told_bytes = size
            self._grown(size + len(self._given))


def _each_frame(given: _Input, out: _Output, read: Callable[[_Input, _Output], None]) -> None:
    """Read gzip members or zstd frames one after another: several are one stream, and log shippers append them."""
    nearly_empty = 0
    while len(given):
        before = len(out.content)
        read(given, out)
        nearly_empty += len(out.content) - before < _FRAME_BYTES
        if nearly_empty >= _MAX_FRAMES and len(given):
            raise BadRequest(f"the body has more than {_MAX_FRAMES} compressed members: compress it as one")


def _gunzip(given: _Input, out: _Output) -> None:
    _each_frame(given, out, _gunzip_member)


def _gunzip_member(given: _Input, out: _Output) -> None:
    _inflate(given, out, 31, "gzip")
    given.drop_padding()  # zeros after the last member


def _deflate(given: _Input, out: _Output) -> None:
    first = given.take(2)
    given.give_back(first)
    with_header = len(first) == 2 and first[0] & 15 == 8 and int.from_bytes(first, "big") % 31 == 0
    _inflate(given, out, 15 if with_header else -15, "deflate")
    if len(given):
        raise BadRequest("the deflate body goes on after its end: send one stream")


def _inflate(given: _Input, out: _Output, window_bits: int, name: str) -> None:
    stream = zlib.decompressobj(wbits=window_bits)
    while not stream.eof:
        piece = stream.unconsumed_tail or given.take(_STEP_BYTES)
        content = stream.decompress(piece, _STEP_BYTES)
        out.add(content)
        if not piece and not content and not stream.eof:
            raise BadRequest(f"the {name} body ends in the middle: send it again")
    given.give_back(stream.unused_data)


def _unzstd(given: _Input, out: _Output) -> None:
    _each_frame(given, out, _unzstd_frame)


def _unzstd_frame(given: _Input, out: _Output) -> None:
    frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj(write_size=_STEP_BYTES)
    while len(given):
        out.add(frame.decompress(given.take(_ZSTD_INPUT_BYTES)))
        if frame.eof:
            given.give_back(frame.unused_data)
            return
    raise BadRequest("the zstd body ends in the middle: send it again")


def _unsnappy(given: _Input, out: _Output) -> None:
    """Read either of snappy's forms: the framing format begins with its name, a raw block with its size."""
    if given.starts(_SNAPPY_STREAM):
        _unsnappy_frames(given, out)
        return
    body = given.take(len(given))
    if not body:
        return
    out.expect(cramjam.snappy.decompress_raw_len(body))
    out.add(bytes(cramjam.snappy.decompress_raw(body)))


def _unsnappy_frames(given: _Input, out: _Output) -> None:
    while len(given):
        header = given.take(4)
        size = int.from_bytes(header[1:], "little")
        if len(header) < 4 or len(given) < size:
            raise BadRequest("the snappy body ends in the middle: send it again")
        chunk = header + given.take(size)
        if header[0] in _SNAPPY_DATA:
            out.add(bytes(cramjam.snappy.decompress(_SNAPPY_STREAM + chunk)))
        elif header[0] < 0x80:
            raise BadRequest(f"the snappy body has a chunk of type {header[0]}, which nobody knows: send another")


_READERS: Final[dict[str, Callable[[_Input, _Output], None]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "zstd": _unzstd,
    "deflate": _deflate,
    "snappy": _unsnappy,
    "x-snappy-framed": _unsnappy,
}
