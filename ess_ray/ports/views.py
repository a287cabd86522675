"""The seam to those who hold rows that are not stored yet.

May live here: the owners' Protocol, and what a view tells. May not: who the owners are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ess_ray.core.aggregate import Counting
from ess_ray.core.query import Query


@dataclass(frozen=True, slots=True)
class VnodeRange:
    """What a frozen view covers of one virtual node: offsets in [first, end)."""

    first: int
    end: int


@dataclass(frozen=True)
class View:
    """An owner's frozen answer: the ranges it covers and their matching rows (EVENT_SCHEMA, in answer order).

    When it was asked to count, there are no rows but `counts`, whose cells are kept apart by `vnode` and `offset`.
    """

    ranges: dict[int, VnodeRange]
    rows: pa.Table
    scanned_rows: int = 0
    duplicates_suppressed: int = 0
    matched: Mapping[int, int] = field(default_factory=dict)
    """Rows that match, by virtual node, before repeats and the limit took some out."""
    counts: pa.Table | None = None


class InFlight(Protocol):
    """The owners of the virtual nodes, asked for views of what is not stored yet."""

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        grouping: Counting | None = None,
    ) -> list[View]:
        """Ask every owner for one frozen view reaching at least `min_ends`, waiting up to `timeout_s`.

        A virtual node without an owner, or whose owner does not get there in time, is absent from the ranges.
        `since`: look only at rows of these virtual nodes, from these offsets on; the ranges are told as ever.
        `grouping`: give counts instead of rows.
        """
        ...
