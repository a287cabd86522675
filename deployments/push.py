"""The push application: events in over HTTP, acknowledged once the log has them.

A table of routes over the formats of `ess_ray.intake.formats`: which path takes which. May live here: translation
between HTTP and `ess_ray.intake`. May not: Ray (see `app`), what makes an event valid, how one protocol words answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from deployments import hec
from deployments.access import Tenant
from deployments.answers import json_answer
from deployments.bodies import Pace, read_body
from deployments.docs import route_docs
from deployments.elastic import BULK_PATH, ELASTIC_PREFIX, FORM, ElasticApp, is_elastic
from deployments.lasting import Endable
from deployments.problem import REFUSALS, error_response, install_problem_handlers, respond, unexpected_response
from deployments.push_openapi import (
    ANSWERS,
    ELASTIC_ANSWERS,
    HEC_ANSWERS,
    LOKI_ANSWERS,
    OTLP_ANSWERS,
    READY,
    WHOAMI,
    elastic_openapi,
    hec_openapi,
    loki_openapi,
    otlp_openapi,
    push_openapi,
)
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK
from ess_ray.intake.formats.elastic_handshake import VERSION
from ess_ray.intake.formats.format import Body, Format, Stored, body_hash
from ess_ray.intake.formats.hec import COLLECTOR
from ess_ray.intake.formats.json_events import JSON_EVENTS
from ess_ray.intake.formats.loki import LOKI_PUSH, encoding_of
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.gate import Claim
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.keys import KeyGuard, KnownRequestOf
from ess_ray.intake.large import LargeRequests, hash_of, implied_key, is_several_records
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.turns import TurnDecoder
from ess_ray.metrics import (
    PUSH_ACCEPTED,
    PUSH_ADJUSTED,
    PUSH_BYTES,
    PUSH_OTHER_TENANT,
    PUSH_REJECTED,
    PUSH_REQUESTS,
    PUSH_SECONDS,
    Tally,
    reason_class,
)
from ess_ray.problem import Refusal, Write
from ess_ray.record import KnownRequest

EVENTS_PATH: Final = "/v1/events"
OTLP_PATH: Final = "/otlp/v1/logs"
LOKI_PATH: Final = "/loki/api/v1/push"
LOKI_FIRST_PATH: Final = "/api/prom/push"
"""Where Loki's agents push, and where its first ones did."""
ROUTES: Final[Mapping[str, Format]] = {
    EVENTS_PATH: JSON_EVENTS,
    OTLP_PATH: OTLP_LOGS,
    LOKI_PATH: LOKI_PUSH,
    LOKI_FIRST_PATH: LOKI_PUSH,
    **hec.ROUTES,
}
"""What is taken where, by POST."""
PREFIXES: Final[Mapping[str, Format]] = {
    "/otlp/": OTLP_LOGS,
    ELASTIC_PREFIX: ELASTIC_BULK,
    "/loki/": LOKI_PUSH,
    "/api/prom/": LOKI_PUSH,
    "/services/": COLLECTOR,
}
"""Below these every answer is in one protocol's words, also where there is nothing. Clients know them without `/push`
(`runtime.environment.PROTOCOLS`)."""
ENCODINGS: Final[Mapping[str, Callable[[Content, str | None], str | None]]] = {
    LOKI_PATH: encoding_of,
    LOKI_FIRST_PATH: encoding_of,
}
"""Which Content-Encoding a body has that names none, by the body and its type."""
WHOAMI_PATH: Final = "/v1/whoami"
ROUTE_HEADER: Final = "ess-route"
"""Requests with the same route keep the order in which they were acknowledged, among events of equal time."""
DEADLINE_S: Final = 10.0
"""How long a push waits for others in all: keys, owner, its turn and the log, each of which has a limit of its own.
Enough for an election of Kafka's, and well below the 15 s and more that clients wait: they hear that they may repeat.
"""

Health = Callable[[], Awaitable[list[str]]]


def _now_us() -> int:
    return time.time_ns() // 1000


