"""Who may do what: the key of a request, and the tenant that it is bound to.

Keys are required as soon as the book holds one. May live here: reading the header, scopes of endpoints, the cache of
the book. May not: what a key is (`ess_ray.keys`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from ess_ray.core.errors import EssError, Forbidden, Unauthenticated, Unavailable
from ess_ray.core.event import DEFAULT_TENANT
from ess_ray.keys import ApiKey, KeyBook, Scope, id_of, recognise

_log = logging.getLogger(__name__)

REFRESH_S: Final = 2.0
"""How old the book may be: as long as a revoked key goes on, and a new one waits."""
REREAD_S: Final = 0.1
"""How old the book may be for a key that is not in it: a reading takes a millisecond, and anybody can ask for one."""
MAX_AGE_S: Final = 60.0
"""How long the last reading counts when the book cannot be read: then everybody is refused, rather than let in."""

Tenant = Callable[[Request], Awaitable[str]]
"""The tenant of a request; raises Unauthenticated, Forbidden, Unavailable."""


class Access:
    """The door of one replica, on one event loop."""

    def __init__(self, book: KeyBook, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._book, self._clock_s = book, clock_s
        self._keys: dict[str, ApiKey] = {}
        self._damaged: tuple[str, ...] = ()
        self._read_s: float | None = None
        self._reading: asyncio.Task[None] | None = None

    def tenant_for(self, scope: Scope) -> Tenant:
        """Give the door of endpoints that need `scope`."""

        async def tenant(request: Request) -> str:
            kind, _, text = request.headers.get("authorization", "").partition(" ")
            text = text.strip() if kind.lower() == "bearer" else ""
            await self._refresh(REFRESH_S)
            key_id = id_of(text)
            if key_id is not None and key_id not in self._keys:
                await self._refresh(REREAD_S)  # a key made a moment ago must not pass for no key
            if not (self._keys or self._damaged):
                return DEFAULT_TENANT
            key = recognise(text, self._keys)
            if key is None:
                raise Unauthenticated(
                    "this system wants a key: send `Authorization: Bearer KEY` (see `ess keys create`)"
                )
            if not key.allows(scope):
                raise Forbidden(f"the key {key.id} is for {', '.join(key.scopes)}, this needs {scope}", scope=scope)
            return key.tenant

        return tenant

    async def _refresh(self, max_age_s: float) -> None:
        """Have the book read again when its reading is older; only who cannot do with the last one waits for that."""
        age_s = None if self._read_s is None else self._clock_s() - self._read_s
        if age_s is not None and age_s < max_age_s:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="read the keys")
        if age_s is None or age_s >= MAX_AGE_S or max_age_s < REFRESH_S:
            await asyncio.shield(self._reading)
            if self._read_s is None or self._clock_s() - self._read_s >= MAX_AGE_S:
                raise Unavailable("the keys cannot be read just now: try again in a few seconds")

    async def _read(self) -> None:
        started_s = self._clock_s()
        try:
            book = await asyncio.to_thread(self._book.look)
            if book.damaged != self._damaged:
                _log.error("keys that cannot be read: %s", "; ".join(book.damaged) or "none any more")
            self._keys, self._damaged = {key.id: key for key in book.keys}, book.damaged
            self._read_s = started_s
        except (EssError, OSError):
            _log.exception("the keys cannot be read")
        finally:
            self._reading = None
