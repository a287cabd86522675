"""A listening TCP socket: each connection is read only as fast as the log takes what it brings.

Read, make durable, answer, read on: so a slow log slows senders down, and what is in our hands is bounded. At the end
connections are read until they are quiet, so that what a sender takes for delivered is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from ess_ray.core.errors import Forbidden, Unavailable
from ess_ray.intake.gate import Claim
from ess_ray.intake.listening.pieces import store_piece
from ess_ray.intake.listening.shapes import HANG_UP_S, Conversation, Meter, Peer, Surroundings, Turn
from ess_ray.intake.listening.tls import Certificate, CertificateTenants
from ess_ray.limits import ListenAt

_log = logging.getLogger(__name__)

BACKLOG: Final = 256
"""Connections that wait to be accepted."""
HANDSHAKE_S: Final = 10.0
"""How long a TLS handshake may take."""
CLOSE_S: Final = 2.0
"""How long a closing connection may take over its last bytes."""

_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 6))
"""Senders are silent for hours; one that is gone without a word leaves its place after three minutes."""


def bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Give a socket of one address. Raises OSError."""
    family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind, protocol)
    try:
        if kind == socket.SOCK_STREAM:
            # For connections of an earlier life; of UDP it would let two systems share a port.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


class _Sparing(asyncio.StreamReaderProtocol, asyncio.BufferedProtocol):
    """What asyncio's streams are, but no more is read of a connection than its reader is about to take.

    The usual one reads 256 KiB at once, and that again while nobody takes them: of hundreds of connections that bring
    something in the same moment this is more than all that is counted.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        accepted: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        loop: asyncio.AbstractEventLoop,
        /,
        room: memoryview,
    ) -> None:
        """`room`: where all connections of a server are read into, one after another."""
        super().__init__(reader, accepted, loop=loop)
        self._room = room

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the room; TLS fills it part by part, which a bytearray's slices would not show."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read; the reader pauses it, since it holds more than nothing."""
        self.data_received(bytes(self._room[:nbytes]))


class TcpServer:
    """See `shapes.Server`. `talk` makes a conversation with a peer."""

    def __init__(
        self, at: ListenAt, around: Surroundings, talk: Callable[[Peer], Conversation], *, with_tls: bool = False
    ) -> None:
        self._at, self._around, self._talk, self._limits = at, around, talk, around.sockets
        self.meter = Meter(at.protocol, around.tally)
        self._certificate = Certificate(at) if with_tls else None
        self._tenants = CertificateTenants(dict(at.client_tenants), at.tenant) if at.client_tenants else None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._of_peer: Counter[str] = Counter()
        self._partials: Counter[str] = Counter()
        self._partial_bytes = 0
        self._stop_s: float | None = None
        self._room = memoryview(bytearray(self._limits.read_bytes))

    @property
    def port(self) -> int:
        """Give the port that is open."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Open it. Raises OSError."""
        listening = bound(self._at.host, self._at.port, socket.SOCK_STREAM)
        # Both taken over by what is accepted; the kernel no longer makes a buffer of this size larger.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._limits.receive_buffer_bytes)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)
        certificate = self._certificate
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._made,
                sock=listening,
                backlog=BACKLOG,
                ssl=None if certificate is None else certificate.context,
                ssl_handshake_timeout=None if certificate is None else HANDSHAKE_S,
            )
        except OSError:
            listening.close()
            raise

    async def stop(self, *, at_once: bool = False) -> None:
        """See `shapes.Server`."""
        if self._stop_s is None:
            drain_s = min(self._limits.drain_s, HANG_UP_S) if at_once else self._limits.drain_s
            self._stop_s = asyncio.get_running_loop().time() + drain_s
            if self._server is not None:
                self._server.close()
            for connection in self._connections.values():
                connection.leave()
        while self._connections:
            await asyncio.wait(self._connections)

    def look(self) -> str | None:
        """See `shapes.Server`."""
        return None if self._certificate is None else self._certificate.look()

    # ------------------------------------------------------------------------------------------------- one connection
    def _made(self) -> _Sparing:
        loop = asyncio.get_running_loop()
        return _Sparing(asyncio.StreamReader(limit=1, loop=loop), self._accepted, loop, room=self._room)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _address_of(writer)
        full = (
            len(self._connections) >= self._limits.max_connections
            or self._of_peer[peer] >= self._limits.max_connections_per_peer
        )
        if full or self._stop_s is not None:
            self.meter.reject("connections")
            writer.close()
            return
        try:
            tenant = self._tenant_of(writer)
        except Forbidden as error:
            self.meter.reject("certificate")
            _log.warning("a connection of %s from %s is refused: %s", self._at.protocol, peer, error.message)
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = _Connection(self, reader, writer, Peer(peer, tenant))
        self._of_peer[peer] += 1
        self.meter.opened()
        try:
            await connection.run()
        except (ConnectionError, TimeoutError) as error:
            _log.info("a connection of %s from %s broke: %s", self._at.protocol, peer, error)
        except Unavailable as error:
            self.meter.reject("ended")
            _log.error("%s from %s: %s", self._at.protocol, peer, error.message)
        except Exception:  # noqa: BLE001 (a bug: its connection is closed without an answer, and the others go on)
            self.meter.reject("failed")
            _log.exception("a connection of %s from %s is closed", self._at.protocol, peer)
        finally:
            self.hold_partial(peer, connection.partial_bytes, 0)
            connection.claim.close()
            del self._connections[task]
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]
            self.meter.closed()
            await _close(writer)

    def _tenant_of(self, writer: asyncio.StreamWriter) -> str:
        """Give whose a connection is. Raises Forbidden."""
        return self._at.whose if self._tenants is None else self._tenants.tenant_of(writer.get_extra_info("ssl_object"))

    def hold_partial(self, peer: str, before: int, now: int) -> bool:
        """Count bytes of frames that have not ended; False where they are too many."""
        self._partials[peer] += now - before
        self._partial_bytes += now - before
        if not self._partials[peer]:
            del self._partials[peer]
        limits = self._limits
        return now <= before or (
            self._partial_bytes <= limits.max_partial_bytes
            and self._partials[peer] <= limits.max_partial_bytes_per_peer
        )

    async def find_room(self, claim: Claim, held_bytes: int) -> bool:
        """Hold bytes of the gate as soon as it has room, nothing being read meanwhile; False where it has none."""
        try:
            await claim.hold_soon(held_bytes, self._limits.room_s, lambda: self._stop_s is None)
        except Unavailable:
            return False
        return True

    def claim(self, tenant: str) -> Claim:
        """Begin to count what is held of a connection."""
        return self._around.gate.claim(tenant)

    def talk(self, peer: Peer) -> Conversation:
        """Begin to talk with a peer."""
        return self._talk(peer)

    async def act(self, turn: Turn, writer: asyncio.StreamWriter) -> None:
        """Make a turn's pieces durable, each answered behind that."""
        for piece in turn.pieces:
            await store_piece(piece, self._at, self._around, self.meter)
            await self.say(piece.reply, writer)
        if turn.refused is not None:
            self.meter.reject(turn.refused)

    async def say(self, reply: bytes, writer: asyncio.StreamWriter) -> None:
        """Send an answer. Raises TimeoutError when the client does not take it."""
        if reply:
            writer.write(reply)
            async with asyncio.timeout(self._limits.reply_s):
                await writer.drain()

    def wait_until_s(self, partial_bytes: int) -> float | None:
        """Give until when a connection's next bytes are waited for; None for ever."""
        now_s, limits = asyncio.get_running_loop().time(), self._limits
        if self._stop_s is not None:
            return min(self._stop_s, now_s + limits.quiet_s)
        return now_s + limits.partial_s if partial_bytes else None

    @property
    def read_bytes(self) -> int:
        return self._limits.read_bytes


