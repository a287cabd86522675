"""Who may do what: the key of a request, and the tenant that it is bound to, asked for again while the request lasts.

Keys are required as soon as the book holds one. May live here: scopes of endpoints, the cache of the book, whom it no
longer lets in. May not: where a request has its key (`envelopes`), what a key is (`ess_ray.keys`), or how a request is
ended (`lasting`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fastapi import Request

from deployments.envelopes import key_in, key_of
from deployments.lasting import Lasting, lasting
from ess_ray.core.errors import EssError, Forbidden, Unauthenticated, Unavailable
from ess_ray.core.event import DEFAULT_TENANT
from ess_ray.keys import ApiKey, KeyBook, Scope, id_of, recognise

_log = logging.getLogger(__name__)

READS_KEYS: Final = "read the keys"
ASKS_AGAIN: Final = "ask again for keys"
"""Names of tasks, for who looks at an event loop."""
REFRESH_S: Final = 2.0
"""How old the book may be: as long as a revoked key goes on, and a new one waits."""
AHEAD_S: Final = 1.0
"""The age from which the book is read again beside the requests, so that under load none of them waits for it."""
ASK_AGAIN_S: Final = 1.0
"""Pause between two looks whether requests that last would still be let in: half of REFRESH_S, since a reading that
began just before a key was revoked does not tell of it, and reading takes time too."""
REREAD_S: Final = 0.1
"""How old the book may be for a key that is not in it: a reading takes a millisecond, and anybody can ask for one."""
READING_S: Final = 1.0
"""How long a reading is waited for when there is an older one: a store that hangs must not hold every request up."""
FIRST_READING_S: Final = 8.0
"""How long it is waited for when there is none that counts: less than a push has in all."""
MAX_AGE_S: Final = 60.0
"""How long the last reading counts when the book cannot be read: then everybody is refused, rather than let in."""

Tenant = Callable[[Request], Awaitable[str]]
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
        self._book, self._clock_s, self._sleep, self._in_addresses = book, clock_s, sleep, in_addresses
        self._keys: dict[str, ApiKey] = {}
        self._damaged: tuple[str, ...] = ()
        self._read_s: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reading_s = 0.0
        self._lasting: dict[Lasting, _LetIn] = {}
        self._watch: asyncio.Task[None] | None = None

    def tenant_for(self, scope: Scope) -> Tenant:
        """Give the door of endpoints that need `scope`."""

        async def tenant(request: Request) -> str:
            text = await self._shown(request)
            found = self._tenant_of(text, scope)
            under_way = lasting(request)
            if under_way is not None:
                self._ask_again(under_way, _LetIn(text, scope, found, self._clock_s()))
            return found

        return tenant

    async def holder(self, request: Request) -> ApiKey | None:
        """Give the key of a request, whatever its scopes; None while no key is needed. Raises Unauthenticated,
        Unavailable."""
        return self._key_of(await self._shown(request))

    def tenant_by_authorization(self, scope: Scope) -> Callable[[str], Awaitable[str]]:
        """Give the door of what is no HTTP but has its `Authorization`, as gRPC's metadata do: whoever calls it asks
        again for what lasts. It raises as `Tenant` does."""

        async def tenant(authorization: str) -> str:
            return self._tenant_of(await self._looked_for(key_in(authorization)), scope)

        return tenant

    async def _shown(self, request: Request) -> str:
        """Give the text of the key that a request shows, and have it looked for where it is not known yet."""
        return await self._looked_for(key_of(request, self._in_addresses))

    async def _looked_for(self, text: str) -> str:
        await self._refresh(REFRESH_S)
        key_id = id_of(text)
        if key_id is not None and key_id not in self._keys:
            await self._refresh(REREAD_S)  # a key made a moment ago must not pass for no key
        return text

    def _tenant_of(self, text: str, scope: Scope) -> str:
        """Decide by the last reading. Raises Unauthenticated, Forbidden, Unavailable."""
        key = self._key_of(text)
        if key is None:
            return DEFAULT_TENANT
        if not key.allows(scope):
            raise Forbidden(f"the key {key.id} is for {', '.join(key.scopes)}, this needs {scope}", scope=scope)
        return key.tenant

    def _key_of(self, text: str) -> ApiKey | None:
        """Find a key by the last reading; None while everybody is let in. Raises Unauthenticated, Unavailable."""
        if self._read_s is None or self._clock_s() - self._read_s >= MAX_AGE_S:
            raise Unavailable("the keys cannot be read just now: try again in a few seconds")
        if not (self._keys or self._damaged):
            return None
        key = recognise(text, self._keys)
        if key is None and text:
            raise Unauthenticated("the key sent is none of this system's, or was revoked (see `ess keys list`)")
        if key is None:
            raise Unauthenticated("this system wants a key: send `Authorization: Bearer KEY` (see `ess keys create`)")
        return key

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
                    await self._refresh(ASK_AGAIN_S / 2)
                    self._end_the_refused()
        finally:
            self._watch = None

    def _end_the_refused(self) -> None:
        for under_way, let_in in list(self._lasting.items()):
            try:
                if self._tenant_of(let_in.text, let_in.scope) != let_in.tenant:
                    raise Unauthenticated("this key is another tenant's by now: send the request again")
            except EssError as refusal:
                under_way.end(refusal)

    # ----------------------------------------------------------------------------------------------------- the book
    async def _refresh(self, max_age_s: float) -> None:
        """Have the book read again when its reading is older, and wait for that; the last one counts where it fails."""
        age_s = None if self._read_s is None else self._clock_s() - self._read_s
        if age_s is not None and age_s < min(max_age_s, AHEAD_S):
            return
        if self._reading is None:
            self._reading_s = self._clock_s()
            self._reading = asyncio.create_task(self._read(), name=READS_KEYS)
        patience_s = FIRST_READING_S if age_s is None or age_s >= MAX_AGE_S else READING_S
        if age_s is None or age_s >= max_age_s:
            left_s = max(0.0, self._reading_s + patience_s - self._clock_s())
            await asyncio.wait([self._reading], timeout=left_s)

    async def _read(self) -> None:
        started_s = self._clock_s()
        try:
            book = await asyncio.to_thread(self._book.look)
            if book.damaged != self._damaged:
                _log.error("keys that cannot be read: %s", "; ".join(book.damaged) or "none any more")
            self._keys, self._damaged = {key.id: key for key in book.keys}, book.damaged
            self._read_s = started_s
        except Exception:  # noqa: BLE001 (whatever a store raises: the last reading counts for a while)
            _log.exception("the keys cannot be read")
        finally:
            self._reading = None
