"""The bytes of one TCP or TLS connection, read only as far as they are taken: what is not taken holds its sender up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from ess_ray.core.errors import Unavailable

READ_BYTES: Final = 128 * 1024
"""Read from the socket at once."""
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that is gone is found within two minutes, in seconds and tries."""


class Wire(asyncio.BufferedProtocol):
    """One connection. At most `most_bytes` are read before they are taken, and nothing while nobody wants to take:
    what has been taken is in its taker's hands, and not counted yet. `made` is called with it once it stands."""

    def __init__(self, made: Callable[[Wire], None], most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.lost = False
        """Whether the connection is gone."""
        self._made = made
        self._transport: asyncio.Transport | None = None
        self._given = bytearray()
        self._backlog = bytearray()
        self._ended = self._stopped = self._discards = False
        self._news = asyncio.Event()

    @property
    def peer(self) -> str:
        """The other side's address."""
        told = self._open().get_extra_info("peername")
        return str(told[0]) if isinstance(told, tuple) and told else "?"

    # ------------------------------------------------------------------------------------------ called by the loop
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's, which Ray's actors run on, is none by its class
        _keep_alive(transport.get_extra_info("socket"))
        self._made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room for what is read: no more than may be held, and none while nothing comes.

        TLS fills it part by part, which a bytearray's slices would not show.
        """
        self._given = bytearray(min(READ_BYTES, self.most_bytes))
        return memoryview(self._given)

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was read."""
        if not self._discards:
            with memoryview(self._given) as view:
                self._backlog += view[:nbytes]
        self._given = bytearray()
        if len(self._backlog) >= self.most_bytes:
            self._open().pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Keep the connection open for what is still to be said."""
        self._ended = True
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.lost = self._ended = True
        self._news.set()

    # ----------------------------------------------------------------------------------------- called by its owner
    async def take(self, within_s: float) -> bytes:
        """Wait for bytes, and give all that there are; nothing at the end, or once `stop` was called and all is given.

        Raises TimeoutError.
        """
        if not self._backlog and not self._stopped and not self.lost:
            self._open().resume_reading()
        try:
            async with asyncio.timeout(within_s):
                while not self._backlog and not self._ended and not self._stopped:
                    self._news.clear()
                    await self._news.wait()
        finally:
            if not self.lost:
                self._open().pause_reading()
        taken, self._backlog = bytes(self._backlog), bytearray()
        return taken

    def stop(self) -> None:
        """Read nothing more; what has been read can still be taken. Idempotent."""
        self._stopped = True
        if not self.lost:
            self._open().pause_reading()
        self._news.set()

    def write(self, data: bytes, max_unread_bytes: int) -> None:
        """Send; nothing where the connection is gone. Raises Unavailable when the other side has not taken so much."""
        transport = self._open()
        if self.lost or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > max_unread_bytes:
            raise Unavailable("the other side takes nothing of what it is told")

    async def close(self, linger_s: float) -> None:
        """Say that nothing more comes, and close once the other side has closed, or after a while.

        What it still sends is thrown away: closing over unread bytes would be a reset, which takes with it whatever the
        other side has not read yet.
        """
        transport = self._open()
        if self.lost:
            return
        self._discards, self._backlog = True, bytearray()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
            transport.resume_reading()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    while not self._ended:
                        self._news.clear()
                        await self._news.wait()
            if transport.get_write_buffer_size():  # it takes nothing, and would be waited for without end
                transport.abort()
        transport.close()

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        if not self.lost:
            self._open().abort()

    def _open(self) -> asyncio.Transport:
        assert self._transport is not None  # once it stands
        return self._transport


def _keep_alive(raw: Any) -> None:
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):  # named otherwise where it is not Linux
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
