"""What must stand in the environment before `import ray`, so that one system stays on loopback, apart from any other.

Ray and Serve read these at import, and every process they start inherits them.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ess_ray.adapters.private import PRIVATE, claim, is_private, new_folder, private_opener, remove_private, taken_over
from ess_ray.core.errors import EssError, Forbidden
from ess_ray.runtime import requests
from ess_ray.runtime.patches import HEADERS_S, write_wrapper
from ess_ray.settings import load

_FIRST_PORT: Final = 20_000
"""Ray gives its workers ports from 10002 to 19999."""
KERNEL_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
SHORT: Final = Path("/tmp")
"""HAProxy takes socket paths of 97 bytes, of which Ray's node id and the names take 70; TMPDIR may be longer."""
_PREFIX: Final = "ess-"
ROUTES: Final = ("/push", "/search")
"""Where the applications are that clients must never take for missing; the page is at `/`."""
PROTOCOLS: Final = {
    "/otlp/": "/push",
    "/v1/input": "/push",
    "/v1/input/": "/push",
    "/v1/": "/push/otlp",
    "/elasticsearch/": "/push",
    "/elasticsearch": "/push",
    "/loki/api/v1/push": "/push",
    "/loki/": "/search",
    "/prometheus/api/v1/": "/search",
    "/api/prom/": "/push",
    "/ready": "/push",
    "/services/": "/push",
    "/api/v1/validate": "/push",
    "/api/v2/": "/push",
    "/journald/": "/push",
    "/gelf": "/push",
    "/gelf/": "/push",
}
"""Paths that protocols fix for their clients, and what stands before them here: an application has one prefix, and a
process of its own for each of these would take 270 MB. OpenTelemetry's SDKs append `/v1/logs` to an address. What ends
with a slash stands for all below it, what does not for that path alone; of two that fit the first one counts."""
_BELOW: Final = tuple(path for path in PROTOCOLS if path.endswith("/"))
_CLIENT_S: Final = 330
"""How long a client may neither send nor take anything. Longer than an export waits for it (300 s), so that this ends
with its reason; a body has a pace of its own. A client that waits for an answer is not meant."""
_PORT_VARIABLES: Final = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "DASHBOARD_METRIC_PORT",
    "AUTOSCALER_METRIC_PORT",
)

