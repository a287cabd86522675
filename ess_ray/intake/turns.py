"""Turns: what is decoded when. The bodies that arrive in one turn of the event loop are decoded together.

Under load requests come in bursts, as those of one append are answered together. May live here: when and in which
thread bodies are read. May not: how they are read (`body`, `decode`), HTTP.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ess_ray.core.errors import TooLarge
from ess_ray.intake.compression import Content, Grown, decompress
from ess_ray.intake.decode import Body, decode_events, decode_piece, decode_together
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.framing import Pieces, cut
from ess_ray.intake.limits import IntakeLimits

IN_LOOP_BYTES: Final = 128 * 1024
"""Bodies decoded on the event loop at a time, in about 2 ms; a larger one goes to a thread, so that others are
answered."""
MAX_LARGE_DECODES: Final = 2
"""Large bodies decoded at a time: each may take 100 MB as Python objects."""


class TurnDecoder:
    """Decodes bodies as they come. One per event loop; all its methods are called on that loop."""

    def __init__(self, limits: IntakeLimits, clock_us: Callable[[], int]) -> None:
        self._limits, self._clock_us = limits, clock_us
        self._queue: deque[tuple[Body, asyncio.Future[Decoded]]] = deque()
        self._large = asyncio.Semaphore(MAX_LARGE_DECODES)

    async def decompress(self, body: Content, encoding: str | None, grown: Grown = lambda _: None) -> Content:
        """Undo `Content-Encoding`; raises as `compression.decompress` does. `grown` may be called in another thread."""
        if encoding is None:
            return body
        limit = self._limits.max_batch_bytes
        if len(body) <= IN_LOOP_BYTES:
            try:
                return decompress(bytes(body), encoding, min(limit, IN_LOOP_BYTES))
            except TooLarge:
                pass  # larger than the loop should wait for: all of it in a thread
        async with self._large:
            return await asyncio.to_thread(decompress, body, encoding, limit, grown)

    async def cut(self, body: Content, content_type: str | None) -> Pieces:
        """Cut a large body into pieces; raises as `framing.cut` does."""
        async with self._large:
            return await asyncio.to_thread(cut, body, content_type)

    async def decode_piece(self, pieces: Pieces, number: int, table: FieldTable) -> Decoded:
        """Decode a piece of a large body (see `decode.decode_piece`)."""
        async with self._large:
            return await asyncio.to_thread(decode_piece, pieces, number, table, self._clock_us(), self._limits)

    async def decode(self, body: Body) -> Decoded:
        """Decode a decompressed body; raises as `decode_events` does. A cancelled caller leaves the others alone."""
        if len(body.data) > IN_LOOP_BYTES:
            async with self._large:
                return await asyncio.to_thread(decode_events, body, self._clock_us(), self._limits)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Decoded] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._turn)  # after the others that this turn of the loop brings
        self._queue.append((body, done))
        return await done

    def _turn(self) -> None:
        """Decode the oldest bodies, up to IN_LOOP_BYTES; the others in the loop's next turn."""
        taken = [self._queue.popleft()]
        size = len(taken[0][0].data)
        while self._queue and (size := size + len(self._queue[0][0].data)) <= IN_LOOP_BYTES:
            taken.append(self._queue.popleft())
        if self._queue:
            asyncio.get_running_loop().call_soon(self._turn)
        bodies = [body for body, _ in taken]
        for (_, done), answer in zip(taken, self._answers(bodies), strict=True):
            if done.done():
                continue
            if isinstance(answer, Decoded):
                done.set_result(answer)
            else:
                done.set_exception(answer)

    def _answers(self, bodies: list[Body]) -> Sequence[Decoded | Exception]:
        try:
            return decode_together(bodies, self._clock_us(), self._limits)
        except Exception as error:  # noqa: BLE001 (a bug, told to all who wait: the loop would only log it)
            return [copy.copy(error) for _ in bodies]
