"""Splunk's collector over HTTP, and what its clients ask besides pushing: its health, and whether what was pushed is
durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.bodies import MAX_QUESTION_BYTES, read_body
from deployments.lasting import Endable
from deployments.problem import error_response, respond
from deployments.ways.describing import body_of, json_answer_of
from deployments.ways.way import Described, Parts, Way, Words, describe_post
from ess_ray.core.errors import EssError
from ess_ray.intake.formats.format import Format
from ess_ray.intake.formats.hec import CHANNEL_HEADER, COLLECTOR, RAW_COLLECTOR, Collector, answer
from ess_ray.problem import Answer, Refusal, Write

COLLECTOR_PATH: Final = "/services/collector"
_VERSIONS: Final = ("", "/1.0")
EVENT_PATHS: Final = (
    COLLECTOR_PATH,
    *(f"{COLLECTOR_PATH}/event{version}" for version in _VERSIONS),
    "/services/receivers/token/event",
)
RAW_PATHS: Final = tuple(f"{COLLECTOR_PATH}/raw{version}" for version in _VERSIONS)
ROUTES: Final[dict[str, Format]] = {
    **dict.fromkeys(EVENT_PATHS, COLLECTOR),
    **dict.fromkeys(RAW_PATHS, RAW_COLLECTOR),
}
HEALTH_PATHS: Final = tuple(f"{COLLECTOR_PATH}/health{version}" for version in _VERSIONS)
ACK_PATHS: Final = tuple(f"{COLLECTOR_PATH}/ack{version}" for version in _VERSIONS)
PROBES: Final = frozenset({*HEALTH_PATHS, *ACK_PATHS})
_CLOCKS_APART_US: Final = 5_000_000
"""How far the clocks of two nodes may be apart: an id of one is asked of the other."""


class AckIds:
    """Ids that requests are given once they are durable: their times in microseconds, each id once in a process.

    Any replica can then tell that an id was given out, also after a restart: it is not in the future.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns, self._last = clock_ns, 0

    def next(self) -> int:
        """Give an id that was not given yet."""
        self._last = max(self._last + 1, self._clock_ns() // 1_000)
        return self._last

    def is_durable(self, ack_id: Any) -> bool:
        """Tell whether what was given this id is durable: it is whenever an id is given."""
        if isinstance(ack_id, str) and ack_id.isascii() and ack_id.isdigit():
            ack_id = int(ack_id[:20])
        return type(ack_id) is int and 0 <= ack_id <= max(self._last, self._clock_ns() // 1_000 + _CLOCKS_APART_US)


ACK_IDS: Final = AckIds()


def asked(form: Words, request: Request) -> Format:
    """Give the format of one request."""
    assert isinstance(form, Collector)  # it is one of ROUTES
    ack_id = ACK_IDS.next() if _channel(request) else None
    return form.asked(request.query_params, request.headers.get("authorization"), ack_id)


def _channel(request: Request) -> str:
    return request.headers.get(CHANNEL_HEADER) or request.query_params.get("channel", "")


class Probes:
    """Answers what is asked at PROBES."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        write = _in_words(request)
        is_health = get_route_path(scope) in HEALTH_PATHS
        allowed = ("GET", "HEAD") if is_health else ("POST",)
        response: Response
        try:
            if request.method not in allowed:
                refusal = Refusal(405, "Method Not Allowed", "")
                response = respond(refusal, write, {"Allow": ", ".join(allowed)})
            else:
                response = _sent(await (self._healthy() if is_health else self._acknowledged(request)))
        except ClientDisconnect:
            return  # nobody is there to be answered
        except EssError as error:
            response = error_response(request, error, later=True, write=write)
        await response(scope, receive, send)

    async def _healthy(self) -> Answer:
        if await self._parts.problems():
            return answer(503, 18, "HEC is unhealthy, queues are full")
        return answer(200, 17, "HEC is healthy")

    async def _acknowledged(self, request: Request) -> Answer:
        """Tell of each id whether what was given it is durable. Raises as the door and `read_body` do."""
        tenant = await self._parts.let_in(request)
        if not _channel(request):
            return answer(400, 10, "Data channel is missing")
        claim = self._parts.gate.claim(tenant)
        try:
            body = bytes(await read_body(request, MAX_QUESTION_BYTES, claim.hold, self._parts.pace))
        finally:
            claim.close()
        if not body.strip():
            return answer(400, 5, "No data")
        try:
            ids = orjson.loads(body)["acks"]
            told = {str(ack_id): ACK_IDS.is_durable(ack_id) for ack_id in ids} if isinstance(ids, list) else None
        except (orjson.JSONDecodeError, KeyError, TypeError):
            told = None
        if told is None:
            return answer(400, 6, "Invalid data format")
        return Answer(200, orjson.dumps({"acks": told}), "application/json")


def _sent(told: Answer) -> Response:
    headers = {"Retry-After": "1"} if told.status == 503 else None
    return Response(told.content, told.status, headers, told.media_type)


def _in_words(request: Request) -> Write:
    return partial(asked(COLLECTOR, request).refused, content_type=None)


def _own(parts: Parts) -> ASGIApp:
    return Endable(Probes(parts), _in_words)


_HEC_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["text", "code"],
    "properties": {
        "text": {"type": "string"},
        "code": {"type": "integer"},
        "ackId": {"type": "integer", "description": "Where the request names a channel."},
        "invalid-event-number": {"type": "integer", "description": "From 0."},
    },
}


def _hec_answer(description: str) -> dict[str, Any]:
    return json_answer_of(description, _HEC_ANSWER)


HEC_ANSWERS: Final[Described] = {
    200: _hec_answer("Durable (code 0)"),
    400: _hec_answer("No data (5), no JSON (6; what stood before it is durable), no event (12), a blank event (13)"),
    401: _hec_answer("Token is required (2), or stands where it is not looked for (3)"),
    403: _hec_answer("The token is not known (4), or not for this (1)"),
    405: _hec_answer("POST alone is taken"),
    413: _hec_answer("More than 64 MiB decompressed (`push.max_batch_bytes`)"),
    415: _hec_answer("A content encoding that is not spoken here"),
    422: _hec_answer("The Idempotency-Key came with another body before"),
    503: _hec_answer("Nothing was acknowledged (9): send it again after Retry-After"),
}
_ENVELOPE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["event"],
    "properties": {
        "event": {"description": "Text, a number, or an object whose names are known as in any event."},
        "time": {"oneOf": [{"type": "number"}, {"type": "string"}]},
        **{name: {"type": "string"} for name in ("host", "source", "sourcetype", "index")},
        "fields": {"type": "object"},
    },
}


async def push_hec() -> None:
    """Take events from clients of Splunk's collector, at its paths below `/services/collector` of this server, too:
    `event`, `raw` (a line is an event), `ack`, `health`. 200 once they are durable."""


def _describe(app: FastAPI, _: Parts) -> None:
    describe_post(app, COLLECTOR_PATH, push_hec, 200, HEC_ANSWERS, **body_of({"application/json": _ENVELOPE}))


HEC: Final = Way(
    COLLECTOR,
    ROUTES,
    ("/services/",),
    _describe,
    form_of=asked,
    options=True,  # Docker asks at the start of a container, which does not start without a good answer
    owns=PROBES.__contains__,
    own=_own,
)
