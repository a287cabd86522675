"""How many of a field's values are numbers, and how many are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ess_ray.core.statistics.accumulator import Accumulator, Values
from ess_ray.core.statistics.slots import Ints, Slots, together

_NUMBERS: Final = 0
_IGNORED: Final = 1


@dataclass(frozen=True, slots=True)
class Tally(Accumulator):
    """Slot 0: numbers. Slot 1: values that are no number, or one beyond a double's range, and are left out."""

    name: ClassVar[str] = "tally"

    def take(self, values: Values) -> Slots:
        """See the protocol."""
        return together(_counted(values.number_cells, _NUMBERS), _counted(values.ignored_cells, _IGNORED))


def _counted(cells: Ints, slot: int) -> Slots:
    counts = np.bincount(cells)
    there = np.flatnonzero(counts)
    return Slots(there, np.full(len(there), slot, np.int64), counts[there])


def numbers_in(slots: Slots, cells: int) -> list[int]:
    """Tell how many numbers each cell has."""
    found = np.zeros(cells, np.int64)
    numbers = slots.of(slots.slots == _NUMBERS)
    found[numbers.cells] = numbers.n
    counts: list[int] = found.tolist()
    return counts


def ignored_in(slots: Slots) -> int:
    """Tell how many values of all cells were left out."""
    return int(slots.n[slots.slots == _IGNORED].sum())
