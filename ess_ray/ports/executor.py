"""The seam between a search and who scans for it: tasks, results, and the one who runs them.

May live here: what a task asks and what its result tells. May not: how a task travels.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ess_ray.core.aggregate import Counting
from ess_ray.core.query import Query
from ess_ray.ports.catalog import ObjectEntry


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Objects to scan with one query: the unit that a Ray task or a Lambda invocation takes."""

    tenant: str
    query: Query
    entries: tuple[ObjectEntry, ...]
    probe: bool = False
    """Whether it comes first: a limit of few rows is often filled by it, so that no skip index need be read."""
    grouping: Counting | None = None
    """What to count all matching rows by, instead of giving the first of them."""


@dataclass(frozen=True)
class ScanResult:
    """Matching rows of a task's objects (EVENT_SCHEMA, answer order, the first `limit` only), with its cost.

    Of a task that counts: no rows, and `counts` (None when there was nothing to count).
    """

    rows: pa.Table
    rows_matched: int
    bytes_read: int
    gets: int
    duplicates_suppressed: int = 0
    failed: tuple[tuple[str, str], ...] = field(default=())
    """(key, reason) of each object that could not be read."""
    footer_hits: int = 0
    """Objects opened by a footer in memory; `footer_misses`: by a request."""
    footer_misses: int = 0
    invocations: int = 0
    """Of a Lambda function, lost ones and second copies too; with what they cost, an estimate."""
    gb_seconds: float = 0.0
    cost_usd: float = 0.0
    counts: pa.Table | None = None


class ScanExecutor(Protocol):
    """Runs scan tasks with bounded parallelism."""

    def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """Start tasks in the order given and yield (index, result) as they finish: one result for each task taken.

        `tasks` is iterated once, and the next one is taken only when it is about to start: tasks are made then, with
        what is known by then, and there may be fewer the later they are asked for. Closing the iterator cancels what
        is running and starts nothing more.
        """
        ...
