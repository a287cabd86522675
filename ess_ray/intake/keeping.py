"""Making a request durable once its body is there: decoded, cut where it is large, its repeats known, in the log.

What a push over HTTP and the requests of other protocols (`storing`) have in common.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ess_ray.core.errors import EssError
from ess_ray.intake.batch_decoding import BatchDecoder
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.formats.format import Body, Format, Stored, body_hash
from ess_ray.intake.gate import Claim
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.idempotency import KeyGuard, KnownRequestOf
from ess_ray.intake.large import LargeRequests, hash_of, implied_key, is_several_records
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.patience import Patience
from ess_ray.record import KnownRequest


class Keeping:
    """One per event loop, whatever the ways in: they share its memory of keys and its decoder."""

    def __init__(
        self,
        gatherer: Gatherer,
        known_request: KnownRequestOf,
        *,
        limits: IntakeLimits,
        clock_us: Callable[[], int],
        count_rejected: Callable[[Iterable[Named]], None],
    ) -> None:
        self.decoder = BatchDecoder(limits, clock_us)
        self._gatherer, self._count_rejected = gatherer, count_rejected
        self._keys = KeyGuard(known_request, clock_us)
        self._large = LargeRequests(gatherer, self._keys, self.decoder, count_rejected)

    async def keep(self, to: Destination, form: Format, body: Body, claim: Claim, patience: Patience) -> Stored:
        """Return once the events of a body are durable. Whoever calls this keeps no body of its own meanwhile.

        Raises Unavailable (nothing may be acknowledged; with a key, sending it again is exact), KeyConflict, and what
        the format raises for a body that can never be stored: BadRequest, Unsupported, TooLarge.
        """
        if form.may_be_several(body):
            return await self._large.store(to, form, body, patience.spent)
        decoded = await self.decoder.decode(form, body)
        digest = _digest_of(body, decoded, to.key)
        del body  # what waits for the log is the batch alone
        async with patience.spent():
            return await self._keep_one(to, decoded, digest, claim)

    async def _keep_one(self, to: Destination, decoded: Decoded, digest: str | None, claim: Claim) -> Stored:
        """Keep a request of one piece, which nearly all are."""
        batch, known = decoded.batch, None
        if digest is None:
            await self._gatherer.submit(to.tenant, batch, claim=claim, route_name=to.route_name)
        elif to.key is not None and to.vnode is not None:
            known = await self._submit_keyed(to, to.vnode, to.key, decoded=decoded, digest=digest, claim=claim)
        else:
            key, route_name = implied_key(digest), to.route_name
            await self._gatherer.submit(to.tenant, batch, key, digest, claim, route_name=route_name, implied=True)
        self._count_rejected(decoded.rejected)
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


def _digest_of(body: Body, decoded: Decoded, key: str | None) -> str | None:
    """Hash a body whose repeat must be known: one with a key, or of several records."""
    if key is not None:
        return body_hash(body.data, decoded.rejected)
    return hash_of(body.data) if is_several_records(decoded) else None
