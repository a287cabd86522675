"""Every port that settings open on a machine: one list for who starts, who looks at a machine, and the status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ess_ray.settings.reading import Settings


@dataclass(frozen=True, slots=True)
class PortAt:
    """A port and the setting that names it. `is_explicit`: it is needed; a usual one is left off where it is taken."""

    setting: str
    host: str
    port: int
    transport: Literal["tcp", "udp"] = "tcp"
    is_explicit: bool = True

    @property
    def where(self) -> str:
        """Name it for people."""
        return f"{self.setting} ({self.transport} {self.host}:{self.port})"


def ports_of(settings: Settings) -> tuple[PortAt, ...]:
    """Give the ports of HTTP, then those of the listeners."""
    http = settings.http
    found = [PortAt("http.port", http.host, http.port)]
    if http.elasticsearch_port is not None:
        found.append(PortAt("http.elasticsearch_port", http.host, http.elasticsearch_port))
    for at in settings.listeners.wanted:
        transport: Literal["tcp", "udp"] = "udp" if at.protocol.endswith("_udp") else "tcp"
        found.append(PortAt(f"listeners.{at.protocol}.port", at.host, at.port, transport, at.is_explicit))
    return tuple(found)
