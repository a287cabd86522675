"""Quantiles within one percent: how many numbers lie in each of many buckets, each 2 % wider than the one before.

As in DDSketch (Masson and others, 2019). A bucket is found by a number's exponent and by comparing its mantissa with 34
fixed bounds: a logarithm may differ in its last bit from one machine to another, and buckets must not.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import ClassVar, Final

import numpy as np

from ess_ray.core.statistics.accumulator import Accumulator, Values
from ess_ray.core.statistics.slots import Floats, Ints, Slots

RELATIVE_ERROR: Final = 0.01
"""Of a quantile, at the most: the middle of a bucket is 0.99 % off its ends."""
_BUCKETS_PER_OCTAVE: Final = 35
_LEAST_EXPONENT: Final = -1_080
"""Below the exponent of every double (0.5 * 2**-1073), so that buckets of positive numbers are positive."""


def _bounds() -> Floats:
    """Give the bounds of buckets from 0.5 to 1: the same on every machine, since `decimal` is."""
    exact = Context(prec=50)
    root = [exact.power(Decimal(2), exact.divide(Decimal(k), Decimal(_BUCKETS_PER_OCTAVE))) for k in range(35)]
    return np.array([*(float(each / 2) for each in root), 1.0])


_BOUNDS: Final = _bounds()
_MIDDLES: Final = 2 * _BOUNDS[:-1] * _BOUNDS[1:] / (_BOUNDS[:-1] + _BOUNDS[1:])
"""As far from a bucket's lower bound as from its upper one, each in shares of the bound."""


@dataclass(frozen=True, slots=True)
class Buckets(Accumulator):
    """Slot b: the numbers in bucket b; 0 is zero, and negative numbers are in negative buckets: all ascend."""

    name: ClassVar[str] = "quantiles"

    def take(self, values: Values) -> Slots:
        """See the protocol."""
        slots = _bucket_of(values.numbers)
        return Slots(values.number_cells, slots, np.ones(len(slots), np.int64))


def _bucket_of(numbers: Floats) -> Ints:
    mantissas, exponents = np.frexp(np.abs(numbers))
    inside = np.searchsorted(_BOUNDS, mantissas, side="right") - 1
    buckets = (exponents.astype(np.int64) - _LEAST_EXPONENT) * _BUCKETS_PER_OCTAVE + inside
    return np.where(numbers == 0, 0, np.where(numbers < 0, -buckets, buckets))


def _middle_of(buckets: Ints) -> Floats:
    exponents, inside = np.divmod(np.abs(buckets), _BUCKETS_PER_OCTAVE)
    sizes = np.ldexp(_MIDDLES[inside], (exponents + _LEAST_EXPONENT).astype(np.int32))
    return np.where(buckets == 0, 0.0, np.copysign(sizes, buckets))


def quantiles_of(slots: Slots, q: Fraction, least: Floats, largest: Floats) -> list[float | None]:
    """Give each cell's number at rank q * (n - 1), rounded down, of its n numbers in order; None without numbers.

    `least` and `largest`: each cell's extremes, beyond which no quantile lies.
    """
    cells = len(least)
    offsets = slots.offsets(cells)
    upto = np.concatenate([[0], np.cumsum(slots.n)])
    counts = upto[offsets[1:]] - upto[offsets[:-1]]
    ranks = np.array([(n - 1) * q.numerator // q.denominator if n else 0 for n in counts.tolist()], np.int64)
    there = counts > 0
    at = np.searchsorted(upto, upto[offsets[:-1]] + ranks, side="right") - 1
    found = np.clip(_middle_of(slots.slots[at[there]]), least[there], largest[there])
    # The ends are known, and so is the number of a cell that has one.
    found = np.where(ranks[there] == counts[there] - 1, largest[there], found)
    found = np.where(ranks[there] == 0, least[there], found)
    values: list[float | None] = [None] * cells
    for cell, value in zip(np.flatnonzero(there).tolist(), found.tolist(), strict=True):
        values[cell] = value
    return values
