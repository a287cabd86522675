"""What is kept of the values in a cell: whole numbers in numbered slots, as one list a cell.

Putting cells together is adding, or taking the largest of, the numbers in equal slots: neither depends on the order,
and no digit is lost. What a slot means is for each kind of accumulator to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SLOTS: Final = pa.list_(pa.struct([pa.field("slot", pa.int64()), pa.field("n", pa.int64())]))
"""A cell's slots, ascending, each once."""
SLOT_BYTES: Final = 16

Joining = Literal["sum", "max"]


@dataclass(frozen=True)
class Slots:
    """Slots of many cells: `cells[i]` has `n[i]` in `slots[i]`; three arrays of one length, in any order."""

    cells: Ints
    slots: Ints
    n: Ints

    def __len__(self) -> int:
        return len(self.cells)

    def joined(self, joining: Joining) -> Slots:
        """Give each slot of each cell once, ascending."""
        if not len(self):
            return self
        names = ["cell", "slot"]
        table = pa.table([self.cells, self.slots, self.n], names=[*names, "n"])
        grouped = table.group_by(names, use_threads=False).aggregate([("n", joining)])
        cells, slots, n = (grouped.column(name).to_numpy() for name in (*names, f"n_{joining}"))
        order = np.lexsort((slots, cells))
        return Slots(cells[order], slots[order], n[order])

    def of(self, chosen: npt.NDArray[np.bool_]) -> Slots:
        """Give some of them."""
        return Slots(self.cells[chosen], self.slots[chosen], self.n[chosen])

    def in_cells(self, cells: Ints) -> Slots:
        """Have those of cell i be of `cells[i]`."""
        return Slots(cells[self.cells], self.slots, self.n)

    def offsets(self, cells: int) -> Ints:
        """Tell where each cell's slots begin, and the last one's end; they must be in ascending order of cells."""
        return np.searchsorted(self.cells, np.arange(cells + 1)).astype(np.int64)

    def packed(self, cells: int) -> pa.ListArray:
        """Give a list for each of so many cells; slots must be joined."""
        pairs = pa.StructArray.from_arrays([pa.array(self.slots), pa.array(self.n)], names=["slot", "n"])
        return pa.ListArray.from_arrays(pa.array(self.offsets(cells).astype(np.int32)), pairs)


NO_SLOTS: Final = Slots(*(np.zeros(0, np.int64) for _ in range(3)))


def together(*parts: Slots) -> Slots:
    """Put slots one behind another."""
    if not parts:
        return NO_SLOTS
    cells, slots, n = (np.concatenate(arrays) for arrays in zip(*((p.cells, p.slots, p.n) for p in parts), strict=True))
    return Slots(cells, slots, n)


def unpacked(lists: pa.ListArray | pa.ChunkedArray) -> Slots:
    """Read what `packed` gave; lists that are null have none."""
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], SLOTS)
    lengths = slot_counts(lists)
    pairs = lists.flatten()
    slots, n = (pairs.field(at).to_numpy() for at in (0, 1))
    return Slots(np.repeat(np.arange(len(lists)), lengths), slots.astype(np.int64), n.astype(np.int64))


def slot_counts(lists: pa.ListArray | pa.ChunkedArray) -> Ints:
    """Tell how many slots each cell has."""
    counts: Ints = (
        lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        if isinstance(lists, pa.ListArray)
        else np.concatenate([np.zeros(0, np.int64), *(slot_counts(chunk) for chunk in lists.chunks)])
    )
    return counts