class _Patience:
    """What one push may wait for others. Its own body does not count: that has a pace of its own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left_s = seconds

    @asynccontextmanager
    async def spent(self) -> AsyncIterator[None]:
        """Run a part of the request in the time that is left. Raises Unavailable at its end."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        try:
            async with asyncio.timeout(self._left_s) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(
                f"the event log has not taken this within {self._seconds:g} s: nothing was acknowledged, send it again "
                "in a few seconds"
            ) from error
        self._left_s -= loop.time() - begun_s


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
        self._tally = tally if tally is not None else Tally()
        self._gatherer, self._tenant, self._health = gatherer, tenant, health
        self._keys = KeyGuard(known_request, clock_us)
        self._limits = limits or IntakeLimits()
        self._decoder = TurnDecoder(self._limits, clock_us)
        self._deadline_s, self._pace = deadline_s, pace
        self._large = LargeRequests(gatherer, self._keys, self._decoder, self._count_rejected)
        self.collector = hec.Probes(tenant, health, gatherer.gate, pace)

    async def push(self, request: Request, form: Format) -> Response:
        """Take events of a format, and answer once they are durable; else none is acknowledged."""
        patience, begun_s = _Patience(self._deadline_s), time.monotonic()
        key, route_name = request.headers.get("idempotency-key"), request.headers.get(ROUTE_HEADER)
        async with patience.spent():
            tenant = await self._tenant(request)
            vnode = None if key is None else await self._gatherer.vnode_of_key(tenant, key, route_name)
        if request.headers.get("x-scope-orgid", tenant) != tenant:
            self._tally.count(PUSH_OTHER_TENANT)
        to, claim = Destination(tenant, key, route_name, vnode), self._gatherer.gate.claim(tenant)
        try:
            body = Body(
                await self._read(request, claim),
                request.headers.get("content-type"),
                self._limits.table_of(tenant),
                self._limits.parse.get(tenant),
            )
            self._tally.count(PUSH_BYTES, len(body.data))
            if form.may_be_several(body):
                stored = await self._large.store(to, form, body, patience.spent)
            else:
                decoded = await self._decoder.decode(form, body)
                digest = _digest_of(body, decoded, key)
                del body  # what waits for the log is the batch alone
                async with patience.spent():
                    stored = await self._store(to, decoded, digest, claim)
        finally:
            claim.close()
        stored.took_ms = round((time.monotonic() - begun_s) * 1_000)
        answer = form.accepted(stored, request.headers.get("content-type"))
        self._tally.count(PUSH_ACCEPTED, stored.accepted)
        self._tally.count(PUSH_ADJUSTED, stored.adjusted_total)
        return Response(answer.content, answer.status, media_type=answer.media_type)

    async def _store(self, to: Destination, decoded: Decoded, digest: str | None, claim: Claim) -> Stored:
        """Store a request of one piece, which nearly all are."""
        batch, known = decoded.batch, None
        if digest is None:
            await self._gatherer.submit(to.tenant, batch, claim=claim, route_name=to.route_name)
        elif to.key is not None and to.vnode is not None:
            known = await self._submit_keyed(to, to.vnode, to.key, decoded, digest, claim)
        else:
            key, route_name = implied_key(digest), to.route_name
            await self._gatherer.submit(to.tenant, batch, key, digest, claim, route_name=route_name, implied=True)
        self._count_rejected(decoded.rejected)
        stored = Stored(repeats=None if to.key is None else 0)
        stored.add(decoded, known is not None and known.whole)
        return stored

    def told(self, status: int, seconds: float, error: EssError | None = None) -> None:
        """Count a request that was answered, and the events that its refusal names."""
        self._tally.count(PUSH_REQUESTS, 1, str(status))
        self._tally.observe(PUSH_SECONDS, seconds)
        if error is not None:
            self._count_rejected((each["index"], each["reason"]) for each in error.details.get("rejected", ()))

    def _count_rejected(self, rejected: Iterable[Named]) -> None:
        for _, reason in rejected:
            self._tally.count(PUSH_REJECTED, 1, reason_class(reason))

    async def _submit_keyed(
        self, to: Destination, vnode: int, key: str, decoded: Decoded, digest: str, claim: Claim
    ) -> KnownRequest | None:
        try:
            known = await self._keys.check(vnode, to.tenant, key, digest)
            await self._gatherer.submit(to.tenant, decoded.batch, key, digest, claim, route_name=to.route_name)
        except (EssError, asyncio.CancelledError):  # cancelled: at the deadline
            self._keys.forget(to.tenant, key, digest)
            raise
        self._keys.done(to.tenant, key, digest)
        return known

    async def _read(self, request: Request, claim: Claim) -> Content:
        """Read and decompress the body; the limit holds before and after."""
        read = await read_body(request, self._limits.max_batch_bytes, claim.hold, self._pace, claim.check)
        encoding = request.headers.get("content-encoding")
        if not encoding and (tell := ENCODINGS.get(get_route_path(request.scope))) is not None:
            encoding = tell(read, request.headers.get("content-type"))
        body = await self._decoder.decompress(read, encoding, claim.hold)
        claim.hold(len(body))
        return body

    async def whoami(self, request: Request) -> Response:
        """Tell whose events these would be, and the system's lasting name: the same at every address that it has."""
        async with _Patience(self._deadline_s).spent():
            return json_answer({"tenant": await self._tenant(request), "log_id": await self._gatherer.log_id()})

    async def let_in(self, request: Request) -> str:
        """Give the tenant of a request that stores nothing. Raises as `access.Tenant` does, and at the deadline."""
        async with _Patience(self._deadline_s).spent():
            return await self._tenant(request)

    async def healthz(self) -> Response:
        """200 when events can be taken, else 503 with the reasons."""
        await self._check_health()
        return json_answer({"status": "ok"})

    async def ready(self) -> Response:
        """The same in Loki's words, which its agents ask for before they push."""
        await self._check_health()
        return PlainTextResponse("ready\n")

    async def _check_health(self) -> None:
        problems = await self._health()
        if problems:
            raise Unavailable("; ".join(problems), problems=problems)


