"""A live tail over real parts in memory: what a look covers, the pace, and the stream over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI, Request

from deployments.problem import install_problem_handlers
from deployments.tail import LEAVING, TailApi, route_tail
from ess_ray.compaction import commit, merge, plan
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.core.event import partition_of
from ess_ray.core.query import Query
from ess_ray.ingest.buffer import filter_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.language import parse
from ess_ray.ports import View
from ess_ray.record import encode_records
from ess_ray.search import tail as tailing
from ess_ray.search.follow import Shown, TailProgress, follow
from ess_ray.search.meter import Unmetered
from ess_ray.search.tail import MAX_RESUME_US, UNCOVERED_S, EndsReader, Look, Parts, Tail, read_cursor
from tests.worlds import T0_US, VNODES, HereExecutor, World, batch_of

DEADLINE_S = 30.0
Step = TypeVar("Step", Shown, TailProgress)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


class Rig:
    """A log, one writer that may be away, and tails over them."""

    def __init__(self, world: World, writer: VnodeWriter) -> None:
        self.world, self.writer, self.clock = world, writer, Clock()
        self.away = False
        self.log_fails = False
        self.parts = Parts(
            EndsReader(world.log, world.store, self.clock),
            self,
            world.catalog,
            world.store,
            HereExecutor(world),
            self.clock,
        )

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
    ) -> list[View]:
        """Be InFlight over the writer."""
        if self.log_fails:
            raise Unavailable("nobody is there")
        return [] if self.away else [filter_frozen(self.writer.freeze(tenant, since=since), query)]

    async def append(self, *names: str, vnode: int = 0, tenant: str = "default", ids: bool = False) -> None:
        batch = batch_of(list(names), [n if ids else None for n in names], 0, self.world.now_us)
        await self.world.log.append(encode_records(batch, vnode, tenant))
        self.world.now_us += 1000

    async def push(self, *names: str, **where: Any) -> None:
        await self.append(*names, **where)
        await self.writer.poll()

    async def tail(self, query: str = "", cursor: str | None = None, tenant: str = "default") -> Tail:
        at = None if cursor is None else read_cursor(cursor)
        return await Tail.begin(self.parts, tenant, Query(parse(query)), at)

    async def look(self, tail: Tail) -> list[str]:
        names: list[str] = (await self.whole_look(tail)).rows.column("message").to_pylist()
        return names

    async def whole_look(self, tail: Tail) -> Look:
        self.clock.now_s += 1
        return await tail.look()


@pytest.fixture
async def rig() -> Rig:
    world = World()
    writer = world.writer()
    await writer.assign(range(VNODES))
    return Rig(world, writer)


async def test_what_comes_after_the_beginning_is_shown_once_in_the_order_of_time(rig: Rig) -> None:
    await rig.push("before")
    tail = await rig.tail("e")
    assert await rig.look(tail) == []
    await rig.push("one", "three", "four", vnode=2)
    await rig.push("seven", vnode=0)
    assert await rig.look(tail) == ["seven", "one", "three"], "by time, then by virtual node"
    assert await rig.look(tail) == []
    assert tail.lag_records == 0


async def test_what_is_stored_between_two_looks_comes_from_objects(rig: Rig) -> None:
    await rig.push("before")
    tail = await rig.tail("o")
    await rig.push("one", "three")
    await rig.writer.flush()
    await rig.push("two")
    assert await rig.look(tail) == ["one", "two"]
    await rig.push("four")
    await rig.writer.flush()
    rig.away = True
    assert await rig.look(tail) == ["four"], "nobody holds a buffer now"


async def test_a_merged_object_gives_only_what_was_not_shown(rig: Rig) -> None:
    await rig.push("old")
    await rig.writer.flush()
    tail = await rig.tail()
    for name in ("new", "newer"):
        await rig.push(name)
        await rig.writer.flush()
    found = plan(rig.world.catalog.snapshot(), rig.world.now_us, eager=True)
    merged = merge(rig.world.store, found["default", *partition_of(T0_US)], rig.world.now_us)
    assert merged is not None
    assert commit(rig.world.catalog.writer(), merged)
    assert sorted(await rig.look(tail)) == ["new", "newer"]


async def test_objects_from_before_the_cursor_are_not_opened(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.push("old")
    await rig.writer.flush()
    rig.world.now_us += 2 * tailing.CLOCK_SLACK_US
    tail = await rig.tail()
    await rig.push("new")
    await rig.writer.flush()
    opened: list[str] = []
    open_object = tailing.open_object

    def opening(store: Any, key: str, *rest: Any) -> Any:
        opened.append(key)
        return open_object(store, key, *rest)

    monkeypatch.setattr(tailing, "open_object", opening)
    assert await rig.look(tail) == ["new"]
    assert len(opened) == 1


async def test_an_owner_that_has_not_read_so_far_as_was_shown_takes_nothing_back(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    assert await rig.look(tail) == ["one"]
    rig.writer = rig.world.writer()  # a new owner, which has read nothing yet
    await rig.writer.assign(range(VNODES))
    await rig.append("two")
    assert await rig.look(tail) == []
    await rig.writer.poll()
    assert await rig.look(tail) == ["two"]


async def test_what_nobody_covers_is_told_after_a_while_and_shown_when_it_comes(rig: Rig) -> None:
    tail = await rig.tail()
    rig.away = True
    await rig.append("late")
    assert await rig.look(tail) == []
    assert (tail.lag_records, tail.incomplete()) == (1, [])
    rig.clock.now_s += UNCOVERED_S
    assert await rig.look(tail) == []
    (reason,) = tail.incomplete()
    assert "virtual node 0: offsets 0 to 1" in reason
    rig.away = False
    await rig.writer.poll()
    assert await rig.look(tail) == ["late"]
    assert tail.incomplete() == []


async def test_an_object_that_cannot_be_read_is_named_and_its_rows_come_later(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    await rig.writer.flush()
    (info,) = rig.world.store.list("tenant=")
    data = rig.world.store.get_range(info.key, 0, info.size)
    rig.world.store.delete(info.key)
    assert await rig.look(tail) == []
    rig.clock.now_s += UNCOVERED_S
    assert await rig.look(tail) == []
    assert any(info.key in reason for reason in tail.incomplete())
    rig.world.store.put(info.key, data)
    assert await rig.look(tail) == ["one"]
    assert tail.incomplete() == []


async def test_more_than_a_look_shows_is_skipped_and_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "LOOK_ROWS", 3)
    tail = await rig.tail()
    await rig.push("a", "b", "c", "d", "e", vnode=0)
    await rig.writer.flush()
    await rig.push("f", vnode=0)
    await rig.push("g", vnode=1)
    look = await rig.whole_look(tail)
    assert (len(look.rows), look.matched, look.skipped) == (3, 7, 4)
    assert await rig.look(tail) == []


async def test_repeats_by_id_within_a_look_are_merged_and_counted(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("same", vnode=0, ids=True)
    await rig.push("same", vnode=1, ids=True)
    look = await rig.whole_look(tail)
    assert look.rows.column("message").to_pylist() == ["same"]
    assert (look.matched, look.duplicates_suppressed, look.skipped) == (2, 1, 0)


async def test_another_tenant_sees_nothing_buffered_or_stored(rig: Rig) -> None:
    tail = await rig.tail(tenant="other")
    await rig.push("secret")
    await rig.writer.flush()
    await rig.push("secret too")
    await rig.push("mine", tenant="other")
    assert await rig.look(tail) == ["mine"]


async def test_a_cursor_goes_on_where_it_was_given(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    assert await rig.look(tail) == ["one"]
    cursor = str(tail.cursor)
    await rig.push("two")
    await rig.writer.flush()
    await rig.push("three")
    assert await rig.look(await rig.tail(cursor=cursor)) == ["two", "three"]


async def test_a_cursor_that_cannot_be_gone_on_from_is_a_bad_request(rig: Rig) -> None:
    other = World()
    foreign = str((await Rig(other, other.writer()).tail()).cursor)
    own = (await rig.tail()).cursor
    beyond = tailing.Cursor(own.log_id, own.since_us, (1, 0, 0))
    fewer = tailing.Cursor(own.log_id, own.since_us, (0,))
    cut = [str(own)[:length] for length in range(1, len(str(own)))]
    for wrong in (foreign, str(beyond), str(fewer), "nonsense", "r5", "é", "A" * 20_000, *cut, f"{own}AAAA"):
        with pytest.raises(BadRequest):
            await rig.tail(cursor=wrong)
    rig.world.now_us += MAX_RESUME_US + 1
    with pytest.raises(BadRequest, match="older than an hour"):
        await rig.tail(cursor=str(own))


async def test_a_cursor_stays_young_while_nothing_comes(rig: Rig) -> None:
    tail = await rig.tail()
    for _ in range(3):
        rig.world.now_us += MAX_RESUME_US // 2
        assert await rig.look(tail) == []
    assert await rig.look(await rig.tail(cursor=str(tail.cursor))) == []


async def test_tails_share_a_reading_of_the_log_that_is_young_enough(rig: Rig) -> None:
    before = await rig.parts.ends.read(0.0)
    await rig.append("one")
    assert (await rig.parts.ends.read(0.2)) is before
    rig.clock.now_s += 1
    assert (await rig.parts.ends.read(0.2)).offsets[0] == 1


# -------------------------------------------------------------------------------------------------------- the pace
async def until(steps: AsyncIterator[Shown | TailProgress], kind: type[Step]) -> Step:
    while not isinstance(step := await anext(steps), kind):
        pass
    return step


async def test_progress_comes_first_and_every_second_and_names_what_fails(rig: Rig) -> None:
    steps = follow(await rig.tail(), rig.clock, rig.clock.sleep)
    first = await anext(steps)
    assert isinstance(first, TailProgress)
    await rig.push("one", "two")
    shown = await until(steps, Shown)
    assert shown.rows.column("message").to_pylist() == ["one", "two"]
    told_s = rig.clock.now_s
    told = await until(steps, TailProgress)
    assert rig.clock.now_s - told_s <= 1.0
    assert (told.matched, told.shown, told.skipped, told.incomplete) == (2, 2, 0, [])
    assert told.cursor == shown.cursor
    rig.log_fails = True
    await rig.append("three")
    while not (step := await until(steps, TailProgress)).incomplete:
        assert rig.clock.now_s < 60
    assert step.incomplete == ["nobody is there"]
    rig.log_fails = False
    await rig.writer.poll()
    assert (await until(steps, Shown)).rows.column("message").to_pylist() == ["three"]
    await steps.aclose()


async def collect(steps: AsyncIterator[Shown | TailProgress]) -> list[Shown | TailProgress]:
    return [step async for step in steps]


async def test_a_log_that_was_replaced_ends_the_tail(rig: Rig) -> None:
    steps = follow(await rig.tail(), rig.clock, rig.clock.sleep)
    await anext(steps)
    rig.world.log._log_id = "another"
    with pytest.raises(BadRequest, match="replaced"):
        await collect(steps)


# ------------------------------------------------------------------------------------------------------------- HTTP
class Meter(Unmetered):
    tails = 0

    def tailing(self, tails: int) -> None:
        self.tails = tails


class Door:
    """The endpoint as an ASGI application, and clients whose going it is told of."""

    def __init__(self, rig: Rig) -> None:
        self.leaving = False
        self.meter = Meter()
        self.app = FastAPI()
        install_problem_handlers(self.app)
        route_tail(self.app, TailApi(rig.parts, self._tenant, self._is_leaving, self.meter, 2, rig.clock.sleep))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")
        self.clients: list[Client] = []

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def _is_leaving(self) -> bool:
        return self.leaving

    def connect(self, query: str = "", **headers: str) -> Client:
        self.clients.append(Client(self.app, query, headers))
        return self.clients[-1]

    async def close(self) -> None:
        for client in self.clients:
            await client.go()
        await self.http.aclose()


class Client:
    """One request, streamed: httpx' in-process transport gives an answer only when it has ended."""

    def __init__(self, app: FastAPI, query: str, headers: dict[str, str]) -> None:
        self._gone = asyncio.Event()
        self._parts: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/tail",
            "query_string": httpx.QueryParams({"query": query}).__str__().encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        for part in message.get("body", b"").decode().strip().split("\n\n"):
            if part:
                await self._parts.put(dict(line.split(": ", 1) for line in part.split("\n")))

    async def next(self, kind: str) -> dict[str, str]:
        """Give the next event of a kind."""
        async with asyncio.timeout(DEADLINE_S):
            while (part := await self._parts.get())["event"] != kind:
                pass
        return part

    async def go(self) -> None:
        self._gone.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.task


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[Door]:
    made = Door(rig)
    yield made
    await made.close()


