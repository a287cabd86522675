"""Requests that become several records: stored a few pieces at a time, acknowledged once, exact when sent again.

Each piece is one record of the request, numbered, under the request's Idempotency-Key or, without one, under a hash of
its body: the writer drops the pieces that it has. So a request that failed half-way stores the other half when it is
repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Final

from ess_ray.core.errors import EssError
from ess_ray.intake.batch_decoding import BatchDecoder
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.formats.format import Body, Format, Pieces, Stored, groups
from ess_ray.intake.gather import Destination, Gatherer
from ess_ray.intake.idempotency import KeyGuard
from ess_ray.record import is_one_record

GROUP_BYTES: Final = 4 * 1024 * 1024
"""Pieces decoded and appended at a time: what one append takes."""

Patience = Callable[[], AbstractAsyncContextManager[None]]
"""Bounds what is awaited of others; raises Unavailable at its end."""
ToldRejected = Callable[[Sequence[Named]], None]


def implied_key(body_hash: str) -> str:
    """Give the Idempotency-Key of a request of several records that has none."""
    return f"sha256:{body_hash}"


def is_several_records(decoded: Decoded) -> bool:
    """Tell whether a body of one piece became several records all the same."""
    return not is_one_record(decoded.batch)


def hash_of(body: Content) -> str:
    """Hash a body for its implied key."""
    return sha256(body).hexdigest()


class LargeRequests:
    """Stores requests of several pieces. One per event loop."""

    def __init__(self, gatherer: Gatherer, keys: KeyGuard, decoder: BatchDecoder, told: ToldRejected) -> None:
        self._gatherer, self._keys, self._decoder, self._told = gatherer, keys, decoder, told

    async def store(self, to: Destination, form: Format, body: Body, patience: Patience) -> Stored:
        """Return once all pieces are durable.

        Raises as `Gatherer.submit` and `KeyGuard.check` do, and as `Format.cut` for a body that is malformed as a whole
        (then nothing is stored). After Unavailable perhaps some pieces are stored: sending the same again stores the
        others.
        """
        pieces = await self._decoder.cut(form, body)
        known, stored = None, Stored()
        if to.key is not None and to.vnode is not None:
            stored.repeats = 0
            async with patience():
                known = await self._keys.check(to.vnode, to.tenant, to.key, pieces.body_hash)
        try:
            for numbers in groups(pieces, GROUP_BYTES):
                decoded = [await self._decoder.decode_piece(pieces, number, body.table) for number in numbers]
                async with patience():
                    await self._submit(to, pieces, numbers, decoded)
                for number, columns in zip(numbers, decoded, strict=True):
                    self._told(columns.rejected)
                    stored.add(columns, known is not None and (known.whole or (number, len(pieces)) in known.parts))
        except (EssError, asyncio.CancelledError):
            if to.key is not None:
                self._keys.forget(to.tenant, to.key, pieces.body_hash)
            raise
        if to.key is not None:
            self._keys.done(to.tenant, to.key, pieces.body_hash)
        return stored

    async def _submit(self, to: Destination, pieces: Pieces, numbers: range, decoded: Sequence[Decoded]) -> None:
        """Make some pieces durable; all have ended when this ends, however it does but by a cancel."""
        submitted = [
            self._gatherer.submit(
                to.tenant,
                columns.batch,
                to.key if to.key is not None else implied_key(pieces.body_hash),
                pieces.body_hash,
                route_name=to.route_name,
                part=(number, len(pieces)),
                implied=to.key is None,
            )
            for number, columns in zip(numbers, decoded, strict=True)
        ]
        for failure in await asyncio.gather(*submitted, return_exceptions=True):
            if failure is not None:
                raise failure
