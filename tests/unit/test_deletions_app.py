"""Deletions over HTTP, over real parts in memory: asked for, carried out, and looked at until the bytes are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.deletions import WHOLE, DeletionApi, route_deletions
from deployments.search import SearchApi, create_search_app
from ess_ray.alerts.book import AlertBook
from ess_ray.core.errors import CorruptData, Forbidden, NotFound, Unavailable
from ess_ray.ports import AnswerState
from ess_ray.runtime.deleting import LOOK_S, RETRY_S, Deleting, Steps
from ess_ray.search.pipeline import SearchLimits
from ess_ray.table.deletion import Rewriting
from ess_ray.table.deletion_book import Deletion, DeletionBook
from ess_ray.table.deletion_bytes import clear, due_us
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from tests.stores import AilingStore
from tests.unit.test_search_app import Rig
from tests.worlds import HOUR_US, T0_US, World

RUNNING = AnswerState("running", {}, False, (), 0)


class Deletions(Rig):
    """A search application with deletions, and what carries them out, step by step as the test wants."""

    def __init__(self, world: World, writer: Any) -> None:
        super().__init__(world, writer, SearchLimits())
        self.kept = AilingStore(lambda: world.now_us)
        self.kept_alerts = MemoryObjectStore(lambda: world.now_us)
        self.book = DeletionBook(self.kept)
        self.scopes = {"admin"}
        self.woken = 0
        self.away = False
        self.warnings: list[str] = []
        self.room: int | None = None
        self.api = DeletionApi(
            self.book,
            self.results,
            self._admin,
            self._wake,
            answers_here=True,
            look_s=0.001,
            warnings=self._told_warnings,
        )
        route_deletions(self.app, self.api)

    async def _admin(self, request: Request) -> str:
        if "admin" not in self.scopes:
            raise Forbidden("this key does not have the scope admin")
        return await self._tenant(request)

    async def _wake(self) -> None:
        self.woken += 1
        if self.away:
            raise Unavailable("the supervisor is not there just now")

    async def _told_warnings(self) -> list[str]:
        return ["something else", *self.warnings]

    def deleting(self, answers_elsewhere: bool = False) -> Deleting:
        """What a supervisor makes when it starts: nothing but the book is left of one before it."""
        book = DeletionBook(self.kept)

        async def rewrite(deletion_id: str) -> None:
            found = book.read(deletion_id)
            if found.state == "running":
                rewriting = Rewriting(self.world.catalog, self.world.store, book, found, room=lambda: self.room)
                await asyncio.to_thread(rewriting.run)

        async def clears(deletion_id: str) -> None:
            clear(self.world.catalog, self.world.store, book, book.read(deletion_id))

        async def beyond(one: Deletion, now_us: int) -> tuple[str, ...]:
            return ("the log keeps it a while",)

        results = self.results if answers_elsewhere else None
        steps = Steps(self.store_all, rewrite, clears, beyond, results, AlertBook(self.kept_alerts).forget)
        return Deleting(book, self.world.log, steps, lambda: self.world.now_us)

    async def store_all(self) -> None:
        await self.writer.poll()
        await self.writer.flush()

    async def ask(self, query: str, **range_: Any) -> str:
        answer = await self.http.post("/v1/deletions", json={"query": query, **range_})
        assert answer.status_code == 202, answer.text
        assert list(answer.json()) == ["id"]
        return str(answer.json()["id"])

    async def look(self, deletion_id: str, tenant: str = "default") -> dict[str, Any]:
        answer = await self.http.get(f"/v1/deletions/{deletion_id}", headers={"x-test-tenant": tenant})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def rig() -> AsyncIterator[Deletions]:
    world = World()
    world.catalog = MemoryCatalog(world._on_commit, clock_us=lambda: world.now_us)
    writer = world.writer()
    await writer.assign(range(3))
    made = Deletions(world, writer)
    yield made
    for following in made.api.following:
        following.cancel()
    await made.http.aclose()


async def test_stored_and_buffered_events_go_and_the_page_tells(rig: Deletions) -> None:
    await rig.push("erika one", "b")
    await rig.writer.flush()
    await rig.push("erika two", "c", hour=1)
    deletion_id = await rig.ask("erika")
    assert rig.woken == 1
    page = await rig.look(deletion_id)
    assert (page["state"], page["complete"], page["gone_by"]) == ("running", False, None)
    await rig.deleting().step_all()
    page = await rig.look(deletion_id)
    assert (page["state"], page["rows_deleted"], page["objects_rewritten"]) == ("done", 2, 2)
    assert (page["complete"], page["incomplete"], page["bytes_gone"]) == (True, [], False)
    assert page["beyond"] == ["the log keeps it a while"]
    assert page["progress"]["objects_done"] == page["progress"]["objects_total"]
    assert await rig.messages() == ["c", "b"]
    assert AlertBook(rig.kept_alerts).forgotten("default") == rig.book.read(deletion_id).done_us
    rig.world.now_us = due_us(rig.book.read(deletion_id)) + 1
    assert await rig.deleting().step_all() == LOOK_S
    page = await rig.look(deletion_id)
    assert page["bytes_gone"] is True
    assert await rig.messages() == ["c", "b"]


async def test_what_arrives_later_is_not_covered(rig: Deletions) -> None:
    await rig.push("a")
    deletion_id = await rig.ask("a")
    deleting = rig.deleting()
    await deleting._make_cut(rig.book.read(deletion_id))
    await rig.push("a", "later")
    await rig.store_all()
    await deleting.step_all()
    assert (await rig.look(deletion_id))["rows_deleted"] == 1
    assert sorted(await rig.messages()) == ["a", "later"]


async def test_kept_answers_of_the_tenant_are_dropped_by_whoever_keeps_them(rig: Deletions) -> None:
    await rig.push("erika")
    query_id = await rig.start("erika")
    await rig.finished(query_id)
    await rig.results.create("other", "q", RUNNING)
    deletion_id = await rig.ask("erika")
    await rig.deleting().step_all()
    for _ in range(10_000):  # nobody has to ask how far it is
        if rig.book.are_answers_dropped(deletion_id):
            break
        await asyncio.sleep(0.001)
    dropped = await rig.http.get(f"/v1/queries/{query_id}")
    assert (dropped.status_code, "events were deleted" in dropped.json()["detail"]) == (410, True)
    assert await rig.results.state("other", "q") == RUNNING
    again = await rig.start("erika")
    assert (await rig.look(deletion_id))["state"] == "done"
    assert (await rig.finished(again))["complete"], "an answer that came after it stays"


async def test_answers_that_all_replicas_share_are_dropped_before_it_is_told_as_done(rig: Deletions) -> None:
    api = DeletionApi(rig.book, rig.results, rig._admin, rig._wake, answers_here=False)
    app = create_search_app(
        SearchApi(
            searcher=rig.searcher,
            results=rig.results,
            tenant=rig._tenant,
            admin=rig._tenant,
            health=rig._health,
            status=rig._status,
            flush=rig._flush,
            compact=rig._compact,
        )
    )
    route_deletions(app, api)
    await rig.push("erika")
    await rig.results.create("default", "q", RUNNING)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        deletion_id = (await http.post("/v1/deletions", json={"query": "erika"})).json()["id"]
        await rig.deleting().step_all()
        assert (await http.get(f"/v1/deletions/{deletion_id}")).json()["state"] == "running"
        await rig.deleting(answers_elsewhere=True).step_all()
        assert (await http.get(f"/v1/deletions/{deletion_id}")).json()["state"] == "done"
    with pytest.raises(NotFound):
        await rig.results.state("default", "q")


async def test_a_restarted_system_goes_on(rig: Deletions) -> None:
    await rig.push("a", "b")
    rig.away = True
    deletion_id = await rig.ask("a")
    rig.world.fault = lambda moment: (_ for _ in ()).throw(OSError("the machine dies"))
    assert await rig.deleting().step_all() == RETRY_S
    rig.world.fault = None
    await rig.deleting().step_all()
    assert (await rig.look(deletion_id))["state"] == "done"
    assert await rig.messages() == ["b"]


async def test_a_deletion_that_the_disk_does_not_give_waits_alone(rig: Deletions) -> None:
    await rig.push("a", "b")
    lost, other = await rig.ask("a"), await rig.ask("b")
    rig.kept.unreadable = {f"{lost}.json"}
    deleting = rig.deleting()
    await deleting.step_all()
    assert (await rig.look(other))["state"] == "done"
    (told,) = deleting.trouble
    assert f"deletions/{lost}.json" in told
    assert "Input/output error" in told
    rig.kept.away = True
    assert await deleting.step_all() == RETRY_S
    assert "the store is away" in deleting.trouble[0]
    rig.kept.unreadable, rig.kept.away = set(), False
    await deleting.step_all()
    assert (deleting.trouble, (await rig.look(lost))["state"]) == ([], "done")


async def test_what_is_in_the_way_is_named_and_tried_again(rig: Deletions) -> None:
    await rig.push("a")
    deletion_id = await rig.ask("a")
    deleting = rig.deleting()
    put = rig.world.store.put

    def refuses(key: str, data: Any) -> None:
        raise Unavailable("the store takes nothing")

    await rig.store_all()
    rig.world.store.put = refuses  # type: ignore[method-assign]
    assert await deleting.step_all() == RETRY_S
    assert deleting.trouble == [f"deletion {deletion_id} waits: the store takes nothing"]
    rig.world.store.put = put  # type: ignore[method-assign]
    await deleting.step_all()
    assert deleting.trouble == []
    assert (await rig.look(deletion_id))["rows_deleted"] == 1


async def test_it_leaves_the_room_that_storing_needs_and_says_what_it_waits_for(rig: Deletions) -> None:
    """It writes every object anew that holds such a row, before the old ones' bytes go."""
    await rig.push("a", "b")
    await rig.store_all()
    deletion_id, deleting = await rig.ask("a"), rig.deleting()
    there = {info.key for info in rig.world.store.list("tenant=")}
    rig.room = 100
    assert await deleting.step_all() == RETRY_S
    assert {info.key for info in rig.world.store.list("tenant=")} == there
    assert "no room" in deleting.trouble[0]
    rig.warnings = deleting.trouble
    page = await rig.look(deletion_id)
    assert (page["state"], page["complete"], page["incomplete"]) == ("running", False, deleting.trouble)
    rig.room = 1_000_000
    await deleting.step_all()
    page = await rig.look(deletion_id)
    assert (page["state"], page["complete"], page["incomplete"]) == ("done", True, [])
    assert await rig.messages() == ["b"]


