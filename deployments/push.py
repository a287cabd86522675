"""The push application: events in over HTTP, acknowledged once the log has them.

The gate, the body and the answer of a push, whatever its protocol: which path takes which is told by `ways`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from deployments.access import Tenant
from deployments.answers import json_answer
from deployments.bodies import Pace, read_body
from deployments.counts import Counts
from deployments.docs import route_docs
from deployments.lasting import Endable
from deployments.problem import (
    REFUSALS,
    error_response,
    install_problem_handlers,
    respond,
    unexpected_response,
)
from deployments.ways.table import ways
from deployments.ways.way import TAKE, Parts, Ways
from deployments.whoami import route_whoami
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.elastic_handshake import VERSION
from ess_ray.intake.formats.format import Body, Format, Pieces, Stored
from ess_ray.intake.gate import Claim, Gate
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.idempotency import KnownRequestOf
from ess_ray.intake.keeping import Keeping
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.patience import DEADLINE_S, Patience
from ess_ray.metrics import Tally
from ess_ray.problem import Refusal

ROUTE_HEADER: Final = "ess-route"
"""Requests with the same route keep the order in which they were acknowledged, among events of equal time."""

Health = Callable[[], Awaitable[list[str]]]
EncodingOf = Callable[[Request, Content], str | None]
"""Gives the Content-Encoding of a request's body."""


def _now_us() -> int:
    return time.time_ns() // 1000


class PushApi:
    """The endpoints over their parts; `create_push_app` routes to them. One per event loop."""

    def __init__(
        self,
        gatherer: Gatherer,
        tenant: Tenant,
        health: Health,
        known_request: KnownRequestOf,
        *,
        limits: IntakeLimits | None = None,
        clock_us: Callable[[], int] = _now_us,
        tally: Tally | None = None,
        deadline_s: float = DEADLINE_S,
        pace: Pace = Pace(),  # noqa: B008
    ) -> None:
        self.counts = Counts(tally if tally is not None else Tally())
        self._gatherer, self._tenant, self.problems = gatherer, tenant, health
        self._limits = limits or IntakeLimits()
        self._deadline_s, self.pace = deadline_s, pace
        self._keeping = Keeping(
            gatherer, known_request, limits=self._limits, clock_us=clock_us, count_rejected=self.counts.rejected
        )

    @property
    def gate(self) -> Gate:
        """Bounds the bodies under way."""
        return self._gatherer.gate

    async def push(self, request: Request, form: Format, encoding_of: EncodingOf) -> Response:
        """Take events of a format, and answer once they are durable; else none is acknowledged."""
        patience, begun_s = Patience(self._deadline_s), time.monotonic()
        key, route_name = request.headers.get("idempotency-key"), request.headers.get(ROUTE_HEADER)
        async with patience.spent():
            tenant = await self._tenant(request)
            vnode = None if key is None else await self._gatherer.vnode_of_key(tenant, key, route_name)
        if request.headers.get("x-scope-orgid", tenant) != tenant:
            self.counts.other_tenant()
        to, claim = Destination(tenant, key, route_name, vnode), self._gatherer.gate.claim(tenant)
        try:
            stored = await self._keeping.keep(
                to, form, await self._body(request, tenant, claim, encoding_of), claim, patience
            )
        finally:
            claim.close()
        stored.took_ms = round((time.monotonic() - begun_s) * 1_000)
        answer = form.accepted(stored, request.headers.get("content-type"))
        self.counts.stored(stored)
        return Response(answer.content, answer.status, media_type=answer.media_type)

    async def store_piece(self, tenant: str, piece: Pieces, route_name: str) -> int:
        """Make a piece of a request that is not over durable; gives the number of its events. Raises Unavailable."""
        stored = Stored()
        decoded = await self._keeping.decoder.decode_piece(piece, 0, self._limits.table_of(tenant))
        async with Patience(self._deadline_s).spent():
            await self._gatherer.submit(tenant, decoded.batch, route_name=route_name)
        self.counts.rejected(decoded.rejected)
        stored.add(decoded, False)
        self.counts.stored(stored)
        return stored.accepted

    async def _body(self, request: Request, tenant: str, claim: Claim, encoding_of: EncodingOf) -> Body:
        """Read and decompress the body; the limit holds before and after."""
        read = await read_body(request, self._limits.max_batch_bytes, claim.hold, self.pace, claim.check)
        data = await self._keeping.decoder.decompress(read, encoding_of(request, read), claim.hold)
        claim.hold(len(data))
        self.counts.body(len(data))
        content_type = request.headers.get("content-type")
        return Body(data, content_type, self._limits.table_of(tenant), self._limits.parse.get(tenant))

    async def whoami(self, request: Request) -> Response:
        """Tell whose events these would be, and the system's lasting name: the same at every address that it has."""
        async with Patience(self._deadline_s).spent():
            return json_answer({"tenant": await self._tenant(request), "log_id": await self._gatherer.log_id()})

    async def let_in(self, request: Request) -> str:
        """Give the tenant of a request that stores nothing. Raises as `access.Tenant` does, and at the deadline."""
        async with Patience(self._deadline_s).spent():
            return await self._tenant(request)

    async def healthz(self) -> Response:
        """200 when events can be taken, else 503 with the reasons."""
        await self.check_health()
        return json_answer({"status": "ok"})

    async def check_health(self) -> None:
        """Raise Unavailable while events cannot be taken."""
        problems = await self.problems()
        if problems:
            raise Unavailable("; ".join(problems), problems=problems)


