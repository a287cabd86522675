"""Storing one request of any way in that has no HTTP: decoded, cut where it is large, durable when this returns.

May live here: the order of these steps, their deadline, what is counted. May not: HTTP (the push application), sockets,
what a body means (`formats`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from ess_ray.core.errors import EssError, Unavailable
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.formats.format import Body, Format, Stored, body_hash
from ess_ray.intake.gate import Claim
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.keys import KeyGuard, KnownRequestOf
from ess_ray.intake.large import LargeRequests, hash_of, implied_key, is_several_records
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.turns import TurnDecoder
from ess_ray.metrics import PUSH_ACCEPTED, PUSH_ADJUSTED, PUSH_BYTES, PUSH_REJECTED, Tally, reason_class
from ess_ray.record import KnownRequest

DEADLINE_S: Final = 10.0
"""How long a request waits for others in all: its key's owner, its turn, the log. As long as a push over HTTP does."""


def now_us() -> int:
    """Give the time, in microseconds since 1970."""
    return time.time_ns() // 1000


class Patience:
    """What one request may wait for others."""

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


class Storing:
    """Stores requests. One per event loop, whatever the ways in: they share its memory of keys and its decoder."""

    def __init__(
        self,
        gatherer: Gatherer,
        known_request: KnownRequestOf,
        *,
        limits: IntakeLimits | None = None,
        clock_us: Callable[[], int] = now_us,
        tally: Tally | None = None,
        deadline_s: float = DEADLINE_S,
        on_stored: Callable[[int, int], None] = lambda events, size: None,
    ) -> None:
        """`on_stored` is called with the events and the decompressed bytes of each request that is durable."""
        self.gate, self.limits = gatherer.gate, limits or IntakeLimits()
        self.tally = tally if tally is not None else Tally()
        self._gatherer, self._deadline_s, self._on_stored = gatherer, deadline_s, on_stored
        self._keys = KeyGuard(known_request, clock_us)
        self._decoder = TurnDecoder(self.limits, clock_us)
        self._large = LargeRequests(gatherer, self._keys, self._decoder, self.count_rejected)

    async def store(
        self,
        tenant: str,
        form: Format,
        data: Content,
        claim: Claim,
        *,
        content_type: str | None = None,
        encoding: str | None = None,
        key: str | None = None,
        route_name: str | None = None,
    ) -> Stored:
        """Return once a request's events are durable. `key`, `route_name`: see `Gatherer.submit`. `claim`: the
        caller's, on the bytes that were read; it closes it.

        Raises Unavailable (nothing may be acknowledged; with a key, sending it again is exact), KeyConflict, and what
        decompressing and the format raise for a body that can never be stored: BadRequest, Unsupported, TooLarge.
        """
        try:
            claim.hold(max(claim.held_bytes, len(data)))
            data = await self._decoder.decompress(data, encoding, claim.hold)
            claim.hold(max(claim.held_bytes, len(data)))
            size = len(data)
            self.tally.count(PUSH_BYTES, size)
            body = Body(data, content_type, self.limits.table_of(tenant))
            del data
            stored = await self._store_body(tenant, form, body, claim, key=key, route_name=route_name)
        finally:
            claim.close()
        self.tally.count(PUSH_ACCEPTED, stored.accepted)
        self.tally.count(PUSH_ADJUSTED, stored.adjusted_total)
        self._on_stored(stored.accepted, size)
        return stored

    async def _store_body(
        self, tenant: str, form: Format, body: Body, claim: Claim, *, key: str | None, route_name: str | None
    ) -> Stored:
        patience, vnode = Patience(self._deadline_s), None
        if key is not None:
            async with patience.spent():
                vnode = await self._gatherer.vnode_of_key(tenant, key, route_name)
        to = Destination(tenant, key, route_name, vnode)
        if form.may_be_several(body):
            return await self._large.store(to, form, body, patience.spent)
        decoded = await self._decoder.decode(form, body)
        digest = _digest_of(body, decoded, key)
        del body  # what waits for the log is the batch alone
        async with patience.spent():
            return await self._store(to, decoded, digest, claim)

    async def _store(self, to: Destination, decoded: Decoded, digest: str | None, claim: Claim) -> Stored:
        """Store a request of one piece, which nearly all are."""
        batch, known = decoded.batch, None
        if digest is None:
            await self._gatherer.submit(to.tenant, batch, claim=claim, route_name=to.route_name)
        elif to.key is not None and to.vnode is not None:
            known = await self._submit_keyed(to, to.vnode, to.key, decoded=decoded, digest=digest, claim=claim)
        else:
            key, route_name = implied_key(digest), to.route_name
            await self._gatherer.submit(to.tenant, batch, key, digest, claim, route_name=route_name, implied=True)
        self.count_rejected(decoded.rejected)
        stored = Stored(repeats=None if to.key is None else 0)
        stored.add(decoded, known is not None and known.whole)
        return stored

    async def _submit_keyed(
        self, to: Destination, vnode: int, key: str, *, decoded: Decoded, digest: str, claim: Claim
    ) -> KnownRequest | None:
        try:
            known = await self._keys.check(vnode, to.tenant, key, digest)
            await self._gatherer.submit(to.tenant, decoded.batch, key, digest, claim, route_name=to.route_name)
        except (EssError, asyncio.CancelledError):  # cancelled: at the deadline
            self._keys.forget(to.tenant, key, digest)
            raise
        self._keys.done(to.tenant, key, digest)
        return known

    def count_rejected(self, rejected: Iterable[Named]) -> None:
        """Count events that can never be stored, by what is wrong with them."""
        for _, reason in rejected:
            self.tally.count(PUSH_REJECTED, 1, reason_class(reason))


def _digest_of(body: Body, decoded: Decoded, key: str | None) -> str | None:
    """Hash a body whose repeat must be known: one with a key, or of several records."""
    if key is not None:
        return body_hash(body.data, decoded.rejected)
    return hash_of(body.data) if is_several_records(decoded) else None


def let_go(failure: BaseException) -> None:
    """Let go of the frames that an error went through: a request's body is in them, and whoever keeps the error keeps
    both, which an awaited future does until a garbage collection."""
    error: BaseException | None = failure
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
