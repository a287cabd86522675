"""Whether the digits of a body's numbers survived a fast parser, which makes doubles of all that are no integers.

What a double has lost cannot be told from it (19.990000000000000001 is read as 19.99), and looking at every number's
text would cost as much as parsing. So the text is asked once, when a float is met at all, and only where a number may
stand that is long or very small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from ess_ray.core.decimals import tells_all

TINY: Final = 1e-290
"""A double below that may have lost digits, or all of them: it has fewer the smaller it is."""
LARGE: Final = 1e16
"""A double from there on may be an integer of more digits than it has, with an exponent."""
_SIDE_DIGITS: Final = 8
"""On one side of its point a number of 16 digits has so many; of 15 and less a double tells all."""
_DIGITS: Final = b"0123456789"
_MANTISSA: Final = b"0123456789."
_MAX_NUMBER_BYTES: Final = 4_096
"""Longer ones are text (`json_values`)."""
_NUMBER: Final = re.compile(rb"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_BEFORE_NUMBERS: Final = b":,[ \t\r\n-"
_LONG_WHOLE: Final = re.compile(rb"\d{16}[eE]")


class Sent:
    """The JSON that values were read from by the fast parser; it is asked once."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = texts

    def may_have_lost(self, values: Sequence[float]) -> bool:
        """Tell whether one of a few floats of this text may be another number than stands there."""
        if self._has_long:
            return True
        sizes = [abs(value) for value in values]
        return (min(sizes) < TINY and self._has_tiny) or (max(sizes) >= LARGE and self._has_large)

    @cached_property
    def _text(self) -> bytes:
        return self.texts[0] if len(self.texts) == 1 else b"\n".join(self.texts)  # one by one they would cost much more

    @cached_property
    def _has_long(self) -> bool:
        return _has_long(self._text)

    @cached_property
    def _has_tiny(self) -> bool:
        return _has_tiny(self._text)

    @cached_property
    def _has_large(self) -> bool:
        return _LONG_WHOLE.search(self._text) is not None


Exactness = bool | Sent
"""How values were read: True, no digit is lost; the text, if that is to be asked; False: there is none to ask."""


def _has_long(text: bytes) -> bool:
    """Tell whether a number with a point has lost digits."""
    padding = bytes(_SIDE_DIGITS)
    codes = np.frombuffer(padding + text + padding, np.uint8)
    points = np.flatnonzero(codes == ord("."))
    behind, before = points, points
    # The middle first: in a time of day nothing but its end is near a point.
    for distance in (8, 7, 3, 1, 2, 4, 5, 6):
        behind = behind[_are_digits(codes[behind + distance])]
    for distance in (3, 8, 1, 2, 4, 5, 6, 7):
        before = before[_are_digits(codes[before - distance])]
    found = np.union1d(behind, before) - _SIDE_DIGITS
    return any(_is_lost(text, at, _DIGITS) for at in found.tolist())


def _has_tiny(text: bytes) -> bool:
    """Tell whether a number with a negative exponent of three digits or more has lost digits."""
    padding = bytes(_SIDE_DIGITS)
    codes = np.frombuffer(padding + text + padding, np.uint8)
    signs = np.flatnonzero(codes == ord("-"))
    signs = signs[(codes[signs - 1] | 0x20) == ord("e")]
    for distance in (3, 2, 1):
        signs = signs[_are_digits(codes[signs + distance])]
    return any(_is_lost(text, at - 1, _MANTISSA) for at in (signs - _SIDE_DIGITS).tolist())


def _are_digits(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return (codes - np.uint8(ord("0"))) < 10


def _is_lost(text: bytes, at: int, of_number: bytes) -> bool:
    """Tell whether what stands around `at`, before it `of_number` alone, is a number that a float does not tell."""
    before = text[max(0, at - _MAX_NUMBER_BYTES) : at]
    start = at - (len(before) - len(before.rstrip(of_number)))
    if start and text[start - 1] not in _BEFORE_NUMBERS:
        return False  # part of a text, or of a name
    number = _NUMBER.match(text, start)
    if number is None:
        return False
    digits = number[0].decode()
    return not tells_all(float(digits), digits)
