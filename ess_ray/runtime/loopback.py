"""The hook that every Ray worker runs first: it logs as the driver does, and keeps on loopback what Ray Serve would
open to the network.
"""

from __future__ import annotations

from typing import Final

from ess_ray import telemetry
from ess_ray.runtime.lean import do_without_pandas
from ess_ray.runtime.patches import close_replica_port

HOOK: Final = "ess_ray.runtime.loopback.set_up_worker"
"""What `ray.init(runtime_env={"worker_process_setup_hook": HOOK})` names, for workers that run anybody's code."""
OWN_HOOK: Final = "ess_ray.runtime.loopback.set_up_own_worker"
"""The same for a system's own workers: actors, replicas, scans and maintenance."""


def set_up_worker() -> None:
    """Do what every worker needs before it runs anything; idempotent."""
    telemetry.setup_worker()
    close_replica_port()


def set_up_own_worker() -> None:
    """Do what a worker needs that runs nothing but our own code; idempotent."""
    do_without_pandas()
    set_up_worker()
