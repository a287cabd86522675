"""Queries that are answered when there is something to read: one round trip, long polls, clients that go meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

import pytest
from fastapi import FastAPI

from deployments.waiting import GONE
from ess_ray.core.query import Query
from ess_ray.limits import SearchLimits
from ess_ray.ports import ScanResult, ScanTask
from ess_ray.search.growth import Growth
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from tests.unit.test_search_app import Rig
from tests.waiting import until
from tests.worlds import World

LONG_S = 20.0
"""Far more than any of these waits takes: the answer that comes first must be for another reason."""
SOON_S = 10.0


class Steps:
    """ScanExecutor that runs a task for each `let`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lets = asyncio.Semaphore(0)

    def let(self, tasks: int = 1) -> None:
        for _ in range(tasks):
            self._lets.release()

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for index, task in enumerate(tasks):
            await self._lets.acquire()
            yield index, run_task(self._world.store, task)


class StepRig(Rig):
    """A search application over objects h0, h1, ... of one row each, which is read when a test says so."""

    def __init__(self, limits: SearchLimits | None = None) -> None:
        world = World()
        limits = limits or SearchLimits(in_place_bytes=0, task_bytes=1)
        self.steps = Steps(world)
        super().__init__(world, world.writer(), limits, executor=self.steps)

    async def store(self, objects: int) -> None:
        await self.writer.assign(range(3))
        for hour in range(objects):
            await self.push(f"h{hour}", hour=hour)
            await self.writer.flush()

    async def ask(self, wait: float, path: str = "/v1/queries", **body: Any) -> dict[str, Any]:
        async with asyncio.timeout(SOON_S):
            answer = await self.http.post(path, json={"start": 0, "wait": wait, **body})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def poll(self, query_id: str, wait: float, cursor: str = "") -> dict[str, Any]:
        async with asyncio.timeout(SOON_S):
            return await self.page(query_id, wait=wait, cursor=cursor)


@pytest.fixture
async def rig() -> AsyncIterator[StepRig]:
    made = StepRig()
    await made.store(4)
    yield made
    await made.searcher.close()
    await made.http.aclose()


def messages(page: dict[str, Any]) -> list[str]:
    return [event["message"] for event in page["events"]]


async def test_a_finished_search_is_one_round_trip(rig: StepRig) -> None:
    rig.steps.let(4)
    page = await rig.ask(LONG_S)
    assert (page["state"], page["complete"], messages(page)) == ("done", True, ["h3", "h2", "h1", "h0"])
    assert page == await rig.page(page["id"])


async def test_a_search_that_is_not_done_in_time_is_told_as_far_as_it_is_and_goes_on(rig: StepRig) -> None:
    rig.steps.let(1)
    page = await rig.ask(0.05)
    assert (page["state"], page["complete"]) == ("running", False)
    assert set(page) == set(await rig.page(page["id"]))
    rig.steps.let(3)
    last = await rig.finished(page["id"])
    assert (last["state"], messages(last)) == ("done", ["h3", "h2", "h1", "h0"])


async def test_a_first_page_is_answered_when_it_is_full(rig: StepRig) -> None:
    rig.steps.let(2)
    page = await rig.ask(LONG_S, page=1)
    assert (page["state"], messages(page), page["cursor"]) == ("running", ["h3"], "r1")
    assert messages(await rig.poll(page["id"], LONG_S, page["cursor"]))[:1] == ["h2"]


async def test_a_long_poll_is_answered_as_soon_as_a_row_is_there(rig: StepRig) -> None:
    first = await rig.ask(0.01)
    assert messages(first) == []
    polling = asyncio.create_task(rig.poll(first["id"], LONG_S))
    rig.steps.let(1)
    page = await polling
    assert (page["state"], messages(page)) == ("running", ["h3"])
    polls = [asyncio.create_task(rig.poll(first["id"], LONG_S, page["cursor"])) for _ in range(3)]
    rig.steps.let(1)
    assert [messages(await poll) for poll in polls] == [["h2"]] * 3


async def test_a_long_poll_behind_the_last_row_is_answered_at_the_end(rig: StepRig) -> None:
    first = await rig.ask(0.01)
    polling = asyncio.create_task(rig.poll(first["id"], LONG_S, "r4"))
    rig.steps.let(4)
    page = await polling
    assert (page["state"], page["cursor"], messages(page)) == ("done", "r4", [])
    assert await rig.poll(first["id"], LONG_S, "r4") == page


async def test_a_long_poll_of_an_unknown_search_waits_for_nothing(rig: StepRig) -> None:
    async with asyncio.timeout(SOON_S):
        assert (await rig.http.get("/v1/queries/nothing", params={"wait": LONG_S})).status_code == 404


