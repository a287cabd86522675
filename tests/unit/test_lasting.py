"""What a key opened ends with it, in time: streams with a reason, waits with 401, files without their end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import StreamingResponse

from deployments.access import ASK_AGAIN_S, ASKS_AGAIN, Access
from deployments.lasting import DRAINED_BYTES, Endable
from deployments.problem import install_problem_handlers
from deployments.push import PushApi, create_push_app
from deployments.sse import EventStream, server_sent
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.intake.door import REFRESH_S
from ess_ray.intake.gather import Gatherer
from ess_ray.keys import KeyBook, Scope
from ess_ray.testing import MemoryLog
from tests.http_server import serving
from tests.stores import AilingStore
from tests.waiting import until


class Time:
    """Time that passes when told; who sleeps wakes up then."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, done))
        await done

    async def pass_(self, seconds: float) -> None:
        """Let time pass in steps of a tenth of a second, and everything that is due happen in each."""
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            for due_s, done in list(self._sleepers):
                if due_s <= self.now_s + 1e-9 and not done.done():
                    done.set_result(None)
            await settled()


async def settled() -> None:
    """Let tasks run, and the thread that reads the book."""
    for _ in range(3):
        await asyncio.to_thread(lambda: None)
        await asyncio.sleep(0)


class Client:
    """One request of an ASGI application, with what it was sent."""

    def __init__(self, app: Any, path: str, key: str, method: str = "GET") -> None:
        self.started: dict[str, Any] | None = None
        self.body, self.whole = b"", False
        headers = [(b"authorization", f"Bearer {key}".encode())]
        self._scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        self.stalled = asyncio.Event()
        self.stalled.set()
        self.task = asyncio.create_task(app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._scope["method"] == "POST" and not self.started:
            self._scope["method"] = "sent"
            return {"type": "http.request", "body": b'[{"message":"m"}]'}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: dict[str, Any]) -> None:
        await self.stalled.wait()
        if message["type"] == "http.response.start":
            self.started = message
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)

    @property
    def status(self) -> int | None:
        return None if self.started is None else self.started["status"]

    @property
    def last_event(self) -> dict[str, Any]:
        kind, data = self.body.decode().strip().split("\n\n")[-1].split("\n")
        assert kind == "event: error"
        told: dict[str, Any] = json.loads(data.removeprefix("data: "))
        return told


class Socket:
    """One websocket of an ASGI application, with what it was sent."""

    def __init__(self, app: Any, path: str, key: str) -> None:
        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        self.sent: list[dict[str, Any]] = []
        self._began = False
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._began:
            self._began = True
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


class Rig:
    """Endpoints that last, behind the door."""

    def __init__(self) -> None:
        self.store, self.time = AilingStore(lambda: 1_790_000_000_000_000), Time()
        self.book = KeyBook(self.store)
        self.access = Access(self.book, lambda: self.time.now_s, self.time.sleep)
        self.cleaned: list[str] = []
        self.app = FastAPI()
        install_problem_handlers(self.app)
        self.app.add_middleware(Endable)
        for name, answer in (("stream", self._stream), ("file", self._file), ("wait", self._wait)):
            self._route(name, answer)
        self.clients: list[Client] = []

    def _route(self, name: str, answer: Callable[[], Awaitable[Response]]) -> None:
        tenant_of = self.access.tenant_for("search")

        async def endpoint(request: Request) -> Response:
            await tenant_of(request)
            return await answer()

        self.app.get(f"/{name}")(endpoint)

    async def _endless(self, name: str, part: bytes) -> AsyncIterator[bytes]:
        try:
            yield part
            await asyncio.Event().wait()
        finally:
            self.cleaned.append(name)

    async def _stream(self) -> Response:
        return EventStream(self._endless("stream", server_sent("progress", {})))  # type: ignore[arg-type]

    async def _file(self) -> Response:
        return StreamingResponse(self._endless("file", b"rows"), media_type="application/x-ndjson")

    async def _wait(self) -> Response:
        async for _ in self._endless("wait", b""):
            continue
        raise AssertionError

    async def ask(self, path: str, key: str, app: Any = None, method: str = "GET") -> Client:
        client = Client(app or self.app, path, key, method)
        self.clients.append(client)
        await settled()
        assert not client.task.done()
        return client


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    for client in made.clients:
        client.task.cancel()
        with contextlib.suppress(BaseException):
            await client.task


