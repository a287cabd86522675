"""The way in of our own: JSON, NDJSON or lines of text to a batch, and what to say about the events that are not
taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from ess_ray import exact_json
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.columns import (
    NOT_PLAIN,
    may_be_large,
    plain_columns,
    to_columns,
)
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.digits import Sent
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.format import MAX_NAMED, Body, Stored, each_alone
from ess_ray.intake.formats.json_pieces import Pieces, cut, may_be_several
from ess_ray.intake.formats.json_values import Values, partial_parse, read_values
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Answer, Refusal, as_problem


class JsonEvents:
    """The format of `/push/v1/events`. See `format.Format`."""

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece, at a glance."""
        return may_be_several(body.data)

    def cut(self, body: Body) -> Pieces:
        """Cut a body into pieces (see `json_pieces.cut`)."""
        return cut(body.data, body.content_type, parse=body.parse)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body (see `decode_events`)."""
        return decode_events(body, now_us, limits)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies at the price of one (see `decode_together`)."""
        return decode_together(bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """202 with the contract's answer. Raises BadRequest when none of the events is valid."""
        if stored.rejected and not stored.accepted:
            raise none_valid(stored.rejected, stored.rejected_total)
        told: dict[str, Any] = {
            "accepted": stored.accepted,
            **named_json("rejected", stored.rejected, stored.rejected_total),
            **named_json("adjusted", stored.adjusted, stored.adjusted_total),
        }
        if stored.repeats is not None:
            told["repeats"] = stored.repeats
        return Answer(202, exact_json.dumps(told), "application/json")

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """A problem document."""
        return as_problem(refusal)


JSON_EVENTS: Final = JsonEvents()


def named_json(what: str, named: Sequence[Named], total: int) -> dict[str, Any]:
    """Name events as `{"index", "reason"}`, the first MAX_NAMED of them; `WHAT_total` is there where there are more."""
    told: dict[str, Any] = {what: [{"index": index, "reason": reason} for index, reason in named[:MAX_NAMED]]}
    return {**told, f"{what}_total": total} if total > MAX_NAMED else told


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
    if len(bodies) == 1 or any(_is_alone(body, table) for body in bodies):
        return each_alone(JSON_EVENTS, bodies, now_us, limits)
    reads: list[Values | EssError] = []
    for body in bodies:
        try:
            reads.append(read_values(body.data, body.content_type))
        except EssError as error:
            reads.append(error)
    values = [event for read in reads if isinstance(read, Values) for event in read.values]
    try:
        batch = plain_columns(values, now_us, limits, table, _sent(reads))
    except NOT_PLAIN:
        return each_alone(JSON_EVENTS, bodies, now_us, limits)
    return list(_parts(batch, reads))


def _is_alone(body: Body, table: FieldTable) -> bool:
    """Tell whether a body is read by itself."""
    return body.parse is not None or may_be_large(len(body.data)) or body.table != table


def _sent(reads: list[Values | EssError]) -> Sent:
    """Give the texts of all that were read fast, as one."""
    exactness = [read.exact for read in reads if isinstance(read, Values)]
    return Sent(*(text for sent in exactness if isinstance(sent, Sent) for text in sent.texts))


def _parts(batch: pa.RecordBatch, reads: list[Values | EssError]) -> Iterator[Decoded | EssError]:
    """Give each body its rows of the batch that all share."""
    start = 0
    for read in reads:
        if isinstance(read, EssError):
            yield read
        else:
            yield Decoded(batch.slice(start, len(read.values)))
            start += len(read.values)


def _decode(body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
    read = read_values(body.data, body.content_type, parse=partial_parse(body.parse, now_us))
    try:
        return to_columns(read.values, len(body.data), Reading(now_us, limits, read.exact, body.table))
    except Inexact:
        exact = read_values(body.data, body.content_type, exact=True)
        return to_columns(exact.values, len(body.data), Reading(now_us, limits, exact.exact, body.table))