async def test_counting_waits_alike(rig: StepRig) -> None:
    path = "/v1/aggregations"
    page = await rig.ask(0.01, path, query="h*")
    assert (page["state"], page["buckets"]) == ("running", [])
    polling = asyncio.create_task(rig.poll(page["id"], LONG_S))
    rig.steps.let(4)
    assert [bucket["count"] for bucket in (await polling)["buckets"]] == [4]
    rig.steps.let(4)
    page = await rig.ask(LONG_S, path, query="h*")
    assert (page["state"], [bucket["count"] for bucket in page["buckets"]]) == ("done", [4])
    assert page == (await rig.http.get(f"{path}/{page['id']}")).json()


@pytest.mark.parametrize("path", ["/v1/queries", "/v1/aggregations"])
@pytest.mark.parametrize("wait", [-0.1, 30.1, "5", True, None, [1]])
async def test_a_wait_that_cannot_be_is_refused(rig: StepRig, path: str, wait: object) -> None:
    answer = await rig.http.post(path, json={"start": 0, "wait": wait})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (400, ["body", "wait"])
    assert rig.searcher.running == 0


@pytest.mark.parametrize("page", [0, 10_001, 1.5, "5"])
async def test_a_page_that_cannot_be_is_refused(rig: StepRig, page: object) -> None:
    answer = await rig.http.post("/v1/queries", json={"start": 0, "wait": 1, "page": page})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (400, ["body", "page"])


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "soon"])
async def test_a_long_poll_that_cannot_be_is_refused(rig: StepRig, wait: str) -> None:
    answer = await rig.http.get("/v1/queries/any", params={"wait": wait})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (400, ["query", "wait"])


class Leaving:
    """A request whose client goes when it is told to, spoken without a client: httpx never leaves in the midst."""

    def __init__(self, app: FastAPI, method: str, path: str, query: str = "", body: object = None) -> None:
        self._gone = asyncio.Event()
        self._body = [b"" if body is None else json.dumps(body).encode()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json")],
            "scheme": "http",
            "server": ("test", 80),
            "client": ("test", 1),
        }
        self.answering = asyncio.create_task(app(scope, self._receive, self._send))

    async def leave(self) -> None:
        self._gone.set()
        async with asyncio.timeout(SOON_S):
            await self.answering

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        """Nobody reads it."""


async def test_a_client_that_leaves_a_long_poll_ends_nothing(rig: StepRig) -> None:
    first = await rig.ask(0.01)
    leaving = Leaving(rig.app, "GET", f"/v1/queries/{first['id']}", f"wait={LONG_S}")
    other = asyncio.create_task(rig.poll(first["id"], LONG_S))
    for _ in range(20):
        await asyncio.sleep(0)
    await leaving.leave()
    assert not other.done()
    assert (await rig.page(first["id"]))["state"] == "running"
    rig.steps.let(4)
    assert messages(await other)[:1] == ["h3"]
    assert messages(await rig.finished(first["id"])) == ["h3", "h2", "h1", "h0"]


async def test_a_client_that_leaves_before_it_has_the_id_ends_its_own_search_alone(rig: StepRig) -> None:
    spared = await rig.ask(0.01)
    leaving = Leaving(rig.app, "POST", "/v1/queries", body={"start": 0, "wait": LONG_S})
    await until(lambda: rig.searcher.running == 2, "the search does not begin")
    left = {key for _, key in rig.searcher._running} - {spared["id"]}
    await leaving.leave()
    (query_id,) = left
    page = await rig.page(query_id)
    assert (page["state"], page["incomplete"]) == ("cancelled", [GONE])
    assert (await rig.page(spared["id"]))["state"] == "running"


async def test_rows_of_a_search_that_runs_elsewhere_are_waited_for(rig: StepRig) -> None:
    world = rig.world
    parts = (world.log, world.catalog, world.store, rig.in_flight)
    other = Searcher(*parts, executor=rig.steps, results=rig.results, limits=SearchLimits())
    query_id = await rig.searcher.start("default", Query())
    waiting = asyncio.create_task(other.wait("default", query_id, LONG_S, 2))
    rig.steps.let(1)

    async def has_a_row() -> bool:
        return await rig.results.row_count("default", query_id) == 1

    await until(has_a_row, "no row comes")
    assert not waiting.done()
    rig.steps.let(1)
    async with asyncio.timeout(SOON_S):
        await waiting
    assert (await rig.results.state("default", query_id)).state == "running"
    assert await rig.results.row_count("default", query_id) == 2


async def test_growth_wakes_those_whose_number_is_reached() -> None:
    growth = Growth()
    with growth.reaching(0) as none, growth.reaching(2) as two, growth.reaching(3) as three:
        assert (none.done(), two.done()) == (True, False)
        growth.add(1)
        assert not two.done()
        growth.add(1)
        assert (two.done(), three.done()) == (True, False)
    assert three.cancelled()
    growth.add(5)
    with growth.reaching(7) as seven:
        assert seven.done()