async def test_everything_that_lasts_ends_within_two_seconds_of_the_revocation(rig: Rig) -> None:
    key, text = rig.book.create("acme", ["search"])
    stream, file, wait = [await rig.ask(path, text) for path in ("/stream", "/file", "/wait")]
    await rig.time.pass_(10)
    assert not any(client.task.done() for client in rig.clients), "their key still holds"
    rig.book.revoke(key.id)
    await rig.time.pass_(REFRESH_S)
    assert (stream.status, stream.whole) == (200, True)
    assert stream.last_event["status"] == 401
    assert stream.last_event["type"] == "urn:ess-ray:unauthenticated"
    assert stream.last_event["reconnect"] is False
    assert (file.status, file.body, file.whole) == (200, b"rows", False)
    with pytest.raises(Exception, match="was revoked"):  # whereupon the server breaks the connection off
        await file.task
    assert (wait.status, json.loads(wait.body)["type"]) == (401, "urn:ess-ray:unauthenticated")
    assert sorted(rig.cleaned) == ["file", "stream", "wait"]


async def test_a_websocket_is_closed_within_two_seconds_of_the_revocation(rig: Rig) -> None:
    key, text = rig.book.create("acme", ["search"])
    tenant_of = rig.access.tenant_for("search")

    async def talk(socket: WebSocket) -> None:
        await tenant_of(socket)
        await socket.accept()
        await rig._wait()

    rig.app.add_api_websocket_route("/talk", talk)
    socket = Socket(rig.app, "/talk", text)
    await settled()
    assert [message["type"] for message in socket.sent] == ["websocket.accept"]
    rig.book.revoke(key.id)
    await rig.time.pass_(REFRESH_S)
    assert (socket.sent[-1]["type"], socket.sent[-1]["code"]) == ("websocket.close", 1008)
    assert "revoked" in socket.sent[-1]["reason"]
    await socket.task


@pytest.mark.parametrize("late_s", [0.1, 0.5, 0.9])
async def test_a_request_that_began_just_before_ends_in_time_too(rig: Rig, late_s: float) -> None:
    key, text = rig.book.create("acme", ["search"])
    await rig.ask("/stream", text)
    await rig.time.pass_(late_s)
    other = await rig.ask("/stream", text)
    rig.book.revoke(key.id)
    await rig.time.pass_(REFRESH_S)
    assert other.whole


async def test_a_key_that_still_holds_keeps_its_own_whatever_ends_beside_it(rig: Rig) -> None:
    (gone, gone_text), (_, stays_text) = rig.book.create("acme", ["search"]), rig.book.create("acme", ["search"])
    ends, goes_on = await rig.ask("/stream", gone_text), await rig.ask("/stream", stays_text)
    rig.book.revoke(gone.id)
    await rig.time.pass_(REFRESH_S)
    assert ends.task.done()
    assert not goes_on.task.done()


async def test_a_scope_that_was_taken_away_and_the_first_key_end_what_was_open(rig: Rig) -> None:
    """Nothing here takes a scope away yet; whoever edits the record does."""
    opened = await rig.ask("/stream", "")
    _, text = rig.book.create("acme", ["search", "push"])
    await rig.time.pass_(REFRESH_S)
    assert opened.last_event["status"] == 401
    stream = await rig.ask("/stream", text)
    (info,) = rig.store.list("")
    record = read_summed(rig.store.get_suffix(info.key, 4096))
    rig.store.put(info.key, with_sum(json.dumps({**record, "scopes": ["push"]}).encode()))
    await rig.time.pass_(REFRESH_S)
    assert (stream.last_event["status"], stream.last_event["type"]) == (403, "urn:ess-ray:forbidden")


