"""The least and the largest number of a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ess_ray.core.statistics.accumulator import Accumulator, Values
from ess_ray.core.statistics.slots import Floats, Ints, Joining, Slots, together

_LEAST: Final = 0
_LARGEST: Final = 1
_ALL_BUT_SIGN: Final = np.int64(2**63 - 1)


@dataclass(frozen=True, slots=True)
class Extremes(Accumulator):
    """Slot 0: the complement of the least number, slot 1: the largest, both as integers in the order of doubles."""

    name: ClassVar[str] = "extremes"
    joining: ClassVar[Joining] = "max"

    def take(self, values: Values) -> Slots:
        """See the protocol."""
        order, cells = _in_order(values.numbers), values.number_cells
        slots = np.zeros(len(cells), np.int64)
        return together(Slots(cells, slots + _LEAST, ~order), Slots(cells, slots + _LARGEST, order))


def extremes_in(slots: Slots, cells: int, *, largest: bool) -> Floats:
    """Give each cell's least or largest number; NaN where there are none."""
    found = np.full(cells, np.nan)
    chosen = slots.of(slots.slots == (_LARGEST if largest else _LEAST))
    found[chosen.cells] = _in_doubles(chosen.n if largest else ~chosen.n)
    return found


def _in_order(numbers: Floats) -> Ints:
    bits = numbers.view(np.int64)
    return np.where(bits < 0, bits ^ _ALL_BUT_SIGN, bits)


def _in_doubles(order: Ints) -> Floats:
    bits = np.where(order < 0, order ^ _ALL_BUT_SIGN, order)
    return bits.view(np.float64)
