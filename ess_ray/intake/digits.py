"""Whether the digits of a body's numbers survived a fast parser, which makes doubles of all that are no integers.

What a double has lost cannot be told from it (19.990000000000000001 is read as 19.99), and looking at every number's
text would cost as much as parsing. So the text is asked once, when a float is met at all, and only where a number may
stand that is long or very small.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import stringzilla

from ess_ray.core.decimals import tells_all

TINY: Final = 1e-290
"""A double below that may have lost digits, or all of them: it has fewer the smaller it is."""
LARGE: Final = 1e16
"""A double from there on may be an integer of more digits than it has, with an exponent."""
_SIDE_DIGITS: Final = 8
"""On one side of its point a number of 16 digits has so many; of 15 and less a double tells all."""
_LONG_WHOLE_FROM: Final = 10.0 ** (_SIDE_DIGITS - 1)
"""A number from there on has so many before its point, a smaller one only with a negative exponent: JSON has no zeros
in front."""
_BLOCK_BYTES: Final = 64 * 1024
"""Of a text, looked at together: what is computed of them stays in a core's cache."""
_DIGITS: Final = b"0123456789"
_MANTISSA: Final = b"0123456789."
_MAX_NUMBER_BYTES: Final = 4_096
"""Longer ones are text (`json_values`)."""
_USUAL_NUMBER_BYTES: Final = 32
_NUMBER: Final = re.compile(rb"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_BEFORE_NUMBERS: Final = b":,[ \t\r\n-"
_LONG_WHOLE: Final = re.compile(rb"\d{16}[eE]")


class Sent:
    """The JSON that values were read from by the fast parser; it is asked once."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = texts

    def may_have_lost(self, smallest: float, largest: float) -> bool:
        """Tell whether one of some floats of this text may be another number than stands there, by their sizes."""
        may_be_long_whole = largest >= _LONG_WHOLE_FROM or self._may_have_exponents
        if self._has_long_fraction or (may_be_long_whole and self._has_long_whole):
            return True
        return (smallest < TINY and self._may_have_exponents and self._has_tiny) or (
            largest >= LARGE and self._has_large
        )

    @cached_property
    def _text(self) -> bytes:
        return self.texts[0] if len(self.texts) == 1 else b"\n".join(self.texts)  # one by one they would cost much more

    @cached_property
    def _has_long_fraction(self) -> bool:
        return _has_long(self._text, 1)

    @cached_property
    def _has_long_whole(self) -> bool:
        return _has_long(self._text, -1)

    @cached_property
    def _may_have_exponents(self) -> bool:
        """Tell whether something that may be a negative exponent is there."""
        return any(stringzilla.find(self._text, sign) >= 0 for sign in (b"e-", b"E-"))

    @cached_property
    def _has_tiny(self) -> bool:
        return _has_tiny(self._text)

    @cached_property
    def _has_large(self) -> bool:
        return _LONG_WHOLE.search(self._text) is not None


Exactness = bool | Sent
"""How values were read: True, no digit is lost; the text, if that is to be asked; False: there is none to ask."""


def _has_long(text: bytes, side: int) -> bool:
    """Tell whether a number with many digits behind its point (`side` 1), or before it (-1), has lost some."""
    codes = np.frombuffer(text, np.uint8)
    first, last = (0, len(codes) - _SIDE_DIGITS) if side > 0 else (_SIDE_DIGITS, len(codes))
    for start in range(first, last, _BLOCK_BYTES):
        stop = min(start + _BLOCK_BYTES, last)
        # The farthest first: few points have a digit there. Of all bytes, which costs less than picking the points.
        far = codes[start + side * _SIDE_DIGITS : stop + side * _SIDE_DIGITS]
        points = np.flatnonzero((codes[start:stop] == ord(".")) & _are_digits(far)) + start
        for distance in (7, 3, 1, 2, 4, 5, 6):
            if not len(points):
                break
            points = points[_are_digits(codes[points + side * distance])]
        if any(_is_lost(text, at, _DIGITS) for at in points.tolist()):
            return True
    return False


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
    start = at
    for most in (_USUAL_NUMBER_BYTES, _MAX_NUMBER_BYTES):
        before = text[max(0, at - most) : at]
        start = at - (len(before) - len(before.rstrip(of_number)))
        if start > at - len(before):
            break
    if start and text[start - 1] not in _BEFORE_NUMBERS:
        return False  # part of a text, or of a name
    number = _NUMBER.match(text, start)
    if number is None:
        return False
    digits = number[0].decode()
    return not tells_all(float(digits), digits)
