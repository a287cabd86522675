"""What is kept of a field's values in a cell, so that statistics can be told of it: the protocol of every kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ess_ray.core.field import Field
from ess_ray.core.operators.compare import numbers_alone
from ess_ray.core.statistics.slots import Floats, Ints, Joining, Slots


class Values:
    """The values that a field has in some rows, and the cell of each row."""

    def __init__(self, texts: pa.StringArray, cells: Ints) -> None:
        """`texts`: one a row, null where the row does not have the field."""
        self.texts, self.cells = texts, cells

    @cached_property
    def _floats(self) -> Floats:
        numbers = numbers_alone(self.texts).cast(pa.float64())
        floats: Floats = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)
        return floats

    @cached_property
    def numbers(self) -> Floats:
        """The values that are numbers within a double's range, each as the double nearest to it; never -0."""
        return self._floats[np.isfinite(self._floats)] + 0.0

    @cached_property
    def number_cells(self) -> Ints:
        """The cell of each of the numbers."""
        return self.cells[np.isfinite(self._floats)]

    @cached_property
    def ignored_cells(self) -> Ints:
        """The cell of each value that is no such number."""
        there = self.texts.is_valid().to_numpy(zero_copy_only=False)
        ignored: Ints = self.cells[there & ~np.isfinite(self._floats)]
        return ignored


class Slotted:
    """What is kept of a cell as whole numbers in slots (see `slots`), and how those of several parts become one."""

    __slots__ = ()

    joining: ClassVar[Joining] = "sum"

    def settled(self, slots: Slots) -> Slots:
        """Bring slots, each given once, ascending, into the one form that they have whatever they were made of."""
        return slots

    def put_together(self, slots: Slots) -> Slots:
        """Make slots of several parts one."""
        return self.settled(slots.joined(self.joining))


@dataclass(frozen=True, slots=True)
class Accumulator(Slotted, ABC):
    """What is kept of one field."""

    name: ClassVar[str]
    """What a task calls it on its way."""

    field: Field

    @abstractmethod
    def take(self, values: Values) -> Slots:
        """Keep values; a slot of a cell may be given several times."""