_EVERYWHERE: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": requests.CALLBACK,
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(_CLIENT_S),
    # Serve ends a proxy that is not ready in time, and whoever waits for it gives up: at the default of 5 s a busy
    # machine did not start at all.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",
    # Workers would run at niceness 15: whatever else the machine does would come before taking events.
    "RAY_worker_niceness": "0",
    # Records travel inside the call: by way of the shared object store the raylet takes part in every append
    # (measured: 64k to 78k events/s). Reads of a backlog, up to 8 MiB, still go there.
    "RAY_max_direct_call_object_size": str(2 * 1024 * 1024),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PYTHONUNBUFFERED": "1",
}
"""Of one machine and of every node of a cluster alike."""
_NODE: Final = {
    # Ray looks at each node every 3 s and takes it for lost after five failures: actors of a lost node would be missed
    # for 15 s and more. The time that one look may take stays Ray's, 10 s: busy is not lost.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""Of a cluster's nodes only."""


@dataclass(frozen=True, slots=True)
class RunDirs:
    """The folders of one run, below one that only this user can enter: Ray opens its own to everybody.

    Short, since socket paths lie in them.
    """

    private: Path

    @property
    def ray(self) -> Path:
        return self.private / "ray"

    @property
    def ray_address(self) -> Path:
        """The file that tells where Ray's control store listens, for drivers beside the system's own."""
        return self.private / "ray_address"

    @property
    def token(self) -> Path:
        return self.private / "auth_token"

    @property
    def haproxy(self) -> Path:
        return self.private / "h"


def new_run_dirs(parent: Path = SHORT) -> RunDirs:
    """Make the folder of a run in `parent`, under a name that nobody has.

    Raises Forbidden where others could replace it, Unavailable.
    """
    return RunDirs(new_folder(parent, _PREFIX))


def remove_run_dirs(dirs: RunDirs, parent: Path = SHORT) -> None:
    """Remove what `new_run_dirs` made, and nothing else, wherever a run file has its name from. Idempotent.

    Call only when none of that run's processes lives.
    """
    remove_private(dirs.private, parent, _PREFIX)


def prepare(dirs: RunDirs, elasticsearch_port: int | None = None, *, headers_s: int = HEADERS_S) -> dict[str, str]:
    """Fill the folder of a run, and give the variables to set before `import ray`.

    `elasticsearch_port`: a second one of HTTP, at whose root that protocol is spoken. `headers_s`: how long the headers
    of a request may take.
    """
    # Held until this process ends: systemd's clean-up of /tmp leaves alone what is locked, however old it is.
    fcntl.flock(os.open(dirs.private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_SH)
    dirs.haproxy.mkdir(PRIVATE)
    with open(dirs.token, "x", opener=private_opener) as token:
        token.write(secrets.token_hex(32))
    wrapper = write_wrapper(dirs.haproxy, ROUTES, PROTOCOLS, elasticsearch_port, headers_s=headers_s)
    ports = {name: str(port) for name, port in zip(_PORT_VARIABLES, free_ports(len(_PORT_VARIABLES)), strict=True)}
    return {**_fixed(dirs, wrapper), **ports}


def driver_variables(dirs: RunDirs) -> dict[str, str]:
    """Give the variables of another driver in a system's Ray, to set before `import ray`."""
    return {name: value for name, value in {**_on_loopback(dirs), **_EVERYWHERE}.items() if "SERVE" not in name}


def node_variables(home: Path, elasticsearch_port: int | None = None) -> dict[str, str]:
    """Give the variables of a node of a cluster, to set before `ray start`; `elasticsearch_port`: see
    `prepare`.

    `home` is made private, or refused; which folder of this machine has the node's sockets and HAProxy is remembered
    there. Idempotent: that folder is taken again while it is this user's alone. Ray's own folder is then `ray` in
    RAY_TMPDIR, and its token is read from its usual place, `~/.ray/auth_token`. Raises Forbidden, Unavailable.
    """
    danger = taken_over(home)
    if danger is not None:
        raise Forbidden(f"nothing may be run from {home}: {danger}")
    claim(home)
    dirs = _node_dirs(node_file(home))
    dirs.haproxy.mkdir(PRIVATE, exist_ok=True)
    wrapper = write_wrapper(dirs.haproxy, ROUTES, PROTOCOLS, elasticsearch_port)
    return {**_EVERYWHERE, **_NODE, "RAY_TMPDIR": str(dirs.private), **_haproxy_files(dirs, wrapper)}


def node_home() -> Path:
    """Name the folder in which a node of a cluster remembers what is its own."""
    return Path.home() / ".ess"


def node_file(home: Path) -> Path:
    """Name the file in which this machine's folder is remembered: homes may be shared by machines."""
    return home / f"node-{socket.gethostname()}"


def remembered(file: Path) -> RunDirs | None:
    """Give the folders of a node of this machine, if they are still this user's alone."""
    try:
        found = Path(file.read_text().strip())
    except (OSError, UnicodeDecodeError):
        return None
    return RunDirs(found) if found.parent == SHORT and is_private(found) else None


def _node_dirs(file: Path) -> RunDirs:
    dirs = remembered(file)
    if dirs is None:
        dirs = new_run_dirs(SHORT)
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        fresh.write_text(f"{dirs.private}\n")
        fresh.replace(file)
    return dirs


def is_protocols(path: str) -> bool:
    """Tell whether a path is one that HAProxy writes anew."""
    return path in PROTOCOLS or path.startswith(_BELOW)


def _on_loopback(dirs: RunDirs) -> Mapping[str, str]:
    return {
        # Despite its name this is what puts every socket of Ray on 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_TOKEN_PATH": str(dirs.token),
    }


def _fixed(dirs: RunDirs, wrapper: Path) -> Mapping[str, str]:
    return {
        **_on_loopback(dirs),
        **_haproxy_files(dirs, wrapper),
        # Whether these two live is the driver's to watch, on one machine: Ray would end everything for good when one of
        # them stood still for a minute (its node manager counts as lost; everybody gives up on the control store).
        "RAY_health_check_failure_threshold": "100",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
        # Serve notices at the third look that HAProxy is gone: at its default of 10 s nothing answered for 29 s.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # Pushes go to another replica when one stands still: at the default of 5 s that took ten.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
        # One thread: on the machines that the embedded profile is for, more only take CPU from the replicas.
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        **_EVERYWHERE,
    }


def _haproxy_files(dirs: RunDirs, wrapper: Path) -> Mapping[str, str]:
    """Where Serve keeps what it executes, configures and steers HAProxy by: else in a folder that anybody may make."""
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(dirs.haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(dirs.haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(dirs.haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(dirs.haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(dirs.haproxy / "metrics.sock"),
    }


def port_problem(host: str, port: int, transport: str = "tcp") -> str | None:
    """Say why nothing can listen there (`transport`: tcp or udp); None when something can. Nothing stays open."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:  # for connections of an earlier life; of UDP it would hide a taken port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return str(error.strerror or error)
    return None


def free_ports(count: int, kernel_ports: Path = KERNEL_PORTS) -> list[int]:
    """Find ports that are free on loopback just now, all different.

    The kernel gives none of them to others by itself where its range leaves room below: it is seconds until somebody
    listens there, and on a busy machine a connection had such a port by then.
    """
    own = range(_FIRST_PORT, _first_of_kernel(kernel_ports))
    at = secrets.randbelow(max(1, len(own)))
    tried = itertools.chain(own[at:], own[:at], itertools.repeat(0))
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody listens there: the next one
                one.bind(("127.0.0.1", next(tried)))
                found.append(int(one.getsockname()[1]))
        return found


def _first_of_kernel(told: Path) -> int:
    """Give the first port that the kernel gives away by itself; where it does not tell, none is known to be below."""
    try:
        return int(told.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _FIRST_PORT


def main() -> None:
    """Print a cluster node's variables for a shell: `v=$(python3 -m ess_ray.runtime.environment) && eval "$v"`."""
    try:
        variables = node_variables(node_home(), load().http.elasticsearch_port)
    except EssError as error:
        sys.exit(f"ess: {error.message}")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
