"""The composition root: which parts make up a running system, and the two Serve applications over them.

May live here: building parts from settings and handing them to each other. May not: HTTP details (`push`, `search`),
policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig

from deployments.access import Access
from deployments.aggregations import AggregationApi, route_aggregations
from deployments.pool import route_pool
from deployments.push import PushApi, create_push_app
from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_wire import KafkaSettings
from ess_ray.adapters.lambda_function import FunctionLocation
from ess_ray.adapters.places import places_of
from ess_ray.compaction import CompactionPolicy
from ess_ray.core.errors import BadRequest, EssError, NotFound
from ess_ray.core.event import DEFAULT_TENANT
from ess_ray.ingest.writer import WriterLimits
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.ports import Catalog, EventLog, ResultStore
from ess_ray.runtime.log import RemoteLog, open_log
from ess_ray.runtime.maintain import COMPACT_TIMEOUT_S
from ess_ray.runtime.metrics import RaySearchMeter, published_tally
from ess_ray.runtime.scan import RayScanExecutor
from ess_ray.runtime.supervisor import start_pool
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, Replicas, System, call
from ess_ray.search.course import SearchLimits
from ess_ray.search.invocations import InvokeLimits
from ess_ray.search.run import Searcher
from ess_ray.settings import Settings

_log = logging.getLogger(__name__)

FLUSH_TIMEOUT_S: Final = 60.0
"""What is not stored by then stays in the log, and is stored after the next start."""
LOOK_TIMEOUT_S: Final = 5.0
"""How long a part may take before it counts as away: probes of a balancer give up soon after."""
OLD_BUFFER_S: Final = 300.0
"""Ten times the age at which buffers are sealed; an import of old files is sealed by size and may wait longer."""
MAX_ONGOING_REQUESTS: Final = 1_000
"""Requests in one replica at a time: beyond, HAProxy queues; memory is bounded by the intake's own limits."""


PUSH_TARGET_REQUESTS: Final = 24.0
"""Pushes under way in one replica: 64 keep two of them wholly at work, so that with 24 there is some room left."""
SEARCH_TARGET_REQUESTS: Final = 16.0
"""Pages and streams under way in one replica; a stream is one for as long as it lasts, and mostly waits."""
LOOK_BACK_S: Final = 10.0
UPSCALE_DELAY_S: Final = 5.0
"""A replica takes two seconds to start: a burst shorter than both together is over before it would help."""
DOWNSCALE_DELAY_S: Final = 300.0
"""A replica that ends takes its warm caches with it, and a search replica the searches that it runs."""
RESIZE_TIMEOUT_S: Final = 120.0
"""New actors start in three seconds, storing and taking over may take 30 each."""
GC_NEW_OBJECTS: Final = 20_000
"""Objects made between two collections of the youngest: parsed events are freed by their counts, without collection."""


def system_of(settings: Settings) -> System:
    """Describe the system that these settings ask for."""
    return System(
        places=places_of(settings),
        namespace="ess",
        vnodes=settings.log.vnode_count,
        persist_actors=settings.persist.actors,
        push_replicas=Replicas(settings.push.replicas, settings.push.most_replicas),
        search_replicas=Replicas(settings.search.replicas, settings.search.most_replicas),
        writer=WriterLimits(**settings.persist.as_limits()),
        search=SearchLimits(**settings.search.as_limits()),
        function=FunctionLocation(**settings.lambda_.as_location()) if settings.lambda_.function else None,
        invoke=InvokeLimits(settings.lambda_.attempts, usd_per_gb_second=settings.lambda_.usd_per_gb_second),
        invoke_concurrency=settings.lambda_.max_concurrency,
        invoke_task_bytes=settings.lambda_.task_bytes,
        max_cost_usd=settings.lambda_.max_cost_usd,
        executor=_usual_executor(settings),
        intake=IntakeLimits(**settings.push.as_limits()),
        compaction=CompactionPolicy(**settings.maintenance.as_limits()),
        kafka=KafkaSettings(**settings.log.as_kafka()) if settings.log.brokers else None,
        foreign_tenant=settings.log.foreign_tenant,
        redis_url=None if settings.results.redis_url is None else settings.results.redis_url.get_secret_value(),
        results=settings.results.as_limits(),
    )


def _usual_executor(settings: Settings) -> str:
    if settings.search.executor == "lambda" and not settings.lambda_.function:
        raise BadRequest("search.executor is lambda, and lambda.function names none: set it, or choose auto")
    return settings.search.executor


class Running:
    """A started system, as its driver sees it."""

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor

    def flush(self) -> None:
        """Store what is buffered; what cannot be stored now stays in the log."""
        try:
            ray.get(self._supervisor.flush.remote(), timeout=FLUSH_TIMEOUT_S)
        except (EssError, ray.exceptions.RayError) as error:
            _log.warning("not everything could be stored, the rest stays in the log: %s", error)


