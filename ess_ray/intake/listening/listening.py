"""All of the listener's protocols on one node: which are on just now, and what is told of them.

A protocol has no place for a key. So it is one tenant's by setting; without one it is the default tenant's, and only
while everybody may push: from the first key on it is off, and beyond loopback it never is on. A usual port that is
taken is left off, and said; one that was chosen is a problem of the system's health, and tried again.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ess_ray.core.errors import EssError
from ess_ray.intake.listening.shapes import Make, Meter, Server, Surroundings
from ess_ray.intake.listening.table import PROTOCOLS
from ess_ray.limits import ListenAt

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often keys and ports are looked at: a first key closes the doors that need none within two seconds."""
PATIENCE_S: Final = 10.0
"""How long a usual port that is taken is tried again: whoever held it before a restart has let it go by then."""
State = Literal["on", "off", "failed", "starting"]

KEYS: Final = "keys exist, and this protocol has no place for one: name its tenant in the settings"
WITH_KEYS: Final = ("otlp_grpc",)
"""Protocols that have a place for a key."""
BEYOND: Final = "it listens beyond loopback, where anybody could push: name its tenant in the settings"


@dataclass
class _Door:
    """One protocol, as it stands."""

    at: ListenAt
    state: State = "starting"
    why: str = ""
    server: Server | None = None
    last: Meter | None = None
    since_s: float = 0.0

    def told(self) -> dict[str, Any]:
        at = self.at
        meter = self.last
        figures = {} if meter is None else meter.figures()
        where = {"protocol": at.protocol, "transport": _transport(at), "host": at.host, "port": at.port}
        return {**where, "tenant": ", ".join(at.tenants), "state": self.state, "why": self.why, **figures}


class Listening:
    """The sockets of one node. Lives on one event loop. `keys_exist` may block, and raise EssError or OSError."""

    def __init__(
        self,
        wanted: Sequence[ListenAt],
        around: Surroundings,
        keys_exist: Callable[[], bool],
        protocols: Mapping[str, Make] = PROTOCOLS,
        *,
        look_s: float = LOOK_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._around, self._keys_exist, self._protocols = around, keys_exist, protocols
        self._look_s, self._patience_s = look_s, patience_s
        self._doors = [_Door(at) for at in wanted]
        self._is_ending = False
        self.has_looked = False
        """Whether what can be open at once is."""
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep open what is to be open, until `stop`."""
        while not self._is_ending:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look once at keys and ports, and open and close what follows from them."""
        keys = await self._look_for_keys()
        async with self._changing:
            if self._is_ending:
                return
            for door in self._doors:
                if (why := _closed_by(door.at, keys)) is not None:
                    self._close(door, why, at_once=True)
                elif door.server is None and keys is not None:
                    await self._open(door)
                if door.server is not None:
                    door.why = door.server.look() or ""
            self.has_looked = self.has_looked or keys is not None

    async def stop(self) -> None:
        """Close everything, once what was read is durable. Idempotent."""
        self._is_ending = True
        async with self._changing:
            for door in self._doors:
                self._close(door, "the listener ends")
            while self._closing:
                await asyncio.wait(self._closing)

    def status(self) -> list[dict[str, Any]]:
        """Give each protocol's place, state and figures."""
        return [door.told() for door in self._doors]

    def problems(self) -> list[str]:
        """Name what was asked for and is not open, and what of it works on with an old certificate."""
        return [
            f"{door.at.protocol}: {door.why}"
            for door in self._doors
            if door.state == "failed" or (door.state == "on" and door.why)
        ]

    # -------------------------------------------------------------------------------------------------------- one door
    async def _look_for_keys(self) -> bool | None:
        """Tell whether there are keys; None where nobody can say: what is open stays so, nothing is opened."""
        try:
            return await asyncio.to_thread(self._keys_exist)
        except (EssError, OSError) as error:
            _log.warning("the listener cannot see whether there are keys: %s", error)
            return None

    async def _open(self, door: _Door) -> None:
        if door.state == "off" and door.why.startswith("port "):
            return  # left off for good
        try:
            server = self._protocols[door.at.protocol](door.at, self._around)
            await server.start()
        except OSError as error:
            self._not_open(
                door, f"port {door.at.port} of {door.at.host} cannot be used ({error.strerror or error})", error
            )
        except EssError as error:
            door.state, door.why = "failed", error.message
        except Exception as error:  # noqa: BLE001 (a bug in one protocol leaves the others open)
            door.state, door.why = "failed", f"{type(error).__name__}: {error}"
            _log.exception("%s cannot be opened", door.at.protocol)
        else:
            if door.last is not None:
                _add(server.meter, door.last)
            door.server, door.last, door.state, door.why = server, server.meter, "on", ""
            _log.info("%s listens on %s:%d", door.at.protocol, door.at.host, door.at.port)

    def _not_open(self, door: _Door, why: str, error: OSError) -> None:
        now_s = asyncio.get_running_loop().time()
        if door.state == "starting" and not door.why:
            door.since_s = now_s
        was, door.why = door.why, why
        if door.at.is_explicit or error.errno != errno.EADDRINUSE:
            door.state = "failed"
        elif now_s - door.since_s >= self._patience_s:
            door.state = "off"
        if was != why or door.state == "off":
            _log.warning("%s is not open: %s", door.at.protocol, why)

    def _close(self, door: _Door, why: str, *, at_once: bool = False) -> None:
        """Close a door; what it has read becomes durable meanwhile, however long the log is away."""
        server, door.server = door.server, None
        door.state, door.why = "off", why
        if server is not None:
            _log.info("%s closes: %s", door.at.protocol, why)
            closing = asyncio.create_task(server.stop(at_once=at_once), name=f"close {door.at.protocol}")
            self._closing.add(closing)
            closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            _log.error("a listener did not close in good order", exc_info=error)


def _closed_by(at: ListenAt, keys: bool | None) -> str | None:
    if at.tenant is not None or at.asks or (keys and at.protocol in WITH_KEYS):
        return None
    if not is_loopback(at.host):
        return BEYOND
    return KEYS if keys else None


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _transport(at: ListenAt) -> str:
    return "udp" if at.protocol.endswith("_udp") else "tcp"


def _add(to: Meter, before: Meter) -> None:
    """Have a door that is opened again go on counting."""
    to.connections += before.connections
    to.events += before.events
    to.bytes += before.bytes
    to.frames_cut += before.frames_cut
    to.rejected += before.rejected
