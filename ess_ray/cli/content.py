"""A file's bytes -> its text in UTF-8: compressed or not, in whichever encoding, or refused with what to do."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from ess_ray.cli.packing import MAGIC_BYTES, packing_of, unpacked

LineEnd = Literal["lf", "crlf", "cr"]
SNIFF_BYTES: Final = 64 * 1024
"""How much of the text decides its form."""
_PIECE_BYTES: Final = 256 * 1024
"""Read at a time."""
_MAX_LAYERS: Final = 4
"""Compressions around each other: two happen (what was compressed is uploaded compressed), more are an attack."""
_MAX_CONTROL_SHARE: Final = 0.05
"""Control characters among a text's bytes: a crash leaves some NULs in a log, in random bytes they are a tenth."""
_MAX_BROKEN_SHARE: Final = 0.1
"""Lines that are not UTF-8: programs log stray bytes, but a tenth of all lines means another encoding."""
_MIN_UTF16_SHARE: Final = 0.3
"""Zeros among every other byte: half of the letters being ASCII is enough, and text has no zeros otherwise."""
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\f\v\b\x1b\x07")) + b"\x7f"
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNPACK: Final = "unpack it first: `{} | ess push -`"
_NO_TEXT: Final = (
    (b"PK\x03\x04", "a ZIP archive (or an office document)", _UNPACK.format("unzip -p FILE")),
    (b"PK\x05\x06", "an empty ZIP archive", "there is nothing to push"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK.format("7z x -so FILE")),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK.format("unrar p -inul FILE")),
    (b"\x04\x22\x4d\x18", "compressed with lz4", _UNPACK.format("lz4 -dc FILE")),
    (b"\x1f\x9d", "compressed with compress", _UNPACK.format("zcat FILE")),
    (b"LZIP", "compressed with lzip", _UNPACK.format("lzip -dc FILE")),
    (b"\x5d\x00\x00", "compressed with lzma", _UNPACK.format("xz --format=lzma -dc FILE")),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy", _UNPACK.format("snzip -dc FILE")),
    (b"%PDF-", "a PDF document", "convert it first: `pdftotext FILE - | ess push -`"),
    (b"PAR1", "a Parquet file", "convert it first, to one JSON object a line"),
    (b"ARROW1", "an Arrow file", "convert it first, to one JSON object a line"),
    (b"Obj\x01", "an Avro file", "convert it first, to one JSON object a line"),
    (b"ORC", "an ORC file", "convert it first, to one JSON object a line"),
    (b"SQLite format 3\0", "an SQLite database", "convert it first: `sqlite3 -json FILE 'select ...' | ess push -`"),
    (b"LPKSHHRH", "a journal of systemd", "convert it first: `journalctl --file FILE -o json | ess push -`"),
    (b"ElfFile\0", "a Windows event log", "convert it first, to one JSON object a line"),
    (b"\x7fELF", "a program", "there are no events in it"),
    (b"MZ\x90\0", "a program", "there are no events in it"),
    (b"\x89PNG\r\n\x1a\n", "a picture", "there are no events in it"),
    (b"\xff\xd8\xff", "a picture", "there are no events in it"),
    (b"GIF8", "a picture", "there are no events in it"),
    (b"\xd4\xc3\xb2\xa1", "a network capture", "convert it first: `tshark -r FILE -T ek | ess push -`"),
    (b"\x0a\x0d\x0d\x0a", "a network capture", "convert it first: `tshark -r FILE -T ek | ess push -`"),
)
_TAR_AT: Final = 257