class PushApp(FastAPI):
    """A FastAPI application whose hot endpoints, the routes of all ways in, are answered before its middleware and
    routing, which would take a third of a small request's time. Errors are told in the words of each one's format."""

    def __init__(self, api: PushApi, known: Ways) -> None:
        super().__init__(
            title="ess_ray push",
            version="1",
            docs_url=None,
            redoc_url=None,
            openapi_url="/openapi.json",
            responses=REFUSALS,
        )
        self._api, self._ways = api, known
        self._endable_push = Endable(self._push, known.write_of)
        self._endable_nothing = Endable(self._nothing, known.write_of)
        parts = Parts(
            self._push,
            api.let_in,
            api.problems,
            api.check_health,
            api.gate,
            api.pace,
            api.store_piece,
            api.counts.body,
        )
        self._own = [(way.owns, way.own(parts)) for way in known.all if way.owns is not None and way.own is not None]
        for way in known.all:
            way.describe(self, parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = get_route_path(scope) if scope["type"] == "http" else ""
        if path in self._ways.routes and scope["method"] == "POST":
            await self._endable_push(scope, receive, send)
        elif (own := next((own for owns, own in self._own if owns(path)), None)) is not None:
            await own(scope, receive, send)
        elif self._ways.way_of(path) is not None:
            await self._endable_nothing(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _push(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        write = self._ways.write_of(request)
        started_s = time.monotonic()
        refused: EssError | None = None
        failure: Exception | None = None
        try:
            if (take := scope.get(TAKE)) is not None:
                response = await take(request)
            else:
                response = await self._api.push(request, self._ways.form_of(request), self._ways.encoding_of)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except EssError as error:
            refused = failure = error
            response = error_response(request, error, later=True, write=write)
        except Exception as error:  # noqa: BLE001 (logged, and answered)
            # Not proven to be the request's fault: agents repeat a 503, and many drop what a 500 answers.
            failure, response = error, unexpected_response(request, error, 503, write)
        self._api.counts.answered(response.status_code, time.monotonic() - started_s, refused)
        if failure is not None:
            _let_go(failure)
        await response(scope, receive, send)

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell that nothing is there, or that it takes POST alone."""
        request = Request(scope, receive, send)
        path, write = get_route_path(scope), self._ways.write_of(request)
        way = self._ways.way_of(path)
        assert way is not None  # see __call__
        response: Response
        if path in way.routes and way.options and request.method == "OPTIONS":
            response = Response(headers={"Allow": "POST, OPTIONS"})
        elif path in way.routes:
            why = Refusal(405, "Method Not Allowed", f"{path} takes POST, not {request.method}")
            response = respond(why, write, {"Allow": "POST"})
        else:
            taken = ", ".join(way.routes)
            why = Refusal(404, "Not Found", f"there is no {path} here: logs are taken at {taken}")
            response = respond(why, write)
        await response(scope, receive, send)


def _let_go(failure: BaseException) -> None:
    """Let go of the frames that an error went through: its body is in them, and whoever keeps the error keeps both. An
    awaited future does, in a frame of those, so that they would stay until a garbage collection: 100 MB for minutes."""
    error: BaseException | None = failure
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def create_push_app(api: PushApi, elastic_version: str = VERSION) -> FastAPI:
    """Route the endpoints, below the prefix `/push` that Serve takes off."""
    app = PushApp(api, ways(elastic_version))
    install_problem_handlers(app)
    route_whoami(app, api.whoami)
    app.get("/healthz")(api.healthz)
    route_docs(app)
    return app
