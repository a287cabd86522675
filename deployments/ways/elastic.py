"""Elasticsearch's protocol over HTTP, below one prefix: its headers on every answer, whatever that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from deployments.lasting import Endable
from deployments.problem import error_response, unexpected_response
from deployments.ways.describing import body_of, json_answer_of
from deployments.ways.way import FORM, Described, Parts, Way, describe_post
from ess_ray.core.errors import EssError
from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK, refused
from ess_ray.intake.formats.elastic_handshake import VERSION, Asked, answer_of, format_of, is_health
from ess_ray.problem import Write

ELASTIC_PREFIX: Final = "/elasticsearch"
BULK_PATH: Final = f"{ELASTIC_PREFIX}/_bulk"
PRODUCT: Final = ("X-Elastic-Product", "Elasticsearch")
"""Clients from 7.14 on go away where an answer does not say so."""
_COMPATIBLE: Final = re.compile(r"application/vnd\.elasticsearch\+json\s*;\s*compatible-with\s*=\s*\"?(\d{1,2})")


def is_elastic(path: str) -> bool:
    """Tell whether a path is this protocol's."""
    return path == ELASTIC_PREFIX or path.startswith(ELASTIC_PREFIX + "/")


class ElasticApp:
    """An ASGI application for all below ELASTIC_PREFIX; `version` is the one that clients are told."""

    def __init__(self, parts: Parts, version: str = VERSION) -> None:
        self._let_in, self._check_health, self._version = parts.let_in, parts.check_health, version
        self._push, self._handshake = Endable(parts.push, _in_words), Endable(self._answer, _in_words)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headed = _Headed(Request(scope), send)
        form = format_of(scope["method"], _below(scope))
        if form is not None:
            await self._push({**scope, FORM: form}, receive, headed)
        else:
            await self._handshake(scope, receive, headed)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            await self._let_in(request)
            response = await self._told(request)
        except EssError as error:
            response = error_response(request, error, later=True, write=refused)
        except Exception as error:  # noqa: BLE001 (logged, and answered: not proven to be the request's fault)
            response = unexpected_response(request, error, 503, refused)
        await response(scope, receive, send)

    async def _told(self, request: Request) -> Response:
        path = _below(request.scope)
        if is_health(request.method, path):
            await self._check_health()
        answer = answer_of(Asked(request.method, path, _address_of(request), self._version))
        return Response(answer.content, answer.status, media_type=answer.media_type)


class _Headed:
    """Sends an answer with the protocol's headers; of one to HEAD nothing else."""

    def __init__(self, request: Request, send: Send) -> None:
        self._send, self._is_head = send, request.method == "HEAD"
        found = _COMPATIBLE.search(request.headers.get("accept", ""))
        self._media_type = f"application/vnd.elasticsearch+json; compatible-with={found[1]}" if found else None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers[PRODUCT[0]] = PRODUCT[1]
            if self._media_type is not None:
                headers["Content-Type"] = self._media_type
            message = {**message, "headers": headers.raw}
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _below(scope: Mapping[str, Any]) -> str:
    return get_route_path(scope).removeprefix(ELASTIC_PREFIX)  # type: ignore[arg-type]


def _address_of(request: Request) -> str:
    """Give `host:port` as the client has it: clients that look for nodes go on there."""
    host = request.headers.get("host") or request.url.netloc
    has_port = re.search(r":\d+$", host) is not None
    return host if has_port else f"{host}:{443 if request.url.scheme == 'https' else 80}"


def _in_words(_: Request) -> Write:
    return refused


_ELASTIC_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Elasticsearch's error",
    "required": ["error", "status"],
    "properties": {"error": {"type": "object"}, "status": {"type": "integer"}},
}
_ITEMS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["took", "errors", "items"],
    "properties": {
        "took": {"type": "integer", "description": "Milliseconds"},
        "errors": {"type": "boolean"},
        "items": {"type": "array", "items": {"type": "object"}},
    },
}
ELASTIC_ANSWERS: Final[Described] = {
    200: json_answer_of("Durable; an item for each action, in their order: 201, or 400 with `error`", _ITEMS),
    400: json_answer_of("An action is malformed, or the last one has no document: nothing is stored", _ELASTIC_ERROR),
    401: json_answer_of("A key is needed: send `Authorization: ApiKey KEY`", _ELASTIC_ERROR),
    403: json_answer_of("The key is good, but not for this", _ELASTIC_ERROR),
    405: json_answer_of("POST and PUT are taken", _ELASTIC_ERROR),
    413: json_answer_of("More than 64 MiB decompressed (`push.max_batch_bytes`), or too many actions", _ELASTIC_ERROR),
    415: json_answer_of("A content type or encoding that is not spoken here", _ELASTIC_ERROR),
    503: json_answer_of("Nothing was acknowledged: send it again after Retry-After", _ELASTIC_ERROR),
}
_LINES: Final = {"type": "string", "description": "A line that is an action, and one that is its document, and so on."}


async def push_elastic() -> None:
    """Take documents from clients of Elasticsearch and OpenSearch, also at `/elasticsearch/_bulk` of this server. 200
    once they are durable, with an item for each action. `/INDEX/_bulk`, `/INDEX/_doc` and what clients ask besides are
    below the same prefix."""


def _describe(app: FastAPI, _: Parts) -> None:
    taken = body_of({"application/x-ndjson": _LINES, "text/plain": _LINES})
    describe_post(app, BULK_PATH, push_elastic, 200, ELASTIC_ANSWERS, **taken)


def elastic(version: str = VERSION) -> Way:
    """Give the way in of a server that says it has this version."""
    own = partial(ElasticApp, version=version)
    return Way(ELASTIC_BULK, {}, (ELASTIC_PREFIX,), _describe, owns=is_elastic, own=own)
