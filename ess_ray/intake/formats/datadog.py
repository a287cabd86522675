"""The way in for Datadog's agents and libraries: logs as JSON or lines of text, answered as its intake does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import orjson

from ess_ray.core.errors import EssError
from ess_ray.intake.attributes import Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.datadog_logs import Defaults, columns_of, table_of
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.json_mapped import MappedPieces, decode_mapped
from ess_ray.intake.formats.json_pieces import PIECE_BYTES, cut, may_be_several
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Answer, Refusal

PARAMETERS: Final = ("ddsource", "ddtags", "hostname", "service")
"""What an address says of all logs of its request."""
TIME_HEADER: Final = "dd-message-timestamp"
"""Milliseconds: the time of logs that have none of their own."""
_TIME: Final = re.compile(r"[1-9]\d{0,15}", re.ASCII)
_PROBE: Final = re.compile(rb"\s*(?:\{\s*\}|\[\s*\])\s*")
"""What agents send to learn whether they may: nothing is in it."""
_TOO_MANY: Final = 429
_TABLE: Final = table_of(FIELD_TABLE)
_USUAL_LOG_BYTES: Final = 128
"""How often what an address says is repeated in rows."""
_GROWTH: Final = 3
"""A byte that is no UTF-8 becomes three."""


class Datadog:
    """Datadog's logs. See `format.Format`: an object, or a line of text, is an event.

    `shows_key`: whether the request shows a key at all, which tells 403 from 401.
    """

    def __init__(self, defaults: Defaults = Defaults(), shows_key: bool = False) -> None:  # noqa: B008 (it is frozen)
        self._defaults, self._shows_key = defaults, shows_key

    def asked(self, query: Mapping[str, str], time: str, shows_key: bool) -> Datadog:
        """Give the format of one request, by what stands in its address and headers; `time` is that of TIME_HEADER."""
        named = {name: query[name] for name in PARAMETERS if query.get(name)}
        return Datadog(Defaults(named, int(time) if _TIME.fullmatch(time) else None), shows_key)

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece; with something in the address, already where it may become
        several records, since the hash of pieces tells the same logs of two addresses apart."""
        if not self._defaults.named:
            return may_be_several(body.data)
        told = sum(map(len, self._defaults.named.values()))
        logs = 1 + max(body.data.count(b"\n"), body.data.count(b"{"))
        return _GROWTH * (len(body.data) + logs * (_USUAL_LOG_BYTES + told)) > PIECE_BYTES

    def cut(self, body: Body) -> MappedPieces:
        """Cut a body into pieces (see `json_pieces.cut`)."""
        told = orjson.dumps(dict(self._defaults.named), option=orjson.OPT_SORT_KEYS)
        repeats = 1 + len(told) // _USUAL_LOG_BYTES
        inner = cut(body.data, body.content_type, max(1, PIECE_BYTES // repeats))
        digest = sha256(inner.body_hash.encode() + told).hexdigest() if self._defaults.named else inner.body_hash
        return MappedPieces(inner, self._columns, digest)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest (no JSON), Unsupported (content type), TooLarge (once flattened)."""
        if _is_probe(body.data):
            return odd_columns([], Reading(now_us, limits, exact=True))
        return decode_mapped(body, now_us, limits, self._columns)

    def _columns(self, logs: Sequence[Any], body_bytes: int, reading: Reading) -> Decoded:
        known = _TABLE if reading.table is FIELD_TABLE else table_of(reading.table)
        return columns_of(logs, body_bytes, replace(reading, table=known), self._defaults)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """202, though some logs can never be stored; 400 where none can."""
        if stored.rejected and not stored.accepted:
            index, reason = stored.rejected[0]
            told = f"none of the {stored.rejected_total} logs is valid; the one at index {index}: {reason}"
            return refused(Refusal(400, "Bad Request", told))
        return Answer(202, b"{}", "application/json")

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """The intake's errors: 401 without a key, 403 with a wrong one. What is to be sent again is 503 alone."""
        if refusal.status == 401 and self._shows_key:
            refusal = Refusal(403, "Forbidden", refusal.message)
        if refusal.status == _TOO_MANY:
            refusal = Refusal(503, "Service Unavailable", refusal.message)
        return refused(refusal)


DATADOG: Final = Datadog()


def refused(refusal: Refusal) -> Answer:
    """Write a refusal as the intake does."""
    error = {"status": str(refusal.status), "title": refusal.title, "detail": refusal.message}
    return Answer(refusal.status, orjson.dumps({"errors": [error]}), "application/json")


def _is_probe(data: Content) -> bool:
    return _PROBE.fullmatch(data) is not None
