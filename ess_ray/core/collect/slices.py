"""The rows of one slice of an export: as many as are wanted, cut where a timestamp is whole.

The next slice begins behind the last timestamp of this one, so none may be given in part. Parts of a slice are rows as
an answer's are; what differs is the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect.rows import Rows, RowsFold
from ess_ray.core.query import Order, Query


@dataclass(frozen=True, slots=True)
class SliceRows(Rows):
    """The query's rows, up to about its limit."""

    name: ClassVar[str] = "slice"

    def fold(self, query: Query, where: Sequence[str] = ()) -> SliceFold:
        """See the protocol."""
        return SliceFold(query)


class SliceFold(RowsFold):
    """Puts a slice's rows together."""

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self._order: Order = query.order

    def whole(self) -> tuple[pa.Table, int | None]:
        """Give all rows, in answer order, when they are fewer than the limit: then there are no others.

        Else those that stand strictly before the timestamp given beside them, at which the next slice must begin; none,
        when all rows are of that one timestamp. Once, as the last call.
        """
        rows = self.release(None)
        if not self.bound.done:
            return rows, None
        us = self.bound.us
        before = pc.greater if self._order == "newest" else pc.less
        return rows.filter(before(rows.column("timestamp").cast(pa.int64()), us)), us


SLICE_ROWS: Final = SliceRows()
