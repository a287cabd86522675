"""One connection of the forward protocol: bytes in, acknowledgements out once what they name is durable.

Nothing more is taken of a connection until what was taken is stored, so that a slow log holds its sender up. A chunk
that cannot be stored just now is not acknowledged, and the connection is closed: the agent sends it again. What came
without a chunk nobody would send again: that is tried until it is stored, and nothing more is read meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any

from ess_ray.core.errors import BadRequest, EssError, KeyConflict, TooLarge, Unauthenticated, Unsupported
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.forward_batch import Batch, Run
from ess_ray.intake.formats.forward_handshake import MAX_PING_BYTES, Handshake
from ess_ray.intake.formats.forward_message import Message, acknowledgement, key_of, read_message
from ess_ray.intake.formats.forward_stream import ForwardStream
from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.gate import Claim
from ess_ray.intake.storing import Storing, let_go
from ess_ray.intake.wire import Wire
from ess_ray.metrics import FORWARD_DROPPED

_log = logging.getLogger(__name__)

Allowed = Callable[[str], Awaitable[None]]
"""Raises Unauthenticated, Forbidden or Unavailable where a tenant's connections may not be (any more)."""


class Connection:
    """One connection. `tenant`: whose it is where there is no `handshake` to tell."""

    def __init__(
        self,
        *,
        wire: Wire,
        storing: Storing,
        limits: ForwardLimits,
        tenant: str | None,
        handshake: Handshake | None,
        allowed: Allowed,
    ) -> None:
        self.tenant = tenant
        """Whose it is; None before that is known."""
        self.unstored = 0
        """Messages without a chunk that were read and are not stored yet: lost if the connection is ended now."""
        self._wire, self._storing, self._limits = wire, storing, limits
        self._handshake, self._allowed = handshake, allowed
        self._stream = ForwardStream(MAX_PING_BYTES if handshake is not None else limits.max_message_bytes)
        self._route = f"forward:{uuid.uuid4().hex}"

    async def run(self) -> None:
        """Serve it until its end. A cancel ends it at once."""
        try:
            await self._serve_to_the_end()
            await self._wire.close(self._limits.linger_s)
        except asyncio.CancelledError:
            self._wire.abort()
            raise

    async def _serve_to_the_end(self) -> None:
        try:
            await self._serve()
        except (EssError, TimeoutError) as error:
            reason = error.message if isinstance(error, EssError) else "nothing has come for too long"
            _log.warning("a forward connection of %s is closed: %s", self._wire.peer, reason)
            let_go(error)
        except Exception:  # noqa: BLE001 (a bug, logged: what came is not acknowledged, and its agent sends it again)
            _log.exception("a forward connection of %s is closed", self._wire.peer)

    def drain(self) -> None:
        """Have it end once what was read of it is stored and acknowledged."""
        self._wire.stop()

    def hang_up(self) -> None:
        """End the connection, and not what is being stored of it: nobody is told any more."""
        self._wire.abort()

    async def _serve(self) -> None:
        if self._handshake is not None:
            async with asyncio.timeout(self._limits.handshake_s):
                self.tenant = await self._shake_hands(self._handshake)
        assert self.tenant is not None  # by now
        await self._allowed(self.tenant)
        self._wire.most_bytes = self._limits.read_bytes
        claim = self._storing.gate.claim(self.tenant)
        try:
            await self._take_in(b"", self.tenant, claim)  # what came behind the PING
            while data := await self._wire.take(
                self._limits.stalled_s if self._stream.held_bytes else self._limits.idle_s
            ):
                await self._take_in(data, self.tenant, claim)
        finally:
            claim.close()

    async def _shake_hands(self, handshake: Handshake) -> str:
        """Give the tenant whose key the client knows. Raises Unauthenticated, Malformed, TooLarge (for a PING)."""
        self._say(handshake.helo())
        while data := await self._wire.take(self._limits.handshake_s):
            with closing(self._stream.feed(data)) as messages:
                ping = next(messages, None)
            if ping is None:
                continue
            verdict = handshake.answer(ping)
            self._say(verdict.pong)
            if verdict.tenant is None:
                raise Unauthenticated(verdict.reason)
            self._stream.max_message_bytes = self._limits.max_message_bytes
            return verdict.tenant
        raise Unauthenticated("it ended before its PING")

    async def _take_in(self, data: bytes, tenant: str, claim: Claim) -> None:
        """Store the messages that end in these bytes. Raises what ends the connection."""
        await claim.hold_soon(self._stream.held_bytes + len(data), self._limits.room_s)
        batch, failure = Batch(), None
        try:
            for elements in self._stream.feed(data):
                if elements:
                    batch.add(read_message(elements))
        except EssError as error:  # what stood before it counts
            failure = error
        claim.hold(min(claim.held_bytes, self._stream.held_bytes))
        await self._store(batch, tenant)
        if failure is not None:
            raise failure

    async def _store(self, batch: Batch, tenant: str) -> None:
        """Store a batch, and acknowledge each chunk as soon as it is durable. Raises the first of what went wrong."""
        tally = self._storing.tally
        self._storing.count_rejected(enumerate(batch.faults))
        if batch.signals:
            tally.count(FORWARD_DROPPED, batch.signals)
        if batch.faults:
            _log.warning("forward messages of %s can never be stored: %s", self._wire.peer, batch.faults[0])
        for chunk in batch.done:
            self._say(acknowledgement(chunk))
        self.unstored = len(batch.runs)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_caught(self._store_chunk(message, tenant))) for message in batch.chunks]
            tasks.append(group.create_task(_caught(self._store_runs(batch.runs, tenant))))
        for task in tasks:
            if (failure := task.result()) is not None:
                raise failure

    async def _store_chunk(self, message: Message, tenant: str) -> None:
        """Store a chunk and acknowledge it. Raises what is no fault of its own, and TooLarge: it is sent again then."""
        assert message.chunk is not None
        form = ForwardEntries([(message.tag, None)], message.chunk)
        key = key_of(message.tag, message.chunk)
        try:
            try:
                await self._submit(message, form, tenant, key)
            except KeyConflict:  # other entries under a name that was used: no repeat, whoever made the names
                other = key_of(message.tag, message.chunk, form.hash_of(message.entries))
                await self._submit(message, form, tenant, other)
        except (BadRequest, Unsupported) as error:
            self._give_up(error)
        self._say(acknowledgement(message.chunk))

    async def _submit(self, message: Message, form: ForwardEntries, tenant: str, key: str) -> None:
        claim = self._storing.gate.claim(tenant)
        await self._storing.store(tenant, form, message.entries, claim, encoding=message.encoding, key=key)

    async def _store_runs(self, runs: list[Run], tenant: str) -> None:
        """Store what came without a chunk, one after another. Raises TooLarge once all else is stored."""
        failure = None
        for run in runs:
            try:
                await self._store_run(run, tenant)
            except TooLarge as error:
                failure = error
            self.unstored -= 1
        if failure is not None:
            raise failure

    async def _store_run(self, run: Run, tenant: str) -> None:
        pause_s, form = self._limits.again_s, run.form()
        while True:
            claim = self._storing.gate.claim(tenant)
            try:
                await self._storing.store(
                    tenant, form, bytes(run.entries), claim, encoding=run.encoding, route_name=self._route
                )
                return
            except (BadRequest, Unsupported) as error:
                self._give_up(error)
                return
            except TooLarge:
                raise
            except EssError as error:
                _log.warning("a forward connection of %s waits: %s", self._wire.peer, error.message)
                let_go(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._limits.max_again_s)

    def _give_up(self, error: EssError) -> None:
        """Count a message that can never be stored."""
        self._storing.count_rejected([(0, error.message)])
        _log.warning("a forward message of %s can never be stored: %s", self._wire.peer, error.message)

    def _say(self, said: bytes) -> None:
        self._wire.write(said, self._limits.max_unread_bytes)


async def _caught(storing: Coroutine[Any, Any, None]) -> EssError | None:
    """Wait for one of several that must not end the others; gives what went wrong."""
    try:
        await storing
    except EssError as error:
        return error
    return None
