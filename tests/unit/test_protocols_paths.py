"""Paths that protocols fix: HAProxy knows all of them, and below their prefixes only what is there answers 200."""

from __future__ import annotations

import httpx
import pytest

from deployments.ui import create_ui_app
from deployments.ways.table import ways
from ess_ray.runtime.environment import PROTOCOLS, is_protocols
from tests.pushing import World

UNKNOWN = [
    *("/services/collector/other", "/elasticsearch/_nothing/x/y", "/api/prom/query"),
    *("/gelf/x", "/api/v2/x", "/otlp/v1/traces", "/v1/input/"),
]
KNOWN = [
    *("/ready", "/services/collector/health", "/api/v1/validate", "/elasticsearch/", "/elasticsearch", "/gelf"),
    *("/v1/input", "/v1/input/key", "/v1/logs"),
]
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def moved(path: str) -> str:
    """Write a path anew as HAProxy does, and take the application's prefix off."""
    for known, before in PROTOCOLS.items():
        if path.startswith(known) if known.endswith("/") else path == known:
            path = before + path
    return path.removeprefix("/push")


@pytest.mark.parametrize("path", ["/loki/api/v1/query_range", "/loki/", "/prometheus/api/v1/rules"])
def test_loki_is_read_from_the_search_application(path: str) -> None:
    assert moved(path) == f"/search{path}"
    assert is_protocols(path)


@pytest.mark.parametrize("accept", ["*/*", "application/json", BROWSER])
@pytest.mark.parametrize("path", [*UNKNOWN, *KNOWN])
async def test_the_page_is_never_there(path: str, accept: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_ui_app()), base_url="http://ui") as http:
        assert (await http.get(path, headers={"Accept": accept})).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", UNKNOWN)
async def test_what_is_not_there_is_404(method: str, path: str) -> None:
    world = World()
    response = await world.http.request(method, moved(path), content=b"{}", headers={"Accept": BROWSER})
    await world.http.aclose()
    assert response.status_code in (404, 400) if path.startswith("/elasticsearch") else response.status_code == 404
    assert not response.headers["content-type"].startswith("text/html")


def test_haproxy_knows_every_path_of_a_protocol_and_sends_it_there() -> None:
    known = ways()
    for path, (way, _) in known.routes.items():
        if way.prefixes:
            assert moved(path) == path
            assert known.way_of(path) is way
    assert moved("/v1/logs") == "/otlp/v1/logs"
    assert moved("/v1/input/key") == "/v1/input/key"
    for way in known.all:
        assert all(is_protocols(f"{prefix}x") or is_protocols(f"{prefix}/x") for prefix in way.prefixes)


async def test_ready_answers_as_lokis() -> None:
    world = World()
    ready = await world.http.get("/ready")
    world.problems = ["the log is away"]
    away = await world.http.get("/ready")
    await world.http.aclose()
    assert (ready.status_code, ready.text, away.status_code) == (200, "ready\n", 503)
    assert ready.headers["content-type"] == away.headers["content-type"] == "text/plain; charset=utf-8"
    assert "the log is away" in away.text
