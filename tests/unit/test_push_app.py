"""The push application over HTTP, with a log in memory: what docs/http.md says of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
import zstandard

from ess_ray.core.errors import Unavailable
from ess_ray.intake.batch_decoding import IN_LOOP_BYTES
from ess_ray.record import KnownRequest
from tests.pushing import MAX_BYTES, NOW_US, World, is_problem, world

__all__ = ["world"]


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
