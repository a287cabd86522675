"""Storing one request of any way in that has no HTTP: decompressed, decoded, durable when this returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Named
from ess_ray.intake.formats.format import Body, Format, Stored
from ess_ray.intake.gate import Claim
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.idempotency import KnownRequestOf
from ess_ray.intake.keeping import Keeping
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.patience import DEADLINE_S, Patience
from ess_ray.metrics import PUSH_ACCEPTED, PUSH_ADJUSTED, PUSH_BYTES, PUSH_REJECTED, Tally, reason_class


def now_us() -> int:
    """Give the time, in microseconds since 1970."""
    return time.time_ns() // 1000


class Storing:
    """Stores requests. On one event loop."""

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
        self._keeping = Keeping(
            gatherer, known_request, limits=self.limits, clock_us=clock_us, count_rejected=self.count_rejected
        )

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
            data = await self._keeping.decoder.decompress(data, encoding, claim.hold)
            claim.hold(max(claim.held_bytes, len(data)))
            size = len(data)
            self.tally.count(PUSH_BYTES, size)
            patience, vnode = Patience(self._deadline_s), None
            if key is not None:
                async with patience.spent():
                    vnode = await self._gatherer.vnode_of_key(tenant, key, route_name)
            to = Destination(tenant, key, route_name, vnode)
            body = Body(data, content_type, self.limits.table_of(tenant))
            keeping = self._keeping.keep(to, form, body, claim, patience)
            del data, body  # what waits for the log is the batch alone
            stored = await keeping
        finally:
            claim.close()
        self.tally.count(PUSH_ACCEPTED, stored.accepted)
        self.tally.count(PUSH_ADJUSTED, stored.adjusted_total)
        self._on_stored(stored.accepted, size)
        return stored

    def count_rejected(self, rejected: Iterable[Named]) -> None:
        """Count events that can never be stored, by what is wrong with them."""
        for _, reason in rejected:
            self.tally.count(PUSH_REJECTED, 1, reason_class(reason))


def let_go(failure: BaseException) -> None:
    """Let go of the frames that an error went through: a request's body is in them, and whoever keeps the error keeps
    both, which an awaited future does until a garbage collection."""
    error: BaseException | None = failure
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
