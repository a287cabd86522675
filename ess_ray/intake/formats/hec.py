"""The way in for clients of Splunk's HTTP Event Collector: its events and raw lines, answered with its exact codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from ess_ray.core.errors import EssError
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats import hec_events
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.hec_events import BLANK, INVALID, REQUIRED, UNREADABLE, Pieces
from ess_ray.intake.formats.json_pieces import EVENT_BYTES, PIECE_BYTES
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Answer, Refusal

CHANNEL_HEADER: Final = "x-splunk-request-channel"
PARAMETERS: Final = ("host", "source", "sourcetype", "index", "time")
"""What the address of raw lines says of all of them."""
_SCHEMES: Final = frozenset({"splunk", "bearer", "basic", "apikey"})
_TOO_MANY: Final = 429
_CODES: Final = {REQUIRED: 12, BLANK: 13}
_REFUSALS: Final = {
    400: (6, INVALID),
    403: (1, "Token disabled"),
    404: (404, "The requested URL was not found on this server."),
    405: (405, "Method Not Allowed"),
    413: (27, "Request entity too large"),
    415: (6, INVALID),
    422: (6, INVALID),
    503: (9, "Server is busy"),
}
_INTERNAL: Final = (8, "Internal server error")
_GROWTH: Final = 3
"""A byte that is no UTF-8 becomes three."""


def answer(status: int, code: int, text: str, **more: Any) -> Answer:
    """Give an answer in the collector's form."""
    return Answer(status, orjson.dumps({"text": text, "code": code, **more}), "application/json")


class Collector:
    """Splunk's collector. See `format.Format`: an object, or a line that is not blank, is an event.

    `parameters`: of an address whose body is raw lines, else None. `ack_id`: given out once all is durable.
    """

    def __init__(
        self,
        parameters: Mapping[str, str] | None = None,
        ack_id: int | None = None,
        authorization: str | None = None,
    ) -> None:
        self._parameters, self._ack_id, self._authorization = parameters, ack_id, authorization

    def asked(self, query: Mapping[str, str], authorization: str | None, ack_id: int | None) -> Collector:
        """Give the format of one request, by what stands in its address and headers."""
        parameters = None
        if self._parameters is not None:
            parameters = {name: query[name] for name in PARAMETERS if query.get(name)}
        return Collector(parameters, ack_id, authorization)

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece; of lines already where it may become several records, since the
        hash of pieces tells the same lines of two sources apart."""
        if self._parameters is None:
            return len(body.data) > PIECE_BYTES - EVENT_BYTES * body.data.count(b"{")
        told = sum(map(len, self._parameters.values()))
        lines = 1 + body.data.count(b"\n")
        return _GROWTH * (len(body.data) + lines * (EVENT_BYTES + told)) > PIECE_BYTES

    def cut(self, body: Body) -> Pieces:
        """Cut a body into pieces. Raises BadRequest for an array that is none."""
        return hec_events.cut(body.data, self._parameters, PIECE_BYTES)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest for an array that is none, TooLarge (once flattened)."""
        return hec_events.decode(bytes(body.data), self._parameters, now_us, limits, body.table)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """200, though some events are none; 400 where none is one, or what is behind one cannot be read."""
        unreadable = next((index for index, reason in stored.rejected if reason == UNREADABLE), None)
        if unreadable is not None:
            return answer(400, 6, INVALID, **{"invalid-event-number": unreadable})
        if not stored.accepted and stored.rejected:
            index, reason = stored.rejected[0]
            text = reason if reason in _CODES else INVALID
            return answer(400, _CODES.get(reason, 6), text, **{"invalid-event-number": index})
        if not stored.accepted:
            return answer(400, 5, "No data")
        return answer(200, 0, "Success", **({} if self._ack_id is None else {"ackId": self._ack_id}))

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """The collector's code. What is to be sent again is 503 alone, which every client does."""
        if refusal.status == 401:
            return self._not_let_in()
        status = 503 if refusal.status == _TOO_MANY else refusal.status
        code, text = _REFUSALS.get(status, _INTERNAL)
        return answer(status, code, text)

    def _not_let_in(self) -> Answer:
        if self._authorization is None:
            return answer(401, 2, "Token is required")
        scheme, _, token = self._authorization.strip().partition(" ")
        if scheme.lower() not in _SCHEMES or not token.strip():
            return answer(401, 3, "Invalid authorization")
        return answer(403, 4, "Invalid token")


COLLECTOR: Final = Collector()
RAW_COLLECTOR: Final = Collector({})
