"""The push application over HTTP, with a log in memory: what docs/http.md says of it."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import httpx
import pytest
import zstandard
from fastapi import FastAPI, Request

from deployments.bodies import Pace
from deployments.push import PushApi, create_push_app
from ess_ray.adapters.memory import MemoryLog
from ess_ray.core.errors import CorruptData, TooFast, Unavailable
from ess_ray.intake.gate import Claim, Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.turns import IN_LOOP_BYTES
from ess_ray.ports import Record
from ess_ray.record import DecodedRecord, KnownRequest, decode_record
from tests.waiting import until

NOW_US = 1_790_000_000_000_000
VNODES = 4
MAX_BYTES = IntakeLimits().max_batch_bytes


class Log(MemoryLog):
    """An in-memory log that can be made to fail."""

    error: Exception | None = None

    async def append(self, records: Sequence[Record]) -> list[int]:
        if self.error is not None:
            raise self.error
        return await super().append(records)


class World:
    """The application over its parts, and a client."""

    def __init__(self) -> None:
        self.log = Log(VNODES)
        self.gatherer = Gatherer(self.log)
        self.problems: list[str] = []
        self.known: dict[tuple[int, str, str], KnownRequest] = {}
        self.now_us = NOW_US
        api = PushApi(self.gatherer, self._tenant, self._health, self._known_request, clock_us=lambda: self.now_us)
        self.app: FastAPI = create_push_app(api)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://push")

    async def _tenant(self, request: Request) -> str:
        return request.headers.get("x-test-tenant", "default")

    async def _health(self) -> list[str]:
        return self.problems

    async def _known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        return self.known.get((vnode, tenant, key))

    async def push(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) or hasattr(content, "__aiter__") else json.dumps(content).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post("/v1/events", content=body, headers={"content-type": "application/json", **named})

    async def records(self) -> list[DecodedRecord]:
        found = []
        for vnode in range(VNODES):
            for record in (await self.log.read(vnode, 0, 1 << 30)).records:
                found.append(decode_record(record, await self.log.log_id(), vnode))
        return found

    async def messages(self) -> list[str]:
        return [text for record in await self.records() for text in record.batch.column("message").to_pylist()]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert all(isinstance(document[name], str) and document[name] for name in ("type", "title", "detail"))
    return document


async def test_events_are_accepted_once_they_are_in_the_log(world: World) -> None:
    response = await world.push([{"message": "a"}, {"message": "b"}], x_test_tenant="acme")
    assert (response.status_code, response.json()) == (202, {"accepted": 2, "rejected": [], "adjusted": []})
    assert response.headers["content-type"] == "application/json"
    assert [record.tenant for record in await world.records()] == ["acme"]
    assert await world.messages() == ["a", "b"]


async def test_all_body_forms_and_encodings(world: World) -> None:
    events = [{"message": "m"}]
    plain = json.dumps(events).encode()
    forms = [
        (plain, {}),
        (json.dumps({"events": events}).encode(), {}),
        (json.dumps(events[0]).encode(), {}),
        (b'{"message":"m"}\n', {"content_type": "application/x-ndjson"}),
        (gzip.compress(plain), {"content_encoding": "gzip"}),
        (zstandard.compress(plain), {"content_encoding": "zstd"}),
        (plain, {"content_encoding": "identity"}),
    ]
    for body, headers in forms:
        assert (await world.push(body, **headers)).json() == {"accepted": 1, "rejected": [], "adjusted": []}
    assert await world.messages() == ["m"] * len(forms)


async def test_valid_events_are_kept_and_invalid_ones_named(world: World) -> None:
    response = await world.push(
        [
            {"message": "a"},
            5,
            {"message": "b", "id": "x" * 129},
            {"message": "c"},
            {"message": "d", "timestamp": "soon"},
        ]
    )
    assert response.status_code == 202
    answer = response.json()
    assert answer["accepted"] == 3
    assert [one["index"] for one in answer["rejected"]] == [1, 2]
    assert [one["index"] for one in answer["adjusted"]] == [4]
    assert all(one["reason"] for one in [*answer["rejected"], *answer["adjusted"]])
    assert await world.messages() == ["a", "c", "d"]


async def test_of_many_invalid_events_the_first_thousand_are_named(world: World) -> None:
    answer = (await world.push([{"message": "a", "timestamp": "soon"}, *[5] * 1_500])).json()
    assert (answer["accepted"], len(answer["rejected"]), answer["rejected_total"]) == (1, 1_000, 1_500)
    assert len(answer["adjusted"]) == 1
    assert "adjusted_total" not in answer


async def test_an_empty_array_is_accepted(world: World) -> None:
    for content in ([], {"events": []}):
        response = await world.push(content)
        assert (response.status_code, response.json()) == (202, {"accepted": 0, "rejected": [], "adjusted": []})
    response = await world.push([], idempotency_key="k")
    assert response.status_code == 202


@pytest.mark.parametrize("body", [b"", b"not json", b"[{]", b"5", b"[" * 5000 + b"]" * 5000])
async def test_what_cannot_be_read_is_400(world: World, body: bytes) -> None:
    is_problem(await world.push(body), 400)
    assert await world.messages() == []


async def test_all_invalid_is_400_and_names_each(world: World) -> None:
    problem = is_problem(await world.push([5, "text"]), 400)
    assert [one["index"] for one in problem["rejected"]] == [0, 1]


async def test_other_encodings_and_types_are_415(world: World) -> None:
    is_problem(await world.push([{"message": "m"}], content_encoding="br"), 415)
    is_problem(await world.push([{"message": "m"}], content_type="text/xml"), 415)


async def test_bombs_and_large_bodies_are_413(world: World) -> None:
    large = b'[{"message":"' + b" " * MAX_BYTES + b'"}]'
    is_problem(await world.push(large), 413)
    is_problem(await world.push(gzip.compress(large), content_encoding="gzip"), 413)
    is_problem(await world.push(zstandard.compress(large), content_encoding="zstd"), 413)
    assert await world.messages() == []


async def test_a_body_without_length_is_cut_off_at_the_limit(world: World) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1 << 20
            assert given < 3 * MAX_BYTES, "read on and on"
            yield b" " * (1 << 20)

    is_problem(await world.push(endless()), 413)


async def test_a_large_body_is_decoded_beside_the_loop(world: World) -> None:
    events = [{"message": f"{number} " + "x" * 500} for number in range(2000)]
    body = json.dumps(events).encode()
    assert len(body) > IN_LOOP_BYTES
    for content, headers in ((body, {}), (gzip.compress(body), {"content_encoding": "gzip"})):
        assert (await world.push(content, **headers)).json()["accepted"] == 2000
    assert sorted(await world.messages()) == sorted([event["message"] for event in events] * 2)


async def test_a_log_that_is_away_is_503_and_nothing_is_acknowledged(world: World) -> None:
    world.log.error = Unavailable("the log is away")
    response = await world.push([{"message": "m"}])
    is_problem(response, 503)
    assert int(response.headers["retry-after"]) >= 1
    world.log.error = None
    assert (await world.push([{"message": "m"}])).status_code == 202
    assert await world.messages() == ["m"]


# -------------------------------------------------------------------------------------------------------- the deadline
async def standstill(*_: object) -> NoReturn:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    raise AssertionError


def impatient(world: World, deadline_s: float = 0.02, **parts: Any) -> httpx.AsyncClient:
    """Give a client of the same parts, with others in place of some, and little patience."""
    made = {"tenant": world._tenant, "health": world._health, "known_request": world._known_request, **parts}
    api = PushApi(world.gatherer, **made, clock_us=lambda: world.now_us, deadline_s=deadline_s)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://push")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_a_log_that_stands_still_is_503_before_a_client_gives_up(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    over = asyncio.Event()

    async def append(_: object) -> NoReturn:
        await over.wait()
        raise Unavailable("the log is away")

    async with impatient(world, deadline_s=1.0) as http:
        with monkeypatch.context() as stopped:
            stopped.setattr(world.log, "append", append)
            response = await http.post("/v1/events", json=[{"message": "one"}], headers=headers)
            assert "nothing was acknowledged" in is_problem(response, 503)["detail"]
            assert int(response.headers["retry-after"]) >= 1
            over.set()
        # Free for another body: the request that the key came with is over.
        response = await http.post("/v1/events", json=[{"message": "two"}], headers=headers)
    assert response.status_code == 202
    assert await world.messages() == ["two"]
    assert world.gatherer.gate.held_bytes == 0


async def test_an_owner_that_stands_still_is_503_and_frees_the_key(world: World) -> None:
    calls = 0

    async def known_request(vnode: int, tenant: str, key: str) -> KnownRequest | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await standstill()
        return None

    async with impatient(world, known_request=known_request) as http:
        is_problem(await http.post("/v1/events", json=[{"message": "1"}], headers={"Idempotency-Key": "k"}), 503)
        again = await http.post("/v1/events", json=[{"message": "2"}], headers={"Idempotency-Key": "k"})
    assert again.status_code == 202
    assert await world.messages() == ["2"]


async def test_keys_that_cannot_be_read_are_503(world: World) -> None:
    async with impatient(world, tenant=standstill) as http:
        is_problem(await http.post("/v1/events", json=[{"message": "m"}]), 503)


async def test_a_slow_body_does_not_count_against_the_deadline(world: World) -> None:
    deadline_s = 0.2

    async def slow() -> AsyncIterator[bytes]:
        yield b'[{"message":'
        late = asyncio.Event()
        asyncio.get_running_loop().call_later(1.5 * deadline_s, late.set)
        await late.wait()
        yield b'"m"}]'

    async with impatient(world, deadline_s) as http:
        response = await http.post("/v1/events", content=slow(), headers={"content-type": "application/json"})
    assert response.status_code == 202, response.text


async def test_a_body_that_comes_to_a_stop_is_503_and_frees_what_it_held(world: World) -> None:
    stops = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"[" + b" " * 1_000_000
        await stops.wait()
        yield b""

    async with impatient(world, pace=Pace(window_s=0.05)) as http:
        waiting = asyncio.create_task(http.post("/v1/events", content=stalled()))
        await until(lambda: world.gatherer.gate.held_bytes > 1_000_000, "what is read does not count")
        response = await waiting
    assert "came within 0.05 s" in is_problem(response, 503)["detail"]
    assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
    assert world.gatherer.gate.held_bytes == 0


async def test_a_body_for_which_there_is_no_room_is_503_before_it_is_read(world: World) -> None:
    world.gatherer.gate = Gate(4_000_000)
    claims = [world.gatherer.gate.claim("default") for _ in range(3)]
    for claim in claims:
        claim.hold(700_000)

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it is read")
        yield b""

    large, length = b'[{"message":"' + b"x" * 900_000 + b'"}]', {"content_length": "900014"}
    is_problem(await world.push(unread(), **length), 503)
    is_problem(await world.push(gzip.compress(large), content_encoding="gzip"), 503)
    assert (await world.push([{"message": "small"}])).status_code == 202
    assert (await world.push([{"message": "x" * 400_000}], x_test_tenant="other")).status_code == 202
    for claim in claims:
        claim.close()
    assert (await world.push([{"message": "x" * 400_000}] * 2)).status_code == 202
    assert world.gatherer.gate.held_bytes == 0


def claims() -> list[Claim]:
    return [one for one in gc.get_objects() if isinstance(one, Claim)]


async def test_a_refused_body_is_let_go_of_at_once(world: World) -> None:
    world.log.error = Unavailable("away")
    before = claims()  # what other tests left, such as frames of exceptions that were logged
    gc.collect()
    gc.disable()
    try:
        for wrong in (b"no json", b" " * (MAX_BYTES + 1), b'{"message":"m"}'):
            assert (await world.push(wrong)).status_code >= 400
        world.log.error = None  # which has the frames of where it was raised
        assert [one for one in claims() if not any(one is old for old in before)] == []
    finally:
        gc.enable()


async def test_too_fast_is_429(world: World) -> None:
    world.log.error = TooFast("the log's backlog is full")
    response = await world.push([{"message": "m"}])
    is_problem(response, 429)
    assert int(response.headers["retry-after"]) >= 1


async def test_errors_without_a_client_to_blame_are_to_be_repeated_and_tell_no_secrets(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.log.error = CorruptData("the log's file is damaged")
    response = await world.push([{"message": "m"}])
    assert "damaged" in is_problem(response, 503)["detail"]
    assert response.headers["retry-after"] == "1"

    def broken(request: Request) -> str:
        raise RuntimeError("password=hunter2")

    api = PushApi(world.gatherer, broken, world._health, world._known_request)
    transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://push") as http:
        response = await http.post("/v1/events", json=[{"message": "m"}])
    is_problem(response, 503)
    assert response.headers["retry-after"] == "1"
    assert "hunter2" not in response.text
    assert "hunter2" in caplog.text


async def test_unknown_paths_and_methods_are_problems(world: World) -> None:
    is_problem(await world.http.get("/nowhere"), 404)
    response = await world.http.get("/v1/events")
    is_problem(response, 405)
    assert response.headers["allow"] == "POST"


async def test_health(world: World) -> None:
    assert (await world.http.get("/healthz")).json() == {"status": "ok"}
    world.problems.append("the log is away")
    response = await world.http.get("/healthz")
    assert is_problem(response, 503)["problems"] == ["the log is away"]
    assert "retry-after" in response.headers


# ------------------------------------------------------------------------------------------------------------- keys
async def test_a_repeat_with_its_key_is_accepted_and_marked_alike(world: World) -> None:
    events = [{"message": "m"}]
    first = await world.push(events, idempotency_key="k")
    assert first.json() == {"accepted": 1, "rejected": [], "adjusted": [], "repeats": 0}
    world.now_us += 1_000_000
    again = await world.push(gzip.compress(json.dumps(events).encode()), idempotency_key="k", content_encoding="gzip")
    assert again.json() == {"accepted": 1, "rejected": [], "adjusted": [], "repeats": 1}
    requests = [record.request for record in await world.records()]
    assert len(requests) == 2
    assert requests[0] == requests[1]
    assert requests[0] is not None
    assert (requests[0].tenant, requests[0].key) == ("default", "k")


async def test_a_key_with_another_body_is_422(world: World) -> None:
    assert (await world.push([{"message": "one"}], idempotency_key="k")).status_code == 202
    is_problem(await world.push([{"message": "two"}], idempotency_key="k"), 422)
    assert (await world.push([{"message": "two"}], idempotency_key="k", x_test_tenant="other")).status_code == 202
    assert sorted(await world.messages()) == ["one", "two"]


async def test_a_key_that_its_owner_knows_with_another_body_is_422(world: World) -> None:
    world.known[(await world.gatherer.vnode_of_key("default", "k"), "default", "k")] = KnownRequest("another")
    is_problem(await world.push([{"message": "m"}], idempotency_key="k"), 422)
    assert await world.messages() == []


async def test_a_key_is_free_again_when_its_request_failed(world: World) -> None:
    world.log.error = Unavailable("away")
    is_problem(await world.push([{"message": "one"}], idempotency_key="k"), 503)
    world.log.error = None
    assert (await world.push([{"message": "two"}], idempotency_key="k")).status_code == 202


async def test_a_repeat_whose_time_has_become_possible_is_the_same_request(world: World) -> None:
    """What was stored at the time of receipt stays so: the repeat is dropped by the writer, and nothing is lost."""
    events = [{"message": "now"}, {"message": "soon", "timestamp": NOW_US + 600_500_000}]
    first = (await world.push(events, idempotency_key="k")).json()
    world.now_us += 1_000_000
    again = (await world.push(events, idempotency_key="k")).json()
    assert (first["accepted"], len(first["adjusted"]), again["accepted"], again["adjusted"]) == (2, 1, 2, [])
    requests = [record.request for record in await world.records()]
    assert requests[0] == requests[1]


@pytest.mark.parametrize("key", ["", "k" * 101])
async def test_a_key_of_a_wrong_length_is_400(world: World, key: str) -> None:
    is_problem(await world.push([{"message": "m"}], idempotency_key=key), 400)
    assert (await world.push([{"message": "m"}], idempotency_key="k" * 100)).status_code == 202


async def test_many_at_once_are_all_there(world: World) -> None:
    responses = await asyncio.gather(*(world.push([{"message": f"{n}"}]) for n in range(200)))
    assert {response.status_code for response in responses} == {202}
    assert sorted(await world.messages(), key=int) == [str(n) for n in range(200)]
    assert len(await world.records()) < 100


async def test_the_api_describes_itself(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    push = document["paths"]["/v1/events"]["post"]
    assert set(push["requestBody"]["content"]) == {"application/json", "application/x-ndjson", "text/plain"}
    assert {"202", "400", "413", "415", "422", "429", "503"} <= set(push["responses"])
    assert "application/json" in push["responses"]["202"]["content"]
    assert (await world.http.get("/docs")).status_code == 200


async def test_requests_of_one_route_go_one_way_whatever_their_keys(world: World) -> None:
    for number in range(12):
        answer = await world.push([{"message": f"{number}"}], ess_route="app.log", idempotency_key=f"k{number}")
        assert answer.status_code == 202
    assert await world.messages() == [f"{number}" for number in range(12)]
    is_problem(await world.push([{"message": "a"}], ess_route="x" * 101), 400)


async def test_whose_events_they_would_be_is_told(world: World) -> None:
    answer = await world.http.get("/v1/whoami", headers={"x-test-tenant": "acme"})
    assert (answer.status_code, answer.json()) == (200, {"tenant": "acme", "log_id": await world.log.log_id()})
