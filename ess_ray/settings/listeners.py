"""The section `listeners`: sockets of protocols that are no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ess_ray.limits import SOCKETS, ListenAt, SocketLimits
from ess_ray.settings.sections import Count, Port, TenantName, _Section


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{value!r} is no time zone: name one as Europe/Berlin") from None
    return value


CertificateName = Annotated[str, Field(min_length=1)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]


class Listener(_Section):
    """One protocol's socket.

    `host`: absent, that of all. `port`: absent, the usual one, which is left off where it is taken; one that is given
    and taken is an error. `tenant`: whose the events are; absent, the default one's, as long as there are no keys: with
    keys the protocol is off, since it has no place for one.
    """

    enabled: bool = True
    host: str | None = None
    port: Port | None = None
    tenant: TenantName | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether it is on."""
        return self.enabled

    def at(self, protocol: str, host: str, usual_port: int) -> ListenAt:
        """Give where it is listened for: at `host` and `usual_port`, unless others are named."""
        return ListenAt(
            protocol,
            self.host or host,
            self.port or usual_port,
            is_explicit=self.port is not None,
            tenant=self.tenant,
        )


class SyslogListener(Listener):
    """`time_zone`: of times that name none, as IANA names it (Europe/Berlin); absent, this machine's."""

    time_zone: TimeZone | None = None

    def at(self, protocol: str, host: str, usual_port: int) -> ListenAt:
        """See `Listener`."""
        return replace(super().at(protocol, host, usual_port), time_zone=self.time_zone)


class TlsSyslogListener(SyslogListener):
    """On where there is a certificate: PEM files, read again when they change. With `client_ca_file` clients must show
    a certificate of that authority. `client_tenants`: whose the events of a client are, by a DNS name or the common
    name of its certificate, or by its SHA-256 fingerprint; of others they are `tenant`'s, and without one they are let
    in no more."""

    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    client_tenants: dict[CertificateName, TenantName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_files(self) -> TlsSyslogListener:
        if (self.cert_file is None) is not (self.key_file is None):
            raise ValueError("cert_file and key_file go together: name both")
        if self.client_tenants and self.client_ca_file is None:
            raise ValueError("client_tenants need client_ca_file: without it clients are asked for no certificate")
        return self

    @property
    def is_wanted(self) -> bool:
        """Whether it is on, and has what it needs."""
        return self.enabled and self.cert_file is not None

    def at(self, protocol: str, host: str, usual_port: int) -> ListenAt:
        """See `Listener`."""
        return replace(
            super().at(protocol, host, usual_port),
            cert_file=self.cert_file,
            key_file=self.key_file,
            client_ca_file=self.client_ca_file,
            client_tenants=tuple(self.client_tenants.items()),
        )


class GrpcListener(Listener):
    """With TLS where there is a certificate (PEM files). It has a place for keys, so that it stays on with them."""

    tenant: None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None

    def at(self, protocol: str, host: str, usual_port: int) -> ListenAt:
        """See `Listener`."""
        plain = super().at(protocol, host, usual_port)
        return replace(plain, cert_file=self.cert_file, key_file=self.key_file, client_ca_file=self.client_ca_file)


class ForwardListener(Listener):
    """`shared_keys`: the secret of each tenant whose agents have one; then nobody else is let in, and no `tenant` is
    named. `users`: names and passwords that are asked for besides. With TLS where there is a certificate (PEM files).
    """

    shared_keys: dict[TenantName, SecretStr] = Field(default_factory=dict)
    users: dict[str, SecretStr] = Field(default_factory=dict)
    cert_file: str | None = None
    key_file: str | None = None

    @model_validator(mode="after")
    def _check_whose(self) -> ForwardListener:
        if self.shared_keys and self.tenant is not None:
            raise ValueError("shared_keys tell whose events are: name no tenant beside them")
        if self.users and not self.shared_keys:
            raise ValueError("users need shared_keys, with which the handshake begins")
        return self

    def at(self, protocol: str, host: str, usual_port: int) -> ListenAt:
        """See `Listener`."""
        return replace(
            super().at(protocol, host, usual_port),
            cert_file=self.cert_file,
            key_file=self.key_file,
            shared_keys=_revealed(self.shared_keys),
            users=_revealed(self.users),
        )


def _revealed(secrets: Mapping[str, SecretStr]) -> tuple[tuple[str, str], ...]:
    return tuple((name, secret.get_secret_value()) for name, secret in secrets.items())


USUAL_PORTS: Final = {
    "syslog_udp": 5514,
    "syslog_tcp": 5514,
    "syslog_tls": 6514,
    "gelf_udp": 12_201,
    "gelf_tcp": 12_201,
    "forward": 24_224,
    "otlp_grpc": 4_317,
}
"""By protocol; the usual 514 of syslog's needs rights."""


class Listeners(_Section):
    """Sockets of protocols that are no HTTP, on each node. `max_connections` of one protocol, `..._per_peer` of them
    from one address."""

    host: str = "127.0.0.1"
    max_connections: Count = SOCKETS.max_connections
    max_connections_per_peer: Count = SOCKETS.max_connections_per_peer
    syslog_udp: SyslogListener = SyslogListener()
    syslog_tcp: SyslogListener = SyslogListener()
    syslog_tls: TlsSyslogListener = TlsSyslogListener()
    gelf_udp: Listener = Listener()
    gelf_tcp: Listener = Listener()
    forward: ForwardListener = ForwardListener()
    otlp_grpc: GrpcListener = GrpcListener()

    @property
    def wanted(self) -> tuple[ListenAt, ...]:
        """Where each protocol that is on is listened for."""
        told = ((protocol, getattr(self, protocol), port) for protocol, port in USUAL_PORTS.items())
        return tuple(one.at(protocol, self.host, port) for protocol, one, port in told if one.is_wanted)

    @property
    def limits(self) -> SocketLimits:
        """What the sockets of one protocol may hold."""
        return SocketLimits(
            max_connections=self.max_connections, max_connections_per_peer=self.max_connections_per_peer
        )
