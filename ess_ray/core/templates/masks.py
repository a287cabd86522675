"""Skeleton -> template: what several placeholders are together (a time, an address, a duration).

A template is text in which marks of `kinds` stand for what varies. Rules are tried in order, each over what the ones
before it left.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ess_ray.core.templates import kinds, skeletons

MAX_CACHED: Final = 16_384
"""Templates remembered by their skeletons, 8 MiB as a rule: services have hundreds, and asking costs nothing then."""

_N = kinds.NUM.mark
_UNITS: Final = "ns|us|\u00b5s|\u03bcs|ms|s|sec|secs|m|min|mins|h|hr|hrs|d"
_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY: Final = "(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?"
_ZONE: Final = rf"(?: ?[+-]{_N}(?::?{_N})?|Z| UTC| GMT)?"
_CLOCK: Final = rf"{_N}:{_N}(?::{_N}(?:[.,]{_N})?)?"
_DATE: Final = rf"(?:{_N}[-/.]{_N}[-/.]{_N}|{_N}[ /-]{_MONTH}[ /-]{_N}|{_MONTH} +{_N}(?: {_N})?)"
_BEFORE: Final = r"(?<![^\s=:(\[{,;\"'])"
"""What a sign stands behind: else it is a hyphen."""

_RULES: Final = tuple(
    (re.compile(pattern), kind.mark)
    for pattern, kind in (
        (rf"{_DAY}{_DATE}(?:[T :]{_CLOCK}{_ZONE})", kinds.TIME),
        (rf"(?<![\w.:]){_N}:{_N}:{_N}(?:[.,]{_N})?(?![\w:])", kinds.TIME),
        (rf"(?<![\w.]){_N}(?:\.{_N}){{3}}(?!\.?[\w{_N}])", kinds.IP),
        (rf"{_N}(?:[.,]{_N})*(?:[eE][+-]?{_N})?", kinds.NUM),
        (rf"{_BEFORE}-{_N}", kinds.NUM),
        (rf"(?<![\w.]){_N}(?:{_UNITS})(?![\w])", kinds.DURATION),
        (rf"{kinds.DURATION.mark}(?:\.{_N}s|{_N}(?:{_UNITS}))?", kinds.DURATION),
        (rf"{_N}(?:, {_N}){{2,}}", kinds.LIST),
    )
)
_MARK_OF: Final = {
    skeletons.NUM: kinds.NUM,
    skeletons.HEX: kinds.HEX,
    skeletons.ID: kinds.ID,
    skeletons.UUID: kinds.UUID,
    skeletons.IP: kinds.IP,
    skeletons.CLOCK: kinds.DURATION,
    skeletons.QUOTED: kinds.QUOTED,
    skeletons.SINGLE_QUOTED: kinds.SINGLE_QUOTED,
    skeletons.CUT: kinds.REST,
}
_NO_TEXT: Final = re.compile("[\udc80-\udcff]+")
_MARKED: Final = {0xDC00 + byte: kind.mark for byte, kind in _MARK_OF.items()}
"""Bytes that are not UTF-8 are halves of surrogate pairs once they are read."""


@lru_cache(maxsize=MAX_CACHED)
def template_of(skeleton: bytes) -> str:
    """Give the template of a skeleton."""
    whole = skeleton.endswith(bytes([skeletons.END]))
    text = skeleton.removesuffix(bytes([skeletons.END])).decode("utf-8", "surrogateescape")
    text = kinds.MARKS.sub(kinds.ANY.mark, text).translate(_MARKED)
    text = _NO_TEXT.sub(kinds.ANY.mark if whole else "", text)
    if _N in text or kinds.DURATION.mark in text:  # every rule begins with one of them, or has it
        for rule, mark in _RULES:
            text = rule.sub(mark, text)
    return text if whole or text.endswith(kinds.REST.mark) else text + kinds.REST.mark
