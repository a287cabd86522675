"""How many different values a field has: exactly up to 10,000 a cell, then by HyperLogLog.

Values are known by 63 bits of a hash: that two of 10,000 share one happens once in 10**11 cells. A cell that has more
has registers of the same hashes instead, whether it got them at once or in parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from ess_ray.core.index.values import hash_exactly
from ess_ray.core.statistics.accumulator import Accumulator, Values
from ess_ray.core.statistics.slots import Ints, Joining, Slots, together

MAX_EXACT: Final = 10_000
"""Different values of a cell that are told apart: 160 KB."""
RELATIVE_ERROR: Final = 0.02
"""Of more than MAX_EXACT, nearly always (3.5 standard errors)."""
_REGISTER_BITS: Final = 15
_REGISTERS: Final = 1 << _REGISTER_BITS
"""The standard error is 1.04 / sqrt(registers), 0.57 %."""
_RANK_BITS: Final = 63 - _REGISTER_BITS
_EXACT: Final = np.int64(-(2**63))
"""The bit that slots of hashes have and those of registers do not."""


@dataclass(frozen=True, slots=True)
class Distinct(Accumulator):
    """Negative slots: hashes, each with 1. Others: a register and its rank, one more than the zeros before a bit."""

    name: ClassVar[str] = "distinct"
    joining: ClassVar[Joining] = "max"

    def take(self, values: Values) -> Slots:
        """See the protocol."""
        coded = values.texts.dictionary_encode()
        there = coded.is_valid().to_numpy(zero_copy_only=False)
        codes = pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)[there]
        hashes = _finished(hash_exactly(coded.dictionary)).view(np.int64) | _EXACT
        slots = hashes[codes] if len(hashes) else np.zeros(0, np.int64)
        return Slots(values.cells[there], slots, np.ones(len(slots), np.int64))

    def settled(self, slots: Slots) -> Slots:
        """Put the hashes of cells that have many into registers."""
        is_hash = slots.slots < 0
        if not len(slots):
            return slots
        hashes = np.bincount(slots.cells[is_hash], minlength=int(slots.cells[-1]) + 1)
        many = hashes > MAX_EXACT
        many[slots.cells[~is_hash]] = True
        moved = is_hash & many[slots.cells]
        if not moved.any():
            return slots
        return together(slots.of(~moved), _in_registers(slots.of(moved))).joined(self.joining)


def _finished(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread what hashes differ in over all their bits, as MurmurHash3 does: registers take them by their bits."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))


def _in_registers(slots: Slots) -> Slots:
    hashes = slots.slots & ~_EXACT
    _, lengths = np.frexp((hashes >> _REGISTER_BITS).astype(np.float64))  # 48 bits: a double holds them
    return Slots(slots.cells, hashes & (_REGISTERS - 1), _RANK_BITS + 1 - lengths.astype(np.int64))


def distinct_in(slots: Slots, cells: int) -> list[int]:
    """Tell how many different values each cell has."""
    found = np.bincount(slots.cells[slots.slots < 0], minlength=cells).tolist()
    registers = slots.of(slots.slots >= 0)
    offsets = registers.offsets(cells)
    for cell in np.unique(registers.cells).tolist():
        found[cell] = _estimated(registers.n[offsets[cell] : offsets[cell + 1]])
    counts: list[int] = found
    return counts


def is_estimated(slots: Slots) -> bool:
    """Tell whether the values of any cell were too many to be told apart."""
    return bool((slots.slots >= 0).any())


def _estimated(ranks: Ints) -> int:
    """Estimate from the registers that are set (Ertl 2017, "New cardinality estimation algorithms", algorithm 6)."""
    having = np.bincount(ranks, minlength=_RANK_BITS + 2).tolist()
    size = _REGISTERS
    z = size * _tau(1 - having[_RANK_BITS + 1] / size)
    for rank in range(_RANK_BITS, 0, -1):
        z = 0.5 * (z + having[rank])
    z += size * _sigma(1 - len(ranks) / size)
    return round(size * size / (2 * math.log(2)) / z)


def _sigma(x: float) -> float:
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
        if z == before:
            return z / 3