def _digest_of(body: Body, decoded: Decoded, key: str | None) -> str | None:
    """Hash a body whose repeat must be known: one with a key, or of several records."""
    if key is not None:
        return body_hash(body.data, decoded.rejected)
    return hash_of(body.data) if is_several_records(decoded) else None


class PushApp(FastAPI):
    """A FastAPI application whose hot endpoints, those of ROUTES, are answered before its middleware and routing, which
    would take a third of a small request's time. Errors are told in the words of each one's format."""

    def __init__(self, api: PushApi, elastic_version: str = VERSION) -> None:
        super().__init__(
            title="ess_ray push",
            version="1",
            docs_url=None,
            redoc_url=None,
            openapi_url="/openapi.json",
            responses=REFUSALS,
        )
        self._api = api
        self._endable_push = Endable(self._push, _in_words_of)
        self._endable_nothing = Endable(_nothing, _in_words_of)
        self._elastic = ElasticApp(self._push, api.let_in, api.healthz, elastic_version)
        self._endable_probe = Endable(api.collector, _in_words_of)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = get_route_path(scope) if scope["type"] == "http" else ""
        if path in ROUTES and scope["method"] == "POST":
            await self._endable_push(scope, receive, send)
        elif is_elastic(path):
            await self._elastic(scope, receive, send)
        elif path in hec.PROBES:
            await self._endable_probe(scope, receive, send)
        elif path.startswith(tuple(PREFIXES)):
            await self._endable_nothing(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _push(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        write = _in_words_of(request)
        started_s = time.monotonic()
        refusal: EssError | None = None
        failure: Exception | None = None
        try:
            form = scope.get(FORM) or hec.asked(ROUTES[get_route_path(scope)], request)
            response = await self._api.push(request, form)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except EssError as error:
            refusal = failure = error
            response = error_response(request, error, later=True, write=write)
        except Exception as error:  # noqa: BLE001 (logged, and answered)
            # Not proven to be the request's fault: agents repeat a 503, and many drop what a 500 answers.
            failure, response = error, unexpected_response(request, error, 503, write)
        self._api.told(response.status_code, time.monotonic() - started_s, refusal)
        if failure is not None:
            _let_go(failure)
        await response(scope, receive, send)


def _in_words_of(request: Request) -> Write:
    """Give what puts refusals into the words that a route's clients understand."""
    path = get_route_path(request.scope)
    form = ROUTES.get(path) or next(form for prefix, form in PREFIXES.items() if path.startswith(prefix))
    return partial(hec.asked(form, request).refused, content_type=request.headers.get("content-type"))


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell that nothing is there, or that it takes POST alone."""
    request = Request(scope, receive, send)
    path = get_route_path(scope)
    response: Response
    if path in ROUTES and hec.is_preflight(ROUTES[path], request.method):
        response = Response(headers={"Allow": "POST, OPTIONS"})
    elif path in ROUTES:
        refusal = Refusal(405, "Method Not Allowed", f"{path} takes POST, not {request.method}")
        response = respond(refusal, _in_words_of(request), {"Allow": "POST"})
    else:
        form = next(form for prefix, form in PREFIXES.items() if path.startswith(prefix))
        taken = ", ".join(route for route, taker in ROUTES.items() if taker is form)
        refusal = Refusal(404, "Not Found", f"there is no {path} here: logs are taken at {taken}")
        response = respond(refusal, _in_words_of(request))
    await response(scope, receive, send)


def _let_go(failure: BaseException) -> None:
    """Let go of the frames that an error went through: its body is in them, and whoever keeps the error keeps both. An
    awaited future does, in a frame of those, so that they would stay until a garbage collection: 100 MB for minutes."""
    error: BaseException | None = failure
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


async def push() -> None:
    """Take events. 202 once they are durable, with the invalid ones named; else none is acknowledged."""


async def push_otlp() -> None:
    """Take logs from OpenTelemetry's exporters and collectors, also at `/otlp/v1/logs` and `/v1/logs` of this server.
    200 once they are durable; `partialSuccess` tells of records that never can be."""


async def push_elastic() -> None:
    """Take documents from clients of Elasticsearch and OpenSearch, also at `/elasticsearch/_bulk` of this server. 200
    once they are durable, with an item for each action. `/INDEX/_bulk`, `/INDEX/_doc` and what clients ask besides are
    below the same prefix."""


async def push_loki() -> None:
    """Take what Loki's agents push, also at `/loki/api/v1/push` and `/api/prom/push` of this server. 204 once all of it
    is durable; 400 with the reasons where some entries never can be stored, once the others are."""


async def push_hec() -> None:
    """Take events from clients of Splunk's collector, at its paths below `/services/collector` of this server, too:
    `event`, `raw` (a line is an event), `ack`, `health`. 200 once they are durable."""


def create_push_app(api: PushApi, elastic_version: str = VERSION) -> FastAPI:
    """Route the endpoints, below the prefix `/push` that Serve takes off."""
    app = PushApp(api, elastic_version)
    install_problem_handlers(app)
    # Never reached (see PushApp): these describe the endpoints in OpenAPI, and answer other methods with 405.
    describe = app.post(
        EVENTS_PATH, status_code=202, response_class=Response, responses=ANSWERS, openapi_extra=push_openapi()
    )
    describe(push)
    app.post(OTLP_PATH, status_code=200, response_class=Response, responses=OTLP_ANSWERS, openapi_extra=otlp_openapi())(
        push_otlp
    )
    app.post(
        BULK_PATH, status_code=200, response_class=Response, responses=ELASTIC_ANSWERS, openapi_extra=elastic_openapi()
    )(push_elastic)
    app.post(LOKI_PATH, status_code=204, response_class=Response, responses=LOKI_ANSWERS, openapi_extra=loki_openapi())(
        push_loki
    )
    app.post(hec.COLLECTOR_PATH, response_class=Response, responses=HEC_ANSWERS, openapi_extra=hec_openapi())(push_hec)
    app.get(WHOAMI_PATH, responses=WHOAMI)(api.whoami)
    app.get("/healthz")(api.healthz)
    app.get("/ready", response_class=PlainTextResponse, responses=READY)(api.ready)
    route_docs(app)
    return app
