"""A request's body to a batch: decompress, parse, columns, and what to say about the events that are not taken.

May live here: the order of these steps. May not: their rules (`body`, `rows`, `columns`), HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa

from ess_ray.core.errors import BadRequest, EssError
from ess_ray.intake.body import Values, read_values
from ess_ray.intake.columns import NOT_PLAIN, Columns, may_be_large, plain_columns, to_columns
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Inexact


@dataclass(frozen=True)
class Decoded:
    """A request's valid events as rows of RECORD_SCHEMA, and (index, reason) of each invalid one, by index."""

    batch: pa.RecordBatch
    rejected: list[tuple[int, str]]

    def rejected_json(self) -> list[dict[str, Any]]:
        """Give the rejected events as the contract's answer names them."""
        return rejected_json(self.rejected)


def rejected_json(rejected: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Name rejected events as `{"index", "reason"}`."""
    return [{"index": index, "reason": reason} for index, reason in rejected]


def decode_events(body: bytes, content_type: str | None, now_us: int, limits: IntakeLimits) -> Decoded:
    """Read a decompressed body (see `body.decompress`) as events received at `now_us`.

    An index counts events from 0; in NDJSON, the lines that are not blank. Raises BadRequest (no JSON, no events, or
    none of them valid: `rejected` in its details), TooLarge (bytes, events), Unsupported (content type).
    """
    columns = _columns(body, content_type, now_us, limits)
    if columns.rejected and not len(columns.batch):
        count, (index, reason) = len(columns.rejected), columns.rejected[0]
        raise BadRequest(
            f"none of the {count} events is valid; the one at index {index}: {reason}",
            rejected=rejected_json(columns.rejected),
        )
    return Decoded(columns.batch, columns.rejected)


def decode_together(
    bodies: Sequence[tuple[bytes, str | None]], now_us: int, limits: IntakeLimits
) -> list[Decoded | EssError]:
    """Decode several bodies, each with its content type, at the price of one: the same as `decode_events` of each.

    Building columns costs about 90 us however few the events are, so plain bodies share them; a body that is not
    plain sends each of them its own way.
    """
    if len(bodies) == 1 or any(may_be_large(len(body)) for body, _ in bodies):
        return [_decoded(body, kind, now_us, limits) for body, kind in bodies]
    reads: list[Values | EssError] = []
    for body, kind in bodies:
        try:
            reads.append(read_values(body, kind, limits))
        except EssError as error:
            reads.append(error)
    try:
        batch = plain_columns([e for read in reads if isinstance(read, Values) for e in read.values], now_us, limits)
    except NOT_PLAIN:
        return [_decoded(body, kind, now_us, limits) for body, kind in bodies]
    return list(_parts(batch, reads))


def _parts(batch: pa.RecordBatch, reads: list[Values | EssError]) -> Iterator[Decoded | EssError]:
    """Give each body its rows of the batch that all share."""
    start = 0
    for read in reads:
        if isinstance(read, EssError):
            yield read
        else:
            yield Decoded(batch.slice(start, len(read.values)), [])
            start += len(read.values)


def _decoded(body: bytes, content_type: str | None, now_us: int, limits: IntakeLimits) -> Decoded | EssError:
    try:
        return decode_events(body, content_type, now_us, limits)
    except EssError as error:
        return error


def _columns(body: bytes, content_type: str | None, now_us: int, limits: IntakeLimits) -> Columns:
    read = read_values(body, content_type, limits)
    try:
        return to_columns(read.values, len(body), now_us, limits, read.exact)
    except Inexact:
        exact = read_values(body, content_type, limits, exact=True)
        return to_columns(exact.values, len(body), now_us, limits, exact.exact)


def body_hash(body: bytes, rejected: list[tuple[int, str]]) -> str:
    """Hash a decompressed body for its Idempotency-Key: SHA-256, in hex.

    The events that were rejected count: a repeat that has become acceptable meanwhile (its time is no longer in the
    future) is not the same request, or its newly accepted events would be dropped as a repeat after their 202.
    """
    digest = sha256(body)
    for index, _ in rejected:
        digest.update(b"\n%d" % index)
    return digest.hexdigest()
