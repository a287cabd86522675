"""Errors as `application/problem+json` (RFC 9457), the same in every application."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ess_ray.core.errors import EssError
from ess_ray.problem import MEDIA_TYPE, Refusal, Write, as_problem, refusal_of

_log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1
"""What a client waits before it sends again: a restarted part is back in two or three seconds, a full queue sooner."""
_LATER: Final = {"Retry-After": str(RETRY_AFTER_S)}
_BEARER: Final = {"WWW-Authenticate": "Bearer"}
PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
"""What every problem document holds, as a JSON schema; errors add members of their own."""


def refusal(description: str) -> dict[str, Any]:
    """Describe an answer that is a problem document, for OpenAPI."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}


REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: refusal("The request is wrong: `detail` says what, for a query `position` says where"),
    401: refusal("A key is needed: send `Authorization: Bearer KEY`"),
    403: refusal("The key is good, but not for this"),
    404: refusal("No such thing"),
    410: refusal("It is no longer kept: `detail` says why"),
    413: refusal("Over a limit, which `detail` names"),
    415: refusal("A content type or encoding that is not spoken here"),
    422: refusal("The Idempotency-Key came with another body before"),
    429: refusal("Too fast: nothing was kept, send it again after Retry-After"),
    503: refusal("A part is not there just now: nothing was acknowledged, send it again after Retry-After"),
}
"""What any endpoint may answer instead, for OpenAPI: each application gives it to all of its routes."""


def respond(refusal: Refusal, write: Write = as_problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a refusal, in the words of `write`, and say when to come again or how to show a key."""
    answer = write(refusal)
    usual = {429: _LATER, 503: _LATER, 401: _BEARER}.get(answer.status, {})
    return Response(answer.content, answer.status, {**usual, **(headers or {})}, answer.media_type)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of this application a problem document."""
    app.add_exception_handler(EssError, _ess_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


async def _ess_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EssError)
    return error_response(request, error)


def error_response(request: Request, error: EssError, later: bool = False, write: Write = as_problem) -> Response:
    """Answer with an error of ours; what is our own fault is logged. `later`: and answered with 503, to be repeated."""
    if error.http_status >= 500 and not error.retryable:
        _log.error("%s %s: %s", request.method, request.url.path, error.message, exc_info=error)
    return respond(refusal_of(error, later), write)


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # `ctx` may hold exceptions, `input` the whole body: neither helps, and both may not be JSON.
    errors = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    said = "; ".join(f"{'.'.join(map(str, one['loc'][1:])) or 'body'}: {one['msg']}" for one in errors)
    message = f"the request is not valid: {said}"
    return respond(Refusal(400, "Bad request", message, "urn:ess-ray:bad-request", {"errors": errors}))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    message = f"{request.method} {request.url.path}: {error.detail}"
    return respond(Refusal(error.status_code, title, message), headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again once this answer is sent.
    return unexpected_response(request, error)


def unexpected_response(request: Request, error: Exception, status: int = 500, write: Write = as_problem) -> Response:
    """Answer with what should not have happened, telling nothing of the inside; the log has it."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "something failed that should not; the server's log says what"
    return respond(Refusal(status, "Internal error", message), write)
