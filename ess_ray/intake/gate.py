"""The gate of one process: the bytes that requests hold here before they are durable or answered, bounded and shared.

Every request has a claim: on its body as it is read, on what that becomes when it is decompressed and decoded, and on
the batch until the log has it. Who may hold more is decided by what is left:

- a tenant holds at most SHARE times what it leaves free, as with exports and tails (`search.shares`);
- a request holds at most LARGEST times what it leaves to its tenant: many that grow leave ever less, never nothing;
- a request that leaves SMALL times as much as it holds may always hold it, so that small ones go on whatever happens.

So nobody waits for anybody, and nothing can stand still: what does not fit is refused, to be sent again. Whoever cannot
be asked to send again waits for room, for a stated time (`hold_soon`).
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from ess_ray.core.errors import Unavailable
from ess_ray.metrics import PUSH_HELD_BYTES, Tally

MAX_HELD_BYTES: Final = 144 * 1024 * 1024
"""Half of it, which one request may hold while nobody else does, is a body of 64 MiB and what it was before it was
decompressed. With what is not counted (objects while decoding, buffers of connections, what the heap has lost) a
replica stays below 300 MB more than it takes when idle."""
SHARE: Final = 3
"""A tenant holds at most so many times the bytes that it leaves free: alone, three quarters."""
LARGEST: Final = 2
"""A request holds at most so many times what its tenant may still take after it."""
SMALL: Final = 64
"""A request that leaves so many times its bytes free is small. A thousand requests that stand still, the most that a
replica takes, leave 8 MiB: 135 KiB for each that comes, four hundred events."""

ROOM_PAUSE_S: Final = 0.1
"""Between two looks whether there is room, of who may wait for it."""


class Gate:
    """The bytes of one process. Any thread may use it."""

    def __init__(self, most_bytes: int = MAX_HELD_BYTES, tally: Tally | None = None) -> None:
        self._most_bytes = most_bytes
        self._tally = tally if tally is not None else Tally()
        self._lock = threading.Lock()
        self._held_bytes = self._most_held_bytes = 0
        self._tenants: Counter[str] = Counter()

    @property
    def held_bytes(self) -> int:
        """Bytes held by all claims together."""
        return self._held_bytes

    @property
    def tenants(self) -> int:
        """How many tenants hold something: who holds nothing is not remembered."""
        return len(self._tenants)

    def most_held(self) -> int:
        """Give the most bytes that were held since this was asked before."""
        with self._lock:
            most, self._most_held_bytes = self._most_held_bytes, self._held_bytes
        return most

    def claim(self, tenant: str) -> Claim:
        """Give a request its claim, on nothing yet. Whoever has it closes it or passes it on."""
        return Claim(self, tenant)

    def _set(self, claim: Claim, held_bytes: int, close: bool = False) -> None:
        with self._lock:
            if not claim.open:
                if close:
                    return
                raise Unavailable("this request is over: nothing was kept, send it again")  # to a thread left behind
            more = held_bytes - claim.held_bytes
            if more > 0 and not self._fits(claim, held_bytes, more):
                raise self._full()
            claim.held_bytes = held_bytes
            self._held_bytes += more
            self._most_held_bytes = max(self._most_held_bytes, self._held_bytes)
            self._tenants[claim.tenant] += more
            if not self._tenants[claim.tenant]:
                del self._tenants[claim.tenant]
            if close:
                claim.open = False
            self._tally.set(PUSH_HELD_BYTES, self._held_bytes)

    def _check(self, claim: Claim, held_bytes: int) -> None:
        with self._lock:
            if not self._fits(claim, held_bytes, held_bytes - claim.held_bytes):
                raise self._full()

    def _fits(self, claim: Claim, held_bytes: int, more: int) -> bool:
        free = self._most_bytes - self._held_bytes - more
        if free < 0:
            return False
        if held_bytes * SMALL <= free:
            return True
        # What the tenant may take after this one: as much again as leaves SHARE times the rest.
        room = (SHARE * free - self._tenants[claim.tenant] - more) // (1 + SHARE)
        return held_bytes <= LARGEST * room

    def _full(self) -> Unavailable:
        return Unavailable(
            f"requests hold {self._held_bytes} bytes in this replica, of {self._most_bytes} at the most, and the rest "
            "is kept for smaller ones and other tenants: nothing was kept, send it again in a second, or in smaller "
            "bodies",
            limit=self._most_bytes,
        )


class Claim:
    """What one request holds of a gate."""

    __slots__ = ("_gate", "held_bytes", "open", "tenant")

    def __init__(self, gate: Gate, tenant: str, held_bytes: int = 0) -> None:
        self._gate, self.open = gate, True
        self.tenant, self.held_bytes = tenant, held_bytes

    def hold(self, held_bytes: int) -> None:
        """Hold so many bytes from now on, in all. Raises Unavailable, still holding what it held before."""
        if held_bytes != self.held_bytes or not self.open:
            self._gate._set(self, held_bytes)

    async def hold_soon(self, held_bytes: int, within_s: float, may_wait: Callable[[], bool] = lambda: True) -> None:
        """Hold so many bytes as soon as there is room, which is waited for while it `may_wait`. Raises Unavailable."""
        for _ in range(round(within_s / ROOM_PAUSE_S)):
            try:
                self.hold(held_bytes)
            except Unavailable:
                if not may_wait():
                    raise
                await asyncio.sleep(ROOM_PAUSE_S)
            else:
                return
        self.hold(held_bytes)

    def check(self, held_bytes: int) -> None:
        """Raise Unavailable where so many bytes could not be held just now."""
        self._gate._check(self, held_bytes)

    def pass_on(self) -> Claim:
        """Give what this claim holds to another one, and close this one."""
        other, self.held_bytes, self.open = Claim(self._gate, self.tenant, self.held_bytes), 0, False
        return other

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self._gate._set(self, 0, close=True)
