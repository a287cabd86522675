"""What the endpoints tell of the system behind them: health, status, and what the supervisor is asked to do.

May live here: asking the parts of a running system and putting their answers together. May not: HTTP (`search`,
`pool`), or which parts make up a system (`app`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import ray
from ray import serve

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.core.errors import EssError, NotFound
from ess_ray.core.event import DEFAULT_TENANT
from ess_ray.ports import Catalog, EventLog, ResultStore
from ess_ray.runtime.log import RemoteLog
from ess_ray.runtime.maintain import COMPACT_TIMEOUT_S
from ess_ray.runtime.supervisor import FLUSH_TIMEOUT_S
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, System, call

_log = logging.getLogger(__name__)

FLUSH_ANSWER_TIMEOUT_S: Final = FLUSH_TIMEOUT_S + 5.0
"""The supervisor gives up before, and says why. What is not stored by then stays in the log, and is stored after the
next start."""
LOOK_TIMEOUT_S: Final = 5.0
"""How long a part may take before it counts as away: probes of a balancer give up soon after."""
OLD_BUFFER_S: Final = 300.0
"""Ten times the age at which buffers are sealed; an import of old files is sealed by size and may wait longer."""
RESIZE_TIMEOUT_S: Final = 120.0
"""New actors start in three seconds, storing and taking over may take 30 each."""


class Inside:
    """What the endpoints tell of the system behind them."""

    def __init__(self, system: System, log: EventLog, catalog: Catalog, results: ResultStore) -> None:
        self._system, self._log, self._catalog, self._results = system, log, catalog, results
        self._looking: dict[str, asyncio.Task[str | None]] = {}

    def _supervisor(self) -> Any:
        return self._system.actor(SUPERVISOR_ACTOR)

    async def health(self) -> list[str]:
        """Name what stands in the way of complete answers."""
        looked = await asyncio.gather(
            self._look("the event log", self._log.end_offsets),
            self._look("the object store", lambda: asyncio.to_thread(self._catalog.snapshot)),
            self._look("the result store", self._ask_results),
        )
        problems = [problem for problem in looked if problem is not None]
        try:
            return problems + list(await call(self._supervisor().health.remote(), "the supervisor"))
        except EssError as error:
            return [*problems, error.message]

    async def warnings(self) -> list[str]:
        """Name what is wrong and stands in nobody's way; nothing while the supervisor is away, which `health` tells."""
        try:
            return list(await call(self._supervisor().warnings.remote(), "the supervisor"))
        except EssError:
            return []

    async def _ask_results(self) -> None:
        with contextlib.suppress(NotFound):  # an answer all the same
            await self._results.state(DEFAULT_TENANT, "is-it-there")

    async def _look(self, what: str, ask: Callable[[], Awaitable[Any]]) -> str | None:
        """Name what is wrong with a part, or None.

        One question at a time is asked of it: probes must not pile up before a dead part.
        """

        async def answer() -> str | None:
            try:
                await ask()
            except EssError as error:
                return f"{what}: {error.message}"
            except Exception as error:  # noqa: BLE001 (whatever a part raises, health names it rather than fail)
                _log.exception("%s cannot be looked at", what)
                return f"{what}: {type(error).__name__}: {error}"
            return None

        task = self._looking.get(what)
        if task is None:
            task = self._looking[what] = asyncio.create_task(answer(), name=f"look at {what}")
            task.add_done_callback(lambda _: self._looking.pop(what, None))
        done, _ = await asyncio.wait([task], timeout=LOOK_TIMEOUT_S)
        return task.result() if done else f"{what} did not answer within {LOOK_TIMEOUT_S:g} s"

    async def flush(self) -> dict[str, int]:
        """Have the pool store everything; gives the rows stored by this call."""
        return {"rows": await call(self._supervisor().flush.remote(), "the supervisor", FLUSH_ANSWER_TIMEOUT_S)}

    async def pool(self) -> dict[str, Any]:
        """Give the pool's figures."""
        return dict(await call(self._supervisor().status.remote(), "the supervisor"))

    async def resize(self, actors: int) -> dict[str, Any]:
        """Have so many persist actors. See `Supervisor.resize`."""
        return dict(await call(self._supervisor().resize.remote(actors), "the supervisor", RESIZE_TIMEOUT_S))

    async def compact(self, before_us: int | None) -> dict[str, Any]:
        """Merge small objects and apply retention now; gives what was done. See `runtime.maintain.Maintenance`."""
        return dict(await call(self._supervisor().compact.remote(before_us), "the supervisor", COMPACT_TIMEOUT_S))

    async def leaving(self) -> bool:
        """Tell whether Serve is about to end this very replica; False when nobody can say just now."""
        try:
            return await asyncio.to_thread(_is_stopping)
        except Exception:  # noqa: BLE001 (whatever Serve raises: who asks, asks again)
            _log.exception("Serve does not say whether this replica is to end")
            return False

    async def status(self) -> dict[str, Any]:
        """Give the figures of log, pool and table."""
        ends, starts = await self._log.end_offsets(), await self._log.start_offsets()
        snapshot = await asyncio.to_thread(self._catalog.snapshot)
        entries = snapshot.objects(None, None, None)
        log_id = await self._log.log_id()
        stored = snapshot.next_offsets(log_id, sorted(ends))
        lags = {vnode: end - _either(stored[vnode], starts[vnode]) for vnode, end in ends.items()}
        pool = await call(self._supervisor().status.remote(), "the supervisor")
        weaknesses = await self._log.weaknesses() if isinstance(self._log, KafkaLog) else []
        return {
            "log": {
                "kind": "sqlite" if self._system.kafka is None else "kafka",
                "brokers": None if self._system.kafka is None else self._system.kafka.brokers,
                "weaknesses": weaknesses,
                "log_id": log_id,
                "lag_records": sum(lags.values()),
                "backlog_bytes": await self._log.backlog_bytes() if isinstance(self._log, RemoteLog) else None,
                "vnodes": {
                    vnode: {"start": starts[vnode], "end": end, "lag": lags[vnode]}
                    for vnode, end in sorted(ends.items())
                },
            },
            "pool": pool,
            "dashboard": await asyncio.to_thread(_dashboard),
            "nodes": await asyncio.to_thread(_nodes),
            "replicas": await asyncio.to_thread(_replica_states),
            "results": "memory" if self._system.redis_url is None else "redis",
            "table": {
                "version": snapshot.version,
                "objects": len(entries),
                "rows": sum(entry.rows for entry in entries),
                "bytes": sum(entry.size for entry in entries),
            },
            "problems": await self.health(),
            "warnings": [*weaknesses, *_slow(pool["actors"]), *await self.warnings()],
        }


def _either(stored: int | None, start: int) -> int:
    return start if stored is None else stored


def _slow(actors: Mapping[str, Any]) -> list[str]:
    """Name actors whose oldest event waits too long. No matter of health: searches find what is buffered."""
    return [
        f"{name}: the oldest event has been buffered for {actor['oldest_s']:.0f} s and is not stored yet"
        for name, actor in actors.items()
        if actor.get("oldest_s", 0) > OLD_BUFFER_S
    ]


def _dashboard() -> str | None:
    """Give the address of Ray's dashboard, as its nodes reach it; None where there is none.

    Asked of the control store: `ray.init().address_info`, which has an official name, is wrong in workers.
    """
    address = ray._private.services.get_webui_url_from_internal_kv()
    return f"http://{address}" if address else None


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
    details = serve.context._get_global_client().get_serve_details()
    deployments = details["applications"].get(mine.app_name, {}).get("deployments", {})
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