async def test_events_are_streamed_with_a_cursor_to_go_on_from(rig: Rig, door: Door) -> None:
    client = door.connect("o")
    await client.next("progress")
    await rig.push("one", "three", "two")
    rig.clock.now_s += 1
    first, second = await client.next("event"), await client.next("event")
    assert [json.loads(part["data"])["message"] for part in (first, second)] == ["one", "two"]
    assert "id" not in first
    await client.go()
    await rig.push("four")
    rig.clock.now_s += 1
    again = door.connect("o", last_event_id=second["id"])
    assert json.loads((await again.next("event"))["data"])["message"] == "four"
    told = json.loads((await again.next("progress"))["data"])
    assert told.keys() == {
        *("matched", "shown", "skipped", "duplicates_suppressed", "rate_per_s", "lag_records", "incomplete")
    }


async def test_a_client_that_goes_ends_its_tail_at_once(rig: Rig, door: Door) -> None:
    client = door.connect()
    await client.next("progress")
    assert door.meter.tails == 1
    await client.go()
    assert door.meter.tails == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "tail looks"]
    await door.connect().go()
    assert door.meter.tails == 0, "who goes before anything was sent takes no place either"


async def test_too_many_tails_are_refused_until_one_has_gone(door: Door) -> None:
    clients = [door.connect(), door.connect()]
    for client in clients:
        await client.next("progress")
    refused = await door.http.get("/v1/tail")
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert refused.headers["content-type"] == "application/problem+json"
    await clients[0].go()
    await door.connect().next("progress")


async def test_a_wrong_question_is_named_and_takes_no_place(door: Door) -> None:
    for _ in range(3):
        answer = await door.http.get("/v1/tail", params={"query": "a AND )"})
        assert (answer.status_code, answer.json()["position"]) == (400, 6)
        assert (await door.http.get("/v1/tail", params={"cursor": "nonsense"})).status_code == 400
    assert door.meter.tails == 0


async def test_a_replica_that_is_to_end_tells_its_clients_to_come_again(door: Door) -> None:
    door.leaving = True
    client = door.connect()
    progress = await client.next("progress")
    told = json.loads((await client.next("error"))["data"])
    assert told == {"detail": LEAVING, "reconnect": True}
    assert progress["id"]
    async with asyncio.timeout(DEADLINE_S):
        await client.task
    assert door.meter.tails == 0


async def test_tenants_tail_their_own(rig: Rig, door: Door) -> None:
    client = door.connect(x_test_tenant="other")
    await client.next("progress")
    await rig.push("secret")
    await rig.push("mine", tenant="other")
    rig.clock.now_s += 1
    assert json.loads((await client.next("event"))["data"])["message"] == "mine"
