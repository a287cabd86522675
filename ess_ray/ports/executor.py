"""The seam between a search and who scans for it: tasks, results, and the one who runs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field, fields
from typing import Protocol

from ess_ray.core.collect import ROWS, Collector, Partial
from ess_ray.core.query import Query
from ess_ray.ports.catalog import ObjectEntry


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Objects to scan with one query, and what is made of its rows: the unit that a Ray task or a Lambda invocation
    takes."""

    tenant: str
    query: Query
    entries: tuple[ObjectEntry, ...]
    collector: Collector = ROWS
    probe: bool = False
    """Whether it comes first: a limit of few rows is often filled by it, so that no skip index need be read."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a part of a search took. Costs add up, and each is a sum: here is the only place that knows of all."""

    bytes_read: int = 0
    gets: int = 0
    footer_hits: int = 0
    """Objects opened by a footer in memory; `footer_misses`: by a request."""
    footer_misses: int = 0
    invocations: int = 0
    """Of a Lambda function, lost ones and second copies too; with what they cost, an estimate."""
    gb_seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True)
class ScanResult:
    """What the task's collector made of its objects, and what that took."""

    partial: Partial
    cost: Cost = Cost()
    failed: tuple[tuple[str, str], ...] = field(default=())
    """(key, reason) of each object that could not be read."""

    @classmethod
    def of_failure(cls, task: ScanTask, reason: str) -> ScanResult:
        """Give the result of a task none of whose objects were read."""
        nothing = Partial(task.collector.schema().empty_table())
        return cls(nothing, failed=tuple((entry.key, reason) for entry in task.entries))

    def and_again(self, more: ScanResult) -> ScanResult:
        """Give the result with that of the objects that failed, tried once more."""
        return ScanResult(self.partial + more.partial, self.cost + more.cost, more.failed)


class ScanExecutor(Protocol):
    """Runs scan tasks with bounded parallelism."""

    def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """Start tasks in the order given and yield (index, result) as they finish: one result for each task taken.

        `tasks` is iterated once, and the next one is taken only when it is about to start: tasks are made then, with
        what is known by then, and there may be fewer the later they are asked for. Closing the iterator cancels what
        is running and starts nothing more.
        """
        ...
