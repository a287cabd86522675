"""What a way in over HTTP is to the push application: paths, formats, words; and the table in which it is looked up.

A protocol is its files in `ess_ray.intake.formats`, one file here, and a line in `table`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, cast

from fastapi import FastAPI, Request, Response
from starlette._utils import get_route_path
from starlette.types import ASGIApp

from deployments.bodies import Pace
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.format import Format, Pieces
from ess_ray.intake.gate import Gate
from ess_ray.problem import Answer, Refusal, Write

FORM: Final = "ess.form"
"""Where a request's scope holds what reads its body, where its path alone does not tell."""

TAKE: Final = "ess.take"
"""Where a request's scope holds what stores its body in a way of its own, and answers: a Take."""
Take = Callable[[Request], Awaitable[Response]]
"""Raises as `PushApi.push` does."""

LetIn = Callable[[Request], Awaitable[str]]
"""Lets a request in, and gives its tenant; raises as `access.Tenant` does, and Unavailable at the deadline."""


@dataclass(frozen=True)
class Parts:
    """What a way's own answers are made of."""

    push: ASGIApp
    """Stores what the scope's FORM reads, or as its TAKE does, and answers in the way's words."""
    let_in: LetIn
    problems: Callable[[], Awaitable[list[str]]]
    """Why events cannot be taken just now; nothing while they can."""
    check_health: Callable[[], Awaitable[None]]
    """Raises Unavailable while events cannot be taken."""
    gate: Gate
    """Bounds the bodies under way."""
    pace: Pace
    store: Callable[[str, Pieces, str], Awaitable[int]]
    """Makes a piece of a tenant's request durable, by a route; gives the number of its events. Raises Unavailable: of
    this piece perhaps nothing is stored."""
    count_bytes: Callable[[int], None]
    """Counts bytes of a body that `store` is given pieces of."""


class Words(Protocol):
    """Puts refusals into the words of a protocol: a Format, or what stands for one below a prefix."""

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """See `Format.refused`."""


def _as_it_is(form: Words, _: Request) -> Words:
    return form


def _describe_nothing(_: FastAPI, __: Parts) -> None:
    pass


@dataclass(frozen=True)
class Way:
    """One protocol over HTTP."""

    words: Words
    """In whose words every answer below `prefixes` is, also where there is nothing."""
    routes: Mapping[str, Format] = field(default_factory=dict)
    """What is taken where, by POST."""
    prefixes: tuple[str, ...] = ()
    """Clients know them without `/push` (`runtime.environment.PROTOCOLS`). A way without any leaves what is no route of
    its own to FastAPI, which answers with problem documents."""
    describe: Callable[[FastAPI, Parts], None] = _describe_nothing
    """Describes the routes in OpenAPI, and adds what is asked by GET besides and needs no words of its own."""
    form_of: Callable[[Words, Request], Words] = _as_it_is
    """Gives the format of one request, by what stands in its address and headers: a Format for one of `routes`."""
    encoding_of: Callable[[Content, str | None, str | None], str | None] | None = None
    """Gives the Content-Encoding of a body, by the body, its type and what its header names; without this the last."""
    options: bool = False
    """Whether the routes answer OPTIONS with 200."""
    owns: Callable[[str], bool] | None = None
    """Tells the paths that `own` answers, whatever the method; POST to a route is never among them."""
    own: Callable[[Parts], ASGIApp] | None = None
    """Makes the application of those paths: handshakes, probes, routes that are not known beforehand."""


class Ways:
    """All ways in, by path."""

    def __init__(self, ways: Iterable[Way]) -> None:
        self.all = tuple(ways)
        self.routes: Mapping[str, tuple[Way, Format]] = {
            path: (way, form) for way in self.all for path, form in way.routes.items()
        }
        self._prefixes = {prefix: way for way in self.all for prefix in way.prefixes}
        self._beginnings = tuple(self._prefixes)

    def way_of(self, path: str) -> Way | None:
        """Give the way in whose words all is answered at a path; None where that is not settled by the path."""
        known = self.routes.get(path)
        if known is not None:
            return known[0] if known[0].prefixes else None
        if not path.startswith(self._beginnings):
            return None
        return next(way for prefix, way in self._prefixes.items() if path.startswith(prefix))

    def form_of(self, request: Request) -> Format:
        """Give the format of a request that is to be stored."""
        way, form = self._at(request)
        return request.scope.get(FORM) or cast(Format, way.form_of(form, request))

    def write_of(self, request: Request) -> Write:
        """Give what puts refusals into the words that a path's clients understand."""
        way, form = self._at(request)
        return partial(way.form_of(form, request).refused, content_type=request.headers.get("content-type"))

    def encoding_of(self, request: Request, body: Content) -> str | None:
        """Give a body's Content-Encoding."""
        named, tell = request.headers.get("content-encoding"), self._at(request)[0].encoding_of
        return named if tell is None else tell(body, request.headers.get("content-type"), named)

    def _at(self, request: Request) -> tuple[Way, Words]:
        path = get_route_path(request.scope)
        known = self.routes.get(path)
        if known is not None:
            return known
        way = self.way_of(path)
        assert way is not None  # others are not asked about
        return way, way.words


Described = dict[int | str, dict[str, Any]]
"""Answers by their status, for OpenAPI."""


def describe_post(
    app: FastAPI, path: str, function: Callable[[], Awaitable[None]], status: int, answers: Described, **extra: Any
) -> None:
    """Describe a route that `PushApp` answers before FastAPI sees it; other methods get 405 by it."""
    app.post(path, status_code=status, response_class=Response, responses=answers, openapi_extra=extra)(function)
