"""Whether Ray's own two servers answer: the control store, and the node manager of this process' node.

Asked by gRPC's health protocol, which both of them speak: no thread waits, and one that was stopped costs no more than
the deadline.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
import ray

from ess_ray.core.errors import Unavailable
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.patches import grpc_channel

_CHECK: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"
"""A HealthCheckResponse whose status is SERVING; the request is empty: all of the server."""
ANSWER_TIMEOUT_S: Final = 1.0
"""Both answer within milliseconds, also on a busy machine."""


class RayServers:
    """The two servers, from a process of Ray's. Lives on one event loop."""

    def __init__(self) -> None:
        self._ask: dict[str, Any] = {}
        self._raylet: str | None = None

    async def control_store(self) -> None:
        """Raise Unavailable unless the control store (gcs_server) answers."""
        await self._check(ray.get_runtime_context().gcs_address)

    async def node_manager(self) -> None:
        """Raise Unavailable unless the node manager (raylet) answers."""
        if self._raylet is None:  # its address never changes while this process lives
            self._raylet = await off_loop(_raylet_address, what="Ray's control store", timeout_s=ANSWER_TIMEOUT_S)
        await self._check(self._raylet)

    async def _check(self, address: str) -> None:
        try:
            if await self._question(address)(b"", timeout=ANSWER_TIMEOUT_S) != _SERVING:
                raise Unavailable(f"the server at {address} says that it does not serve")
        except grpc.RpcError as error:
            raise Unavailable(f"the server at {address} does not answer ({error.code().name})") from error

    def _question(self, address: str) -> Any:
        ask = self._ask.get(address)
        if ask is None:
            ask = self._ask[address] = grpc_channel(address).unary_unary(
                _CHECK, request_serializer=bytes, response_deserializer=bytes
            )
        return ask


def _raylet_address() -> str:
    mine = ray.get_runtime_context().get_node_id()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == mine)
    return f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
