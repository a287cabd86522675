"""The front door's part in Idempotency-Keys: refuse a key that is known with another body, tell what is a repeat.

Whether a repeat is stored is the writer's decision alone (`ingest`). A key that is known with the same body is still
appended: the first attempt may have ended with some of its parts in the log and others not, and only the writer, which
drops exactly the parts that it has, can tell.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ess_ray.core.errors import KeyConflict, Unavailable
from ess_ray.record import KnownRequest

KnownRequestOf = Callable[[int, str, str], Awaitable[KnownRequest | None]]
"""(vnode, tenant, key) to what the virtual node's owner knows the key with; may raise Unavailable."""

WINDOW_US: Final = 3_600 * 1_000_000
"""As long as a writer remembers a key."""
MAX_RECENT: Final = 100_000
"""Keys remembered here, about 30 MB: those that the owner has not read from the log yet, which takes it 0.1 s."""


@dataclass(slots=True)
class _Recent:
    """A key that came here: with which body, when, and whether its request was acknowledged."""

    body_hash: str
    seen_us: int
    done: bool = False


class KeyGuard:
    """Knows the keys of this process's last requests, and asks the owner for all others."""

    def __init__(
        self, known_request: KnownRequestOf, clock_us: Callable[[], int], max_recent: int = MAX_RECENT
    ) -> None:
        self._known_request, self._clock_us, self._max_recent = known_request, clock_us, max_recent
        self._recent: OrderedDict[tuple[str, str], _Recent] = OrderedDict()

    async def check(self, vnode: int, tenant: str, key: str, body_hash: str) -> KnownRequest | None:
        """Remember the key; gives what is known of this very request by now. Raises KeyConflict when the key is known
        with another body.

        An owner that is not there is no reason to refuse: the writer keeps and counts such an event, losing nothing.
        """
        now_us = self._clock_us()
        recent = self._recent.get((tenant, key))
        if recent is not None and now_us - recent.seen_us > WINDOW_US:
            recent = None
        if recent is not None and recent.body_hash != body_hash:
            raise _conflict(key)
        done = recent is not None and recent.done
        self._recent[(tenant, key)] = _Recent(body_hash, now_us, done)
        self._recent.move_to_end((tenant, key))
        if len(self._recent) > self._max_recent:
            self._recent.popitem(last=False)
        try:
            owners = await self._known_request(vnode, tenant, key)
        except Unavailable:
            owners = None
        if owners is not None and owners.body_hash != body_hash:
            self.forget(tenant, key, body_hash)
            raise _conflict(key)
        return KnownRequest(body_hash, whole=True) if done else owners

    def done(self, tenant: str, key: str, body_hash: str) -> None:
        """Remember that a key's request was acknowledged."""
        recent = self._recent.get((tenant, key))
        if recent is not None and recent.body_hash == body_hash:
            recent.done = True

    def forget(self, tenant: str, key: str, body_hash: str) -> None:
        """Take a key back whose request was not acknowledged."""
        recent = self._recent.get((tenant, key))
        if recent is not None and recent.body_hash == body_hash and not recent.done:
            del self._recent[(tenant, key)]


def _conflict(key: str) -> KeyConflict:
    return KeyConflict(f"the Idempotency-Key {key!r} came with another body before: use a new key for new events")