async def test_a_client_that_does_not_read_is_broken_off_without_a_last_word(rig: Rig) -> None:
    key, text = rig.book.create("acme", ["search"])
    stream = await rig.ask("/stream", text)
    stream.stalled.clear()
    rig.book.revoke(key.id)
    await rig.time.pass_(REFRESH_S)
    with pytest.raises(Exception, match="was revoked"):
        await stream.task
    assert not stream.whole


async def test_a_book_that_cannot_be_read_ends_no_stream(rig: Rig) -> None:
    key, text = rig.book.create("acme", ["search"])
    stream = await rig.ask("/stream", text)
    rig.store.away = True
    await rig.time.pass_(100 * ASK_AGAIN_S)
    assert not stream.task.done()
    rig.store.away = False
    rig.book.revoke(key.id)
    await rig.time.pass_(REFRESH_S)
    assert stream.last_event["status"] == 401


async def test_nothing_is_asked_when_nothing_lasts(rig: Rig) -> None:
    _, text = rig.book.create("acme", ["search"])
    stream = await rig.ask("/stream", text)
    stream.task.cancel()
    await rig.time.pass_(2 * ASK_AGAIN_S)
    assert ASKS_AGAIN not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_push_that_waits_for_the_log_is_refused_and_takes_nothing_else_along(rig: Rig) -> None:
    class Stands(MemoryLog):
        async def append(self, records: Any) -> list[int]:
            await asyncio.Event().wait()
            raise AssertionError

    gatherer = Gatherer(Stands(2))

    async def nothing(*_: object) -> Any:
        return None

    scope: Scope = "push"
    app = create_push_app(PushApi(gatherer, rig.access.tenant_for(scope), nothing, nothing))
    (gone, gone_text), (_, stays_text) = rig.book.create("acme", ["push"]), rig.book.create("acme", ["push"])
    ends = await rig.ask("/v1/events", gone_text, app, "POST")
    goes_on = await rig.ask("/v1/events", stays_text, app, "POST")
    rig.book.revoke(gone.id)
    await rig.time.pass_(REFRESH_S)
    assert ends.status == 401
    assert not goes_on.task.done()


async def test_after_an_idle_time_a_revoked_key_is_not_let_in_once_more(rig: Rig) -> None:
    key, text = rig.book.create("acme", ["search"])
    stream = await rig.ask("/stream", text)
    stream.task.cancel()
    rig.book.revoke(key.id)
    rig.time.now_s += 30.0
    late = Client(rig.app, "/stream", text)
    await until(late.task.done, "it is let in")
    assert late.status == 401


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await Response(b"no", status_code=503)(scope, receive, send)


async def test_a_request_that_is_answered_before_its_long_body_has_come_closes_its_connection() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Endable(refuse)), base_url="http://test") as http:

        async def parts() -> AsyncIterator[bytes]:
            yield b"x"

        short, long = b"x" * DRAINED_BYTES, b"x" * (DRAINED_BYTES + 1)
        for content, closes in ((short, False), (long, True), (parts(), True), (b"", False)):
            answer = await http.post("/", content=content)
            assert (answer.status_code, answer.content) == (503, b"no")
            assert (answer.headers.get("connection") == "close") is closes


def test_who_still_sends_gets_the_answer_and_who_stands_still_is_not_waited_for() -> None:
    with serving(Endable(refuse, linger_s=0.2)) as url:
        assert httpx.post(url, content=b"x" * 50_000_000).status_code == 503
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as stalled:
            stalled.sendall(b"POST / HTTP/1.1\r\nHost: ess\r\nContent-Length: 1000000\r\n\r\nx")
            whole = b"".join(iter(lambda: stalled.recv(1000), b""))
    assert whole.startswith(b"HTTP/1.1 503 ")
    assert whole.endswith(b"no")
