"""Who may do what: the key of a request, and the tenant that it is bound to, asked for again while the request lasts.

Keys are required as soon as the book holds one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from starlette.requests import HTTPConnection

from deployments.envelopes import key_of
from deployments.lasting import Lasting, lasting
from ess_ray.core.errors import EssError, Unauthenticated
from ess_ray.intake.door import Door
from ess_ray.keys import ApiKey, KeyBook, Scope

_log = logging.getLogger(__name__)

ASKS_AGAIN: Final = "ask again for keys"
"""The name of a task, for who looks at an event loop."""
ASK_AGAIN_S: Final = 1.0
"""Pause between two looks whether requests that last would still be let in: half of REFRESH_S, since a reading that
began just before a key was revoked does not tell of it, and reading takes time too."""

Tenant = Callable[[HTTPConnection], Awaitable[str]]
"""The tenant of a request; raises Unauthenticated, Forbidden, Unavailable."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class _LetIn:
    """What a request was let in with, and when."""

    text: str = field(repr=False)  # a secret
    scope: Scope
    tenant: str
    at_s: float


class Access:
    """The door of one replica, on one event loop.

    Requests that last are looked at again every ASK_AGAIN_S, and ended when they would not be let in any more: with the
    error that they would be refused with. So a revoked key, a scope that was taken away, and the first key of a system
    that stood open, end whatever was begun before, within REFRESH_S.
    """

    def __init__(
        self,
        book: KeyBook,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        *,
        in_addresses: bool = False,
    ) -> None:
        self._door = Door(book, clock_s)
        self._clock_s, self._sleep, self._in_addresses = clock_s, sleep, in_addresses
        self._lasting: dict[Lasting, _LetIn] = {}
        self._watch: asyncio.Task[None] | None = None

    def tenant_for(self, scope: Scope) -> Tenant:
        """Give the door of endpoints that need `scope`."""

        async def tenant(request: HTTPConnection) -> str:
            text = await self._shown(request)
            found = self._door.tenant_of(text, scope)
            under_way = lasting(request)
            if under_way is not None:
                under_way.tenant = found
                self._ask_again(under_way, _LetIn(text, scope, found, self._clock_s()))
            return found

        return tenant

    async def holder(self, request: HTTPConnection) -> ApiKey | None:
        """Give the key of a request, whatever its scopes; None while no key is needed. Raises Unauthenticated,
        Unavailable."""
        return self._door.key_of(await self._shown(request))

    def tenant_by_authorization(self, scope: Scope) -> Callable[[str], Awaitable[str]]:
        """See `Door`."""
        return self._door.tenant_by_authorization(scope)

    async def readable(self) -> None:
        """See `Door`."""
        await self._door.readable()

    async def warnings(self) -> list[str]:
        """See `Door`."""
        return await self._door.warnings()

    async def _shown(self, request: HTTPConnection) -> str:
        """Give the text of the key that a request shows, and have it looked for where it is not known yet."""
        return await self._door.looked_for(key_of(request, self._in_addresses))

    # ------------------------------------------------------------------------------------------- requests that last
    def _ask_again(self, under_way: Lasting, let_in: _LetIn) -> None:
        """Look at a request again until it is over."""
        self._lasting[under_way] = let_in
        under_way.at_end = partial(self._lasting.pop, under_way, None)
        if self._watch is None:
            self._watch = asyncio.create_task(self._look(), name=ASKS_AGAIN)

    async def _look(self) -> None:
        """Look as long as there is something to look at; most requests are over before."""
        try:
            while self._lasting:
                await self._sleep(ASK_AGAIN_S)
                begun_by_s = self._clock_s() - ASK_AGAIN_S / 2
                if any(let_in.at_s <= begun_by_s for let_in in self._lasting.values()):
                    await self._door.refresh(ASK_AGAIN_S / 2)
                    self._end_the_refused()
        finally:
            self._watch = None

    def _end_the_refused(self) -> None:
        for under_way, let_in in list(self._lasting.items()):
            try:
                if self._door.tenant_of(let_in.text, let_in.scope) != let_in.tenant:
                    raise Unauthenticated("this key is another tenant's by now: send the request again")
            except EssError as refusal:
                under_way.end(refusal)
