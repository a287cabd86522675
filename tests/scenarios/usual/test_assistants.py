"""An assistant asks by the Model Context Protocol, with the official client: over `ess mcp`'s streams and over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from ess_ray.runtime.environment import free_ports
from tests.systems import System, wait_until

TOOLS = {"search", "stats", "patterns", "fields", "explain", "tail_sample"}
MCP = [sys.executable, "-m", "ess_ray.cli", "mcp"]


@asynccontextmanager
async def over_streams(system: System) -> AsyncIterator[ClientSession]:
    started = StdioServerParameters(command=MCP[0], args=[*MCP[1:], "--url", system.url], env=system.environment)
    async with stdio_client(started) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


@contextmanager
def serving(system: System) -> Iterator[str]:
    [port] = free_ports(1)
    command = [*MCP, "--url", system.url, "--http", "--port", str(port)]
    with subprocess.Popen(command, env=system.environment) as process:
        try:
            wait_until(lambda: _answers(port), "nothing listens")
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 404
    except httpx.TransportError:
        return False


async def ask(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await session.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    found = json.loads(answer.content[0].text)  # type: ignore[union-attr]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def pushed(system: System) -> None:
    events = [{"message": f"assisted order {i} took {i} ms", "service": "assisted", "took": i} for i in range(60)]
    system.push([*events, {"message": "assisted " + "x" * 5_000, "service": "assisted", "level": "ERROR"}])


async def test_an_assistant_finds_counts_and_is_told_what_was_left_out(system: System, pushed: None) -> None:
    async with over_streams(system) as session:
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools)

        found = await ask(session, "search", query="service:assisted level:ERROR")
        assert (found["complete"], found["more"]) == (True, False)
        assert [row["message"][-5:] for row in found["rows"]] == ["[cut]"]
        assert "longer than" in found["cut"][0]
        few = await ask(session, "search", query="service:assisted", limit=2, order="oldest")
        assert (len(few["rows"]), few["more"]) == (2, True)

        table = await ask(session, "stats", query="service:assisted | stats max(took) as most by service")
        assert [column["name"] for column in table["columns"]] == ["service", "most"]
        assert table["rows"] == [["assisted", 59]]
        [name] = [field for field in (await ask(session, "fields"))["rows"] if field["name"] == "took"]
        assert name["count"] == 60
        values = await ask(session, "fields", name="level", query="service:assisted")
        assert values["rows"] == [{"value": "ERROR", "count": 1}]
        assert (await ask(session, "explain", query="service:assisted"))["complete"]

        hints = (await ask(session, "search", query="nosuchfield:x"))["hints"]
        assert hints
        wrong = await session.call_tool("search", {"query": "(assisted"})
        assert wrong.is_error
        assert "^" in wrong.content[0].text  # type: ignore[union-attr]


async def test_an_assistant_sees_patterns_and_watches(system: System, pushed: None) -> None:
    async with over_streams(system) as session:
        patterns = await ask(session, "patterns", query="service:assisted took")
        count = [column["name"] for column in patterns["columns"]].index("count")
        assert [row[count] for row in patterns["rows"]] == [60]
        watched = await ask(session, "tail_sample", query="service:nobody", seconds=1)
        assert (watched["rows"], watched["complete"]) == ([], True)


async def test_over_http_who_asks_brings_the_key(system: System, pushed: None) -> None:
    system.environment["ESS_KEY"] = "ess_of_who_started_it"
    try:
        with serving(system) as address:
            async with (
                streamable_http_client(address) as (reading, writing, *_),
                ClientSession(reading, writing) as session,
            ):
                await session.initialize()
                found = await ask(session, "search", query="service:assisted", limit=500)
                assert found["complete"]
                assert len(found["rows"]) == 61
    finally:
        del system.environment["ESS_KEY"]
