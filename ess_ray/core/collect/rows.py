"""The first rows in the query's order, up to its limit: `newest` or `oldest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

from ess_ray.core.collect.collector import Block, Bound, Fold, Gather, Partial, WithoutParameters
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.merge import CUT_SHARE, EMPTY, Copy, OrderedMerge, first_copies
from ess_ray.core.query import Query

_ALL_COLUMNS: Final = frozenset(EVENT_SCHEMA.names)


@dataclass(frozen=True, slots=True)
class Rows(WithoutParameters):
    """The query's rows themselves (EVENT_SCHEMA), the first `limit` distinct ones in its order."""

    name: ClassVar[str] = "rows"
    ordered: ClassVar[bool] = True

    def schema(self, where: Sequence[str] = ()) -> pa.Schema:
        """See the protocol. A row tells by itself where it lies."""
        return EVENT_SCHEMA

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol."""
        return _ALL_COLUMNS

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        """See the protocol."""
        return rows

    def rows_of(self, table: pa.Table) -> int:
        """See the protocol."""
        return len(table)

    def fold(self, query: Query, where: Sequence[str] = ()) -> RowsFold:
        """See the protocol."""
        return RowsFold(query)

    def gather(self, query: Query) -> Gather:
        """See the protocol."""
        return _InOrder(query)


class RowsFold(Fold):
    """Puts rows of many places into one answer, and gives them as they become final."""

    def __init__(self, query: Query) -> None:
        self._merge = OrderedMerge(query.order, query.limit)

    def _add(self, table: pa.Table) -> None:
        before = self._merge.duplicates_suppressed
        self._merge.add(table)
        self.duplicates_suppressed += self._merge.duplicates_suppressed - before

    def release(self, watermark_us: int | None) -> pa.Table:
        """Give the rows that are final by now, in answer order: see `OrderedMerge`."""
        before = self._merge.duplicates_suppressed
        rows = self._merge.release(watermark_us)
        self.duplicates_suppressed += self._merge.duplicates_suppressed - before
        return rows

    def _table(self) -> pa.Table:
        return self.release(None)

    @property
    def bound(self) -> Bound:
        """The last row that is needed of those that are here, as soon as they are enough."""
        return Bound(self._merge.bound_us, self._merge.done)


class _InOrder(Gather):
    """Rows of an object's answer as they are gathered, which come in order: nothing has to be sorted."""

    def __init__(self, query: Query) -> None:
        self._limit = query.limit
        self._rows: list[pa.Table] = []
        self._seen: set[Copy] = set()
        self._before: list[pa.Table] = []
        self._repeats = self._kept = self._waiting = 0

    @property
    def kept(self) -> int:
        return self._kept

    @property
    def missing(self) -> int:
        return max(0, self._limit - self._kept)

    def add(self, rows: pa.Table, block: Block) -> None:
        """Append rows in answer order."""
        self._append(rows)

    def add_before(self, rows: pa.Table, block: Block) -> None:
        """Put rows in front. Those that so many others precede by now that they cannot matter are let go of."""
        self._before.append(rows)
        self._waiting += len(rows)
        if self._waiting >= (1 + CUT_SHARE) * self.missing:
            waiting, repeats = first_copies(pa.concat_tables(self._before[::-1]), set(), self._seen)
            self._repeats += repeats
            self._before = [waiting.slice(0, self.missing)]
            self._waiting = len(self._before[0])

    def settle(self) -> None:
        for rows in self._before[::-1]:
            self._append(rows)
        self._before, self._waiting = [], 0

    def _append(self, rows: pa.Table) -> None:
        rows, repeats = first_copies(rows, self._seen)
        self._repeats += repeats
        self._kept += len(rows)
        self._rows.append(rows)

    def partial(self) -> Partial:
        rows = pa.concat_tables(self._rows).slice(0, self._limit) if self._rows else EMPTY
        return Partial(rows, duplicates_suppressed=self._repeats)


ROWS: Final = Rows()
