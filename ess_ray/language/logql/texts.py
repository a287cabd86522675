"""Texts as Go writes them: `"with \\n escapes"` and raw ones in backticks."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"'])|x([0-9A-Fa-f]{2})|([0-7]{3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.?))", re.DOTALL
)
_LETTERS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BYTES: Final = re.compile(r"[\udc80-\udcff]+")


def unquote(quoted: str) -> str:
    """Give what a quoted text says. Raises ValueError for an escape that Go does not know."""
    inner = quoted[1:-1]
    if quoted[0] == "`" or "\\" not in inner:
        return inner
    text = _ESCAPE.sub(_escaped, inner)
    return _BYTES.sub(lambda found: found[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace"), text)


def _escaped(found: re.Match[str]) -> str:
    letter, two_hex, octal, four_hex, eight_hex, unknown = found.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    if unknown is not None:
        raise ValueError(f"\\{unknown} is no escape of a text in double quotes; in backticks none are needed")
    if four_hex or eight_hex:
        point = int(four_hex or eight_hex, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise ValueError(f"\\u{four_hex or eight_hex} is no character")
        return chr(point)
    byte = int(two_hex, 16) if two_hex else int(octal, 8)
    if byte > 255:
        raise ValueError(f"\\{octal} is no byte")
    # Bytes of UTF-8 may stand one by one: they are put together afterwards.
    return chr(byte) if byte < 128 else chr(0xDC00 + byte)


def quote(text: str) -> str:
    """Write a text so that `unquote` gives it: in backticks where that spares escapes."""
    if ("\\" in text or '"' in text) and "`" not in text and "\r" not in text:
        return f"`{text}`"
    inner = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f'"{inner}"'
