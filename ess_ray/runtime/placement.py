"""Where in a Ray cluster long-lived actors go, and how many scan tasks it can run."""

from __future__ import annotations

from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

HEAD: Final = {"node:__internal_head__": 0.001}
"""Resources that the head node alone has, as Ray names them. Softer ways were passed on by a busy head."""


def spread(number: int) -> Any:
    """Place the actor of this number: actors of different numbers on different nodes as far as there are enough.

    Soft: another node takes it when that one has gone, or passes it on while it is busy. Ray's own SPREAD chooses at
    random for actors without resources.
    """
    nodes = alive_nodes()
    workers = [node for node in nodes if node["Resources"].get("CPU", 0) > 0] or nodes
    node_id = sorted(node["NodeID"] for node in workers)[number % len(workers)]
    return NodeAffinitySchedulingStrategy(node_id, soft=True)


def cluster_cpus() -> int:
    """Count the CPUs of the living nodes, 1 at the least. Blocks for a call to the control store."""
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def alive_nodes() -> list[dict[str, Any]]:
    """Give the living nodes as Ray tells of them. Blocks for a call to the control store."""
    return [node for node in ray.nodes() if node["Alive"]]
