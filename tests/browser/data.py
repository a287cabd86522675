"""The events that the pages show: a small shop from a seed, many rows to scroll, and text that means harm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from ess_ray.core.timestamps import format_timestamp
from tests.systems import System

SHOP_EVENTS: Final = 20_000
"""Within the last hour, which is what a page looks at first."""
MANY_EVENTS: Final = 110_000
"""More than ten full answers: what a person can scroll through."""
PUSH_EVENTS: Final = 10_000
"""As many as one request may have."""
DAY_US: Final = 86_400 * 1_000_000
MARKUP: Final = "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
LONG_CHARS: Final = 100_000
NASTY: Final = (
    f"nasty markup {MARKUP}",
    "nasty escape \x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "nasty order \u202egnp.exe\u202c and \u2066isolated\u2069",
    "nasty zero\u200bwidth\ufeff\u2060joined",
    "nasty nul \x00 and bell \x07",
    "nasty lines\nsecond\r\nthird\u2028fourth",
    "nasty long " + "x" * (LONG_CHARS - 11),
)


@dataclass(frozen=True)
class World:
    """A running system, and where its events lie."""

    system: System
    many_start: str
    many_end: str

    @property
    def many(self) -> dict[str, str]:
        """The view of the many rows, by parameters of the address."""
        return {"q": "service:bulk", "start": self.many_start, "end": self.many_end}


def push_shop(system: System, count: int = SHOP_EVENTS) -> None:
    system.ess("generate", "--events", str(count), "--seed", "7")


def push_nasty(system: System) -> None:
    attributes = {"<b>bold</b>": MARKUP, "dir": "\u202eabc"}
    system.push([{"message": message, "service": "nasty", "level": MARKUP, **attributes} for message in NASTY])


def push_many(system: System, count: int = MANY_EVENTS) -> tuple[str, str]:
    """Push rows of yesterday, a millisecond apart; gives the range that holds them and nothing else."""
    first_us = (time.time_ns() // 1_000 - DAY_US) // 1_000_000 * 1_000_000
    for begin in range(0, count, PUSH_EVENTS):
        system.push([_bulk(first_us, number) for number in range(begin, min(begin + PUSH_EVENTS, count))])
    return format_timestamp(first_us), format_timestamp(first_us + count * 1_000)


def _bulk(first_us: int, number: int) -> dict[str, Any]:
    level = ("INFO", "INFO", "DEBUG", "WARN", "ERROR")[number % 5]
    message = f"bulk row {number:06d}: batch of 24 records written to segment-{number // 500} in {number % 97} ms"
    return {"timestamp": first_us + number * 1_000, "level": level, "service": "bulk", "message": message}