class Content:
    """The text of a file as UTF-8, from its first byte on, without a byte order mark.

    `head` is its first SNIFF_BYTES; `line_end` how its lines end: `crlf` where all of the head's do, `cr` where nothing
    else ends them, else `lf`, and then a CR before a newline belongs to the line. With `encoding` it is text in that,
    whatever it looks like. Raises ValueError for what is no text, and says what to do; EOFError and OSError where the
    file cannot be read further, once what comes before has been given.
    """

    def __init__(self, raw: BinaryIO, encoding: str | None = None, line_end: LineEnd | None = None) -> None:
        self._raw = raw
        self._layers = 0
        pieces = self._unpacked(self._read())
        start, pieces = _peek(pieces, SNIFF_BYTES)
        if encoding is None:
            _check_is_nothing_else(start)
        self._mark, self.encoding = _encoding_of(start) if encoding is None else (_mark_of(start, encoding), encoding)
        self._seekable_from = len(self._mark) if self._is_utf8 and not self._layers else None
        self._first: Iterator[bytes] | None
        head, self._first = _peek(self._decoded(pieces), SNIFF_BYTES)
        if encoding is None:
            _check_is_text(head)
        self.line_end: LineEnd = line_end or _line_end_of(head)
        self.head = self._with_newlines(head)

    @property
    def _is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name == "utf-8"

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the text from `start` up to `stop` (bytes of UTF-8). More than once, or not from 0: of files alone."""
        pieces, self._first = self._first, None
        if start or pieces is None:
            if self._seekable_from is None:
                self._raw.seek(0)
                self._layers = 0
                pieces = _between(self._decoded(self._unpacked(self._read())), start, stop)
            else:
                self._raw.seek(self._seekable_from + start)
                pieces = _between(self._read(), 0, None if stop is None else stop - start)
        elif stop is not None:
            pieces = _between(pieces, 0, stop)
        return map(self._with_newlines, pieces)

    def _read(self) -> Iterator[bytes]:
        return iter(lambda: self._raw.read(_PIECE_BYTES), b"")

    def _with_newlines(self, piece: bytes) -> bytes:
        return piece.replace(b"\r", b"\n") if self.line_end == "cr" else piece

    def _unpacked(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            head, pieces = _peek(pieces, MAGIC_BYTES)
            packing = packing_of(head)
            if packing is None:
                return pieces
            self._layers += 1
            if self._layers > _MAX_LAYERS:
                raise ValueError(f"it is compressed more than {_MAX_LAYERS} times over: {_UNPACK.format('zcat FILE')}")
            pieces = unpacked(pieces, packing)

    def _decoded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        if self._is_utf8:
            return _between(pieces, len(self._mark), None) if self._mark else pieces
        return _recoded(pieces, self.encoding)


def _peek(pieces: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Look at the first bytes; gives them, and all pieces. An error on the way comes when it is its turn."""
    seen: list[bytes] = []
    failure: list[Exception] = []
    try:
        while sum(map(len, seen)) < size and (piece := next(pieces, b"")):
            seen.append(piece)
    except (OSError, EOFError, UnicodeError) as error:
        failure.append(error)

    def rest() -> Iterator[bytes]:
        for error in failure:
            raise error
        yield from pieces

    return b"".join(seen)[:size], itertools.chain(seen, rest())


def _between(pieces: Iterator[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    at = 0
    for piece in pieces:
        wanted = piece[max(0, start - at) : None if stop is None else max(0, stop - at)]
        at += len(piece)
        if wanted:
            yield wanted
        if stop is not None and at >= stop:
            return


def _recoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for piece in itertools.chain(pieces, [b""]):
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeError as error:
            raise OSError(f"it is not {encoding} all through ({error}): name another with --encoding") from error
        if text:
            yield text.encode("utf-8", "replace")


def known_encoding(name: str) -> str:
    """Check the name of an encoding of text. Raises LookupError."""
    "".encode(name)
    return name


def _mark_of(start: bytes, encoding: str) -> bytes:
    marked = codecs.lookup(encoding).name == "utf-8" and start.startswith(codecs.BOM_UTF8)
    return codecs.BOM_UTF8 if marked else b""


def _encoding_of(start: bytes) -> tuple[bytes, str]:
    """Tell an encoding by its byte order mark (given, too), or UTF-16 by the zeros of its ASCII letters."""
    for mark, name in _BOMS:
        if start.startswith(mark):
            return mark, name
    even, odd = start[0::2], start[1::2]
    shares = [part.count(0) / max(1, len(part)) for part in (even, odd)]
    if len(start) >= 4 and max(shares) >= _MIN_UTF16_SHARE and min(shares) < _MIN_UTF16_SHARE / 10:
        return b"", "utf-16-le" if shares[1] > shares[0] else "utf-16-be"
    return b"", "utf-8"


def _check_is_nothing_else(start: bytes) -> None:
    for magic, what, todo in _NO_TEXT:
        if start.startswith(magic):
            raise ValueError(f"it is {what}, no text: {todo}")
    if start[_TAR_AT : _TAR_AT + 5] == b"ustar":
        raise ValueError(f"it is a tar archive, no text: {_UNPACK.format('tar -xOf FILE')}")


def _check_is_text(head: bytes) -> None:
    anyway = "if it is text all the same, name its encoding: `--encoding utf-8`"
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > _MAX_CONTROL_SHARE * len(head):
        raise ValueError(
            f"it looks like no text: {controls / len(head):.0%} of its first {len(head):,} bytes are control "
            f"characters; {anyway}"
        )
    whole = head if len(head) < SNIFF_BYTES else head[: head.rfind(b"\n") + 1] or head[:-4]
    lines = [line for line in whole.splitlines() if line]
    broken = sum(not is_utf8(line) for line in lines)
    if broken > _MAX_BROKEN_SHARE * len(lines):
        raise ValueError(
            f"{broken:,} of its first {len(lines):,} lines are not UTF-8: name its encoding, such as `--encoding "
            "windows-1252` or latin-1; `--encoding utf-8` puts U+FFFD where it is not"
        )


def is_utf8(line: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def too_broken(broken: int, lines: int) -> bool:
    """Tell whether so many lines are not UTF-8 that the file is in another encoding."""
    return broken > _MAX_BROKEN_SHARE * lines


def _line_end_of(head: bytes) -> LineEnd:
    newlines = head.count(b"\n")
    if not newlines:
        return "cr" if b"\r" in head else "lf"
    return "crlf" if head.count(b"\r\n") == newlines else "lf"
