"""Two searchers over one result store, as two search replicas are: either ends what the other runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence

import pytest
from fastapi import Request

from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.memory import MemoryResultStore
from ess_ray.core.errors import NotFound, Unavailable
from ess_ray.core.query import Query
from ess_ray.ports import AnswerState, ScanResult, ScanTask, View
from ess_ray.search import elsewhere
from ess_ray.search.course import SearchLimits
from ess_ray.search.run import CANCELLED, SHUT_DOWN, Searcher
from tests.waiting import until
from tests.worlds import World

DEADLINE_S = 30.0


class Holding:
    """InFlight that keeps every search waiting until let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **_: object
    ) -> list[View]:
        await self.go_on.wait()
        return []


class NoTasks:
    """ScanExecutor for a table without objects."""

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for _ in tasks:
            raise AssertionError("there is nothing to scan")
        return
        yield


class Results(MemoryResultStore):
    """Counts the looks for wishes, and fails the first `failures` of them."""

    looks = failures = 0

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        self.looks += 1
        if self.looks <= self.failures:
            raise Unavailable("gone")
        return await super().cancel_requested(answers)


class Rig:
    """Two replicas: `one` runs what the tests start, `other` is asked."""

    def __init__(self) -> None:
        self.world, self.in_flight = World(), Holding()
        self.results = Results(lambda: self.world.now_us)
        self.one, self.other = self.searcher(), self.searcher()

    def searcher(self) -> Searcher:
        world = self.world
        return Searcher(world.log, world.catalog, world.store, self.in_flight, NoTasks(), self.results, SearchLimits())

    async def state(self, query_id: str) -> AnswerState:
        return await self.results.state("default", query_id)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.one.close()
    await made.other.close()


async def test_a_search_that_runs_elsewhere_is_cancelled(rig: Rig) -> None:
    query_id, spared = await rig.one.start("default", Query()), await rig.one.start("default", Query())
    state = await rig.other.cancel("default", query_id)
    assert (state.state, state.complete, state.incomplete) == ("cancelled", False, (CANCELLED,))
    assert await rig.other.cancel("default", query_id) == state
    assert (await rig.state(spared)).state == "running"


async def test_a_search_that_has_ended_elsewhere_stays_as_it_is(rig: Rig) -> None:
    rig.in_flight.go_on.set()
    query_id = await rig.one.start("default", Query())
    await rig.one.wait("default", query_id, DEADLINE_S)
    done = await rig.state(query_id)
    assert done.state == "done"
    assert await rig.other.cancel("default", query_id) == done


async def test_another_tenants_search_is_not_there_to_cancel(rig: Rig) -> None:
    query_id = await rig.one.start("default", Query())
    for searcher in (rig.one, rig.other):
        with pytest.raises(NotFound):
            await searcher.cancel("theirs", query_id)
    looked = rig.results.looks
    await until(lambda: rig.results.looks > looked + 1, "nobody looks")
    assert (await rig.state(query_id)).state == "running"


async def test_waiting_for_a_search_elsewhere_is_no_hot_loop(rig: Rig) -> None:
    query_id = await rig.one.start("default", Query())
    waiting = asyncio.create_task(rig.other.wait("default", query_id, 3600))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await rig.one.cancel("default", query_id)
    async with asyncio.timeout(DEADLINE_S):  # there is nothing to wait for
        await rig.other.wait("default", query_id, 3600)
        await rig.other.wait("default", "unknown", 3600)


async def test_a_store_that_is_away_for_a_moment_delays_a_cancel_only(rig: Rig) -> None:
    rig.results.failures = 2
    query_id = await rig.one.start("default", Query())
    assert (await rig.other.cancel("default", query_id)).state == "cancelled"
    assert rig.results.looks > 2


async def test_nothing_is_looked_for_when_nothing_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "WATCH_INTERVAL_S", 0.001)
    query_id = await rig.one.start("default", Query())
    await until(lambda: rig.results.looks > 3, "nobody looks")
    await rig.one.cancel("default", query_id)
    assert not [task for task in asyncio.all_tasks() if "watch for cancelled" in task.get_name() and not task.done()]
    again = await rig.one.start("default", Query())
    looks = rig.results.looks
    await until(lambda: rig.results.looks > looks, "nobody looks again")
    await rig.one.cancel("default", again)


async def test_a_replica_that_does_not_listen_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "CANCEL_WAIT_S", 0.05)
    await rig.results.create("default", "orphan", AnswerState("running", {}, False, (), 0))
    with pytest.raises(Unavailable, match="told there as failed"):
        await rig.other.cancel("default", "orphan")


async def test_who_cancels_twice_at_once_gets_the_same_end(rig: Rig) -> None:
    query_id = await rig.one.start("default", Query())
    await asyncio.sleep(0)
    states = await asyncio.gather(*(searcher.cancel("default", query_id) for searcher in (rig.one, rig.other) * 3))
    assert {state.state for state in states} == {"cancelled"}


async def nobody(_: Request) -> str:
    raise AssertionError("no request is made")


async def nothing(*_: object) -> dict[str, int]:
    return {}


async def well() -> list[str]:
    return []


async def test_a_replica_that_goes_tells_its_searches_as_failed(rig: Rig) -> None:
    app = create_search_app(SearchApi(rig.one, rig.results, nobody, nobody, well, nothing, nothing, nothing))
    async with app.router.lifespan_context(app):
        mine, others = await rig.one.start("default", Query()), await rig.other.start("default", Query())
    state = await rig.state(mine)
    assert (state.state, state.complete, state.incomplete) == ("failed", False, (SHUT_DOWN,))
    assert (await rig.state(others)).state == "running"
    await rig.one.close()
