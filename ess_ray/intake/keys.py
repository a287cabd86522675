"""The front door's part in Idempotency-Keys: refuse a key that is known with another body.

Whether a repeat is stored is the writer's decision alone (section 4.7). A key that is known with the same body is still
appended: the first attempt may have ended with some of its parts in the log and others not, and only the writer, which
drops exactly the parts that it has, can tell. May live here: the memory of recent keys and the question to the owner.
May not: routing (`gather`), dropping (`ingest`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from ess_ray.core.errors import KeyConflict, Unavailable

KnownBody = Callable[[int, str, str], Awaitable[str | None]]
"""(vnode, tenant, key) to the body hash that the virtual node's owner knows the key with; may raise Unavailable."""

WINDOW_US: Final = 3_600 * 1_000_000
"""As long as a writer remembers a key."""
MAX_RECENT: Final = 100_000
"""Keys remembered here, about 30 MB: those that the owner has not read from the log yet, which takes it 0.1 s."""


class KeyGuard:
    """Knows the keys of this process's last requests, and asks the owner for all others."""

    def __init__(self, known_body: KnownBody, clock_us: Callable[[], int], max_recent: int = MAX_RECENT) -> None:
        self._known_body, self._clock_us, self._max_recent = known_body, clock_us, max_recent
        self._recent: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()

    async def check(self, vnode: int, tenant: str, key: str, body_hash: str) -> None:
        """Remember the key. Raises KeyConflict when it is known with another body.

        An owner that is not there is no reason to refuse: the writer keeps and counts such an event, losing nothing.
        """
        now_us = self._clock_us()
        known, seen_us = self._recent.get((tenant, key), (body_hash, now_us))
        if known != body_hash and now_us - seen_us <= WINDOW_US:
            raise _conflict(key)
        self._recent[(tenant, key)] = (body_hash, now_us)
        self._recent.move_to_end((tenant, key))
        if len(self._recent) > self._max_recent:
            self._recent.popitem(last=False)
        try:
            owners = await self._known_body(vnode, tenant, key)
        except Unavailable:
            return
        if owners is not None and owners != body_hash:
            self.forget(tenant, key, body_hash)
            raise _conflict(key)

    def forget(self, tenant: str, key: str, body_hash: str) -> None:
        """Take a key back whose request was not acknowledged."""
        if self._recent.get((tenant, key), ("", 0))[0] == body_hash:
            del self._recent[(tenant, key)]


def _conflict(key: str) -> KeyConflict:
    return KeyConflict(f"the Idempotency-Key {key!r} came with another body before: use a new key for new events")
