"""A search application below `/search`, over a real connection, exchangeable while it is served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from tests.http_server import serving


class Exchanged:
    """An ASGI application that is another one at a time."""

    def __init__(self) -> None:
        self.app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@contextmanager
def exchanged() -> Iterator[tuple[str, Exchanged]]:
    """Serve what is put into it below `/search`; gives the address."""
    inside = Exchanged()
    with serving(Starlette(routes=[Mount("/search", inside)])) as url:
        yield url, inside
