"""The composition root: which parts make up a running system, and the two Serve applications over them.

May live here: building parts from settings and handing them to each other. May not: HTTP details (`push`, `search`),
policy.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.schema import LoggingConfig

from deployments.access import Access
from deployments.push import PushApi, create_push_app
from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.kafka_wire import KafkaSettings
from ess_ray.adapters.places import places_of
from ess_ray.compaction import CompactionPolicy
from ess_ray.core.errors import EssError
from ess_ray.ingest.writer import WriterLimits
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.ports import Catalog, EventLog
from ess_ray.runtime.log import RemoteLog, open_log
from ess_ray.runtime.maintain import COMPACT_TIMEOUT_S
from ess_ray.runtime.metrics import RaySearchMeter
from ess_ray.runtime.scan import RayScanExecutor
from ess_ray.runtime.supervisor import start_pool
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, System, call
from ess_ray.search.run import Searcher, SearchLimits
from ess_ray.settings import Settings

_log = logging.getLogger(__name__)

FLUSH_TIMEOUT_S: Final = 60.0
"""What is not stored by then stays in the log, and is stored after the next start."""
MAX_ONGOING_REQUESTS: Final = 1_000
"""Requests in one replica at a time: beyond, HAProxy queues; memory is bounded by the intake's own limits."""


GC_NEW_OBJECTS: Final = 20_000
"""Objects made between two collections of the youngest: parsed events are freed by their counts, without collection."""


def system_of(settings: Settings) -> System:
    """Describe the system that these settings ask for."""
    return System(
        places=places_of(settings),
        namespace="ess",
        vnodes=settings.log.vnode_count,
        persist_actors=settings.persist.actors,
        push_replicas=settings.push.replicas,
        writer=WriterLimits(**settings.persist.as_limits()),
        search=SearchLimits(**settings.search.as_limits()),
        intake=IntakeLimits(**settings.push.as_limits()),
        compaction=CompactionPolicy(**settings.maintenance.as_limits()),
        kafka=KafkaSettings(**settings.log.as_kafka()) if settings.log.brokers else None,
        foreign_tenant=settings.log.foreign_tenant,
        redis_url=None if settings.results.redis_url is None else settings.results.redis_url.get_secret_value(),
        results=settings.results.as_limits(),
    )


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
    return _deployment("push", _push_builder(system), system.push_replicas)


def search_application(system: System) -> Any:
    """Give the Serve application that answers queries."""
    return _deployment("search", _search_builder(system), 1)  # the book of running searches is in its memory


def _deployment(name: str, build: Callable[[], FastAPI], replicas: int) -> Any:
    """Make a Serve application of an ASGI app that is built inside each replica."""
    return (
        serve.deployment(serve.ingress(build)())
        .options(
            name=name,
            num_replicas=replicas,
            # No CPU is reserved: scan tasks take them, and replicas would leave none on a small machine.
            ray_actor_options={"num_cpus": 0},
            max_ongoing_requests=MAX_ONGOING_REQUESTS,
            logging_config=LoggingConfig(enable_access_log=False),
        )
        .bind()
    )


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

        gatherer = Gatherer(log)
        return create_push_app(
            PushApi(
                gatherer,
                Access(system.keys()).tenant_for("push"),
                health,
                PoolViews(system).known_body,
                limits=system.intake,
            )
        )

    return build


def _search_builder(system: System) -> Callable[[], FastAPI]:
    def build() -> FastAPI:
        log, catalog, results = open_log(system), system.catalog(), system.result_store()
        searcher = Searcher(
            log,
            catalog,
            system.store(),
            PoolViews(system),
            RayScanExecutor(system),
            results,
            system.search,
            RaySearchMeter(),
        )
        inside = Inside(system, log, catalog)
        access = Access(system.keys())
        tenant, admin = access.tenant_for("search"), access.tenant_for("admin")
        return create_search_app(
            SearchApi(searcher, results, tenant, admin, inside.health, inside.status, inside.flush, inside.compact)
        )

    return build


class Inside:
    """What the endpoints tell of the system behind them."""

    def __init__(self, system: System, log: EventLog, catalog: Catalog) -> None:
        self._system, self._log, self._catalog = system, log, catalog

    def _supervisor(self) -> Any:
        return self._system.actor(SUPERVISOR_ACTOR)

    async def health(self) -> list[str]:
        """Name what stands in the way of complete answers."""
        try:
            await self._log.end_offsets()
            return list(await call(self._supervisor().health.remote(), "the supervisor"))
        except EssError as error:
            return [error.message]

    async def flush(self) -> dict[str, int]:
        """Have the pool store everything; gives the rows stored by this call."""
        return {"rows": await call(self._supervisor().flush.remote(), "the supervisor", FLUSH_TIMEOUT_S)}

    async def compact(self, before_us: int | None) -> dict[str, Any]:
        """Merge small objects and apply retention now; gives what was done. See `runtime.maintain.Maintenance`."""
        return dict(await call(self._supervisor().compact.remote(before_us), "the supervisor", COMPACT_TIMEOUT_S))

    async def status(self) -> dict[str, Any]:
        """Give the figures of log, pool and table."""
        ends, starts = await self._log.end_offsets(), await self._log.start_offsets()
        snapshot = await asyncio.to_thread(self._catalog.snapshot)
        entries = snapshot.objects(None, None, None)
        return {
            "log": {
                "log_id": await self._log.log_id(),
                "backlog_bytes": await self._log.backlog_bytes() if isinstance(self._log, RemoteLog) else None,
                "vnodes": {vnode: {"start": starts[vnode], "end": end} for vnode, end in sorted(ends.items())},
            },
            "pool": await call(self._supervisor().status.remote(), "the supervisor"),
            "table": {
                "version": snapshot.version,
                "objects": len(entries),
                "rows": sum(entry.rows for entry in entries),
                "bytes": sum(entry.size for entry in entries),
            },
            "problems": await self.health(),
        }
