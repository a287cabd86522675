"""The golden suite: the same queries over the same objects give the same rows, whoever scans and whatever breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.limits import InvokeLimits
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.executors.mixed import AutoExecutor
from ess_ray.search.scan import run_task
from ess_ray.testing import HereExecutor
from tests.lambda_golden import COUNTINGS, OBJECTS, QUERIES, answer, counts, store_objects
from tests.lambda_rigs import LOADS_PYARROW_MB, Rig, rig

FAULTS = ("none", "crash", "error", "large", "throttled")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("golden"), concurrency=2) as running:
        yield running


@pytest.fixture(scope="module")
def entries(golden: Rig, make_events: Callable[..., pa.Table], t0_us: int) -> list[ObjectEntry]:
    return store_objects(golden, make_events, t0_us)


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_executor_gives_the_same_rows(golden: Rig, entries: list[ObjectEntry], fault: str) -> None:
    limits = InvokeLimits()
    with golden.executor(cap=6 if fault == "throttled" else 2) as remote:
        for text in QUERIES:
            for query in (Query(parse(text), limit=10_000), Query(parse(text), limit=20, order="oldest")):
                expected = await answer(HereExecutor(golden.store), query, entries)
                if fault not in ("none", "throttled"):
                    golden.order(fault)
                assert (await answer(remote, query, entries)).equals(expected), (text, query.limit, "lambda")
                auto = AutoExecutor(
                    remote,
                    HereExecutor(golden.store),
                    memory_gb=LOADS_PYARROW_MB / 1024,
                    limits=limits,
                    max_cost_usd=1.0,
                )
                assert (await answer(auto, query, entries)).equals(expected), (text, query.limit, "auto")


@pytest.mark.parametrize("fault", ["none", "crash", "large"])
async def test_every_executor_gives_the_same_counts(golden: Rig, entries: list[ObjectEntry], fault: str) -> None:
    with golden.executor(cap=2) as remote:
        for text, counting in zip(
            ("", "row", "level:ERROR -row", "user:u3", "tags:prod", "", "row", "", ""), COUNTINGS, strict=True
        ):
            expected = await counts(HereExecutor(golden.store), Query(parse(text)), counting, entries)
            if fault != "none":
                golden.order(fault)
            assert (await counts(remote, Query(parse(text)), counting, entries)).equals(expected), (text, "lambda")
            auto = AutoExecutor(
                remote,
                HereExecutor(golden.store),
                memory_gb=LOADS_PYARROW_MB / 1024,
                limits=InvokeLimits(),
                max_cost_usd=1.0,
            )
            assert (await counts(auto, Query(parse(text)), counting, entries)).equals(expected), (text, "auto")


async def test_auto_without_a_budget_is_local(golden: Rig, entries: list[ObjectEntry]) -> None:
    local = HereExecutor(golden.store)
    with golden.executor() as remote:
        await answer(
            AutoExecutor(remote, local, memory_gb=1.0, limits=InvokeLimits(), max_cost_usd=0.0), Query(), entries
        )
    assert local.ran == OBJECTS - 2


async def test_auto_survives_a_function_that_is_not_there(golden: Rig, entries: list[ObjectEntry]) -> None:
    query, local = Query(limit=10_000), HereExecutor(golden.store)
    with golden.executor(name="nobody") as remote:
        found = await answer(
            AutoExecutor(remote, local, memory_gb=1.0, limits=InvokeLimits(), max_cost_usd=1.0), query, entries
        )
    assert found.equals(await answer(HereExecutor(golden.store), query, entries))


@pytest.mark.parametrize("objects_at_once", [2, 4])
async def test_objects_in_work_together_give_the_same_rows(
    golden: Rig, entries: list[ObjectEntry], objects_at_once: int, tmp_path: Path
) -> None:
    for text in QUERIES:
        for limit in (5, 10_000):
            task = ScanTask("default", Query(parse(text), limit=limit), tuple(entries))
            one, many = run_task(golden.store, task), run_task(golden.store, task, objects_at_once=objects_at_once)
            assert many.partial.table.equals(one.partial.table)
    for counting in COUNTINGS:
        task = ScanTask("default", Query(parse("row")), tuple(entries), collector=counting)
        one, many = run_task(golden.store, task), run_task(golden.store, task, objects_at_once=objects_at_once)
        assert one.partial.table.equals(many.partial.table)
