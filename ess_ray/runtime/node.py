"""Start and stop Ray and Serve of one system on this machine. Import it only after `environment.prepare` took
effect.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import ray
from ray import serve

from ess_ray.runtime.environment import RunDirs, free_ports
from ess_ray.runtime.loopback import OWN_HOOK
from ess_ray.runtime.patches import choose_agent_port, started_node
from ess_ray.runtime.processes import how_it_ended

_log = logging.getLogger(__name__)

NEEDED: Final = {"gcs_server": "Ray's control store (gcs_server)", "raylet": "Ray's node manager (raylet)"}
"""Ray ends all of its processes soon after one of these. Its agents take the raylet with them."""
OBJECT_STORE_BYTES: Final = 1 << 30
"""Shared memory for what actors hand each other (log reads of 8 MiB, scan results); Ray would take 30 % of the RAM."""


def start_ray(temp_dir: Path, namespace: str) -> str:
    """Start Ray in this process' session; gives the dashboard's address, and writes that of the control store down.

    `temp_dir` is that of a run's folder (`RunDirs.ray`). Raises what Ray raises when it cannot.
    """
    choose_agent_port()
    (dashboard_port,) = free_ports(1)
    context = ray.init(
        address="local",
        namespace=namespace,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=dashboard_port,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": OWN_HOOK},
        _node_ip_address="127.0.0.1",
        _temp_dir=str(temp_dir),
    )
    RunDirs(temp_dir.parent).ray_address.write_text(f"{context.address_info['gcs_address']}\n")
    return f"http://{context.dashboard_url}"


def start_serve(http_host: str, http_port: int) -> None:
    """Start Serve's controller and its proxy, once Ray runs; returns when both do. Raises what Ray raises."""
    serve.start(http_options={"host": http_host, "port": http_port}, proxy_location="HeadOnly")


class Processes:
    """The processes of this node that `start_ray` started and that nobody starts again."""

    def __init__(self) -> None:
        self._missed: set[str] = set()

    def lost(self) -> str | None:
        """Tell how a process ended that nothing goes on without; None while all of them live.

        Others that ended are logged once: the system works without them.
        """
        node = started_node()
        for kind, process in node.dead_processes():
            name = NEEDED.get(kind)
            if name is not None:
                last_words = _last_words(Path(node.get_logs_dir_path()), kind)
                return f"{name} ended {how_it_ended(process.returncode)}{last_words}"
            if kind not in self._missed:
                self._missed.add(kind)
                _log.warning("Ray's %s ended; the system works without it, `ess down` and `ess up` bring it back", kind)
        return None


def _last_words(logs: Path, kind: str) -> str:
    """Give the last thing that a process of Ray said of its end, if it said one."""
    try:
        lines = (logs / f"{kind}.err").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith("[") and "]" in line]
    return f": {said[-1].partition('] ')[2].rstrip('.')}" if said else ""


def stop_node() -> None:
    """End Ray's processes in good order. What lingers (agents do, for a minute) is the caller's to end."""
    ray.shutdown()
