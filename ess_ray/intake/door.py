"""Who may do what: the tenant that a key is bound to, by a book of keys that was read a moment ago.

Keys are required as soon as the book holds one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ess_ray.core.errors import EssError, Forbidden, Unauthenticated, Unavailable
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.intake.authorization import key_in
from ess_ray.keys import ApiKey, KeyBook, Scope, id_of, recognise

_log = logging.getLogger(__name__)

READS_KEYS: Final = "read the keys"
"""The name of a task, for who looks at an event loop."""
REFRESH_S: Final = 2.0
"""How old the book may be: as long as a revoked key goes on, and a new one waits."""
AHEAD_S: Final = 1.0
"""The age from which the book is read again beside the requests, so that under load none of them waits for it."""
REREAD_S: Final = 0.1
"""How old the book may be for a key that is not in it: a reading takes a millisecond, and anybody can ask for one."""
READING_S: Final = 1.0
"""How long a reading is waited for when there is an older one: a store that hangs must not hold every request up."""
FIRST_READING_S: Final = 8.0
"""How long it is waited for when there is none: less than a push has in all."""


class Door:
    """The door of one process, on one event loop.

    While the store is away the last reading counts, however old: nobody can revoke a key in it meanwhile. Without any
    reading everybody is refused.
    """

    def __init__(self, book: KeyBook, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._book, self._clock_s = book, clock_s
        self._keys: dict[str, ApiKey] = {}
        self._damaged: tuple[str, ...] = ()
        self._unread: frozenset[str] = frozenset()
        self._away: str | None = None
        self._read_s: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reading_s = 0.0

    def tenant_by_authorization(self, scope: Scope) -> Callable[[str], Awaitable[str]]:
        """Give the door of what is no HTTP but has its `Authorization`, as gRPC's metadata do: whoever calls it asks
        again for what lasts. It raises as `tenant_of` does."""

        async def tenant(authorization: str) -> str:
            return self.tenant_of(await self.looked_for(key_in(authorization)), scope)

        return tenant

    async def looked_for(self, text: str) -> str:
        """Have a key's text looked for where it is not known yet; gives it back."""
        await self.refresh(REFRESH_S)
        key_id = id_of(text)
        if key_id is not None and key_id not in self._keys:
            await self.refresh(REREAD_S)  # a key made a moment ago must not pass for no key
        return text

    def tenant_of(self, text: str, scope: Scope) -> str:
        """Decide by the last reading. Raises Unauthenticated, Forbidden, Unavailable."""
        key = self.key_of(text)
        if key is None:
            return DEFAULT_TENANT
        if not key.allows(scope):
            raise Forbidden(f"the key {key.id} is for {', '.join(key.scopes)}, this needs {scope}", scope=scope)
        return key.tenant

    def key_of(self, text: str) -> ApiKey | None:
        """Find a key by the last reading; None while everybody is let in. Raises Unauthenticated, Unavailable."""
        if self._read_s is None:
            raise Unavailable("the keys cannot be read just now: try again in a few seconds")
        if not (self._keys or self._damaged):
            return None
        key = recognise(text, self._keys)
        if key is None and id_of(text) in self._unread:
            raise Unavailable(f"the key {id_of(text)} cannot be read just now: `ess status` tells why; try again")
        if key is None and text:
            raise Unauthenticated("the key sent is none of this system's, or was revoked (see `ess keys list`)")
        if key is None:
            raise Unauthenticated("this system wants a key: send `Authorization: Bearer KEY` (see `ess keys create`)")
        return key

    async def refresh(self, max_age_s: float) -> None:
        """Have the book read again when its reading is older, and wait for that; the last one counts where it fails."""
        age_s = None if self._read_s is None else self._clock_s() - self._read_s
        if age_s is not None and age_s < min(max_age_s, AHEAD_S):
            return
        if self._reading is None:
            self._reading_s = self._clock_s()
            self._reading = asyncio.create_task(self._read(), name=READS_KEYS)
        patience_s = FIRST_READING_S if age_s is None else READING_S
        if age_s is None or age_s >= max_age_s:
            left_s = max(0.0, self._reading_s + patience_s - self._clock_s())
            await asyncio.wait([self._reading], timeout=left_s)

    async def readable(self) -> None:
        """Return where there is a reading that counts. Raises Unavailable with the reason."""
        await self.refresh(REFRESH_S)
        if self._read_s is None:
            raise Unavailable(f"the keys cannot be read, everybody is refused: {self._away or 'no answer yet'}")

    async def warnings(self) -> list[str]:
        """Look at the keys, and name what is wrong with them and shuts out those alone whose they are."""
        await self.refresh(REFRESH_S)
        if self._away is None or self._read_s is None:
            return list(self._damaged)
        age_s = self._clock_s() - self._read_s
        told = f"the keys cannot be read ({self._away}): they count as they were read {age_s:.0f} s ago"
        return [told, *self._damaged]

    async def _read(self) -> None:
        started_s = self._clock_s()
        try:
            book = await asyncio.to_thread(self._book.look)
        except Exception as error:  # noqa: BLE001 (whatever a store raises: the last reading counts)
            told = error.message if isinstance(error, EssError) else f"{type(error).__name__}: {error}"
            if told != self._away:
                _log.exception("the keys cannot be read")
            self._away = told
        else:
            if book.damaged != self._damaged:
                _log.error("keys that cannot be read: %s", "; ".join(book.damaged) or "none any more")
            self._keys, self._damaged = {key.id: key for key in book.keys}, book.damaged
            self._unread, self._away, self._read_s = book.unread, None, started_s
        finally:
            self._reading = None
