"""What every result store refuses and cuts, in one place, so that all of them do it alike."""

from __future__ import annotations

from bisect import bisect_right

import pyarrow as pa

from ess_ray.core.errors import BadRequest, Conflict, Gone, NotFound


def check_page(start: int, limit: int) -> None:
    """Raise BadRequest for negative numbers."""
    if start < 0 or limit < 0:
        raise BadRequest(f"start {start} and limit {limit} must not be negative")


def conflict(query_id: str) -> Conflict:
    """An id that is taken."""
    return Conflict(f"there is a query {query_id} already; use a new id for every query")


def not_found(query_id: str) -> NotFound:
    """An id that is unknown, or another tenant's."""
    return NotFound(f"there is no query {query_id}: run it again")


def gone(query_id: str, why: str) -> Gone:
    """An id whose answer was let go of."""
    return Gone(f"the answer of query {query_id} is no longer kept, since {why}: run the query again")


def expired(ttl_s: float) -> str:
    """Why an answer is gone that nobody wrote to for long."""
    return f"it was last written to more than {ttl_s:g} s ago (results.ttl_s)"


def fitting(rows: pa.Table, room_bytes: int) -> pa.Table:
    """Give the longest beginning of `rows` that has at most `room_bytes` Arrow bytes."""
    if rows.nbytes <= room_bytes:
        return rows
    count = bisect_right(range(1, len(rows) + 1), room_bytes, key=lambda n: rows.slice(0, n).nbytes)
    return rows.slice(0, count)
