"""A request's body to a batch: decompress, parse, columns, and what to say about the events that are not taken.

May live here: the order of these steps. May not: their rules (`body`, `rows`, `columns`), HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa

from ess_ray.core.errors import BadRequest, EssError, TooLarge
from ess_ray.intake.body import Values, read_values
from ess_ray.intake.columns import (
    NOT_PLAIN,
    may_be_large,
    odd_columns,
    plain_columns,
    to_columns,
)
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.framing import Pieces
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Inexact, Reading

MAX_NAMED: Final = 1_000
"""Events that an answer names: an agent reads none of them, a person a few. Their number is told besides."""


def named_json(what: str, named: Sequence[Named], total: int) -> dict[str, Any]:
    """Name events as `{"index", "reason"}`, the first MAX_NAMED of them; `WHAT_total` is there where there are more."""
    told: dict[str, Any] = {what: [{"index": index, "reason": reason} for index, reason in named[:MAX_NAMED]]}
    return {**told, f"{what}_total": total} if total > MAX_NAMED else told


@dataclass(frozen=True, slots=True)
class Body:
    """A decompressed body (see `body.decompress`), its Content-Type, and which names mean which field in it."""

    data: Content
    content_type: str | None = None
    table: FieldTable = FIELD_TABLE


def decode_events(body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
    """Read a body as events received at `now_us`.

    An index counts events from 0; in NDJSON, the lines that are not blank. Raises BadRequest (no JSON, no events, or
    none of them valid: `rejected` in its details), TooLarge (once flattened), Unsupported (content type).
    """
    decoded = _decode(body, now_us, limits)
    if decoded.rejected and not len(decoded.batch):
        raise none_valid(decoded.rejected, len(decoded.rejected))
    return decoded


def none_valid(rejected: Sequence[Named], count: int) -> BadRequest:
    """Make the error of a request whose events are all invalid, `count` of them."""
    index, reason = rejected[0]
    told = named_json("rejected", rejected, count)
    return BadRequest(f"none of the {count} events is valid; the one at index {index}: {reason}", **told)


def decode_together(bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
    """Decode several bodies at the price of one: the same as `decode_events` of each.

    Building columns costs about 90 us however few the events are, so plain bodies share them; a body that is not
    plain sends each of them its own way.
    """
    table = bodies[0].table
    if len(bodies) == 1 or any(may_be_large(len(body.data)) or body.table != table for body in bodies):
        return [_decoded(body, now_us, limits) for body in bodies]
    reads: list[Values | EssError] = []
    for body in bodies:
        try:
            reads.append(read_values(body.data, body.content_type))
        except EssError as error:
            reads.append(error)
    values = [event for read in reads if isinstance(read, Values) for event in read.values]
    try:
        batch = plain_columns(values, now_us, limits, table)
    except NOT_PLAIN:
        return [_decoded(body, now_us, limits) for body in bodies]
    return list(_parts(batch, reads))


def _parts(batch: pa.RecordBatch, reads: list[Values | EssError]) -> Iterator[Decoded | EssError]:
    """Give each body its rows of the batch that all share."""
    start = 0
    for read in reads:
        if isinstance(read, EssError):
            yield read
        else:
            yield Decoded(batch.slice(start, len(read.values)))
            start += len(read.values)


def _decoded(body: Body, now_us: int, limits: IntakeLimits) -> Decoded | EssError:
    try:
        return decode_events(body, now_us, limits)
    except EssError as error:
        return error


def decode_piece(pieces: Pieces, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
    """Read one piece of a large body as events received at `now_us`; an index counts the piece's own values from 0."""
    exact = False
    while True:
        read = pieces.read(number, exact)
        try:
            return to_columns(read.values, pieces.size(number), Reading(now_us, limits, read.exact, table))
        except Inexact:
            exact = True
        except TooLarge as error:  # other pieces are stored already, and this one never can be
            nothing = odd_columns([], Reading(now_us, limits, exact)).batch
            return Decoded(nothing, [(index, error.message) for index in range(len(read.values))], [])


def _decode(body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
    read = read_values(body.data, body.content_type)
    try:
        return to_columns(read.values, len(body.data), Reading(now_us, limits, read.exact, body.table))
    except Inexact:
        exact = read_values(body.data, body.content_type, exact=True)
        return to_columns(exact.values, len(body.data), Reading(now_us, limits, exact.exact, body.table))


def body_hash(body: Content, rejected: Sequence[Named]) -> str:
    """Hash a decompressed body for its Idempotency-Key: SHA-256, in hex.

    The events that were rejected count: a repeat that has become acceptable meanwhile (its time is no longer in the
    future) is not the same request, or its newly accepted events would be dropped as a repeat after their 202.
    """
    digest = sha256(body)
    for index, _ in rejected:
        digest.update(b"\n%d" % index)
    return digest.hexdigest()
