"""Loki's labels as text: `{app="shop", level="error"}`, values quoted as Go quotes them."""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = re.compile(r"""\s*([a-zA-Z_:][\w:]*)\s*=\s*("(?:[^"\\\n]|\\.)*"|`[^`]*`)\s*""", re.ASCII)
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"'])|x([\da-fA-F]{2})|(u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})"
    r"|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3})|(.))"
)
"""Go's escapes, and the two of JSON that are one character, which clients write that quote as JSON does."""
_SIMPLE: Final = {
    **{"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"},
    **{"\\": "\\", '"': '"', "'": "'"},
}
_SHOWN_CHARS: Final = 100
"""Of labels that cannot be read, in the answer."""


def read_labels(text: str) -> dict[str, str]:
    """Read labels; of a name that is there twice the last one. Raises ValueError with a reason for a person."""
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}") and len(stripped) > 1):
        raise ValueError(f'labels stand in braces, as {{app="shop"}}, not {_shown(text)}')
    labels: dict[str, str] = {}
    at, end = 1, len(stripped) - 1
    while stripped[at:end].strip():
        match = _LABEL.match(stripped, at, end)
        if match is None:
            raise ValueError(f'a label is name="value", which {_shown(stripped[at:end])} is not')
        labels[match[1]] = _unquoted(match[2])
        at = match.end()
        if at < end and stripped[at] != ",":
            raise ValueError(f"a comma stands between labels, not {_shown(stripped[at:end])}")
        at += 1
    return labels


def _unquoted(quoted: str) -> str:
    """Take quotes off. Raises ValueError for an escape that Go does not have."""
    inner = quoted[1:-1]
    if quoted[0] == "`" or "\\" not in inner:
        return inner
    # In bytes, since \x and octal digits are bytes of UTF-8.
    raw = bytearray()
    at = 0
    for match in _ESCAPE.finditer(inner):
        raw += inner[at : match.start()].encode() + _escaped(match)
        at = match.end()
    raw += inner[at:].encode()
    return raw.decode("utf-8", "replace")


def _escaped(match: re.Match[str]) -> bytes:
    simple, byte, pair, short, long, octal, _ = match.groups()
    if simple is not None:
        return _SIMPLE[simple].encode()
    if byte is not None:
        return bytes([int(byte, 16)])
    if octal is not None and int(octal, 8) < 256:
        return bytes([int(octal, 8)])
    if pair is not None:
        return bytes.fromhex(pair[1:5] + pair[7:]).decode("utf-16-be").encode()
    if short is not None or long is not None:
        code = int(short or long, 16)
        if code <= 0x10FFFF:
            return chr(code).encode("utf-8", "replace") if not 0xD800 <= code < 0xE000 else b"\xef\xbf\xbd"
    raise ValueError(f"no value of a label has the escape {match[0]}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