class _Connection:
    def __init__(
        self, server: TcpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        self._server, self._reader, self._writer, self._address = server, reader, writer, peer.address
        self._conversation = server.talk(peer)
        self.claim = server.claim(peer.tenant)
        self._waiting: asyncio.Timeout | None = None
        self.partial_bytes = 0
        """As the server counts them."""

    async def run(self) -> None:
        server, conversation = self._server, self._conversation
        await server.say(conversation.begin(), self._writer)
        while True:
            data, is_late = await self._read()
            turn = conversation.feed(data) if data else conversation.end()
            server.meter.read(len(data))
            if is_late:
                server.meter.reject("partial")
            fits = await self._hold(conversation.partial_bytes)
            await server.act(turn, self._writer)
            if not fits:
                server.meter.reject("partial")
                self.claim.close()
                await server.act(conversation.end(), self._writer)
            if not data or not fits or turn.refused is not None:
                return

    def leave(self) -> None:
        """Read on only while there is something."""
        if self._waiting is not None:
            with contextlib.suppress(RuntimeError):  # it is just running out
                self._waiting.reschedule(self._server.wait_until_s(0))
        if not self._conversation.replies and self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()  # so that the sender learns of it, and sends no more

    async def _read(self) -> tuple[bytes, bool]:
        """Give what came; nothing at the end, which may be that too little came for too long."""
        until_s = self._server.wait_until_s(self._conversation.partial_bytes)
        try:
            async with asyncio.timeout_at(until_s) as self._waiting:
                return await self._reader.read(self._server.read_bytes), False
        except TimeoutError:
            return b"", self._server.wait_until_s(0) is None
        finally:
            self._waiting = None

    async def _hold(self, partial_bytes: int) -> bool:
        """Count what has come of a frame that has not ended; False where it is too much."""
        before, self.partial_bytes = self.partial_bytes, partial_bytes
        fits = self._server.hold_partial(self._address, before, partial_bytes)
        return fits and await self._server.find_room(self.claim, partial_bytes)


def _address_of(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return plain_address(str(peer[0])) if peer else "unknown"


def plain_address(address: str) -> str:
    """Give an address as it is usually written: IPv6 sockets give IPv4's in a form of their own."""
    return address.removeprefix("::ffff:") if "." in address else address


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
