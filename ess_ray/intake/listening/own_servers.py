"""Protocols that bring a server of their own: Fluentd's forward protocol, and OTLP over gRPC."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc

from ess_ray.core.errors import BadRequest
from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.intake.listening.shapes import HANG_UP_S, Meter, Server, Surroundings
from ess_ray.intake.listening.tcp import bound
from ess_ray.intake.listening.tls import Certificate
from ess_ray.intake.otlp_grpc import OtlpGrpcServer
from ess_ray.limits import ListenAt


def forward(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `forward`. Raises BadRequest (certificate)."""
    return _Forward(at, around)


def otlp_grpc(at: ListenAt, around: Surroundings) -> Server:
    """Make the server of `otlp_grpc`. Raises BadRequest (certificate)."""
    return _OtlpGrpc(at, around)


class _Forward:
    """See `shapes.Server`."""

    def __init__(self, at: ListenAt, around: Surroundings) -> None:
        self._at = at
        self.meter = Meter(at.protocol, around.tally)
        self._certificate = None if at.cert_file is None else Certificate(at)
        limits = ForwardLimits(
            max_connections=around.sockets.max_connections,
            max_connections_a_peer=around.sockets.max_connections_per_peer,
        )
        shared_keys = dict(at.shared_keys)
        self._server = ForwardServer(
            storing=around.storing_for(self.meter),
            tenant=None if shared_keys else at.whose,
            shared_keys=shared_keys or None,
            users=dict(at.users) or None,
            limits=limits,
        )

    async def start(self) -> None:
        """See the protocol."""
        _check_free(self._at)
        await self._server.serve(
            self._at.host, self._at.port, None if self._certificate is None else self._certificate.context
        )

    async def stop(self, *, at_once: bool = False) -> None:
        """See the protocol."""
        await self._server.drain(hang_up_s=HANG_UP_S if at_once else None)

    def look(self) -> str | None:
        """See the protocol."""
        self.meter.set_open(self._server.open_connections)
        return None if self._certificate is None else self._certificate.look()


class _OtlpGrpc:
    """See `shapes.Server`. With keys a call shows one; without, everybody of this machine is the default tenant."""

    def __init__(self, at: ListenAt, around: Surroundings) -> None:
        self._at = at
        self.meter = Meter(at.protocol, around.tally)
        self._credentials = _credentials_of(at)
        self._server = OtlpGrpcServer(storing=around.storing_for(self.meter), tenant_of=around.tenant_of)

    async def start(self) -> None:
        """See the protocol."""
        _check_free(self._at)
        await self._server.serve(self._at.host, self._at.port, self._credentials)

    async def stop(self, *, at_once: bool = False) -> None:
        """See the protocol."""
        await self._server.drain()

    def look(self) -> None:
        """See the protocol. Its connections are gRPC's own: those that have a call under way are told."""
        self.meter.set_open(self._server.calls)


def _check_free(at: ListenAt) -> None:
    """Raise OSError where the port is taken: these servers tell it in words."""
    if at.port:
        bound(at.host, at.port, socket.SOCK_STREAM).close()


def _credentials_of(at: ListenAt) -> grpc.ServerCredentials | None:
    if at.cert_file is None or at.key_file is None:
        return None
    try:
        pair = Path(at.key_file).read_bytes(), Path(at.cert_file).read_bytes()
        authority = None if at.client_ca_file is None else Path(at.client_ca_file).read_bytes()
    except OSError as error:
        raise BadRequest(f"the certificate of listeners.{at.protocol} cannot be used: {error}") from error
    return grpc.ssl_server_credentials([pair], authority, authority is not None)
