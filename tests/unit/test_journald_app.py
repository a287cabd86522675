"""systemd-journal-upload through the push application: streams, repeats, every status, and what is stored."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zstandard
from fastapi import Request

from deployments.access import Access
from deployments.bodies import Pace
from deployments.push import PushApi, create_push_app
from deployments.ways.journald import JOURNALD_PATH
from ess_ray.core.errors import CorruptData, Forbidden, TooFast, Unauthenticated, Unavailable
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.keys import KeyBook
from ess_ray.testing import MemoryObjectStore
from tests import journal
from tests.pushing import World, standstill
from tests.waiting import until

TYPE = {"Content-Type": "application/vnd.fdo.journal"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def behind(world: World, tenant: Any, **named: Any) -> httpx.AsyncClient:
    api = PushApi(world.gatherer, tenant, world._health, world._known_request, **named)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


async def upload(http: httpx.AsyncClient, content: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post(JOURNALD_PATH, content=content, headers={**TYPE, **named})


def is_text(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/plain")
    assert len(response.text) > 1
    return response.text


async def in_pieces(text: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


async def rows(world: World) -> list[dict[str, Any]]:
    return [row for record in await world.records() for row in record.batch.to_pylist()]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_entries_are_accepted_once_they_are_in_the_log(world: World, size: int) -> None:
    text = journal.usual(1, "two\nlines", PRIORITY="3") + journal.usual(2, CODE_LINE="12")
    response = await upload(world.http, in_pieces(text, size), x_test_tenant="acme")
    is_text(response, 202)
    assert "zstd" in response.headers["accept-encoding"]
    assert {record.tenant for record in await world.records()} == {"acme"}
    first, second = await rows(world)
    told = (first["message"], first["level"], first["service"], first["host"], first["timestamp"].timestamp())
    assert told == ("two\nlines", "ERROR", "payments", "web-1", 1_789_999_999.000001)
    assert dict(second["attributes"]) == {
        **{"_BOOT_ID": "77aa", "_MACHINE_ID": "c0ffee", "_PID": "411", "_SYSTEMD_UNIT": "payments.service"},
        "CODE_LINE": "12",
    }
    assert (second["level"], len(second["event_id"])) == ("WARN", 64)


async def test_what_is_uploaded_again_has_its_ids_and_meets_its_first_copies(world: World) -> None:
    """However it is cut: an upload begins again at the entry that was acknowledged last."""
    text = b"".join(journal.usual(number, "x" * 400) for number in range(4_000))
    is_text(await upload(world.http, in_pieces(text, 50_000)), 202)
    first = await rows(world)
    assert [row["event_id"] for row in first] == list(dict.fromkeys(row["event_id"] for row in first))
    assert len(await world.records()) > 1
    again = text[len(journal.usual(0, "x" * 400)) :]
    is_text(await upload(world.http, in_pieces(again, 33_333)), 202)
    second = (await rows(world))[len(first) :]
    stored = {row["event_id"]: row["event_hash"] for row in first}
    assert len(second) == len(first) - 1
    assert all(stored[row["event_id"]] == row["event_hash"] for row in second)
    ends = [len((await world.log.read(vnode, 0, 1 << 30)).records) for vnode in range(4)]
    assert sorted(ends)[:3] == [0, 0, 0]  # all in one virtual node, whose memory of ids knows them
    assert world.gatherer.gate.held_bytes == 0


async def test_a_body_without_an_end_is_stored_while_it_comes(world: World) -> None:
    more = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"".join(journal.usual(number, "x" * 400) for number in range(4_000))
        await more.wait()
        yield journal.usual(9_999, "last")

    async with asyncio.TaskGroup() as group:
        under_way = group.create_task(upload(world.http, endless()))
        await until(world.messages, "nothing is stored before the body ends")
        assert not under_way.done()
        more.set()
    is_text(under_way.result(), 202)
    messages = await world.messages()
    assert (len(messages), messages[-1]) == (4_001, "last")


async def test_more_than_a_batch_may_have_passes_through_a_small_gate() -> None:
    world = World()
    world.gatherer = Gatherer(world.log, gate=Gate(24 << 20))
    async with behind(world, world._tenant) as http:
        one = b"".join(journal.usual(number, "x" * 1_000) for number in range(500))

        async def long() -> AsyncIterator[bytes]:
            for _ in range(60):
                yield one

        is_text(await upload(http, long()), 202)
    assert len(await world.messages()) == 30_000
    assert world.gatherer.gate.held_bytes == 0
    await world.http.aclose()


@pytest.mark.parametrize("step", [40, 100_000])
async def test_encodings(world: World, step: int) -> None:
    texts = [journal.usual(number) for number in range(3)]
    for name, body in (
        ("zstd", b"".join(map(zstandard.compress, texts))),  # systemd makes a frame of each piece
        ("gzip", b"".join(map(gzip.compress, texts)) + b"\0" * 9),
        ("identity", b"".join(texts)),
    ):
        is_text(await upload(world.http, in_pieces(body, step), content_encoding=name), 202)
    assert len(await world.messages()) == 9
    for name in ("zstd", "gzip"):
        is_text(await upload(world.http, b"nonsense", content_encoding=name), 400)
        packed = zstandard.compress(texts[0]) if name == "zstd" else gzip.compress(texts[0])
        is_text(await upload(world.http, packed[:-4], content_encoding=name), 400)
    is_text(await upload(world.http, texts[0], content_encoding="lz4"), 415)
    is_text(await world.http.post(JOURNALD_PATH, content=b"{}", headers={"Content-Type": "application/json"}), 415)


async def test_what_stood_before_something_unreadable_is_stored(world: World) -> None:
    is_text(await upload(world.http, journal.usual(1, "good") + b"no field\n\n" + journal.usual(2)), 400)
    is_text(await upload(world.http, journal.usual(3, "good, too") + b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff"), 400)
    assert sorted(await world.messages()) == ["good", "good, too"]
    is_text(await upload(world.http, b""), 202)


async def test_entries_that_lack_something_are_kept(world: World) -> None:
    is_text(await upload(world.http, b"MESSAGE=m\nid=7\nattributes=a\n\n_PID=3\n\n" + b"MESSAGE=no end"), 202)
    first, second, third = await rows(world)
    assert (first["message"], second["message"], third["message"]) == ("m", '{"_PID":"3"}', "no end")
    assert dict(first["attributes"]) == {"id": "7", "attributes": "a"}
    assert first["event_id"] is None


@pytest.mark.parametrize("error", [Unavailable("away"), TooFast("full"), CorruptData("bad"), RuntimeError("hunter2")])
async def test_what_is_no_fault_of_the_requests_is_503(world: World, error: Exception) -> None:
    world.log.error = error
    response = await upload(world.http, journal.usual(1))
    assert "hunter2" not in is_text(response, 503)
    assert response.headers["retry-after"] == "1"
    assert await world.messages() == []


@pytest.mark.parametrize(("error", "status"), [(Unauthenticated("a key"), 401), (Forbidden("not for this"), 403)])
async def test_who_is_not_let_in(world: World, error: Exception, status: int) -> None:
    async def tenant(_: Request) -> str:
        raise error

    async with behind(world, tenant) as http:
        is_text(await upload(http, journal.usual(1)), status)
    assert await world.messages() == []


async def test_the_key_is_the_password_in_the_units_address(world: World) -> None:
    book = KeyBook(MemoryObjectStore(lambda: world.now_us))
    key = book.create("acme", ["push"])[1]
    async with behind(world, Access(book).tenant_for("push")) as http:
        response = await http.post(JOURNALD_PATH, content=journal.usual(1), headers=TYPE, auth=("ess", key))
        is_text(response, 202)
        is_text(await upload(http, journal.usual(2)), 401)
    assert [record.tenant for record in await world.records()] == ["acme"]


async def test_the_deadline_and_the_pace_are_503(world: World) -> None:
    async with behind(world, standstill, deadline_s=0.02) as http:
        is_text(await upload(http, journal.usual(1)), 503)
    ended = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield journal.usual(1)
        await ended.wait()

    async with behind(world, world._tenant, pace=Pace(0.05, 1 << 20)) as http:
        is_text(await upload(http, slow()), 503)
    assert world.gatherer.gate.held_bytes == 0


async def test_other_paths_and_methods(world: World) -> None:
    response = await world.http.get(JOURNALD_PATH)
    is_text(response, 405)
    assert response.headers["allow"] == "POST"
    for path in ("/journald/x", "/journald/", "/journald/upload/x"):
        is_text(await world.http.post(path, content=journal.usual(1)), 404)


async def test_the_api_tells_of_it(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert {"202", "400", "401", "403", "503"} <= set(document["paths"][JOURNALD_PATH]["post"]["responses"])


async def test_what_has_come_is_stored_while_nothing_more_comes(world: World) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield journal.usual(1, "first")
        await until(lambda: stored_are(world, "first"), "it waits for the end of the upload")
        yield journal.usual(2, "second")[:-1]  # whose end comes later
        yield b"\n"

    is_text(await upload(world.http, body()), 202)
    assert await world.messages() == ["first", "second"]


async def stored_are(world: World, *messages: str) -> bool:
    return await world.messages() == list(messages)
