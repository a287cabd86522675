"""Requests that become several records: cut alike, stored once however often and however brokenly they are sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import Request

from deployments.push import PushApi, create_push_app
from ess_ray.core.errors import Unavailable
from ess_ray.ingest.repeats import RepeatMemory
from ess_ray.intake.formats.json_pieces import MAX_VALUE_BYTES, cut
from ess_ray.intake.gather import Gatherer
from ess_ray.ports import MAX_RECORD_BYTES, Record
from ess_ray.record import DecodedRecord, KnownRequest, decode_record
from ess_ray.testing import MemoryLog

NOW_US = 1_790_000_000_000_000
VNODES = 4


class Log(MemoryLog):
    """A log that takes so many appends and no more."""

    left = 1_000

    async def append(self, records: Sequence[Record]) -> list[int]:
        if not self.left:
            raise Unavailable("the log is away")
        self.left -= 1
        assert all(len(record.value) <= MAX_RECORD_BYTES for record in records)
        return await super().append(records)


class World:
    """The push application, and what a writer makes of its log."""

    def __init__(self) -> None:
        self.log = Log(VNODES)
        self.now_us = NOW_US
        self.memories = [RepeatMemory() for _ in range(VNODES)]
        self.read = [0] * VNODES
        self.stored: list[str] = []
        self.gatherer = Gatherer(self.log)
        api = PushApi(self.gatherer, self._tenant, self._health, self._known, clock_us=lambda: self.now_us)
        transport = httpx.ASGITransport(create_push_app(api), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://push", timeout=60)

    async def _tenant(self, _: Request) -> str:
        return "default"

    async def _health(self) -> list[str]:
        return []

    async def _known(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        await self.write()
        return self.memories[vnode].request(tenant, key)

    async def push(self, body: bytes, **headers: str) -> httpx.Response:
        return await self.http.post("/v1/events", content=body, headers={"content-type": "application/json", **headers})

    async def write(self) -> list[DecodedRecord]:
        """Store what is new in the log, as a writer does."""
        found = []
        for vnode in range(VNODES):
            read = await self.log.read(vnode, self.read[vnode], 1 << 30)
            self.read[vnode] = read.next_offset
            for each in read.records:
                record = decode_record(each, await self.log.log_id(), vnode)
                found.append(record)
                memory = self.memories[vnode]
                if record.request is not None and memory.is_repeat(record.request, self.now_us):
                    continue
                batch = memory.new_ids(record.tenant, record.batch, self.now_us)
                self.stored += batch.column("message").to_pylist()
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


def events(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"message": f"{number:06d} " + "x" * 300, **more} for number in range(count)]


def messages(count: int) -> list[str]:
    return [event["message"] for event in events(count)]


COUNT = 10_000
FORMS = {
    "array": lambda given: json.dumps(given).encode(),
    "indented": lambda given: b"\n\n" + json.dumps(given, indent=2).encode() + b"\n",
    "envelope": lambda given: json.dumps({"events": given}).encode(),
    "lines": lambda given: b"\n".join(json.dumps(event).encode() for event in given),
    "bom": lambda given: b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(event).encode() for event in given),
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_request_of_any_number_of_events_is_stored_in_order_under_one_key(world: World, form: str) -> None:
    body = FORMS[form](events(COUNT))
    response = await world.push(body)
    assert (response.status_code, response.json()) == (202, {"accepted": COUNT, "rejected": [], "adjusted": []})
    records = await world.write()
    assert world.stored == messages(COUNT)
    requests = [record.request for record in records if record.request is not None]
    assert len(requests) == len(records) > 5
    assert [request.part for request in requests] == list(range(len(requests)))
    assert len({(request.key, request.body_hash, request.parts) for request in requests}) == 1
    assert len(records[0].batch) > 1_000, "small records are dear"
    assert world.gatherer.gate.held_bytes == 0


@pytest.mark.parametrize("key", [None, "k"])
async def test_sent_again_after_half_of_its_pieces_were_stored_it_is_there_once(world: World, key: str | None) -> None:
    body = FORMS["array"](events(COUNT * 2))
    headers = {} if key is None else {"Idempotency-Key": key}
    world.log.left = 1
    assert (await world.push(body, **headers)).status_code == 503
    await world.write()
    half = len(world.stored)
    assert 0 < half < COUNT * 2
    world.log.left = 1_000
    for repeats in (half, COUNT * 2, COUNT * 2):
        world.now_us += 1_000_000
        answer = (await world.push(body, **headers)).json()
        assert answer["accepted"] == COUNT * 2
        assert answer.get("repeats") == (None if key is None else repeats)
        await world.write()
        assert Counter(world.stored) == Counter(messages(COUNT * 2))


async def test_pieces_with_ids_go_by_their_ids_and_are_there_once(world: World) -> None:
    given = [{**event, "id": f"id-{number}"} for number, event in enumerate(events(COUNT))]
    body = FORMS["lines"](given)
    for _ in range(2):
        assert (await world.push(body)).json() == {"accepted": COUNT, "rejected": [], "adjusted": []}
    records = await world.write()
    assert len({record.batch.column("vnode")[0].as_py() for record in records}) > 1
    assert Counter(world.stored) == Counter(messages(COUNT))


async def test_a_time_that_has_become_possible_leaves_the_cut_as_it_was(world: World) -> None:
    soon = NOW_US + 601_000_000
    body = FORMS["lines"]([{"a": number, "timestamp": soon + number % 2} for number in range(15_000)])
    first = (await world.push(body)).json()
    assert (first["accepted"], first["adjusted_total"]) == (15_000, 15_000)
    assert (len(first["adjusted"]), first["adjusted"][-1]["index"]) == (1_000, 999)
    world.now_us += 10_000_000
    again = (await world.push(body)).json()
    assert (again["accepted"], again["adjusted"]) == (15_000, [])
    await world.write()
    assert len(world.stored) == 15_000


async def test_what_is_invalid_is_named_by_its_place_in_the_whole(world: World) -> None:
    given: list[Any] = events(COUNT)
    for index in (0, 3_000, COUNT - 1):
        given[index] = {"message": "m", "id": "x" * 129}
    given[9] = given[8_999] = 5
    answer = (await world.push(FORMS["array"](given))).json()
    assert answer["accepted"] == COUNT - 5
    assert [one["index"] for one in answer["rejected"]] == [0, 9, 3_000, 8_999, COUNT - 1]


async def test_a_value_that_is_far_too_large_is_rejected_unread_and_its_neighbours_are_kept(world: World) -> None:
    bomb = b"[" * (MAX_VALUE_BYTES // 2 + 1) + b"]" * (MAX_VALUE_BYTES // 2 + 1)
    body = b'[{"message":"a"},' + bomb + b',{"message":"b"}]'
    answer = (await world.push(body)).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (2, [1])
    await world.write()
    assert world.stored == ["a", "b"]


@pytest.mark.parametrize("end", [b"", b",]", b"]]", b"] x", b",,{}]", b', {"message": "unended}]'])
async def test_what_is_malformed_as_a_whole_is_refused_with_nothing_stored(world: World, end: bytes) -> None:
    response = await world.push(FORMS["array"](events(COUNT))[:-1] + end)
    assert response.status_code == 400
    assert await world.write() == []


async def test_when_all_are_invalid_it_is_400_and_names_the_first_thousand(world: World) -> None:
    response = await world.push(FORMS["array"]([{"message": "m" * 50, "id": "x" * 129}] * COUNT))
    problem = response.json()
    assert (response.status_code, len(problem["rejected"]), problem["rejected_total"]) == (400, 1_000, COUNT)


async def test_lines_of_text_are_messages_and_a_bad_line_costs_no_other(world: World) -> None:
    lines = [text.encode() for text in messages(COUNT)]
    assert (await world.push(b"\n".join(lines), **{"content-type": "text/plain"})).json()["accepted"] == COUNT
    await world.write()
    assert world.stored == messages(COUNT)
    flawed = FORMS["lines"](events(COUNT)).split(b"\n")
    flawed[5_000], flawed[6_000] = b'{"message": NaN, "a": "\xff"}', b"{bad"
    answer = (await world.push(b"\n".join(flawed))).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (COUNT - 1, [6_000])


async def test_many_tiny_events_are_several_records_too(world: World) -> None:
    body = b"[" + b",".join(b'{"a":%d}' % number for number in range(12_000)) + b"]"
    for _ in range(2):
        assert (await world.push(body)).json()["accepted"] == 12_000
    await world.write()
    assert len(world.stored) == 12_000


async def test_pieces_that_grow_are_stored_once(world: World) -> None:
    deep = {"p" * 2_000: {str(number): "x" for number in range(100)}}
    body = json.dumps([{"message": f"{number}", **deep} for number in range(400)]).encode()
    assert len(cut(body, None)) > 1
    for _ in range(2):
        assert (await world.push(body)).json()["accepted"] == 400
    records = await world.write()
    assert len(records) > 2 * len(cut(body, None))
    assert sorted(map(int, world.stored)) == list(range(400))


async def test_a_body_of_one_piece_that_becomes_several_records_is_exact_too(world: World) -> None:
    deep = {"p" * 2_000: {str(number): "x" for number in range(100)}}
    body = json.dumps([{"message": f"{number}", **deep} for number in range(40)]).encode()
    for _ in range(2):
        assert (await world.push(body)).json()["accepted"] == 40
    records = await world.write()
    assert len(records) > 4
    assert len(world.stored) == 40
