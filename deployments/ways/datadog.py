"""Datadog's log intake over HTTP, and what its agents ask besides: whether their key is valid."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.envelopes import KEY_IN_PATH
from deployments.lasting import Endable
from deployments.problem import error_response, respond, unexpected_response
from deployments.ways.describing import body_of, json_answer_of
from deployments.ways.way import Described, Parts, Way, Words, describe_post
from ess_ray.core.errors import EssError
from ess_ray.intake.formats.datadog import DATADOG, TIME_HEADER, Datadog
from ess_ray.intake.formats.format import Format
from ess_ray.problem import Answer, Refusal, Write

LOGS_PATH: Final = "/api/v2/logs"
INPUT_PATH: Final = "/v1/input"
VALIDATE_PATH: Final = "/api/v1/validate"
_KEYED: Final = f"{INPUT_PATH}/"
"""What stands behind it is a key."""
_VALID: Final = orjson.dumps({"valid": True})


def asked(form: Words, request: Request) -> Format:
    """Give the format of one request."""
    assert isinstance(form, Datadog)  # it is this way's only one
    headers, query = request.headers, request.query_params
    shown = (headers.get("authorization"), headers.get("dd-api-key"), query.get("dd-api-key"))
    shows_key = any(shown) or KEY_IN_PATH in request.scope
    return form.asked(query, headers.get(TIME_HEADER, ""), shows_key)


def owns(path: str) -> bool:
    """Tell the paths that are no routes: of whether a key is valid, and with a key in them."""
    return path == VALIDATE_PATH or path.startswith(_KEYED)


class DatadogApp:
    """Answers what `owns` tells."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = get_route_path(scope)
        key = path.removeprefix(_KEYED)
        if path == VALIDATE_PATH:
            response = await self._validated(Request(scope, receive, send))
        elif not key or "/" in key:
            why = Refusal(404, "Not Found", f"there is nothing here: logs are taken at {LOGS_PATH} and {INPUT_PATH}")
            response = respond(why, _in_words(Request(scope)))
        elif scope["method"] != "POST":
            why = Refusal(405, "Method Not Allowed", f"{INPUT_PATH} takes POST, not {scope['method']}")
            response = respond(why, _in_words(Request(scope)), {"Allow": "POST"})
        else:
            await self._parts.push(_without(key, scope), receive, send)
            return
        await response(scope, receive, send)

    async def _validated(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            why = Refusal(405, "Method Not Allowed", f"{VALIDATE_PATH} takes GET, not {request.method}")
            return respond(why, _invalid(request), {"Allow": "GET, HEAD"})
        try:
            await self._parts.let_in(request)
        except EssError as error:
            return error_response(request, error, later=True, write=_invalid(request))
        except Exception as error:  # noqa: BLE001 (logged, and answered: not proven to be the request's fault)
            return unexpected_response(request, error, 503, _invalid(request))
        return Response(_VALID, media_type="application/json")


def _without(key: str, scope: Scope) -> Scope:
    """Take the key out of a request's path, before anything is logged of it."""
    path = scope["path"].removesuffix(f"/{key}")
    changed: MutableMapping[str, Any] = {**scope, "path": path, "raw_path": path.encode(), KEY_IN_PATH: key}
    return changed


def _in_words(request: Request) -> Write:
    return partial(asked(DATADOG, request).refused, content_type=None)


def _invalid(request: Request) -> Write:
    """Give what says that a key is none: in a form of its own, as Datadog's first version has it."""

    def write(refusal: Refusal) -> Answer:
        status = asked(DATADOG, request).refused(refusal, None).status
        return Answer(status, orjson.dumps({"errors": [refusal.message]}), "application/json")

    return write


def _own(parts: Parts) -> ASGIApp:
    return Endable(DatadogApp(parts), _in_words)


_ERRORS: Final = {
    "type": "object",
    "required": ["errors"],
    "properties": {"errors": {"type": "array", "items": {"type": "object"}}},
}
_ANSWERS: Final[Described] = {
    202: json_answer_of("Durable; logs that never can be are left out, and counted", {"type": "object"}),
    400: json_answer_of("This is no JSON, or holds no valid log: nothing is stored", _ERRORS),
    401: json_answer_of("A key is needed: send `DD-API-KEY: KEY`", _ERRORS),
    403: json_answer_of("The key is not known, or not for this", _ERRORS),
    405: json_answer_of("POST alone is taken", _ERRORS),
    413: json_answer_of("More than 64 MiB decompressed (`push.max_batch_bytes`)", _ERRORS),
    415: json_answer_of("A content type or encoding that is not spoken here", _ERRORS),
    422: json_answer_of("The Idempotency-Key came with another body before", _ERRORS),
    503: json_answer_of("Nothing was acknowledged: send it again after Retry-After", _ERRORS),
}
_LOG: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "message": {"description": "Text, or an object whose names are known as in any event."},
        "status": {"type": "string", "description": "The level."},
        "timestamp": {"description": "Milliseconds, or as in any event."},
        **{name: {"type": "string"} for name in ("hostname", "service", "ddsource", "ddtags")},
    },
}


async def push_datadog() -> None:
    """Take logs from Datadog's agents and libraries, also at `/api/v2/logs` and `/v1/input` of this server. 202 once
    they are durable. `GET /api/v1/validate` tells whether a key is valid."""


def _describe(app: FastAPI, _: Parts) -> None:
    logs = {"oneOf": [{"type": "array", "items": _LOG}, _LOG]}
    taken = body_of({"application/json": logs, "text/plain": {"type": "string", "description": "A log a line."}})
    describe_post(app, LOGS_PATH, push_datadog, 202, _ANSWERS, **taken)


DATADOG_LOGS: Final = Way(
    DATADOG,
    {LOGS_PATH: DATADOG, INPUT_PATH: DATADOG},
    ("/api/v2/", _KEYED),
    _describe,
    form_of=asked,
    owns=owns,
    own=_own,
)
