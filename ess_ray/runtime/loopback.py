"""The hook that every Ray worker runs first: it logs as the driver does, and keeps on loopback what Ray Serve would
open to the network.
"""

from __future__ import annotations

from typing import Any, Final

from ess_ray import telemetry
from ess_ray.runtime.lean import do_without_pandas

HOOK: Final = "ess_ray.runtime.loopback.set_up_worker"
"""What `ray.init(runtime_env={"worker_process_setup_hook": HOOK})` names, for workers that run anybody's code."""
OWN_HOOK: Final = "ess_ray.runtime.loopback.set_up_own_worker"
"""The same for a system's own workers: actors, replicas, scans and maintenance."""
_ALL_INTERFACES: Final = "[::]"


def set_up_worker() -> None:
    """Do what every worker needs before it runs anything; idempotent."""
    telemetry.setup_worker()
    close_replica_port()


def set_up_own_worker() -> None:
    """Do what a worker needs that runs nothing but our own code; idempotent."""
    do_without_pandas()
    set_up_worker()


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
