"""The pages `/docs`: all of a document is on them, nothing on them comes from elsewhere or runs."""

from __future__ import annotations

import re
import shlex
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from deployments.docs import page_of, route_docs
from ess_ray.limits import SearchLimits
from tests.pushing import World as PushWorld
from tests.unit.test_search_app import Rig
from tests.worlds import World

_LOADED = re.compile(
    r"<(?:script|img|iframe|object|embed|form|base)\b|\son\w+=|javascript:|@import|url\(", re.IGNORECASE
)
_LINKED = re.compile(r'(?:src|href)="([^"]*)"')


def apps() -> dict[str, FastAPI]:
    world = World()
    return {"push": PushWorld().app, "search": Rig(world, world.writer(), SearchLimits()).app}


@pytest.fixture(params=["push", "search"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def shown(prefix: str, path: str = "/docs") -> httpx.Response:
    """What a browser gets through Serve, which tells an application its prefix."""
    app = apps()[prefix]
    transport = httpx.ASGITransport(app, root_path=f"/{prefix}")
    async with httpx.AsyncClient(transport=transport, base_url="http://here:8000") as http:
        return await http.get(f"/{prefix}{path}")


async def test_every_operation_is_there_with_a_command_that_asks_it(prefix: str) -> None:
    page = (await shown(prefix)).text
    for path, item in apps()[prefix].openapi()["paths"].items():
        for method in item:
            article = page.partition(f'<span class="method">{method}</span> /{prefix}{path}</code></h2>')[2]
            assert f"http://here:8000/{prefix}{path}" in unescape(article.partition("</article>")[0])


async def test_nothing_runs_and_nothing_comes_from_elsewhere(prefix: str) -> None:
    answer = await shown(prefix)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert _LOADED.findall(answer.text) == []
    links = _LINKED.findall(answer.text)
    assert f"/{prefix}/openapi.json" in links
    assert all(link.startswith(("#", "data:,", f"/{prefix}/")) for link in links)


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
async def test_pages_with_scripts_from_elsewhere_are_gone(prefix: str, path: str) -> None:
    assert (await shown(prefix, path)).status_code == 404


async def test_links_within_the_page_lead_somewhere(prefix: str) -> None:
    page = (await shown(prefix)).text
    wanted = {link.removeprefix("#") for link in _LINKED.findall(page) if link.startswith("#")}
    there = set(re.findall(r'<article id="([^"]*)"', page))
    assert wanted == there
    assert there


async def test_the_example_of_a_push_is_one_that_is_taken() -> None:
    world = PushWorld()
    page = page_of(world.app.openapi(), "/push", "http://here")
    (command,) = (one for one in re.findall(r"<pre>(.*?)</pre>", page) if "/v1/events" in one)
    words = shlex.split(unescape(command))
    body = words[words.index("-d") + 1]
    header = words[words.index("-H") + 1]
    answer = await world.http.post("/v1/events", content=body, headers=dict([header.split(": ")]))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)


HOSTILE: dict[str, Any] = {
    "info": {"title": "<script>alert(1)</script>"},
    "paths": {
        "/a/{x}'\"><b>": {
            "post": {
                "description": "`<i>` and <script>",
                "parameters": [{"name": "<u>", "in": "query", "schema": {"enum": ["</code><script>"]}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Endless"}}}},
                "responses": {"200": {"description": "<script>"}},
            }
        }
    },
    "components": {
        "schemas": {
            "Endless": {
                "type": "object",
                "required": ["inner"],
                "properties": {"inner": {"$ref": "#/components/schemas/Endless"}, "<b>": {"const": "<script>"}},
            }
        }
    },
}


def test_whatever_a_document_says_is_text_and_ends() -> None:
    page = page_of(HOSTILE, "/root", "http://<script>")
    assert "<script" not in page
    assert "<b>" not in page
    assert "<u>" not in page
    assert page.count("inner") < 100


async def test_a_document_of_a_new_application_can_be_read() -> None:
    app = FastAPI(title="new", docs_url=None, redoc_url=None)

    async def endpoint(name: str, many: int = 3) -> dict[str, list[int]]:
        """Say `name` many times."""
        return {name: [many]}

    app.get("/{name}/said")(endpoint)
    route_docs(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
        page = (await http.get("/docs")).text
    assert "Say <code>name</code> many times." in page
    assert "default 3" in page
