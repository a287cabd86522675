"""Searches that wait for their turn, over HTTP: told as queued with their place, refused when too many wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ess_ray.limits import SearchLimits
from tests import waiting
from tests.unit.test_waiting import SOON_S, StepRig


@pytest.fixture
async def rig() -> AsyncIterator[StepRig]:
    made = StepRig(SearchLimits(in_place_bytes=0, task_bytes=1, max_running=1, max_queued=2))
    await made.store(1)
    yield made
    made.steps.let(100)
    await made.http.aclose()


async def ask(rig: StepRig, tenant: str = "default", **body: Any) -> httpx.Response:
    return await rig.http.post("/v1/queries", json={"start": 0, **body}, headers={"x-test-tenant": tenant})


async def state_of(rig: StepRig, query_id: str) -> tuple[str, int | None]:
    page = (await rig.http.get(f"/v1/queries/{query_id}")).json()
    return page["state"], page.get("position")


async def until(rig: StepRig, query_id: str, wanted: tuple[str, int | None]) -> None:
    async def is_so() -> bool:
        return await state_of(rig, query_id) == wanted

    await waiting.until(is_so, f"query {query_id} is not {wanted}")


async def test_others_wait_for_their_turn_and_are_told_their_place(rig: StepRig) -> None:
    answers = [(await ask(rig)).json() for _ in range(3)]
    assert [(answer["state"], answer.get("position")) for answer in answers] == [
        ("running", None),
        ("queued", 1),
        ("queued", 2),
    ]
    first, second, third = (answer["id"] for answer in answers)
    assert [await state_of(rig, each) for each in (first, second, third)] == [
        ("running", None),
        ("queued", 1),
        ("queued", 2),
    ]
    rig.steps.let(1)
    await until(rig, first, ("done", None))
    await until(rig, third, ("queued", 1))
    assert await state_of(rig, second) == ("running", None)
    rig.steps.let(2)
    for each in (second, third):
        await until(rig, each, ("done", None))
        assert len((await rig.http.get(f"/v1/queries/{each}")).json()["events"]) == 1


async def test_more_are_refused_to_be_asked_again_later_but_not_anothers(rig: StepRig) -> None:
    for _ in range(3):
        assert (await ask(rig)).status_code == 201
    refused = await ask(rig)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["queued"] == 2
    counted = await rig.http.post("/v1/aggregations", json={"start": 0})
    assert counted.status_code == 429
    other = await ask(rig, "other")
    assert (other.status_code, other.json()["state"]) == (201, "running")


async def test_one_that_waits_can_be_cancelled_and_lets_the_next_one_forward(rig: StepRig) -> None:
    first, second, third = [(await ask(rig)).json()["id"] for _ in range(3)]
    assert (await rig.http.delete(f"/v1/queries/{second}")).json()["state"] == "cancelled"
    await until(rig, third, ("queued", 1))
    assert (await rig.http.delete(f"/v1/queries/{first}")).json()["state"] == "cancelled"
    rig.steps.let(1)
    await until(rig, third, ("done", None))


async def test_who_waits_for_an_answer_waits_in_the_queue_too(rig: StepRig) -> None:
    first = (await ask(rig)).json()["id"]
    asked = asyncio.create_task(ask(rig, wait=SOON_S))
    told = await ask(rig, wait=0.01)
    assert (told.json()["state"], told.json()["events"]) == ("queued", [])
    rig.steps.let(3)
    page = (await asked).json()
    assert (page["state"], len(page["events"])) == ("done", 1)
    await until(rig, first, ("done", None))
