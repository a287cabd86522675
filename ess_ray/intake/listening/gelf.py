"""GELF over UDP, whole or in chunks, and over TCP, each message ended by NUL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.frames import EndedFrames
from ess_ray.intake.formats.gelf import decode
from ess_ray.intake.formats.gelf_chunks import GelfChunks
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.listening.messages import Messages, piece_of
from ess_ray.intake.listening.shapes import Datagram, Meter, Peer, Piece, Server, Surroundings
from ess_ray.intake.listening.tcp import TcpServer
from ess_ray.intake.listening.udp import UdpServer
from ess_ray.limits import ListenAt

_END = b"\0"


def udp(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `gelf_udp`."""
    datagrams = _Datagrams(_Reader(around, at.whose), GelfChunks(around.clock_s))
    server = UdpServer(at, around, datagrams)
    datagrams.meter = server.meter
    return server


def tcp(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `gelf_tcp`."""
    return TcpServer(at, around, partial(_conversation, around))


class _Reader:
    def __init__(self, around: Surroundings, tenant: str) -> None:
        self._limits, self._table = around.limits, around.table_of(tenant)

    def __call__(self, messages: Sequence[Received], now_us: int) -> Decoded:
        return decode(messages, now_us, self._limits, self._table)


def _conversation(around: Surroundings, peer: Peer) -> Messages:
    return Messages(_Reader(around, peer.tenant), EndedFrames(_END), peer)


class _Datagrams:
    """See `shapes.Datagrams`."""

    meter: Meter | None = None

    def __init__(self, reader: _Reader, chunks: GelfChunks) -> None:
        self._reader, self._chunks = reader, chunks
        self._told: Counter[str] = Counter()

    def take(self, datagrams: Sequence[Datagram]) -> Piece | None:
        whole = [(peer, self._chunks.add(peer, content)) for peer, content in datagrams]
        self._tell_lost()
        messages = [Received(content, peer) for peer, content in whole if content is not None]
        if not messages:
            return None
        return piece_of(messages, self._reader)

    def _tell_lost(self) -> None:
        for reason, total in self._chunks.lost.items():
            if self.meter is not None and total > self._told[reason]:
                self.meter.reject(f"chunks_{reason}", total - self._told[reason])
                self._told[reason] = total
