"""Whatever encoding and compression a file has, its text is read, or it is refused with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable

import pytest
import zstandard

from ess_ray.cli.content import SNIFF_BYTES, Content

TEXT = "2026-11-20 12:00:00 Grüße aus Köln, 東京 и Москва 🙂\nzweite Zeile\n" * 40
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def text_of(data: bytes, encoding: str | None = None) -> str:
    return b"".join(Content(io.BytesIO(data), encoding).pieces()).decode()


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        Content(io.BytesIO(data))
    return str(caught.value)


ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": TEXT.encode("utf-8-sig"),
    "utf-16 with a mark": TEXT.encode("utf-16"),
    "utf-16-le with a mark": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "utf-16-be with a mark": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "utf-16-le": TEXT.encode("utf-16-le"),
    "utf-16-be": TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "utf-32-be": b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be"),
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("packer", [None, *PACKERS])
def test_every_encoding_is_read_packed_or_not(encoding: str, packer: str | None) -> None:
    data = ENCODED[encoding]
    assert text_of(data if packer is None else PACKERS[packer](data)) == TEXT


@pytest.mark.parametrize("packer", PACKERS)
def test_parts_behind_each_other_and_padding_are_one_file(packer: str) -> None:
    pack = PACKERS[packer]
    large = bytes(random.Random(1).choices(b"abcdefgh\n", k=700_000))
    padding = b"" if packer in ("bzip2", "zstd") else b"\0" * 512
    data = pack(b"one\n") + pack(b"") + pack(large) + padding
    assert text_of(data).encode() == b"one\n" + large


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.999])
def test_what_is_cut_off_is_said_after_what_could_be_read(packer: str, kept: float) -> None:
    lines = b"".join(b"%d %d\n" % (number, number * 7919) for number in range(60_000))
    packed = PACKERS[packer](lines)
    content = Content(io.BytesIO(packed[: int(len(packed) * kept)]))
    read = []
    with pytest.raises(EOFError, match=f"{packer} data is cut off"):
        read += content.pieces()
    found = b"".join(content_pieces(packed[: int(len(packed) * kept)]))
    assert lines.startswith(found)


def content_pieces(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    try:
        for piece in Content(io.BytesIO(data)).pieces():
            found.append(piece)
    except EOFError:
        pass
    return found


@pytest.mark.parametrize("packer", PACKERS)
def test_damage_and_what_stands_behind_are_said(packer: str) -> None:
    packed = PACKERS[packer](bytes(random.Random(2).choices(b"abcdefgh\n", k=400_000)))
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    with pytest.raises((OSError, EOFError, ValueError), match=f"{packer} data is|looks like no text"):
        list(Content(io.BytesIO(bytes(flipped))).pieces())
    with pytest.raises(OSError, match="something else"):
        list(Content(io.BytesIO(packed + b"plain lines\n")).pieces())


def test_what_was_packed_twice_is_read_and_a_matryoshka_is_not() -> None:
    data = b"a\n"
    for pack in (gzip.compress, zstandard.compress, lzma.compress):
        data = pack(data)
    assert text_of(data) == "a\n"
    assert "ess push -" in refusal(gzip.compress(gzip.compress(data)))


def a_tar(packed: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if packed else "w") as tar:
        member = tarfile.TarInfo("app.log")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"abc\n"))
    return out.getvalue()


def a_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.log", "abc\n")
    return out.getvalue()


NO_TEXT = {
    "zip": (a_zip(), "unzip -p"),
    "tar": (a_tar(), "tar -xOf"),
    "tar.gz": (a_tar(packed=True), "tar -xOf"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "pdftotext"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z x"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4 -dc"),
    "compress": (b"\x1f\x9d\x90a\xc4", "zcat"),
    "lzma": (lzma.compress(b"a\n" * 99, lzma.FORMAT_ALONE), "xz --format=lzma"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(60), "no events"),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "picture"),
    "parquet": (b"PAR1\x15\x04\x15", "Parquet"),
    "sqlite": (b"SQLite format 3\0\x10\x00", "sqlite3"),
    "journal": (b"LPKSHHRH\0\0\0\0", "journalctl"),
    "random": (random.Random(3).randbytes(5_000), "--encoding"),
    "numbers": (bytes(range(32)) * 8, "--encoding"),
    "latin-1": ("Grüße\nschöne Grüße\n".encode("latin-1"), "--encoding windows-1252"),
    "shift-jis": (("東京タワー\n" * 30).encode("shift-jis"), "--encoding"),
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_text_is_refused_with_what_to_do(name: str) -> None:
    data, todo = NO_TEXT[name]
    assert todo in refusal(data)


def test_a_named_encoding_is_taken_at_its_word() -> None:
    assert text_of("Grüße €\n".encode("windows-1252"), "windows-1252") == "Grüße €\n"
    assert text_of(("東京タワー\n" * 30).encode("shift-jis"), "shift-jis") == "東京タワー\n" * 30
    assert text_of(b"\xef\xbb\xbfa\n", "utf-8") == "a\n"
    assert b"".join(Content(io.BytesIO(b"\x00\x01\xff\n"), "utf-8").pieces()) == b"\x00\x01\xff\n"
    with pytest.raises(OSError, match="it is not ascii all through"):
        text_of("Grüße\n".encode(), "ascii")
    with pytest.raises(OSError, match="utf-16 all through"):
        text_of("Grüße\n".encode("utf-16")[:-1])


def test_a_log_with_stray_bytes_is_text() -> None:
    data = b"line\n" * 50 + b"bad \xff byte\n" + b"nul \x00 and \x1b[31mcolour\x1b[0m\n"
    assert b"".join(Content(io.BytesIO(data)).pieces()) == data


@pytest.mark.parametrize(
    ("data", "line_end", "text"),
    [
        (b"a\nb\n", "lf", "a\nb\n"),
        (b"a\r\nb\r\n", "crlf", "a\r\nb\r\n"),
        (b"a\r\nb\n", "lf", "a\r\nb\n"),
        (b"a\rb\r", "cr", "a\nb\n"),
        ("ä\rb".encode("utf-16"), "cr", "ä\nb"),
        (b"10%\r50%\r100%\ndone\n", "lf", "10%\r50%\r100%\ndone\n"),
    ],
)
def test_line_ends_are_told_apart(data: bytes, line_end: str, text: str) -> None:
    content = Content(io.BytesIO(data))
    assert content.line_end == line_end
    assert b"".join(content.pieces()).decode() == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packer", [None, "gzip"])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 10), (7, 90_000), (300_000, None), (300_000, 300_007)])
def test_a_part_of_a_text_is_read(encoding: str, packer: str | None, start: int, stop: int | None) -> None:
    text = "".join(f"Zeile {number} ü\n" for number in range(30_000))
    data = text.encode(encoding)
    content = Content(io.BytesIO(data if packer is None else PACKERS[packer](data)))
    assert len(content.head) == SNIFF_BYTES
    for _ in range(2):
        assert b"".join(content.pieces(start, stop)) == text.encode()[start:stop]
