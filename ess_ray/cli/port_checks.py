"""The checks of `ess doctor` on listening sockets: whose they are, and which of them others than this machine reach."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from ess_ray.cli.server_checks import Check
from ess_ray.runtime.environment import port_problem
from ess_ray.settings import PortAt

CONNECT_TIMEOUT_S: Final = 2.0
"""On one machine; a port that does not answer by then serves nobody."""
_RAY: Final = "let the cluster's nodes alone reach it: who has Ray's token runs code there"
_FIGURES: Final = "let the monitoring alone reach it: it asks for nothing"
_HTTP: Final = "TLS is a reverse proxy's: let that alone reach it"
_ANYBODY: Final = "let your own machines alone reach it: it asks for no key, and what comes is the named tenant's"
_LISTENER: Final = "ListenerActor"
_REASONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("ServeReplica", "a Serve replica: HTTP behind HAProxy, or calls by Ray", _RAY),
    ("haproxy", "HAProxy: HTTP for whoever has a key", _HTTP),
    (
        "ProxyActor",
        "Serve's own proxy: HTTP for whoever has a key",
        "TLS is a reverse proxy's: let that alone reach it",
    ),
    ("gcs_server", "Ray's control store", _RAY),
    ("raylet", "Ray's node manager or object manager", _RAY),
    ("Agent", "Ray's agent of a node, or its figures for Prometheus", f"{_RAY}; {_FIGURES}"),
    ("dashboard", "Ray's dashboard", _RAY),
    ("autoscaler", "the figures of Ray's autoscaler", _FIGURES),
    (_LISTENER, "the listener: syslog, GELF and the like, for whoever reaches it", _ANYBODY),
    ("ray::", "a Ray worker", _RAY),
)
"""Of a part of the command line: what listens, and what to do when others reach it."""
_UNKNOWN: Final = "keep it behind a firewall, unless it is meant for all"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and who holds it; of UDP one that takes what anybody sends."""

    address: str
    port: int
    pid: int
    command: str

    @property
    def on_loopback(self) -> bool:
        address = ipaddress.ip_address(self.address.split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)  # gRPC binds IPv4 addresses in this form
        return (mapped or address).is_loopback

    def check(self) -> Check:
        """Say where it listens and why, as far as the command line tells, and what to do about it."""
        known = (each[1:] for each in _REASONS if each[0] in self.command)
        reason, advice = next(known, (self.command[:80] or "unknown", _UNKNOWN))
        where = f"{self.address}:{self.port} (process {self.pid}): {reason}"
        return Check("open port", "warning", where, advice)


def port_checks(session_id: int | None) -> Iterator[Check]:
    """Name what listens beyond loopback: of one system's session, and of Ray's other processes of this user, which may
    be a cluster's node."""
    if session_id is not None:
        found, processes = listeners(lambda process: os.getsid(process.pid) == session_id)
        if processes == 0:
            yield Check("processes", "failed", f"none of session {session_id} runs", "start it again with `ess up`")
        else:
            yield Check("processes", "ok", f"{processes} in session {session_id}, {len(found)} listening sockets")
            yield from _outside(found)
    found, processes = listeners(lambda process: is_rays(process) and os.getsid(process.pid) != session_id)
    if processes:
        yield Check("other Ray", "ok", f"{processes} processes of this user, {len(found)} listening sockets")
        yield from _outside(found)


def free_port_checks(ports: Iterable[PortAt]) -> Iterator[Check]:
    """Tell of each port that a system of these settings would open whether it could."""
    for at in ports:
        problem = port_problem(at.host, at.port, at.transport)
        if problem is None:
            yield Check("port", "ok", f"{at.where} is free")
            continue
        variable = f"ESS_{at.setting.replace('.', '__').upper()}"
        how = "`ess up --port PORT` or " if at.setting == "http.port" else f"{at.setting} in the settings, or "
        advice = f"choose another with {how}{variable}"
        if at.is_explicit:
            yield Check("port", "failed", f"{at.where}: {problem}", advice)
        else:
            yield Check("port", "warning", f"{at.where}: {problem}", f"it would be left off: {advice}")


def open_port_checks(ports: Iterable[PortAt]) -> Iterator[Check]:
    """Tell of each port of HTTP that a running system names whether something listens there; of the listeners' ports
    the system itself tells more."""
    for at in ports:
        if at.setting.startswith("listeners."):
            continue
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(at.host, at.host)
        try:
            socket.create_connection((host, at.port), CONNECT_TIMEOUT_S).close()
        except OSError as error:
            found = f"{at.where} is not open: {error.strerror or error}"
            yield Check("port", "failed", found, "look into the system's log, then `ess down` and `ess up`")
        else:
            yield Check("port", "ok", f"{at.where} is open")


def listeners(wanted: Callable[[psutil.Process], bool]) -> tuple[list[Listener], int]:
    """Find the listening sockets of the processes that are wanted, and how many processes those are."""
    found, processes = [], 0
    for process in psutil.process_iter():
        try:
            if not wanted(process):
                continue
            sockets = process.net_connections(kind="inet")
            command = " ".join(process.cmdline())
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue  # it ended meanwhile, or is another user's and so not ours
        processes += 1
        found += [
            Listener(one.laddr.ip, one.laddr.port, process.pid, command)
            for one in sockets
            if one.status == psutil.CONN_LISTEN or (_takes_datagrams(command) and one.type == socket.SOCK_DGRAM)
        ]
    return found, processes


def _takes_datagrams(command: str) -> bool:
    """Tell whether a process' UDP sockets are there for others; of all else they are for names of hosts."""
    return _LISTENER in command


def is_rays(process: psutil.Process) -> bool:
    if process.uids().real != os.geteuid():
        return False
    command = process.cmdline()[:3]
    return any(word.startswith("ray::") or "/ray/" in word or word.endswith("/haproxy") for word in command)


def _outside(found: list[Listener]) -> Iterator[Check]:
    outside = [one for one in found if not one.on_loopback]
    yield from (one.check() for one in sorted(outside, key=lambda each: each.port))
    if not outside:
        yield Check("open port", "ok", "none: everything listens on loopback")
