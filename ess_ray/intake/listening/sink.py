"""The way from the listener's sockets to the log: it waits as long as the log is away, and so do those who read.

What all connections of a tenant bring while an append is under way goes with the next, under a key of its own: an
append whose outcome nobody knows is sent again as it was, and stored once.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.core.errors import EssError, Unavailable
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.gate import Claim
from ess_ray.intake.gather import Gatherer
from ess_ray.record import SURELY_ONE_RECORD_BYTES

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Between two tries while the log takes nothing: it is back within a second of its return."""
TOLD_EVERY: Final = 30
"""Tries between two lines of the log about it."""
_SERVERS: Final = 500
"""Statuses from here on are not the fault of what was sent."""
_ENDED: Final = "the listener ended before the log took this: it was not stored"


def _new_key() -> str:
    return f"listener-{uuid4().hex}"


@dataclass(frozen=True)
class _Waiting:
    batch: pa.RecordBatch
    claim: Claim
    done: asyncio.Future[None]


class Sink:
    """See `shapes.Store`. One per event loop; all its methods are called on that loop."""

    def __init__(self, gatherer: Gatherer, new_key: Callable[[], str] = _new_key) -> None:
        self._gatherer, self._new_key = gatherer, new_key
        self._queues: dict[str, deque[_Waiting]] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._tries: set[asyncio.Timeout] = set()
        self.trouble: str | None = None
        """Why the log took nothing at the last try."""

    async def store(self, tenant: str, columns: Decoded, key: str | None = None) -> None:
        """See `shapes.Store`. A cancelled caller's events may be stored or not."""
        batch = columns.batch
        if not len(batch):
            return
        if key is not None:
            await self._submit(tenant, batch, key)
            return
        claim = await self._claim(tenant, batch.nbytes)
        waiting = _Waiting(batch, claim, asyncio.get_running_loop().create_future())
        if tenant in self._queues:
            self._queues[tenant].append(waiting)
        else:
            self._queues[tenant] = deque([waiting])
            sender = asyncio.create_task(self._send_all(tenant), name="send to the log")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        await waiting.done

    def give_up(self) -> None:
        """Wait for the log no longer: whoever waits is told Unavailable, and whoever comes."""
        self._ended.set()
        for limit in self._tries:
            limit.reschedule(asyncio.get_running_loop().time())

    async def _claim(self, tenant: str, size: int) -> Claim:
        """Hold bytes of the gate, as soon as it has room. Raises Unavailable at the end."""
        claim, pause_s = self._gatherer.gate.claim(tenant), FIRST_PAUSE_S
        while True:
            try:
                claim.hold(size)
            except Unavailable:
                pause_s = await self._pause(pause_s)
            else:
                return claim

    async def _send_all(self, tenant: str) -> None:
        queue = self._queues[tenant]
        try:
            while queue:
                taken, size = [queue.popleft()], 0
                size = taken[0].batch.nbytes
                while queue and (size := size + queue[0].batch.nbytes) <= SURELY_ONE_RECORD_BYTES:
                    taken.append(queue.popleft())
                await self._send(tenant, taken)
        finally:
            del self._queues[tenant]
            self._fail(queue, Unavailable(_ENDED))

    async def _send(self, tenant: str, taken: list[_Waiting]) -> None:
        batches = [waiting.batch for waiting in taken]
        for waiting in taken:
            waiting.claim.close()  # the gatherer holds the whole from now on
        try:
            await self._submit(tenant, batches[0] if len(taken) == 1 else pa.concat_batches(batches), self._new_key())
        except EssError as error:
            self._fail(taken, error)
        else:
            for waiting in taken:
                if not waiting.done.done():
                    waiting.done.set_result(None)
        finally:
            self._fail(taken, Unavailable(_ENDED))  # where this was cancelled

    async def _submit(self, tenant: str, batch: pa.RecordBatch, key: str) -> None:
        """Append until it is done. Raises BadRequest and its like, Unavailable at the end."""
        digest, pause_s, tries = sha256(key.encode()).hexdigest(), FIRST_PAUSE_S, 0
        while True:
            try:
                await self._try(tenant, batch, key, digest)
            except EssError as error:
                if error.http_status < _SERVERS and not error.retryable:
                    raise  # the batch is wrong, and not the log
                self.trouble = error.message
                if tries % TOLD_EVERY == 0:
                    _log.warning("the log does not take what the listener has read, which waits: %s", error.message)
                tries += 1
                pause_s = await self._pause(pause_s)
            else:
                self.trouble = None
                return

    async def _try(self, tenant: str, batch: pa.RecordBatch, key: str, digest: str) -> None:
        """Append once. Raises as `Gatherer.submit` does, and at the end at once."""
        if self._ended.is_set():
            raise Unavailable(_ENDED)
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._tries.add(limit)
                await self._gatherer.submit(tenant, batch, key, digest)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(_ENDED) from error
        finally:
            self._tries.discard(limit)

    async def _pause(self, pause_s: float) -> float:
        """Wait before another try; gives how long to wait the next time. Raises Unavailable at the end."""
        if not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ended.wait()
        if self._ended.is_set():
            raise Unavailable(_ENDED)
        return min(2 * pause_s, LONGEST_PAUSE_S)

    def _fail(self, waiting: deque[_Waiting] | list[_Waiting], error: EssError) -> None:
        for each in waiting:
            each.claim.close()
            if not each.done.done():
                each.done.set_exception(copy.copy(error))
