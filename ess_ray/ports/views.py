"""The seam to those who hold rows that are not stored yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ess_ray.core.collect import ROWS, Collector
from ess_ray.core.query import Query


@dataclass(frozen=True, slots=True)
class VnodeRange:
    """What a frozen view covers of one virtual node: offsets in [first, end)."""

    first: int
    end: int


@dataclass(frozen=True)
class View:
    """An owner's frozen answer: the ranges it covers, and what the search's collector made of their matching rows.

    `table` is a partial result that is kept apart by `collect.PLACES`, so that what is stored by now can be dropped.
    """

    ranges: dict[int, VnodeRange]
    table: pa.Table
    scanned_rows: int = 0
    duplicates_suppressed: int = 0
    matched: Mapping[int, int] = field(default_factory=dict)
    """Rows that match, by virtual node, before repeats and the limit took some out."""


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
        collector: Collector = ROWS,
    ) -> list[View]:
        """Ask the owners of these virtual nodes for frozen views reaching at least `min_ends`, at most `timeout_s`.

        A virtual node without an owner, or whose owner does not get there in time, is absent from the ranges.
        `since`: look only at rows of these virtual nodes, from these offsets on; the ranges are told as ever.
        """
        ...
