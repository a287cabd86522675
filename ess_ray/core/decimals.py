"""Numbers with a point or an exponent, without losing a digit of theirs: a float where it tells them all."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

_SURELY_KEPT_DIGITS: Final = 15
"""Of significant digits a double keeps so many, whatever they are."""


class LongDecimal(float):
    """The float that is nearest to a number whose digits it does not tell. As text it is the number as it was sent."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text,)


def read_decimal(text: str) -> float:
    """Read a JSON number that is no integer: a float, or a LongDecimal where that would tell another number."""
    value = float(text)
    return value if tells_all(value, text) else LongDecimal(text)


def tells_all(value: float, text: str) -> bool:
    """Tell whether the float that was read from `text` is written as an equal number."""
    if len(text) <= _SURELY_KEPT_DIGITS and "e" not in text and "E" not in text:
        return True
    written = repr(value)
    if written == text:
        return True
    try:
        return Decimal(text) == Decimal(written)
    except InvalidOperation:  # an exponent of more than 18 digits
        return False
