"""Scan tasks as invocations of the real function in a local Lambda service: caps, throttling, losses, large answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.core.errors import BadRequest, NotFound, TooFast
from ess_ray.core.query import Query
from ess_ray.limits import InvokeLimits
from ess_ray.ports import ScanTask
from ess_ray.search.executors.hedge import HedgeLimits
from ess_ray.search.wire import FORMAT
from tests.lambda_rigs import Rig, offsets, results, rig

Make = Callable[..., pa.Table]
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A function that all tests of this file may use: they leave no faults behind."""
    with rig(tmp_path_factory.mktemp("lambda")) as running:
        yield running


async def test_forty_tasks_finish_with_a_cap_of_two(steady: Rig, make_events: Make, t0_us: int) -> None:
    tasks = steady.tasks(make_events, t0_us, 40, Query())
    steady.deployed.most_busy = 0
    with steady.executor(cap=2) as executor:
        found = await results(executor, tasks)
    assert offsets(found) == {number: [number] for number in range(40)}
    assert steady.deployed.most_busy == 2
    assert sum(result.cost.invocations for result in found.values()) == 40
    assert all(result.cost.gb_seconds > 0 and result.cost.usd > 0 for result in found.values())


async def test_two_searches_share_the_cap(steady: Rig, make_events: Make, t0_us: int) -> None:
    tasks = steady.tasks(make_events, t0_us, 10, Query())
    steady.deployed.most_busy = 0
    with steady.executor(cap=2) as executor:
        both = await asyncio.gather(results(executor, tasks), results(executor, tasks))
    assert [offsets(found) for found in both] == [{number: [number] for number in range(10)}] * 2
    assert steady.deployed.most_busy <= 2


async def test_what_lambda_throttles_is_asked_again(tmp_path: Path, make_events: Make, t0_us: int) -> None:
    with rig(tmp_path, concurrency=1) as throttling, throttling.executor(cap=6) as executor:
        tasks = throttling.tasks(make_events, t0_us, 12, Query())
        found = await results(executor, tasks)
        assert offsets(found) == {number: [number] for number in range(12)}
        assert throttling.deployed.throttled > 0
        assert sum(result.cost.invocations for result in found.values()) == 12, "a refused invocation is none"


async def test_a_function_that_lets_nothing_through_is_told(tmp_path: Path, make_events: Make, t0_us: int) -> None:
    limits = InvokeLimits(throttled_s=0.2)
    with rig(tmp_path, concurrency=0) as closed, closed.executor(limits=limits) as executor:
        tasks = closed.tasks(make_events, t0_us, 2, Query())
        with pytest.raises(TooFast, match="reserved concurrency"):
            await results(executor, tasks)


@pytest.mark.parametrize("fault", ["crash", "error", "large"])
async def test_a_lost_invocation_is_made_again_and_doubles_nothing(
    steady: Rig, make_events: Make, t0_us: int, fault: str
) -> None:
    tasks = steady.tasks(make_events, t0_us, 5, Query())
    steady.order(fault, 2)
    with steady.executor() as executor:
        found = await results(executor, tasks)
    assert offsets(found) == {number: [number] for number in range(5)}
    assert sum(result.cost.invocations for result in found.values()) == 7, "the lost ones are on the bill"


@pytest.mark.parametrize("fault", ["hang", "memory"])
async def test_limits_of_time_and_memory_lose_an_invocation(
    tmp_path: Path, make_events: Make, t0_us: int, fault: str
) -> None:
    with rig(tmp_path, timeout_s=5.0, memory_mb=700) as limited, limited.executor() as executor:
        tasks = limited.tasks(make_events, t0_us, 3, Query())
        limited.order(fault)
        found = await results(executor, tasks)
    assert offsets(found) == {number: [number] for number in range(3)}
    assert sum(result.cost.invocations for result in found.values()) == 4


async def test_a_task_that_is_lost_too_often_names_its_objects(steady: Rig, make_events: Make, t0_us: int) -> None:
    (task,) = steady.tasks(make_events, t0_us, 1, Query())
    steady.order("crash", 3)
    with steady.executor() as executor:
        found = await results(executor, [task])
    assert [key for key, _ in found[0].failed] == [task.entries[0].key]
    assert "3 times" in found[0].failed[0][1]
    assert found[0].cost.invocations == 3


async def test_a_straggler_is_overtaken_by_a_second_copy(tmp_path: Path, make_events: Make, t0_us: int) -> None:
    hedge = HedgeLimits(min_s=0.1, unknown_s=1.0)
    with rig(tmp_path, timeout_s=DEADLINE_S) as hanging, hanging.executor(hedge=hedge) as executor:
        tasks = hanging.tasks(make_events, t0_us, 2, Query())
        hanging.order("hang")
        begun_s = time.monotonic()
        found = await results(executor, tasks)
        assert offsets(found) == {0: [0], 1: [1]}
        assert sum(result.cost.invocations for result in found.values()) >= 3
        assert time.monotonic() - begun_s < DEADLINE_S, "the copy that hangs was waited for"


async def test_an_answer_over_six_megabytes_goes_through_the_store(steady: Rig, make_events: Make, t0_us: int) -> None:
    import random

    noise = random.Random(1)
    messages = [noise.randbytes(3_000).hex() for _ in range(3_000)]
    entry = steady.put(make_events([t0_us + number for number in range(3_000)], messages), t0_us)
    with steady.executor() as executor:
        found = await results(executor, [ScanTask("default", Query(limit=3_000, order="oldest"), (entry,))])
    assert found[0].partial.table.column("message").to_pylist() == messages
    assert not steady.answers.list(""), "an answer that was read is deleted"


async def test_closing_a_run_leaves_its_slots_taken_until_the_invocations_end(
    tmp_path: Path, make_events: Make, t0_us: int
) -> None:
    with rig(tmp_path, timeout_s=4.0) as hanging, hanging.executor(cap=1) as executor:
        tasks = hanging.tasks(make_events, t0_us, 2, Query())
        hanging.order("hang")
        answer = asyncio.create_task(results(executor, tasks))
        deadline_s = time.monotonic() + DEADLINE_S
        while list((tmp_path / "faults").iterdir()):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.02)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
        assert await executor.start(tasks[0]) is None, "the invocation still runs"
        assert offsets(await results(executor, tasks)) == {0: [0], 1: [1]}
        assert hanging.deployed.most_busy == 1


async def test_a_wrong_name_ends_the_search(steady: Rig, make_events: Make, t0_us: int) -> None:
    with steady.executor(name="nobody") as executor, pytest.raises(NotFound, match=r"lambda\.function"):
        await results(executor, steady.tasks(make_events, t0_us, 1, Query()))


async def test_a_function_of_another_version_ends_the_search(
    steady: Rig, make_events: Make, t0_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ess_ray.search.wire.FORMAT", FORMAT + 1)
    with steady.executor() as executor, pytest.raises(BadRequest, match="deploy the function anew"):
        await results(executor, steady.tasks(make_events, t0_us, 1, Query()))
