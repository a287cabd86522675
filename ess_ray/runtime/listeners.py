"""The listeners of all nodes: one actor each, watched and replaced by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ess_ray.core.errors import EssError, Unavailable
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.listener import ListenerActor
from ess_ray.runtime.log import open_log
from ess_ray.runtime.metrics import published_tally
from ess_ray.runtime.placement import alive_nodes
from ess_ray.runtime.wiring import System, call

_log = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 1.0
_FIRST_INTERVAL_S: Final = 0.1
"""While the system starts, and somebody waits."""
PING_TIMEOUT_S: Final = 10.0
"""A listener that is replaced loses what it has read: so it has longer to answer than a persist actor, which loses
nothing."""
START_TIMEOUT_S: Final = 60.0
READY_TIMEOUT_S: Final = 15.0
"""How long a start of the system waits for its listeners: they open in two seconds, while Serve starts."""
DRAIN_TIMEOUT_S: Final = 6.0
"""At the end: how long the log may be away for what was read. `ess down` allows 90 s in all, and storing takes 55."""
DRAIN_SLACK_S: Final = 1.0
CREATE_TIMEOUT_S: Final = 3600.0
"""As of persist actors (`supervisor.CREATE_TIMEOUT_S`)."""
_PREFIX: Final = "listener-"
_NAME_CHARS: Final = 16


@dataclass
class _Node:
    handle: Any = None
    told: dict[str, Any] | None = None
    died: str | None = None


class Listeners:
    """Watches the listeners of a system; nothing where its settings name none. Lives on one event loop."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._nodes: dict[str, _Node] = {}
        self._is_ending = False
        self._trouble: str | None = None
        self._looked = asyncio.Event()
        """Set once every node's listener was open as far as it could be."""

    async def run(self) -> None:
        """Have a living listener on every node, for ever."""
        while self._system.listeners and not self._is_ending:
            try:
                await self._look()
                self._trouble = None
            except EssError as error:
                self._trouble = f"the listeners cannot be watched: {error.message}"
                _log.warning(self._trouble)
            except Exception as error:  # noqa: BLE001 (whatever it is, watching goes on)
                self._trouble = f"the listeners cannot be watched: {type(error).__name__}: {error}"
                _log.exception("the listeners cannot be watched")
            await asyncio.sleep(LOOK_INTERVAL_S if self._looked.is_set() else _FIRST_INTERVAL_S)

    async def _look(self) -> None:
        alive = {node["NodeID"]: node for node in await off_loop(alive_nodes)}
        for gone in self._nodes.keys() - alive.keys():
            del self._nodes[gone]
        for node_id in alive:
            self._nodes.setdefault(node_id, _Node())
        await asyncio.gather(*(self._check(node_id, node) for node_id, node in list(self._nodes.items())))
        if self._nodes and all(node.told and node.told["has_looked"] for node in self._nodes.values()):
            self._looked.set()

    async def _check(self, node_id: str, node: _Node) -> None:
        if self._is_ending:
            return
        if node.handle is None:
            node.handle = await off_loop(self._create, node_id, timeout_s=CREATE_TIMEOUT_S)
        handle, patience_s = node.handle, START_TIMEOUT_S if node.told is None else PING_TIMEOUT_S
        try:
            told = await call(handle.ping.remote(), "the listener", patience_s)
            reason = told["failure"]
        except Unavailable as error:
            reason = error.message
        if reason is None:
            node.told, node.died = told, None
            return
        if self._is_ending:
            return
        _log.error("the listener of node %s is replaced: %s", node_id, reason)
        node.handle, node.told, node.died = None, None, reason
        await off_loop(ray.kill, handle)

    def _create(self, node_id: str) -> Any:
        return (
            ray.remote(ListenerActor)
            .options(
                name=_PREFIX + node_id[:_NAME_CHARS],
                namespace=self._system.namespace,
                num_cpus=0,
                max_restarts=0,
                max_concurrency=100,
                lifetime="detached",
                get_if_exists=True,  # of an earlier life of the supervisor
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
            )
            .remote(self._system, partial(open_log, self._system), published_tally)
        )

    async def ready(self) -> None:
        """Return once every node's listener is open as far as it can be. Raises Unavailable when that takes long."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                if self._system.listeners:
                    await self._looked.wait()
        except TimeoutError as error:
            raise Unavailable("the listener's process has not started yet") from error

    async def drain(self) -> None:
        """End all listeners, once what they have read is in the log, and start none again. Idempotent."""
        self._is_ending = True
        calls = [
            call(node.handle.drain.remote(DRAIN_TIMEOUT_S), "the listener", DRAIN_TIMEOUT_S + DRAIN_SLACK_S)
            for node in self._nodes.values()
            if node.handle is not None
        ]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException):
                _log.warning("a listener did not end in good order: %s", answer)

    def status(self) -> list[dict[str, Any]]:
        """Give each protocol of each node: place, state, figures."""
        return [
            {"node": node_id, **protocol}
            for node_id, node in sorted(self._nodes.items())
            for protocol in (node.told or {}).get("protocols", ())
        ]

    def warnings(self) -> list[str]:
        """Name what is wrong with them."""
        found = [] if self._trouble is None else [self._trouble]
        for node in self._nodes.values():
            if node.died is not None:
                found.append(f"the listener is being replaced ({node.died}): what it had read may be lost")
            if node.told is not None:
                found += node.told["problems"]
                found += [node.told["waits"]] if node.told["waits"] is not None else []
        return found


def end_listeners(system: System) -> None:
    """End all listeners for good, whoever made them. Blocks."""
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == system.namespace and actor["name"].startswith(_PREFIX):
            with contextlib.suppress(Unavailable):  # it ended meanwhile
                ray.kill(system.actor(actor["name"]))
