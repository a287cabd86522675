"""Loki's push over HTTP, and what its agents ask before: whether it is ready."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.responses import PlainTextResponse

from deployments.problem import error_response
from deployments.ways.describing import BINARY, PROTOBUF, TEXT_REFUSALS, body_of, text_answer
from deployments.ways.way import Described, Parts, Way, describe_post
from ess_ray.core.errors import Unavailable
from ess_ray.intake.formats.loki import LOKI_PUSH, encoding_of

LOKI_PATH: Final = "/loki/api/v1/push"
LOKI_FIRST_PATH: Final = "/api/prom/push"
"""Where Loki's agents push, and where its first ones did."""
READY_PATH: Final = "/ready"

LOKI_ANSWERS: Final[Described] = {
    204: {"description": "All of it is durable"},
    400: text_answer("This is no push request, or some entries never can be stored: the others are durable"),
    **TEXT_REFUSALS,
}
READY: Final[Described] = {503: text_answer("Events cannot be taken just now")}
_STREAM: Final = {
    "type": "object",
    "properties": {
        "stream": {"type": "object", "additionalProperties": {"type": "string"}},
        "values": {"type": "array", "items": {"type": "array", "description": "[ns as text, line, metadata]"}},
    },
}
_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"streams": {"type": "array", "items": _STREAM}},
}


async def push_loki() -> None:
    """Take what Loki's agents push, also at `/loki/api/v1/push` and `/api/prom/push` of this server. 204 once all of it
    is durable; 400 with the reasons where some entries never can be stored, once the others are."""


def _describe(app: FastAPI, parts: Parts) -> None:
    taken = body_of({"application/json": _REQUEST, PROTOBUF: BINARY})
    describe_post(app, LOKI_PATH, push_loki, 204, LOKI_ANSWERS, **taken)

    async def ready(request: Request) -> Response:
        """Health in Loki's words, which its agents ask for before they push."""
        try:
            await parts.check_health()
        except Unavailable as error:
            return error_response(request, error, write=partial(LOKI_PUSH.refused, content_type=None))
        return PlainTextResponse("ready\n")

    app.get(READY_PATH, response_class=PlainTextResponse, responses=READY)(ready)


LOKI: Final = Way(
    LOKI_PUSH,
    {LOKI_PATH: LOKI_PUSH, LOKI_FIRST_PATH: LOKI_PUSH},
    ("/loki/", "/api/prom/"),
    _describe,
    encoding_of=encoding_of,
)