async def test_one_whose_record_is_damaged_is_told_until_it_is_gone(rig: Deletions) -> None:
    lost, deleting = await rig.ask("a"), rig.deleting()
    rig.kept.put(f"{lost}.json", rig.kept.get_suffix(f"{lost}.json", 10_000).replace(b'"a"', b'"b"'))
    await deleting.step_all()
    (told,) = deleting.trouble
    assert lost in told
    assert "ask for the deletion again" in told
    rig.kept.delete(f"{lost}.json")
    await deleting.step_all()
    assert deleting.trouble == []


async def test_one_that_cannot_be_read_keeps_no_other_from_going_on(rig: Deletions) -> None:
    await rig.push("a")
    bad = await rig.ask("a")
    rig.kept.put(f"{bad}.json", b"{")
    good = await rig.ask("a")
    await rig.deleting().step_all()
    assert (await rig.look(good))["state"] == "done"
    with pytest.raises(CorruptData):
        rig.book.read(bad)
    assert (await rig.http.get(f"/v1/deletions/{bad}")).status_code == 500


@pytest.mark.parametrize(
    "body",
    [{"query": ""}, {"query": "*", "start": 0}, {"query": " ", "end": "now"}],
)
async def test_everything_is_only_deleted_in_an_explicit_range(rig: Deletions, body: dict[str, Any]) -> None:
    answer = await rig.http.post("/v1/deletions", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (400, WHOLE)
    assert rig.book.unfinished() == []
    await rig.push("a")
    await rig.push("b", hour=2)
    deletion_id = await rig.ask("", start=T0_US, end=T0_US + HOUR_US)
    await rig.deleting().step_all()
    assert (await rig.look(deletion_id))["rows_deleted"] == 1
    assert await rig.messages() == ["b"]


@pytest.mark.parametrize(
    "body",
    [{}, {"query": "("}, {"query": "a", "start": "x"}, {"query": "a", "start": 2, "end": 1}, {"query": "a", "b": 1}],
)
async def test_what_is_wrong_is_refused_before_anything_is_kept(rig: Deletions, body: dict[str, Any]) -> None:
    assert (await rig.http.post("/v1/deletions", json=body)).status_code == 400
    assert rig.kept.list("") == []


async def test_it_takes_the_scope_admin_and_is_the_tenants_own(rig: Deletions) -> None:
    deletion_id = await rig.ask("a")
    theirs = await rig.http.get(f"/v1/deletions/{deletion_id}", headers={"x-test-tenant": "other"})
    assert theirs.status_code == 404
    assert (await rig.http.get("/v1/deletions/none")).status_code == 404
    rig.scopes.clear()
    assert (await rig.http.get(f"/v1/deletions/{deletion_id}")).status_code == 403
    assert (await rig.http.post("/v1/deletions", json={"query": "a"})).status_code == 403
