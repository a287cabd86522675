"""The seam to where answers are kept while they grow and are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class AnswerState:
    """Where an answer stands: the JSON of the contract without its events.

    `buckets` (JSON values, as they are shown) and `interval_s` only aggregations have. `hints` (JSON values): what a
    reader should know of an answer without rows. `statistics` (JSON values, to be told beside it) has an aggregation
    that was asked for some, `table` (`columns`, `rows`) a pipe. What was stored by a version without them has neither.
    """

    state: str
    progress: dict[str, int | float | str | None]
    complete: bool
    incomplete: tuple[str, ...]
    elapsed_ms: int
    buckets: tuple[dict[str, Any], ...] | None = None
    interval_s: int | None = None
    hints: tuple[dict[str, Any], ...] = ()
    statistics: dict[str, Any] | None = None
    table: dict[str, Any] | None = None
    position: int | None = None
    """Of one that waits for its turn (`queued`): how many of its tenant's wait until it runs, itself among them."""

    @property
    def under_way(self) -> bool:
        """Whether there is more to come."""
        return self.state in ("queued", "running")

    @property
    def parts(self) -> int:
        """How many buckets, or rows of a table, it holds."""
        return len(self.buckets or ()) + len((self.table or {}).get("rows", ()))


class ResultStore(Protocol):
    """Answers under (tenant, query id), appended in final order, read by position, expiring after a while."""

    async def create(self, tenant: str, query_id: str, state: AnswerState, question: str = "") -> None:
        """Begin an answer. `question` is kept beside it: text from which it can be asked again, empty if it cannot."""
        ...

    async def question(self, tenant: str, query_id: str) -> str:
        """Give the question of an answer, whoever asked it and whatever became of them. Raises NotFound."""
        ...

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        """Add rows at the end. False when the answer's cap is reached: rows were kept up to the cap."""
        ...

    async def update(self, tenant: str, query_id: str, state: AnswerState) -> None: ...

    async def state(self, tenant: str, query_id: str) -> AnswerState:
        """Raises NotFound for an unknown id and for another tenant's; Gone, which is a NotFound, where it is known that
        there was such an answer."""
        ...

    async def request_cancel(self, tenant: str, query_id: str) -> None:
        """Ask whoever runs this query to end it; the answer itself stays as it is. Idempotent. Raises NotFound."""
        ...

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Give those of these (tenant, query id) that were asked to end; unknown ones were not. One round trip."""
        ...

    async def row_count(self, tenant: str, query_id: str) -> int:
        """Count the rows that are there by now. Raises NotFound."""
        ...

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        """Give rows [start, start + limit) that are there by now. Raises NotFound."""
        ...

    async def drop_all(self, tenant: str) -> int:
        """Let go of all answers of a tenant, running ones too: their ids are unknown from then on, and whoever still
        appends to one gets NotFound. Gives how many there were. Idempotent."""
        ...
