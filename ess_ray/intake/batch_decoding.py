"""Batch decoding: bodies that arrive in one turn of the event loop are decoded together.

Under load requests come in bursts, as those of one append are answered together.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ess_ray.core.errors import TooLarge
from ess_ray.intake.compression import Content, Grown, decompress
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.format import Body, Format, Pieces
from ess_ray.intake.limits import IntakeLimits

IN_LOOP_BYTES: Final = 128 * 1024
"""Bodies decoded on the event loop at a time, in about 2 ms; a larger one goes to a thread, so that others are
answered."""
MAX_LARGE_DECODES: Final = 2
"""Large bodies decoded at a time: each may take 100 MB as Python objects."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A body that is decoded in the loop's next turn, and who waits for it."""

    form: Format
    body: Body
    done: asyncio.Future[Decoded]

    def tell(self, answer: Decoded | Exception) -> None:
        if self.done.done():
            return
        if isinstance(answer, Decoded):
            self.done.set_result(answer)
        else:
            self.done.set_exception(answer)


class BatchDecoder:
    """Decodes bodies as they come. One per event loop; all its methods are called on that loop."""

    def __init__(self, limits: IntakeLimits, clock_us: Callable[[], int]) -> None:
        self._limits, self._clock_us = limits, clock_us
        self._queue: deque[_Waiting] = deque()
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

    async def cut(self, form: Format, body: Body) -> Pieces:
        """Cut a large body into pieces; raises as `Format.cut` does."""
        async with self._large:
            return await asyncio.to_thread(form.cut, body)

    async def decode_piece(self, pieces: Pieces, number: int, table: FieldTable) -> Decoded:
        """Decode a piece of a large body (see `Pieces.decode`)."""
        async with self._large:
            return await asyncio.to_thread(pieces.decode, number, table, self._clock_us(), self._limits)

    async def decode(self, form: Format, body: Body) -> Decoded:
        """Decode a decompressed body; raises as `Format.decode` does. A cancelled caller leaves the others alone."""
        if len(body.data) > IN_LOOP_BYTES:
            async with self._large:
                return await asyncio.to_thread(form.decode, body, self._clock_us(), self._limits)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Decoded] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._turn)  # after the others that this turn of the loop brings
        self._queue.append(_Waiting(form, body, done))
        return await done

    def _turn(self) -> None:
        """Decode the oldest bodies, up to IN_LOOP_BYTES; the others in the loop's next turn."""
        taken = [self._queue.popleft()]
        size = len(taken[0].body.data)
        while self._queue and (size := size + len(self._queue[0].body.data)) <= IN_LOOP_BYTES:
            taken.append(self._queue.popleft())
        if self._queue:
            asyncio.get_running_loop().call_soon(self._turn)
        for form in dict.fromkeys(waiting.form for waiting in taken):
            alike = [waiting for waiting in taken if waiting.form is form]
            answers = self._answers(form, [waiting.body for waiting in alike])
            for waiting, answer in zip(alike, answers, strict=True):
                waiting.tell(answer)

    def _answers(self, form: Format, bodies: list[Body]) -> Sequence[Decoded | Exception]:
        try:
            return form.decode_together(bodies, self._clock_us(), self._limits)
        except Exception as error:  # noqa: BLE001 (a bug, told to all who wait: the loop would only log it)
            return [copy.copy(error) for _ in bodies]
