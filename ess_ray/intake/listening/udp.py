"""A UDP socket: nobody can be slowed down, so datagrams wait here, then in the kernel, and what is lost is counted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from pathlib import Path
from typing import Final

from ess_ray.core.errors import EssError
from ess_ray.intake.listening.pieces import store_piece
from ess_ray.intake.listening.shapes import Datagram, Datagrams, Meter, Surroundings
from ess_ray.intake.listening.tcp import bound, plain_address
from ess_ray.limits import ListenAt

_log = logging.getLogger(__name__)

MAX_DATAGRAM_BYTES: Final = 65_535
_TABLES: Final = {socket.AF_INET: Path("/proc/net/udp"), socket.AF_INET6: Path("/proc/net/udp6")}
"""Where Linux tells of its UDP sockets: the tenth word is the socket's inode, the last how many datagrams it
dropped."""
_INODE, _DROPS = 9, -1
_OVERHEAD_BYTES: Final = 128
"""What a waiting datagram takes beside its bytes: empty ones are not free."""


class UdpServer:
    """See `shapes.Server`."""

    def __init__(self, at: ListenAt, around: Surroundings, datagrams: Datagrams) -> None:
        self._at, self._around, self._datagrams, self._limits = at, around, datagrams, around.sockets
        self.meter = Meter(at.protocol, around.tally)
        self._socket: socket.socket | None = None
        self._waiting: deque[Datagram] = deque()
        self._waiting_bytes = 0
        self._is_reading = False
        self._came = asyncio.Event()
        self._storing: asyncio.Task[None] | None = None
        self._is_ending = False

    @property
    def port(self) -> int:
        """Give the port that is open."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Open it. Raises OSError."""
        self._socket = bound(self._at.host, self._at.port, socket.SOCK_DGRAM)
        _enlarge(self._socket, self._limits.udp_buffer_bytes)
        self._storing = asyncio.create_task(self._store_all(), name=f"{self._at.protocol} to the log")
        self._read_on()

    async def stop(self, *, at_once: bool = False) -> None:
        """See `shapes.Server`."""
        if self._socket is not None and self._socket.fileno() >= 0:
            self.look()
            self._pause()
            while self._read_some() and self._waiting_bytes < 2 * self._limits.udp_waiting_bytes:
                continue
            self._socket.close()
        self._is_ending = True
        self._came.set()
        if self._storing is not None:
            await asyncio.wait([self._storing])

    def look(self) -> None:
        """See `shapes.Server`."""
        if self._socket is not None and self._socket.fileno() >= 0:
            self.meter.dropped(_drops_of(self._socket))

    # ------------------------------------------------------------------------------------------------------- reading
    def _read_on(self) -> None:
        if not self._is_reading and not self._is_ending and self._socket is not None and self._socket.fileno() >= 0:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read_some)

    def _pause(self) -> None:
        if self._is_reading and self._socket is not None:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def _read_some(self) -> bool:
        """Read what is there, a turn's worth; tells whether there may be more."""
        assert self._socket is not None
        may_be_more = True
        for _ in range(self._limits.datagrams_a_turn):
            try:
                content, address = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                may_be_more = False
                break
            except OSError as error:
                _log.warning("a datagram of %s could not be read: %s", self._at.protocol, error)
                may_be_more = False
                break
            self.meter.read(len(content))
            self._waiting.append((plain_address(str(address[0])), content))
            self._waiting_bytes += len(content) + _OVERHEAD_BYTES
        self._came.set()
        if self._waiting_bytes >= self._limits.udp_waiting_bytes:
            self._pause()
        return may_be_more

    # ------------------------------------------------------------------------------------------------------- storing
    async def _store_all(self) -> None:
        while True:
            if not self._waiting:
                if self._is_ending:
                    return
                self._came.clear()
                await self._came.wait()
                continue
            taken = self._take()
            try:
                piece = self._datagrams.take(taken)
                if piece is not None:
                    await store_piece(piece, self._at, self._around, self.meter)
            except EssError as error:
                self.meter.reject("ended", len(taken))
                _log.error("%d datagrams of %s are lost: %s", len(taken), self._at.protocol, error.message)
            except Exception:  # noqa: BLE001 (a bug: these datagrams are lost and counted, and the next are read)
                self.meter.reject("failed", len(taken))
                _log.exception("%d datagrams of %s are lost", len(taken), self._at.protocol)

    def _take(self) -> list[Datagram]:
        taken, size = [], 0
        while self._waiting and size < self._limits.udp_batch_bytes:
            datagram = self._waiting.popleft()
            taken.append(datagram)
            size += len(datagram[1]) + _OVERHEAD_BYTES
        self._waiting_bytes -= size
        if self._waiting_bytes <= self._limits.udp_waiting_bytes // 2:
            self._read_on()
        return taken


def _enlarge(udp: socket.socket, size: int) -> None:
    """Give a socket a large buffer: beyond the system's limit where we may, else up to it."""
    force = getattr(socket, "SO_RCVBUFFORCE", 33)  # Linux's number, which Python does not name
    try:
        udp.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _drops_of(udp: socket.socket) -> int:
    """Give how many datagrams the kernel has dropped of a socket; 0 where it does not tell."""
    inode = str(os.fstat(udp.fileno()).st_ino)
    try:
        lines = _TABLES[socket.AddressFamily(udp.family)].read_text().splitlines()[1:]
    except (KeyError, OSError):
        return 0
    for words in (line.split() for line in lines):
        if len(words) > _INODE and words[_INODE] == inode:
            return int(words[_DROPS])
    return 0
