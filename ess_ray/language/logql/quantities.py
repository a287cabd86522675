"""Durations and sizes as LogQL and Go write them: `1h30m`, `10.5ms`, `20KB`, `1MiB`."""

from __future__ import annotations

import re
from typing import Final

_NS: Final[dict[str, int]] = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
    "y": 365 * 86_400 * 10**9,
}
UNIT: Final = "ns|us|µs|μs|ms|s|m|h|d|w|y"
_PART: Final = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({UNIT})", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)((?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:{UNIT}))+|0)", re.ASCII)
_BYTES: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:([kKmMgGtTpPeE])(i?))?[bB]?", re.ASCII)
_POWERS: Final = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


def duration_ns(text: str) -> float | None:
    """Read a duration in nanoseconds; None for what is none. Whole where its digits are."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    total: float = 0
    for number, unit in _PART.findall(found[2]):
        total += float(number) * _NS[unit] if "." in number else int(number) * _NS[unit]
    return -total if found[1] == "-" else total


def duration_s(text: str) -> float | None:
    """Read a duration in seconds; None for what is none."""
    nanoseconds = duration_ns(text)
    return None if nanoseconds is None else nanoseconds / 10**9


def size_bytes(text: str) -> float | None:
    """Read a size in bytes (`KB` is 1,000, `KiB` 1,024); None for what is none."""
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        return None
    unit = 1 if found[2] is None else (1_024 if found[3] else 1_000) ** _POWERS[found[2].lower()]
    return float(found[1]) * unit


def write_duration(microseconds: int) -> str:
    """Write a duration as Loki does: `1h30m`, `500ms`."""
    rest, text = microseconds * 1_000, ""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _NS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"
