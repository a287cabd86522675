"""Where messages may go: not to this machine, its neighbours on the link, or a cloud's metadata unless it is allowed.

Names are resolved first, and what is connected to is the address that was looked at: a name that resolves otherwise a
moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from ess_ray.core.errors import BadRequest, Unavailable

Address = IPv4Address | IPv6Address
_METADATA: Final = tuple(
    ip_network(one)
    for one in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", "fd00:ec2::254/128")
)
"""Of AWS, Google and Azure (link-local), Alibaba, Oracle, Azure's agent, and AWS over IPv6."""


class Allowed:
    """What may be connected to. `hosts`: names and addresses that may be in any case."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._hosts = frozenset(host.strip("[]").rstrip(".").lower() for host in hosts)

    def names(self, host: str) -> bool:
        """Tell whether a host, by its name or address, is allowed whatever it is."""
        return host.strip("[]").rstrip(".").lower() in self._hosts

    def flaw(self, address: str) -> str | None:
        """Tell why an address may not be connected to; None when it may."""
        if self.names(address):
            return None
        try:
            found = _plain(ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{address} is no address"
        if self.names(str(found)):
            return None
        kind = _kind(found)
        return None if kind is None else f"{address} is {kind}"

    async def resolve(self, host: str, port: int) -> str:
        """Give an address of a host that may be connected to. Raises BadRequest where one of them may not, Unavailable
        where the name cannot be resolved."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable(f"{host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not self.names(host):
            for address in addresses:
                flaw = self.flaw(address)
                if flaw is not None:
                    raise BadRequest(refusal(host, flaw))
        return addresses[0]


def refusal(host: str, flaw: str) -> str:
    """Tell that a host is refused, and what to do."""
    return f"nothing is sent to {host}, since {flaw}: name it in alerts.allow_hosts if it is meant"


def _plain(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ip_network("64:ff9b::/96"):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return address if inner is None else inner
    return address


def _kind(address: Address) -> str | None:
    if address.is_loopback or address.is_unspecified:
        return "this machine"
    if any(address in network for network in _METADATA if network.version == address.version):
        return "a cloud's metadata service, or on the same link"
    if address.is_link_local:
        return "on the same link"
    return "no host's" if address.is_multicast or address.is_reserved else None
