"""What is explained, beside what a search then really does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.limits import InvokeLimits, SearchLimits
from ess_ray.ports import Record
from ess_ray.search.executors.mixed import ASSUMED_BYTES_PER_S
from ess_ray.search.explain import Explainer, Pricing
from ess_ray.search.run import Lane
from tests.exports import World

Tables = Callable[..., pa.Table]
MIB = 1 << 20
GETS_FACTOR = 2
"""The estimate is within this factor of what a search makes that has to read everything."""


RECORD = Record(0, b"a record that nobody has read")


@pytest.fixture
def world(make_events: Tables, t0_us: int) -> World:
    """Twelve small objects, an hour after each other, and one of 5 MB with messages that do not compress."""
    hour_us = 3_600_000_000
    small = [make_events([t0_us + hour * hour_us + i for i in range(50)]) for hour in range(12)]
    count = 40_000
    texts = [f"{i * 2654435761 % 2**64:x}{i * 40503 % 2**64:x}" * 5 for i in range(count)]
    large = make_events([t0_us + 20 * hour_us + i for i in range(count)], texts)
    made = World([*small, large], make_events([t0_us + 30 * hour_us + i for i in range(7)]))
    made.store.coalesce_bytes = MIB
    return made


def explainer(world: World, limits: SearchLimits, pricing: Pricing | None = None) -> Explainer:
    return Explainer(world.searcher, limits.in_place_bytes, world.store.coalesce_bytes, pricing)


@pytest.mark.parametrize("task_bytes", [1, 4 * MIB])
@pytest.mark.parametrize("in_place_bytes", [0, 200_000, 1 << 30])
@pytest.mark.parametrize("hours", [(None, None), (3, 6), (0, 21), (100, 101)])
async def test_a_search_does_what_was_explained(
    world: World,
    t0_us: int,
    task_bytes: int,
    in_place_bytes: int,
    hours: tuple[int | None, int | None],
) -> None:
    start, end = (None if hour is None else t0_us + hour * 3_600_000_000 for hour in hours)
    query = Query(parse(""), start, end, limit=200_000)
    limits = SearchLimits(in_place_bytes=in_place_bytes, task_bytes=task_bytes)
    world = world.limited(limits)
    told = await explainer(world, limits).explain("default", query, "ray")
    query_id = await world.searcher.start("default", query)
    await world.searcher.wait("default", query_id, 60)
    state = await world.results.state("default", query_id)
    did = state.progress
    assert state.state == "done"
    assert (told.objects_total, told.objects_pruned) == (did["objects_total"], did["objects_pruned"])
    assert (told.objects, told.bytes_total) == (did["objects_done"], did["bytes_total"])
    assert told.in_flight_rows == did["in_flight_rows"]
    assert told.tasks == len(world.counted.tasks)
    assert told.complete is state.complete is True
    gets, read = did["gets"], did["bytes_read"]
    assert isinstance(gets, int)
    assert isinstance(read, int)
    assert told.gets / GETS_FACTOR <= gets <= told.gets * GETS_FACTOR
    assert read * 0.5 <= told.bytes_to_read <= told.bytes_total


@pytest.mark.parametrize("coalesce_bytes", [32 * 1024, MIB])
@pytest.mark.parametrize("query", ["", '"0"', "/[0-9a-f]{40}/", "offset:>=0"])
async def test_requests_are_foreseen_within_twice(world: World, query: str, coalesce_bytes: int) -> None:
    world.store.coalesce_bytes = coalesce_bytes
    told = await explainer(world, SearchLimits()).explain("default", Query(parse(query)), "ray")
    query_id = await world.searcher.start("default", Query(parse(query), limit=200_000))
    await world.searcher.wait("default", query_id, 60)
    gets = (await world.results.state("default", query_id)).progress["gets"]
    assert isinstance(gets, int)
    assert told.gets / GETS_FACTOR <= gets <= told.gets * GETS_FACTOR


async def test_nothing_is_read_of_any_object(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("an object was read")

    monkeypatch.setattr(world.store, "get_range", refuse)
    monkeypatch.setattr(world.store, "get_suffix", refuse)
    told = await explainer(world, SearchLimits()).explain("default", Query(parse("nowhere")), "ray")
    assert told.objects == 13
    assert told.in_flight_rows == 7, "counted without being matched"


async def test_what_could_not_be_searched_now_is_named(world: World) -> None:
    await world.log.append([RECORD])
    world.buffers.covers = False
    told = await explainer(world, SearchLimits()).explain("default", Query(), "ray")
    assert told.complete is False
    assert "virtual node 0" in told.incomplete[0]


async def test_another_tenants_objects_are_not_told_of(world: World) -> None:
    told = await explainer(world, SearchLimits()).explain("other", Query(), "ray")
    assert (told.objects_total, told.objects, told.bytes_total, told.gets) == (0, 0, 0, 0)


async def test_times_are_told_as_they_were_resolved(world: World, t0_us: int) -> None:
    query = Query(parse("a"), t0_us, None)
    told = await explainer(world, SearchLimits()).explain("default", query, "ray")
    assert (told.start, told.end) == ("2026-09-21T14:13:20.000000Z", None)


@pytest.mark.parametrize(("budget_usd", "share"), [(1.0, 1.0), (0.0, 0.0)])
async def test_what_lambda_costs(world: World, budget_usd: float, share: float) -> None:
    limits = SearchLimits(in_place_bytes=0)
    pricing = Pricing(2.0, InvokeLimits(usd_per_gb_second=0.00002, usd_per_invocation=0.000001), budget_usd)
    lane = Lane(world.counted, MIB, in_place=False)
    world = world.limited(limits, {"lambda": lane, "auto": replace(lane, in_place=True)})
    by = {
        name: await explainer(world, limits, pricing).explain("default", Query(), name)
        for name in ("lambda", "auto", "ray")
    }
    assert by["ray"].invocations is None, "it uses none"
    assert (await explainer(world, limits).explain("default", Query(), "auto")).invocations is None, "there is none"
    whole = by["lambda"].invocations
    assert whole is not None
    assert whole.invocations == by["lambda"].tasks > 1
    # Small objects count for what opening one costs.
    assert whole.gb_seconds >= 2.0 * by["lambda"].bytes_to_read / ASSUMED_BYTES_PER_S
    expected_usd = whole.gb_seconds * 0.00002 + whole.invocations * 0.000001
    assert whole.estimated_cost_usd == pytest.approx(expected_usd, abs=1e-9)
    within = by["auto"].invocations
    assert within is not None
    assert within.estimated_cost_usd == pytest.approx(whole.estimated_cost_usd * share, abs=1e-9)
    assert within.invocations == whole.invocations * share
