"""What a search makes of the rows that match its query: the protocol that every collector has.

A search is a query and a collector. The collector is a frozen value that travels to whoever holds rows (owners of what
is in flight, Ray tasks, Lambda invocations), and is carried out there: rows, or statistics of blocks, become partial
results; partial results are folded into one; and what is folded so far tells what of the rest can be skipped.

Partial results are Arrow tables of one schema, and those of disjoint rows, put one behind another, are one of all of
them. So they travel, and wait for each other, without anybody's knowing what they are.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ess_ray.core.query import Query

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PLACES: Final = ("vnode", "offset")
"""Columns that a partial result of what is in flight is kept apart by: what the table holds by now is known by them."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is known of a block of rows without reading it: its first and last timestamp, whether it may hold ids."""

    first_us: int
    last_us: int
    ids: bool = True


@dataclass(frozen=True)
class Partial:
    """What a part of a search found, and of how many rows that matched; of these, so many were repeats by `id`."""

    table: pa.Table
    rows_matched: int = 0
    duplicates_suppressed: int = 0

    def __add__(self, other: Partial) -> Partial:
        """Put the results of disjoint rows together."""
        return Partial(
            pa.concat_tables([self.table, other.table]),
            self.rows_matched + other.rows_matched,
            self.duplicates_suppressed + other.duplicates_suppressed,
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """What of the rest can still change a result: nothing when it is `done`; else, if there is `us`, rows whose
    timestamp is not strictly behind it in the query's order. It only gets tighter."""

    us: int | None = None
    done: bool = False

    def narrowed(self, query: Query) -> Query | None:
        """Give what is left to ask of the rest; None: nothing."""
        return None if self.done else query.bounded(self.us)


class Fold(ABC):
    """Partial results of disjoint rows -> one, in any order. Not for several threads at a time."""

    rows_matched = 0
    duplicates_suppressed = 0

    def add(self, partial: Partial) -> None:
        """Take a partial result."""
        self.rows_matched += partial.rows_matched
        self.duplicates_suppressed += partial.duplicates_suppressed
        self._add(partial.table)

    def partial(self) -> Partial:
        """Give one result of all that was added. Of an ordered collector once, as the last call: rows are let go of."""
        table = self._table()  # may find repeats
        return Partial(table, self.rows_matched, self.duplicates_suppressed)

    @abstractmethod
    def _add(self, table: pa.Table) -> None: ...

    @abstractmethod
    def _table(self) -> pa.Table: ...

    @property
    def bound(self) -> Bound:
        """What of the rest can still matter."""
        return Bound()


class Collector(ABC):
    """One kind of result: a frozen value with what it was asked for. Registered under its `name` (`registry`)."""

    __slots__ = ()

    name: ClassVar[str]
    """What a task calls it on its way."""
    ordered: ClassVar[bool] = False
    """Whether it wants the first rows in the query's order, up to its limit, instead of all in any order."""

    @abstractmethod
    def schema(self, where: Sequence[str] = ()) -> pa.Schema:
        """Give the columns of its partial results; `where`: columns of EVENT_SCHEMA they are kept apart by besides."""

    @abstractmethod
    def columns(self, block: Block | None = None) -> frozenset[str]:
        """Name the stored columns that it needs of rows: of a block's, or (None) of any."""

    @abstractmethod
    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """Make a partial result of rows that match. `rows` has what `columns(block)` names, and `where`."""

    def tellable(self, query: Query, first_us: Ints, last_us: Ints) -> Mask:
        """Tell, by their first and last timestamps, the blocks whose result statistics give: they are not read."""
        return np.zeros(len(first_us), np.bool_)

    def from_statistics(self, rows: Ints, first_us: Ints) -> pa.Table:
        """Make a partial result of blocks that are `tellable`, by their numbers of rows and first timestamps."""
        raise NotImplementedError(f"{self.name}: nothing is told by statistics")

    @abstractmethod
    def rows_of(self, table: pa.Table) -> int:
        """Tell how many rows a partial result is of."""

    @abstractmethod
    def fold(self, query: Query, where: Sequence[str] = ()) -> Fold:
        """Begin to fold partial results. Those with `where` are told apart by it."""

    def gather(self, query: Query) -> Gather:
        """Begin to gather what the row groups of one object give."""
        return Gather(self, query)

    @abstractmethod
    def to_json(self) -> list[Any]:
        """Give what it was asked for as JSON values."""

    @classmethod
    @abstractmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """Read what `to_json` gave. Raises TypeError, ValueError or IndexError for anything else."""


class WithoutParameters(Collector):
    """A collector that is asked for in one way alone."""

    __slots__ = ()

    def to_json(self) -> list[Any]:
        """See the protocol."""
        return []

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """See the protocol."""
        if values:
            raise ValueError(f"{cls.name} are asked for in no other way: {str(values)[:80]}")
        return cls()


class Gather:
    """The rows of one object, row group by row group, in the query's order if the collector wants that -> one result.

    This one takes all rows. What an ordered collector gives instead ends when it has enough, see `Rows`.
    """

    def __init__(self, collector: Collector, query: Query) -> None:
        self._collector = collector
        self._fold = collector.fold(query)

    @property
    def kept(self) -> int:
        """Of the rows that the query's limit allows, how many it has."""
        return 0

    @property
    def missing(self) -> int:
        """How many more rows it can make use of."""
        return 0 if self._fold.bound.done else sys.maxsize

    def add(self, rows: pa.Table, block: Block) -> None:
        """Take matching rows of a row group."""
        self.tell(self._collector.from_rows(rows, block))

    def add_before(self, rows: pa.Table, block: Block) -> None:
        """Take rows that precede those given so since `settle`: a stream brings the newest last."""
        self.add(rows, block)

    def settle(self) -> None:
        """Put what `add_before` was given behind what was there before it."""

    def tell(self, table: pa.Table) -> None:
        """Take a partial result that statistics gave."""
        self._fold.add(Partial(table))

    def partial(self) -> Partial:
        """Give the result; once, as the last call. How many rows matched is for whoever matched them to say."""
        return self._fold.partial()


def text_of(value: Any) -> str:
    """Take a JSON value that must be text. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:80]!r} is no text")
    return value


def integer_of(value: Any) -> int:
    """Take a whole number of 64 bits: what comes of others is known only when it is too late. Raises TypeError."""
    if not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError(f"{str(value)[:80]!r} is no whole number of 64 bits")
    return value
