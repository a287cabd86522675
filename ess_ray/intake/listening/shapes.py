"""What a protocol of the listener gives and is given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from ess_ray import metrics as m
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.gate import Gate
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.otlp_grpc import TenantOf
from ess_ray.intake.storing import Storing
from ess_ray.limits import SOCKETS, ListenAt, SocketLimits
from ess_ray.metrics import Tally, reason_class

HANG_UP_S: Final = 0.8
"""With a look every second this ends connections within two seconds of the first key."""


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Meter:
    """The figures of one protocol: for metrics (`tally`) and for the status. Lives on one event loop."""

    protocol: str
    tally: Tally
    open_connections: int = 0
    connections: int = 0
    events: int = 0
    bytes: int = 0
    frames_cut: int = 0
    udp_drops: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def opened(self) -> None:
        """Count a connection."""
        self.connections += 1
        self.open_connections += 1
        self.tally.count(m.LISTEN_CONNECTIONS, 1, self.protocol)
        self.tally.set(m.LISTEN_OPEN, self.open_connections, self.protocol)

    def set_open(self, connections: int) -> None:
        """Tell how many there are just now, where openings are not counted."""
        self.open_connections = connections
        self.tally.set(m.LISTEN_OPEN, connections, self.protocol)

    def closed(self) -> None:
        """Count the end of one."""
        self.open_connections -= 1
        self.tally.set(m.LISTEN_OPEN, self.open_connections, self.protocol)

    def read(self, size: int) -> None:
        """Count bytes that came."""
        self.bytes += size
        self.tally.count(m.LISTEN_BYTES, size, self.protocol)

    def stored(self, events: int) -> None:
        """Count events that the log has."""
        self.events += events
        self.tally.count(m.LISTEN_EVENTS, events, self.protocol)

    def cut(self, frames: int) -> None:
        """Count frames that were too long."""
        if frames:
            self.frames_cut += frames
            self.tally.count(m.LISTEN_CUT, frames, self.protocol)

    def reject(self, reason: str, count: int = 1) -> None:
        """Count events, messages or connections that were not taken, by one of few reasons."""
        if count:
            self.rejected[reason] += count
            self.tally.count(m.LISTEN_REJECTED, count, self.protocol, reason)

    def reject_named(self, rejected: Iterable[Named]) -> None:
        """Count events that can never be stored."""
        for _, reason in rejected:
            self.reject(reason_class(reason))

    def dropped(self, total: int) -> None:
        """Tell how many datagrams the kernel has dropped by now."""
        self.udp_drops = max(self.udp_drops, total)
        self.tally.total(m.LISTEN_UDP_DROPS, self.udp_drops, self.protocol)

    def figures(self) -> dict[str, Any]:
        """Give all of them for the status."""
        return {
            "connections": self.open_connections,
            "connections_total": self.connections,
            "events": self.events,
            "bytes": self.bytes,
            "rejected": dict(self.rejected),
            "frames_cut": self.frames_cut,
            "udp_drops": self.udp_drops,
        }


class Store(Protocol):
    """Where events go (see `sink.Sink`)."""

    async def store(self, tenant: str, columns: Decoded, key: str | None = None) -> None:
        """Return once the events are in the log, however long that is away. `key`: under which the same events may be
        sent again within an hour. Raises BadRequest (no record can hold them), Unavailable (at the end alone)."""


def _no_storing(_: Meter) -> Storing:
    raise BadRequest("this listener stores no whole requests")


async def _nobody(_: str) -> str:
    raise Unavailable("this listener knows no keys")


@dataclass(frozen=True)
class Surroundings:
    """What a protocol is given beside its settings."""

    store: Store
    limits: IntakeLimits
    tally: Tally
    sockets: SocketLimits = SOCKETS
    gate: Gate = field(default_factory=Gate)
    """Of the whole process: frames that have not ended count with what is on its way to the log."""
    clock_us: Callable[[], int] = _now_us
    clock_s: Callable[[], float] = time.monotonic
    storing_for: Callable[[Meter], Storing] = _no_storing
    """Makes what stores whole requests, and counts what it stored: for protocols with a server of their own."""
    tenant_of: TenantOf = _nobody
    """Gives the tenant of a key in metadata."""

    def table_of(self, tenant: str) -> FieldTable:
        """Give the names of fields in the events of a tenant."""
        return self.limits.table_of(tenant)


class Peer(NamedTuple):
    """Who sends: from which address, and whose that is."""

    address: str
    tenant: str


@dataclass(frozen=True)
class Piece:
    """Messages that become durable together.

    `decode`: from the time of receipt to events; pure, perhaps called in a thread. `reply`: sent once they are durable,
    never before. `key`: see `Store`. `tenant`: another one than the settings'. `cut`: frames of it that were too long.
    """

    size: int
    decode: Callable[[int], Decoded] | None = None
    reply: bytes = b""
    key: str | None = None
    tenant: str | None = None
    cut: int = 0


@dataclass(frozen=True)
class Turn:
    """What follows from bytes that came: pieces in their order. `refused`: close the connection behind them, and count
    it by this word."""

    pieces: Sequence[Piece] = ()
    refused: str | None = None


class Conversation(Protocol):
    """One connection's protocol, sans-IO. What it keeps between calls is bounded, and told by `partial_bytes`."""

    replies: bool
    """Whether clients wait for answers: to those that do not, the end is told before they are read to it."""

    @property
    def partial_bytes(self) -> int:
        """Give how many bytes are kept of what has not ended."""

    def begin(self) -> bytes:
        """Give what the server says first."""

    def feed(self, data: bytes) -> Turn:
        """Take what came."""

    def end(self) -> Turn:
        """Take the end of the connection."""


Datagram = tuple[str, bytes]
"""The address of whoever sent it, and what."""


class Datagrams(Protocol):
    """A protocol over UDP, sans-IO."""

    def take(self, datagrams: Sequence[Datagram]) -> Piece | None:
        """Take what came; gives what of it is complete."""


class Server(Protocol):
    """The open socket of one protocol. Lives on one event loop."""

    meter: Meter

    async def start(self) -> None:
        """Open it. Raises OSError, and EssError for settings that cannot be used."""

    async def stop(self, *, at_once: bool = False) -> None:
        """Take no more; make durable what was read, answer it, close. Idempotent; bounded in time by the store's.

        `at_once`: whoever is connected may be no longer: after HANG_UP_S nothing is read, and clients that are
        answered are hung up on; what was read is stored all the same.
        """

    def look(self) -> str | None:
        """Bring the meter up to date with what only the kernel knows, and read certificates that have changed; gives
        what is wrong with those."""


Make = Callable[[ListenAt, Surroundings], Server]
"""Makes a protocol's server, which is not open yet."""
