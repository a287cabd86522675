"""The composition root: which parts make up a running system, and the Serve applications over them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig

from deployments.access import Access
from deployments.aggregations import AggregationApi, route_aggregations
from deployments.alerts import AlertsApi, route_alerts
from deployments.deletions import DeletionApi, route_deletions
from deployments.departure import Departure
from deployments.explain import route_explain
from deployments.export import route_export
from deployments.inside import FLUSH_ANSWER_TIMEOUT_S, Inside, push_health
from deployments.loki import Reader, route_loki
from deployments.patterns import PatternsApi, route_patterns
from deployments.pipes import PipeApi, route_pipes
from deployments.pool import route_pool
from deployments.push import PushApi, create_push_app
from deployments.search import SearchApi, create_search_app
from deployments.tail import TailApi, route_tail
from deployments.ui import create_ui_app
from deployments.whose import route_whose
from ess_ray.adapters.kafka_settings import kafka_of
from ess_ray.adapters.lambda_function import function_of
from ess_ray.adapters.places import places_of
from ess_ray.adapters.receivers import AlertSettings, ReceiverAt, receivers_of
from ess_ray.alerts.asking import Asker
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.lines.bodies import formats_of
from ess_ray.runtime.listeners import DRAIN_TIMEOUT_S
from ess_ray.runtime.log import open_log
from ess_ray.runtime.memory import give_back_after_bursts
from ess_ray.runtime.metrics import RaySearchMeter, published_tally
from ess_ray.runtime.ray_executor import RayScanExecutor
from ess_ray.runtime.supervisor import start_pool
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import Replicas, System
from ess_ray.search.direct import Direct
from ess_ray.search.explain import Explainer, Pricing
from ess_ray.search.export import Exporter
from ess_ray.search.run import Searcher
from ess_ray.search.tail import EndsReader, Parts
from ess_ray.settings import Settings, ports_of

_log = logging.getLogger(__name__)

MAX_ONGOING_REQUESTS: Final = 1_000
"""Requests in one replica at a time: beyond, HAProxy queues; memory is bounded by the intake's own limits."""
PUSH_TARGET_REQUESTS: Final = 24.0
"""Pushes under way in one replica: 64 keep two of them wholly at work, so that with 24 there is some room left."""
SEARCH_TARGET_REQUESTS: Final = 16.0
"""Pages and streams under way in one replica; a stream is one for as long as it lasts, and mostly waits."""
UI_REPLICAS: Final = Replicas(1, 1)
"""A few files from memory: browsers keep them for a year."""
LISTENERS_TIMEOUT_S: Final = 20.0
"""Beyond what the supervisor itself waits for them: a process starts in two seconds, on a busy machine in ten."""
DRAIN_ANSWER_TIMEOUT_S: Final = DRAIN_TIMEOUT_S + 2.0
LOOK_BACK_S: Final = 10.0
UPSCALE_DELAY_S: Final = 5.0
"""A replica takes two seconds to start: a burst shorter than both together is over before it would help."""
DOWNSCALE_DELAY_S: Final = 300.0
"""A replica that ends takes its warm caches with it, and a search replica the searches that it runs."""
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
        writer=settings.persist.limits,
        search=settings.search.limits,
        function=function_of(settings),
        invoke=settings.lambda_.invoke_limits,
        lambda_limits=settings.lambda_.limits,
        executor=_usual_executor(settings),
        intake=IntakeLimits.of(settings.push.limits, _field_tables(settings), formats_of(settings.push.parse)),
        listeners=settings.listeners.wanted,
        listen_sockets=settings.listeners.limits,
        keys_in_addresses=settings.push.keys_in_addresses,
        elasticsearch_version=settings.push.elasticsearch_version,
        loki_labels=settings.search.loki_labels,
        compaction=settings.maintenance.policy,
        disk=settings.disk.limits,
        kafka=kafka_of(settings),
        foreign_tenant=settings.log.foreign_tenant,
        redis_url=None if settings.results.redis_url is None else settings.results.redis_url.get_secret_value(),
        answers=settings.results.limits,
        alerts=_alerts_of(settings),
        ports=tuple(asdict(at) for at in ports_of(settings)),
    )


def _alerts_of(settings: Settings) -> AlertSettings:
    """Read who is told of alerts. Raises BadRequest for a receiver that cannot be."""
    given = settings.alerts
    found = AlertSettings(
        tuple(ReceiverAt(one.name, one.url.get_secret_value()) for one in given.receivers),
        given.page_url or f"http://{settings.http.host}:{settings.http.port}",
        tuple(given.allow_hosts),
    )
    receivers_of(found)
    return found


def _usual_executor(settings: Settings) -> str:
    if settings.search.executor == "lambda" and not settings.lambda_.function:
        raise BadRequest("search.executor is lambda, and lambda.function names none: set it, or choose auto")
    return settings.search.executor


