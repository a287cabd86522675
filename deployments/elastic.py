"""Elasticsearch's protocol over HTTP, below one prefix: its headers on every answer, whatever that is.

May live here: translation between HTTP and `ess_ray.intake.formats.elastic_handshake`, and what stores is handed on.
May not: what the protocol answers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import Request, Response
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.lasting import Endable
from deployments.problem import error_response, unexpected_response
from ess_ray.core.errors import EssError
from ess_ray.intake.formats.elastic_bulk import refused
from ess_ray.intake.formats.elastic_handshake import VERSION, Asked, answer_of, format_of, is_health
from ess_ray.problem import Write

ELASTIC_PREFIX: Final = "/elasticsearch"
BULK_PATH: Final = f"{ELASTIC_PREFIX}/_bulk"
FORM: Final = "ess.form"
"""Where a request's scope holds what reads its body."""
PRODUCT: Final = ("X-Elastic-Product", "Elasticsearch")
"""Clients from 7.14 on go away where an answer does not say so."""
_COMPATIBLE: Final = re.compile(r"application/vnd\.elasticsearch\+json\s*;\s*compatible-with\s*=\s*\"?(\d{1,2})")

LetIn = Callable[[Request], Awaitable[str]]
"""Lets a request in, and gives its tenant; raises as `access.Tenant` does."""
CheckHealth = Callable[[], Awaitable[Any]]
"""Raises Unavailable while events cannot be taken."""


def is_elastic(path: str) -> bool:
    """Tell whether a path is this protocol's."""
    return path == ELASTIC_PREFIX or path.startswith(ELASTIC_PREFIX + "/")


class ElasticApp:
    """An ASGI application for all below ELASTIC_PREFIX. `push` stores what the scope's FORM reads."""

    def __init__(self, push: ASGIApp, let_in: LetIn, health: CheckHealth, version: str = VERSION) -> None:
        self._let_in, self._health, self._version = let_in, health, version
        self._push, self._handshake = Endable(push, _in_words), Endable(self._answer, _in_words)

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
            await self._health()
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
