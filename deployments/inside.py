"""What the endpoints tell of the system behind them: health, status, and what the supervisor is asked to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

import ray
from ray import serve

from deployments.access import Access
from deployments.health import Health, Look, StoppedProcesses
from ess_ray.core.errors import EssError, NotFound, Unavailable
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.intake.gather import Gatherer
from ess_ray.ports import Catalog, ResultStore
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.liveness import RayServers
from ess_ray.runtime.log import SystemLog
from ess_ray.runtime.maintain import COMPACT_TIMEOUT_S
from ess_ray.runtime.patches import dashboard_address, serve_details
from ess_ray.runtime.supervisor import FLUSH_TIMEOUT_S
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, RemoteActor, System

_log = logging.getLogger(__name__)

FLUSH_ANSWER_TIMEOUT_S: Final = FLUSH_TIMEOUT_S + 5.0
"""The supervisor gives up before, and says why. What is not stored by then stays in the log, and is stored after the
next start."""
RAY_TIMEOUT_S: Final = 3.0
"""How long the status waits for each thing that Ray tells."""
OLD_BUFFER_S: Final = 300.0
"""Ten times the age at which buffers are sealed; an import of old files is sealed by size and may wait longer."""
RESIZE_TIMEOUT_S: Final = 120.0
"""New actors start in three seconds, storing and taking over may take 30 each."""

T = TypeVar("T")


def ray_looks() -> dict[str, Look]:
    """Give the looks at what every application stands on."""
    servers = RayServers()
    return {"Ray's control store": servers.control_store, "Ray's node manager": servers.node_manager}


def push_health(log: SystemLog, gatherer: Gatherer, access: Access, session_id: int | None) -> Health:
    """Give the health of a push replica: it knows from its own appends whether the log takes anything."""

    async def ask_log() -> list[str]:
        await log.end_offsets()
        room = await log.room()
        if room is not None and room.state == "refusing" and room.told:
            return [room.told]
        try:
            await gatherer.try_again()
        except EssError as error:
            _log.warning("the event log still takes nothing: %s", error.message)  # which the gatherer tells
        return []

    looks: dict[str, Look] = {"the event log": ask_log, "the door": access.readable, **ray_looks()}
    return Health(looks, [StoppedProcesses(session_id), gatherer.trouble])


class Inside:
    """What the endpoints tell of the system behind them."""

    def __init__(self, system: System, log: SystemLog, catalog: Catalog, results: ResultStore, access: Access) -> None:
        self._system, self._log, self._catalog, self._results = system, log, catalog, results
        self._access = access
        self._supervisor = RemoteActor(system, SUPERVISOR_ACTOR, "the supervisor")
        looks: dict[str, Look] = {
            "the event log": self._ask_log,
            "the object store": self._ask_catalog,
            "the result store": self._ask_results,
            "the door": access.readable,
            "the supervisor": lambda: self._supervisor.call("health"),
            **ray_looks(),
        }
        self.health = Health(looks, [StoppedProcesses(system.session_id)]).problems
        """Names what stands in the way of complete answers."""

    async def _ask_log(self) -> None:
        await self._log.end_offsets()

    async def _ask_catalog(self) -> None:
        await asyncio.to_thread(self._catalog.snapshot)

    async def warnings(self) -> list[str]:
        """Name what is wrong and stands in nobody's way; without the supervisor's while it is away, which `health`
        tells."""
        keys = await self._access.warnings()
        try:
            return [*keys, *await self._supervisor.call("warnings")]
        except EssError:
            return keys

    async def _ask_results(self) -> None:
        with contextlib.suppress(NotFound):  # an answer all the same
            await self._results.state(DEFAULT_TENANT, "is-it-there")

    async def flush(self) -> dict[str, int]:
        """Have the pool store everything; gives the rows stored by this call."""
        return {"rows": await self._supervisor.call("flush", timeout_s=FLUSH_ANSWER_TIMEOUT_S)}

    async def pool(self) -> dict[str, Any]:
        """Give the pool's figures."""
        return dict(await self._supervisor.call("status"))

    async def resize(self, actors: int) -> dict[str, Any]:
        """Have so many persist actors. See `Supervisor.resize`."""
        return dict(await self._supervisor.call("resize", actors, timeout_s=RESIZE_TIMEOUT_S))

    async def compact(self, before_us: int | None) -> dict[str, Any]:
        """Merge small objects and apply retention now; gives what was done. See `runtime.maintain.Maintenance`."""
        return dict(await self._supervisor.call("compact", before_us, timeout_s=COMPACT_TIMEOUT_S))

    async def look_for_deletions(self) -> None:
        """Have deletions that were asked for carried out now. Raises Unavailable: then it is a little later."""
        await self._supervisor.call("look_for_deletions")

    async def look_for_alerts(self) -> None:
        """Have rules and silences that were made just now heeded. Raises Unavailable: then it is a little later."""
        await self._supervisor.call("look_for_alerts")

    async def leaving(self) -> bool:
        """Tell whether Serve is about to end this very replica; False when nobody can say just now."""
        try:
            return await off_loop(_is_stopping, what="Serve")
        except Exception:  # noqa: BLE001 (whatever Serve raises: who asks, asks again)
            _log.exception("Serve does not say whether this replica is to end")
            return False

    async def status(self) -> dict[str, Any]:
        """Give the figures of log, pool and table."""
        ends, starts = await self._log.end_offsets(), await self._log.start_offsets()
        snapshot = await asyncio.to_thread(self._catalog.snapshot)
        totals = await asyncio.to_thread(snapshot.totals)
        log_id = await self._log.log_id()
        stored = snapshot.next_offsets(log_id, sorted(ends))
        lags = {vnode: end - _either(stored[vnode], starts[vnode]) for vnode, end in ends.items()}
        pool = await self.pool()
        dashboard, nodes, replicas = await asyncio.gather(
            _told_by_ray(dashboard_address), _told_by_ray(_nodes), _told_by_ray(_replica_states)
        )
        weaknesses = await self._log.weaknesses()
        room = await self._log.room()
        return {
            "log": {
                "kind": "sqlite" if self._system.kafka is None else "kafka",
                "brokers": None if self._system.kafka is None else self._system.kafka.brokers,
                "weaknesses": weaknesses,
                "log_id": log_id,
                "lag_records": sum(lags.values()),
                "backlog_bytes": await self._log.backlog_bytes(),
                "vnodes": {
                    vnode: {"start": starts[vnode], "end": end, "lag": lags[vnode]}
                    for vnode, end in sorted(ends.items())
                },
            },
            "disk": None if room is None else asdict(room),
            "dead_letters": await asyncio.to_thread(self._dead_letters),
            "pool": pool,
            "dashboard": dashboard,
            "nodes": nodes or [],
            "replicas": replicas or {},
            "ports": list(self._system.ports),
            "listeners": await self._supervisor.call("listeners"),
            "results": "memory" if self._system.redis_url is None else "redis",
            "table": {"version": snapshot.version, **asdict(totals)},
            "problems": await self.health(),
            "warnings": [
                *weaknesses,
                *_slow(pool["actors"]),
                *([room.told] if room and room.told else []),
                *await self.warnings(),
            ],
        }

    def _dead_letters(self) -> dict[str, int] | None:
        """Count the records kept aside since they cannot be decoded; None where they are on Kafka."""
        if self._system.kafka is not None:
            return None
        kept = self._system.dead_letters().list("")
        # Beside each record stands a `.json` with the reason.
        return {"records": sum(info.key.endswith(".record") for info in kept), "bytes": sum(i.size for i in kept)}