class Running:
    """A started system, as its driver sees it."""

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor

    def drain(self) -> None:
        """Close the listeners, once what they have read is in the log."""
        try:
            ray.get(self._supervisor.drain_listeners.remote(), timeout=DRAIN_ANSWER_TIMEOUT_S)
        except (EssError, ray.exceptions.RayError) as error:
            _log.warning("the listeners did not end in good order: %s", error)

    def wait_for_listeners(self) -> None:
        """Return once the listeners are open, as far as they can be at once; not ready is no reason not to start."""
        try:
            ray.get(self._supervisor.listeners_ready.remote(), timeout=LISTENERS_TIMEOUT_S)
        except (EssError, ray.exceptions.RayError) as error:
            _log.warning("the listeners are not open yet, and open later: %s", error)

    def flush(self) -> None:
        """Store what is buffered; what cannot be stored now stays in the log."""
        try:
            ray.get(self._supervisor.flush.remote(), timeout=FLUSH_ANSWER_TIMEOUT_S)
        except (EssError, ray.exceptions.RayError) as error:
            _log.warning("not everything could be stored, the rest stays in the log: %s", error)


def start(system: System, told: Callable[[str], None]) -> Running:
    """Start the pool and all applications; returns once they answer. `told` hears what is being done."""
    told("starting the event log, and the pool that stores events")
    supervisor = start_pool(system)
    told("starting push, search and the web page")
    serve.run_many(
        [
            serve.RunTarget(push_application(system), name="push", route_prefix="/push"),
            serve.RunTarget(search_application(system), name="search", route_prefix="/search"),
            # Last: the prefix of everything, of which the longer ones above take their own.
            serve.RunTarget(ui_application(), name="ui", route_prefix="/"),
        ]
    )
    running = Running(supervisor)
    running.wait_for_listeners()
    return running


def push_application(system: System) -> Any:
    """Give the Serve application that takes events."""
    return _deployment("push", push_builder(system), system.push_replicas, PUSH_TARGET_REQUESTS)


def search_application(system: System) -> Any:
    """Give the Serve application that answers queries."""
    return _deployment("search", search_builder(system), system.search_replicas, SEARCH_TARGET_REQUESTS)


def ui_application() -> Any:
    """Give the Serve application of the web page."""
    return _deployment("ui", create_ui_app, UI_REPLICAS, SEARCH_TARGET_REQUESTS)


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


def _field_tables(settings: Settings) -> dict[str, FieldTable]:
    return {tenant: FIELD_TABLE.with_names(names) for tenant, names in settings.push.fields.items()}


def push_builder(system: System) -> Callable[[], FastAPI]:
    """Give what builds the ASGI app of a push replica, in that replica."""

    def build() -> FastAPI:
        _settle_heap()
        log = open_log(system)

        tally = published_tally()
        gatherer = Gatherer(log, tally=tally)
        access = Access(system.keys(), in_addresses=system.keys_in_addresses)
        health = push_health(log, gatherer, access, system.session_id)
        give_back_after_bursts(gatherer.gate.most_held)
        return create_push_app(
            PushApi(
                gatherer,
                access.tenant_for("push"),
                health.problems,
                PoolViews(system).known_request,
                limits=system.intake,
                tally=tally,
            ),
            system.elasticsearch_version,
        )

    return build


def search_builder(system: System) -> Callable[[], FastAPI]:
    """Give what builds the ASGI app of a search replica, in that replica."""

    def build() -> FastAPI:
        log, catalog, results = open_log(system), system.catalog(), system.result_store()
        usual, store, meter = RayScanExecutor(system), system.store(), RaySearchMeter()
        lanes = system.lanes(usual)
        views = PoolViews(system)
        searcher = Searcher(
            log, catalog, store, views, executor=usual, results=results, limits=system.search, meter=meter, lanes=lanes
        )
        access = Access(system.keys())
        inside = Inside(system, log, catalog, results, access)
        tenant, admin = access.tenant_for("search"), access.tenant_for("admin")
        departure = Departure(inside.leaving, searcher.close)
        api = SearchApi(
            searcher=searcher,
            results=results,
            tenant=tenant,
            admin=admin,
            health=inside.health,
            status=inside.status,
            flush=inside.flush,
            compact=inside.compact,
            executors=lanes,
            usual_executor=system.executor,
            departure=departure,
            answers_stay=system.redis_url is not None,
            warnings=inside.warnings,
        )
        app = create_search_app(api)
        route_export(app, tenant, Exporter(searcher, results, meter=meter), departure)
        explainer = Explainer(searcher, system.search.in_place_bytes, store.coalesce_bytes, _pricing(system))
        route_explain(app, tenant, api.executor, explainer)
        route_aggregations(app, AggregationApi(searcher, results, tenant, api))
        route_pipes(app, PipeApi(searcher, tenant, api))
        route_patterns(app, PatternsApi(searcher, tenant, api))
        route_whose(app, access.holder)
        route_pool(app, admin, inside.pool, inside.resize)
        here = system.redis_url is None
        deletions = DeletionApi(
            system.deletions(),
            results,
            admin,
            inside.look_for_deletions,
            answers_here=here,
            warnings=inside.warnings,
        )
        route_deletions(app, deletions)
        asker = Asker(searcher, results)
        names = [one.name for one in system.alerts.receivers]
        route_alerts(app, AlertsApi(system.alert_book(), asker, access, names, inside.look_for_alerts))
        looked_at = Parts(EndsReader(log, store), views, catalog, store, usual)
        tails = TailApi(looked_at, tenant, departure, meter=meter)
        route_tail(app, tails)
        reader = Reader(Direct(searcher, results, meter), tenant, system.loki_labels)
        route_loki(app, reader, tails)
        return app

    return build


def _pricing(system: System) -> Pricing | None:
    if system.function is None:
        return None
    return Pricing(system.function.memory_gb, system.invoke, system.lambda_limits.max_cost_usd)
