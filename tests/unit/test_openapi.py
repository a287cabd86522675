"""Both applications against their own OpenAPI documents, with requests that Schemathesis makes up, right and wrong.

Whatever routes an application has are covered; those that are left out are named here, with the reason.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import Request
from hypothesis import settings
from schemathesis.schemas import BaseSchema

from deployments.access import Access
from deployments.alerts import AlertsApi, route_alerts
from deployments.deletions import DeletionApi, route_deletions
from deployments.departure import Departure
from deployments.explain import route_explain
from deployments.export import route_export
from deployments.loki import Reader, route_loki
from deployments.pool import route_pool
from deployments.problem import REFUSALS
from deployments.tail import TailApi, route_tail
from deployments.whose import route_whose
from ess_ray.alerts.asking import Asker
from ess_ray.alerts.book import AlertBook
from ess_ray.keys import KeyBook
from ess_ray.limits import SearchLimits
from ess_ray.search.direct import Direct
from ess_ray.search.explain import Explainer
from ess_ray.search.export import Exporter
from ess_ray.search.tail import EndsReader, Parts
from ess_ray.table.deletion_book import DeletionBook
from ess_ray.testing import HereExecutor, MemoryObjectStore
from tests.documents import ENDLESS, probe, schema_at
from tests.http_server import serving
from tests.pushing import World as PushWorld
from tests.unit.test_search_app import Rig
from tests.worlds import World

CHOSEN: Final = settings(max_examples=30, derandomize=True)
"""Requests for each route, right ones and as many wrong ones: an application takes five to ten seconds."""
LOKIS: Final = "^/(loki|prometheus)/"
"""Answered in Loki's words, with what its clients ask: `test_loki_reading`."""
RUNNING_ROUTES: Final = """
import json, pathlib, sys
from deployments.app import search_builder
from ess_ray.adapters.places import Places
from ess_ray.runtime.wiring import System
app = search_builder(System(Places(pathlib.Path(sys.argv[1])), "test"))()
print(json.dumps(list(app.openapi()["paths"])))
"""


@pytest.fixture(scope="module")
def push_schema() -> Iterator[BaseSchema]:
    with serving(PushWorld().app) as url:
        yield schema_at(url)


@pytest.fixture(scope="module")
def rig() -> Rig:
    """The search application with every route that a running system has, a stored and a buffered event."""
    world = World()
    writer = world.writer()
    rig = Rig(world, writer, SearchLimits())

    async def some(*_: Any) -> Any:
        return {"actors": 2}

    async def fill() -> None:
        await writer.assign(range(3))
        await rig.push("stored")
        await writer.flush()
        await rig.push("buffered")

    async def tenant(request: Request) -> str:
        return "default"

    async def stays() -> bool:
        return False

    asyncio.run(fill())
    departure = Departure(stays, rig.searcher.close)

    async def nobody(request: Request) -> None:
        return None

    route_whose(rig.app, nobody)
    route_pool(rig.app, tenant, some, some)
    route_export(rig.app, tenant, Exporter(rig.searcher, rig.results), departure)
    limits = SearchLimits()
    explainer = Explainer(rig.searcher, limits.in_place_bytes, world.store.coalesce_bytes)
    route_explain(rig.app, tenant, lambda asked: asked or "ray", explainer)
    parts = Parts(
        EndsReader(world.log, world.store), rig.in_flight, world.catalog, world.store, HereExecutor(world.store)
    )
    route_tail(rig.app, TailApi(parts, tenant, departure))
    book = DeletionBook(MemoryObjectStore(lambda: world.now_us))
    route_deletions(rig.app, DeletionApi(book, rig.results, tenant, some, answers_here=True))
    kept = AlertBook(MemoryObjectStore(lambda: world.now_us))
    nobody_has_a_key = Access(KeyBook(MemoryObjectStore(lambda: world.now_us)))
    asker = Asker(rig.searcher, rig.results)
    route_alerts(rig.app, AlertsApi(kept, asker, nobody_has_a_key, ["pager"], some))
    reader = Reader(Direct(rig.searcher, rig.results), tenant, ())
    route_loki(rig.app, reader, TailApi(parts, tenant, departure))
    return rig


@pytest.fixture(scope="module")
def search_url(rig: Rig) -> Iterator[str]:
    with serving(rig.app) as url:
        yield url


def test_push_is_as_its_document_says(push_schema: BaseSchema) -> None:
    assert "POST /v1/events" in probe(push_schema, CHOSEN)


def test_search_is_as_its_document_says(search_url: str) -> None:
    query_id = httpx.post(f"{search_url}/v1/queries", json={"start": 0}, trust_env=False).json()["id"]
    schema = schema_at(search_url).exclude(path_regex=f"{ENDLESS}|{LOKIS}")
    assert "POST /v1/queries" in probe(schema, CHOSEN, query_id=query_id)


def test_streams_are_described_as_events_and_refusals_as_problems(rig: Rig) -> None:
    paths = rig.app.openapi()["paths"]
    for path in ("/v1/tail", "/v1/queries/{query_id}/stream"):
        answers = paths[path]["get"]["responses"]
        assert list(answers["200"]["content"]) == ["text/event-stream"]
        assert {*answers} == {"200", *map(str, REFUSALS)}
        assert all(list(answers[str(status)]["content"]) == ["application/problem+json"] for status in REFUSALS)


def test_lokis_endpoints_are_described_with_their_parameters(rig: Rig) -> None:
    paths = rig.app.openapi()["paths"]
    values = paths["/loki/api/v1/label/{name}/values"]["get"]
    assert [one["name"] for one in values["parameters"]] == ["name", "query", "start", "end", "since"]
    assert {*values["responses"]} == {"200", *map(str, REFUSALS)}
    assert list(values["responses"]["400"]["content"]) == ["text/plain"]
    (query, *_) = paths["/loki/api/v1/query_range"]["get"]["parameters"]
    assert query["required"]


def test_all_routes_of_a_running_system_are_covered(rig: Rig, tmp_path: Path) -> None:
    """A route that `app` adds and this module does not would never be asked."""
    command = [sys.executable, "-c", RUNNING_ROUTES, str(tmp_path)]  # by itself: Serve changes a process's logging
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == set(rig.app.openapi()["paths"])