def _either(stored: int | None, start: int) -> int:
    return start if stored is None else stored


def _slow(actors: Mapping[str, Any]) -> list[str]:
    """Name actors whose oldest event waits too long. No matter of health: searches find what is buffered."""
    return [
        f"{name}: the oldest event has been buffered for {actor['oldest_s']:.0f} s and is not stored yet"
        for name, actor in actors.items()
        if actor.get("oldest_s", 0) > OLD_BUFFER_S
    ]


async def _told_by_ray(ask: Callable[[], T]) -> T | None:
    """Ask Ray something; None when it does not answer, which health tells more of."""
    try:
        return await off_loop(ask, timeout_s=RAY_TIMEOUT_S)
    except Unavailable as error:
        _log.warning("the status goes without a part: %s", error.message)
        return None


def _nodes() -> list[dict[str, Any]]:
    return [
        {
            "node": node["NodeID"],
            "host": node["NodeManagerHostname"],
            "alive": node["Alive"],
            "cpus": node["Resources"].get("CPU", 0),
            "metrics": f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}",
        }
        for node in ray.nodes()
    ]


def _is_stopping() -> bool:
    """Look for this replica in what the controller tells: nothing tells the replica itself, until it is killed."""
    mine = serve.get_replica_context()
    deployments = serve_details()["applications"].get(mine.app_name, {}).get("deployments", {})
    replicas = deployments.get(mine.deployment, {}).get("replicas", ())
    states = {replica["replica_id"]: replica["state"] for replica in replicas}
    # Of an application that is being deleted, no replica is listed any more.
    return bool(states.get(mine.replica_tag, "STOPPING") == "STOPPING")


def _replica_states() -> dict[str, dict[str, int]]:
    """Count the replicas of each application by their state."""
    return {
        name: {str(state): count for state, count in deployment.replica_states.items()}
        for name, application in serve.status().applications.items()
        for deployment in application.deployments.values()
    }
