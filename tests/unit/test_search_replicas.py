"""Two searchers over one result store, as two search replicas are: either ends what the other runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import Request

from deployments.departure import LEAVING, Departure
from deployments.search import SearchApi, create_search_app
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.collect import Grouping
from ess_ray.core.errors import EssError, NotFound, Unavailable
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import Query
from ess_ray.limits import SearchLimits
from ess_ray.ports import AnswerState, Record, ScanResult, ScanTask, View, VnodeRange
from ess_ray.search import remote_cancel
from ess_ray.search.run import CANCELLED, SHUT_DOWN, Searcher
from ess_ray.search.shown import Aggregation
from tests.waiting import until
from tests.worlds import World

DEADLINE_S = 30.0


class Holding:
    """InFlight that keeps every search waiting until let go, and holds nothing that matches."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **_: object
    ) -> list[View]:
        await self.go_on.wait()
        return [View({vnode: VnodeRange(0, end) for vnode, end in min_ends.items()}, EMPTY)]


class NoTasks:
    """ScanExecutor for a table without objects."""

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        for _ in tasks:
            raise AssertionError("there is nothing to scan")
        return
        yield


class Results(MemoryResultStore):
    """Counts the looks for wishes, and fails the first `failures` of them; gives no rows while it is `away`."""

    looks = failures = 0
    away: EssError | None = None

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        if self.away is not None:
            raise self.away
        return await super().rows(tenant, query_id, start, limit)

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
        return Searcher(
            world.log,
            world.catalog,
            world.store,
            self.in_flight,
            executor=NoTasks(),
            results=self.results,
            limits=SearchLimits(),
        )

    async def state(self, query_id: str) -> AnswerState:
        return await self.results.state("default", query_id)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.world.log.append([Record(0, b"nobody has stored it")])  # else no owner is asked
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
    monkeypatch.setattr(remote_cancel, "WATCH_INTERVAL_S", 0.001)
    query_id = await rig.one.start("default", Query())
    await until(lambda: rig.results.looks > 3, "nobody looks")
    await rig.one.cancel("default", query_id)
    assert not [task for task in asyncio.all_tasks() if "watch for cancelled" in task.get_name() and not task.done()]
    again = await rig.one.start("default", Query())
    looks = rig.results.looks
    await until(lambda: rig.results.looks > looks, "nobody looks again")
    await rig.one.cancel("default", again)


async def test_a_replica_that_does_not_listen_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_cancel, "CANCEL_WAIT_S", 0.05)
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
    app = create_search_app(
        SearchApi(
            searcher=rig.one,
            results=rig.results,
            tenant=nobody,
            admin=nobody,
            health=well,
            status=nothing,
            flush=nothing,
            compact=nothing,
        )
    )
    async with app.router.lifespan_context(app):
        mine, others = await rig.one.start("default", Query()), await rig.other.start("default", Query())
    state = await rig.state(mine)
    assert (state.state, state.complete, state.incomplete) == ("failed", False, (SHUT_DOWN,))
    assert (await rig.state(others)).state == "running"
    await rig.one.close()


# ---------------------------------------------------------------------------------- streams of a replica that is to end
async def default(_: Request) -> str:
    return "default"


async def streamed(
    rig: Rig, query_id: str, *, leaving: bool, answers_stay: bool, headers: dict[str, str] | None = None
) -> list[tuple[str, dict[str, Any], str]]:
    """Follow a search's stream through the replica `one` to its end: kinds, data and ids."""

    async def asked() -> bool:
        return leaving

    departure = Departure(asked, rig.one.close, look_s=0.001, grace_s=0.05)
    api = SearchApi(
        searcher=rig.one,
        results=rig.results,
        tenant=default,
        admin=default,
        health=well,
        status=nothing,
        flush=nothing,
        compact=nothing,
        departure=departure,
        answers_stay=answers_stay,
    )
    app = create_search_app(api)
    async with (
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://one") as http,
    ):
        text = (await http.get(f"/v1/queries/{query_id}/stream", headers=headers)).text
    events = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.strip().split("\n\n")]
    return [(event["event"], json.loads(event["data"]), event.get("id", "")) for event in events]


async def test_a_stream_goes_on_in_another_replica_where_answers_are_shared(
    rig: Rig, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    running = AnswerState("running", {"objects_total": 1}, False, (), 0)
    await rig.results.create("default", "q", running)
    await rig.results.append("default", "q", make_events([t0_us, t0_us + 1]))
    *before, (kind, told, _) = await streamed(rig, "q", leaving=True, answers_stay=True)
    assert (kind, told) == ("error", {"detail": LEAVING, "reconnect": True, "cursor": "r2"})
    ids = [event_id for kind, _, event_id in before if kind == "event"]
    assert ids == ["r1", "r2"]
    await rig.results.append("default", "q", make_events([t0_us + 2]))
    await rig.results.update("default", "q", AnswerState("done", {"objects_total": 1}, True, (), 5))
    for leaving in (False, True):  # what is all there is given to the end in any case
        behind = await streamed(rig, "q", leaving=leaving, answers_stay=True, headers={"Last-Event-ID": ids[-1]})
        assert [(kind, event_id) for kind, _, event_id in behind] == [("event", "r3"), ("done", "")]
        assert behind[-1][1]["complete"]


@pytest.mark.parametrize("counting", [False, True])
async def test_a_stream_says_that_its_answer_is_incomplete_where_answers_end_with_the_replica(
    rig: Rig, counting: bool
) -> None:
    query_id = (
        await rig.one.start_count("default", Query(), Aggregation(Grouping()))
        if counting
        else await rig.one.start("default", Query())
    )
    *before, (kind, told, _) = await streamed(rig, query_id, leaving=True, answers_stay=False)
    assert {kind for kind, _, _ in before} == {"progress"}, "it runs on while there is time"
    assert (kind, told["state"], told["complete"], told["incomplete"]) == ("done", "failed", False, [SHUT_DOWN])


async def test_a_stream_whose_answer_is_whole_ends_as_ever(rig: Rig) -> None:
    rig.in_flight.go_on.set()
    query_id = await rig.one.start("default", Query())
    await rig.one.wait("default", query_id, DEADLINE_S)
    ((kind, told, _),) = await streamed(rig, query_id, leaving=True, answers_stay=True)
    assert (kind, told["complete"]) == ("done", True)


async def test_a_stream_that_cannot_go_on_says_whether_to_come_again(rig: Rig) -> None:
    await rig.results.create("default", "q", AnswerState("running", {}, False, (), 0))
    rig.results.away = Unavailable("Redis is away")
    assert (await streamed(rig, "q", leaving=False, answers_stay=True))[-1] == (
        "error",
        {"detail": "Redis is away", "reconnect": True, "cursor": "r0"},
        "",
    )
    rig.results.away = NotFound("it has expired")
    assert not (await streamed(rig, "q", leaving=False, answers_stay=True))[-1][1]["reconnect"]
