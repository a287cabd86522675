"""The listener of the forward protocol: which connections there are, who may have one, and how they end.

Needs no Ray: whoever holds it gives it what stores (`Storing`), and asks it to `serve` and to `drain`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import Final

from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.intake.formats.forward_handshake import MAX_PING_BYTES, Handshake
from ess_ray.intake.forward_connection import Allowed, Connection
from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.storing import Storing
from ess_ray.intake.wire import Wire
from ess_ray.metrics import FORWARD_CONNECTIONS, FORWARD_LOST, FORWARD_REFUSED

_log = logging.getLogger(__name__)

SERVER_NAME: Final = "ess_ray.forward"
"""What the handshake calls this side. No host is named so: Fluentd refuses a server with a name like its own."""
DRAIN_S: Final = 10.0
"""How long connections may take to store what was read of them, at the end: as long as the log may take."""


async def everybody(_: str) -> None:
    """Let every tenant's connections be."""


class ForwardServer:
    """One listener, on one event loop.

    Without `shared_keys` every connection is `tenant`'s. With them each client has to know a tenant's key (and, with
    `users`, a user's password), and is that tenant's. `allowed` is asked for each connection and again every second.
    Raises BadRequest where it is not told whose connections are.
    """

    def __init__(
        self,
        *,
        storing: Storing,
        tenant: str | None = None,
        shared_keys: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        allowed: Allowed = everybody,
        limits: ForwardLimits | None = None,
        server_name: str = SERVER_NAME,
    ) -> None:
        if (tenant is None) == (not shared_keys):
            raise BadRequest("the forward listener needs either a tenant or shared keys by tenant")
        if users and not shared_keys:
            raise BadRequest("users of the forward listener need shared keys, too: the handshake begins with those")
        self._storing, self._tenant, self._allowed = storing, tenant, allowed
        self._shared_keys, self._users, self._server_name = dict(shared_keys or {}), dict(users or {}), server_name
        self._limits = limits or ForwardLimits()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._peers: Counter[str] = Counter()
        self._watch: asyncio.Task[None] | None = None
        self._drains = False

    @property
    def open_connections(self) -> int:
        """Connections that there are, those in their handshake too."""
        return len(self._connections)

    @property
    def ports(self) -> list[int]:
        """The ports that are listened at."""
        return [socket.getsockname()[1] for server in self._servers for socket in server.sockets]

    async def serve(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen from now on; may be called for several places. Port 0 is any free one. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._made, host, port, ssl=tls)
        except OSError as error:
            raise Unavailable(f"port {port} of {host} cannot be used ({error.strerror or error})", port=port) from error
        self._servers.append(server)

    async def drain(self, within_s: float = DRAIN_S, hang_up_s: float | None = None) -> None:
        """Accept and read nothing more, store and acknowledge what was read, close. Idempotent.

        After `within_s` what is left is closed without: chunks are sent again, what came without one is counted as
        lost. After `hang_up_s` clients are hung up on, and what was read of them is stored without them.
        """
        self._drains = True
        for server in self._servers:
            server.close()
        for connection in self._connections.values():
            connection.drain()
        if self._connections and hang_up_s is not None:
            await asyncio.wait(list(self._connections), timeout=hang_up_s)
            for connection in self._connections.values():
                connection.hang_up()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=within_s)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections))
        if self._watch is not None:
            self._watch.cancel()

    def change_shared_keys(self, shared_keys: Mapping[str, str]) -> None:
        """Take other shared keys from now on, and end the connections that knew one that is gone."""
        gone = {name for name, key in self._shared_keys.items() if shared_keys.get(name) != key}
        self._shared_keys = dict(shared_keys)
        self._end(gone, "its shared key was taken back")

    # ----------------------------------------------------------------------------------------------------- connections
    def _made(self) -> Wire:
        return Wire(self._begin, MAX_PING_BYTES)

    def _begin(self, wire: Wire) -> None:
        peer, limits = wire.peer, self._limits
        is_full = len(self._connections) >= limits.max_connections
        if self._drains or is_full or self._peers[peer] >= limits.max_connections_a_peer:
            if not self._drains:
                self._storing.tally.count(FORWARD_REFUSED)
                _log.warning("a forward connection of %s is refused: there are too many", peer)
            wire.abort()
            return
        handshake = None
        if self._tenant is None:
            handshake = Handshake(self._shared_keys, server_name=self._server_name, users=self._users)
        connection = Connection(
            wire=wire,
            storing=self._storing,
            limits=limits,
            tenant=self._tenant,
            handshake=handshake,
            allowed=self._allowed,
        )
        task = asyncio.get_running_loop().create_task(connection.run(), name="a forward connection")
        self._connections[task] = connection
        self._peers[peer] += 1
        task.add_done_callback(lambda ended: self._ended(ended, peer))
        self._storing.tally.set(FORWARD_CONNECTIONS, len(self._connections))
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._look(), name="ask again for forward connections")

    def _ended(self, task: asyncio.Task[None], peer: str) -> None:
        connection = self._connections.pop(task)
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]
        tally = self._storing.tally
        tally.set(FORWARD_CONNECTIONS, len(self._connections))
        if connection.unstored:
            tally.count(FORWARD_LOST, connection.unstored)
            _log.error("%s requests that came without a chunk from %s are lost", connection.unstored, peer)

    async def _look(self) -> None:
        """Look again who may stay, as long as somebody is there."""
        try:
            while self._connections:
                await asyncio.sleep(self._limits.ask_again_s)
                tenants = {connection.tenant for connection in self._connections.values()}
                for tenant in [tenant for tenant in tenants if tenant is not None]:
                    try:
                        await self._allowed(tenant)
                    except EssError as refusal:
                        self._end({tenant}, refusal.message)
        finally:
            self._watch = None

    def _end(self, tenants: set[str], reason: str) -> None:
        for task, connection in list(self._connections.items()):
            if connection.tenant in tenants:
                _log.warning("a forward connection of tenant %s is ended: %s", connection.tenant, reason)
                task.cancel()
