"""Syslog over UDP, TCP and TLS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ess_ray.core.errors import BadRequest
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.syslog import Received, decode
from ess_ray.intake.formats.syslog_frames import SyslogFrames
from ess_ray.intake.listening.messages import Messages, piece_of
from ess_ray.intake.listening.shapes import Datagram, Peer, Piece, Server, Surroundings
from ess_ray.intake.listening.tcp import TcpServer
from ess_ray.intake.listening.udp import UdpServer
from ess_ray.limits import ListenAt


def udp(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `syslog_udp`. Raises BadRequest (time zone)."""
    return UdpServer(at, around, _Datagrams(_Reader(around, at.whose, _zone_of(at))))


def tcp(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `syslog_tcp`. Raises BadRequest (time zone)."""
    return TcpServer(at, around, partial(_conversation, around, _zone_of(at)))


def tls(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `syslog_tls`, RFC 5425. Raises BadRequest (time zone, certificate)."""
    return TcpServer(at, around, partial(_conversation, around, _zone_of(at)), with_tls=True)


class _Reader:
    def __init__(self, around: Surroundings, tenant: str, zone: tzinfo | None) -> None:
        self._limits, self._table, self._zone = around.limits, around.table_of(tenant), zone

    def __call__(self, messages: Sequence[Received], now_us: int) -> Decoded:
        return decode(messages, now_us, self._limits, self._table, self._zone)


def _conversation(around: Surroundings, zone: tzinfo | None, peer: Peer) -> Messages:
    return Messages(_Reader(around, peer.tenant, zone), SyslogFrames(), peer)


class _Datagrams:
    """See `shapes.Datagrams`: each is a message, line ends inside included."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def take(self, datagrams: Sequence[Datagram]) -> Piece | None:
        return piece_of([Received(content, peer) for peer, content in datagrams], self._reader)


def _zone_of(at: ListenAt) -> tzinfo | None:
    if at.time_zone is None:
        return None
    try:
        return ZoneInfo(at.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadRequest(f"listeners.{at.protocol}.time_zone: {at.time_zone!r} is no time zone") from error
