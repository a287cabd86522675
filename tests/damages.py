"""Ways in which a file comes to be no longer what was written, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garble(path: Path) -> None:
    path.write_bytes(bytes((number * 167 + 13) % 256 for number in range(max(64, path.stat().st_size))))


def _flip(path: Path) -> None:
    """One byte of a Parquet object's footer: of the length that stands before its last magic bytes."""
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(bytes(data))


def flipped(data: bytes, bit: int) -> bytes:
    """Give bytes with one bit flipped."""
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    "cut in half": _halve,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": _garble,
    "missing": Path.unlink,
}
"""Of any file."""
OBJECT_DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    **DAMAGES,
    "a byte of the footer flipped": _flip,
    "a folder in its place": _folder,
}
"""Of a stored object."""