def start(system: System) -> Running:
    """Start the pool and both applications; returns once they answer."""
    supervisor = start_pool(system)
    serve.run_many(
        [
            serve.RunTarget(push_application(system), name="push", route_prefix="/push"),
            serve.RunTarget(search_application(system), name="search", route_prefix="/search"),
        ]
    )
    return Running(supervisor)


def push_application(system: System) -> Any:
    """Give the Serve application that takes events."""
    return _deployment("push", _push_builder(system), system.push_replicas, PUSH_TARGET_REQUESTS)


def search_application(system: System) -> Any:
    """Give the Serve application that answers queries."""
    return _deployment("search", _search_builder(system), system.search_replicas, SEARCH_TARGET_REQUESTS)


def _deployment(name: str, build: Callable[[], FastAPI], replicas: Replicas, target_requests: float) -> Any:
    """Make a Serve application of an ASGI app that is built inside each replica."""
    return (
        serve.deployment(serve.ingress(build)())
        .options(
            name=name,
            **_replicas(replicas, target_requests),
            # No CPU is reserved: scan tasks take them, and replicas would leave none on a small machine.
            ray_actor_options={"num_cpus": 0},
            max_ongoing_requests=MAX_ONGOING_REQUESTS,
            logging_config=LoggingConfig(enable_access_log=False),
        )
        .bind()
    )


def _replicas(replicas: Replicas, target_requests: float) -> dict[str, Any]:
    """Give Serve's options for a fixed number, or for one that follows the requests."""
    if replicas.min == replicas.max:
        return {"num_replicas": replicas.min}
    autoscaling = AutoscalingConfig(
        min_replicas=replicas.min,
        max_replicas=replicas.max,
        target_ongoing_requests=target_requests,
        look_back_period_s=LOOK_BACK_S,
        upscale_delay_s=UPSCALE_DELAY_S,
        downscale_delay_s=DOWNSCALE_DELAY_S,
    )
    return {"num_replicas": None, "autoscaling_config": autoscaling}


def _settle_heap() -> None:
    """Take what Ray and Serve loaded out of garbage collection: 150,000 objects that stay, and that it would walk every
    few thousand events. With the thresholds this takes 4 % off a push replica's CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, *gc.get_threshold()[1:])


def _push_builder(system: System) -> Callable[[], FastAPI]:
    def build() -> FastAPI:
        _settle_heap()
        log = open_log(system)

        async def health() -> list[str]:
            try:
                await log.end_offsets()
            except EssError as error:
                return [error.message]
            return []

        tally = published_tally()
        gatherer = Gatherer(log, tally=tally)
        return create_push_app(
            PushApi(
                gatherer,
                Access(system.keys()).tenant_for("push"),
                health,
                PoolViews(system).known_body,
                limits=system.intake,
                tally=tally,
            )
        )

    return build


def _search_builder(system: System) -> Callable[[], FastAPI]:
    def build() -> FastAPI:
        log, catalog, results = open_log(system), system.catalog(), system.result_store()
        usual = RayScanExecutor(system)
        lanes = system.lanes(usual)
        searcher = Searcher(
            log,
            catalog,
            system.store(),
            PoolViews(system),
            usual,
            results,
            system.search,
            RaySearchMeter(),
            lanes,
        )
        inside = Inside(system, log, catalog, results)
        access = Access(system.keys())
        tenant, admin = access.tenant_for("search"), access.tenant_for("admin")
        api = SearchApi(
            searcher,
            results,
            tenant,
            admin,
            inside.health,
            inside.status,
            inside.flush,
            inside.compact,
            lanes,
            system.executor,
        )
        app = create_search_app(api)
        route_aggregations(app, AggregationApi(searcher, results, tenant, api.executor), api)
        route_pool(app, admin, inside.pool, inside.resize)
        return app

    return build


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
        return {"rows": await call(self._supervisor().flush.remote(), "the supervisor", FLUSH_TIMEOUT_S)}

    async def pool(self) -> dict[str, Any]:
        """Give the pool's figures."""
        return dict(await call(self._supervisor().status.remote(), "the supervisor"))

    async def resize(self, actors: int) -> dict[str, Any]:
        """Have so many persist actors. See `Supervisor.resize`."""
        return dict(await call(self._supervisor().resize.remote(actors), "the supervisor", RESIZE_TIMEOUT_S))

    async def compact(self, before_us: int | None) -> dict[str, Any]:
        """Merge small objects and apply retention now; gives what was done. See `runtime.maintain.Maintenance`."""
        return dict(await call(self._supervisor().compact.remote(before_us), "the supervisor", COMPACT_TIMEOUT_S))

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
            "warnings": [*weaknesses, *_slow(pool["actors"])],
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


def _replica_states() -> dict[str, dict[str, int]]:
    """Count the replicas of each application by their state."""
    return {
        name: {str(state): count for state, count in deployment.replica_states.items()}
        for name, application in serve.status().applications.items()
        for deployment in application.deployments.values()
    }
