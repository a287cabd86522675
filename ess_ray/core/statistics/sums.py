"""Sums without an error: a number of fixed point that is as wide as a double's whole range, in limbs of 32 bits.

A double is a whole number of 53 bits times a power of two: it is added to three limbs, as integers, less than 2**33 to
each: 2**30 rows at a time, more than there are, before carrying. Only what is told at the end is rounded, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ess_ray.core.statistics.accumulator import Accumulator, Values
from ess_ray.core.statistics.slots import NO_SLOTS, Floats, Ints, Slots, together

_LIMB_BITS: Final = 32
_LIMB_MASK: Final = (1 << _LIMB_BITS) - 1
_MANTISSA_BITS: Final = 53
_POINT_BITS: Final = 1_074 + _MANTISSA_BITS
"""Bits behind the binary point: the smallest double is 2**-1074, and its mantissa is written with 53 bits."""
_LIMBS: Final = 72
"""2**1024 needs 68; the others hold what very many of them add up to, and the sign."""
_CELLS_AT_ONCE: Final = 4_096
"""While carrying: their limbs, side by side, take 2 MiB."""
_MAX_WHOLE: Final = 2.0**_MANTISSA_BITS
"""Whole numbers that cannot add up to more are added as doubles without an error."""


@dataclass(frozen=True, slots=True)
class Sum(Accumulator):
    """Slot k: what is to be multiplied by 2**(32 k), in units of 2**-1127; from 0 to 2**32 - 1 but for the highest."""

    name: ClassVar[str] = "sum"

    def take(self, values: Values) -> Slots:
        """See the protocol."""
        numbers, cells = _added_up(values.numbers, values.number_cells)
        mantissas, exponents = np.frexp(numbers)
        whole = np.ldexp(mantissas, _MANTISSA_BITS).astype(np.int64)
        places = exponents.astype(np.int64) - _MANTISSA_BITS + _POINT_BITS
        limbs, shifts = places // _LIMB_BITS, places % _LIMB_BITS
        # The mantissa without its sign, in two parts that can be shifted by a limb without leaving 64 bits.
        signs, size = np.sign(whole), np.abs(whole)
        low, high = (size & _LIMB_MASK) << shifts, (size >> _LIMB_BITS) << shifts
        parts = (low & _LIMB_MASK, (low >> _LIMB_BITS) + (high & _LIMB_MASK), high >> _LIMB_BITS)
        return together(*(Slots(cells, limbs + at, part * signs) for at, part in enumerate(parts)))

    def settled(self, slots: Slots) -> Slots:
        """Carry from limb to limb."""
        found = []
        for first in range(0, int(slots.cells[-1]) + 1 if len(slots) else 0, _CELLS_AT_ONCE):
            begin, end = np.searchsorted(slots.cells, [first, first + _CELLS_AT_ONCE])
            cells = slots.cells[begin:end]
            if len(cells):
                found.append(_carried(Slots(cells - first, slots.slots[begin:end], slots.n[begin:end]), first))
        return together(*found) if found else NO_SLOTS


def _added_up(numbers: Floats, cells: Ints) -> tuple[Floats, Ints]:
    """Add up each cell's numbers where doubles do that without an error: small whole ones, as nearly all are."""
    most = float(np.abs(numbers).max()) * len(numbers) if len(numbers) else 0.0
    if 0 < most < _MAX_WHOLE and (numbers == np.floor(numbers)).all():
        sums = np.bincount(cells, numbers).astype(np.float64)
        return sums, np.arange(len(sums), dtype=np.int64)
    return numbers, cells


def _carried(slots: Slots, first: int) -> Slots:
    limbs: Ints = np.zeros((int(slots.cells.max()) + 1, _LIMBS), np.int64)
    limbs[slots.cells, slots.slots] = slots.n
    highest = limbs.shape[1] - 1
    for at in range(highest):
        carry = limbs[:, at] >> _LIMB_BITS
        limbs[:, at] &= _LIMB_MASK
        limbs[:, at + 1] += carry
    cells, places = np.nonzero(limbs)
    return Slots(cells + first, places.astype(np.int64), limbs[cells, places])


def sums_of(slots: Slots, counts: list[int], *, mean: bool = False) -> list[float | None]:
    """Give each cell's sum (or what it is divided by its count) of so many numbers, as the double nearest to it.

    None without numbers, and where the sum is beyond a double's range.
    """
    offsets = slots.offsets(len(counts)).tolist()
    found: list[float | None] = []
    for cell, count in enumerate(counts):
        part = slice(offsets[cell], offsets[cell + 1])
        pairs = zip(slots.slots[part].tolist(), slots.n[part].tolist(), strict=True)
        whole = sum(n << (_LIMB_BITS * slot) for slot, n in pairs)
        found.append(_rounded(whole, count if mean else 1) if count else None)
    return found


def _rounded(whole: int, divisor: int) -> float | None:
    try:
        return whole / (divisor << _POINT_BITS)  # Python rounds the quotient of integers once
    except OverflowError:
        return None
