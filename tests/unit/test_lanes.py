"""Who scans: which executors a system offers, and that a lane's executor gets what the lane says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from ess_ray.adapters.lambda_function import FunctionLocation
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.places import Places
from ess_ray.core.query import Query
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import AnswerLimits, SearchLimits
from ess_ray.ports import ScanResult, ScanTask
from ess_ray.record import encode_records
from ess_ray.runtime.wiring import System
from ess_ray.search.pipeline import Lane
from ess_ray.search.run import Searcher
from ess_ray.testing import HereExecutor, NoOwners
from tests.worlds import World, batch_of


class _Counting(HereExecutor):
    """Tells how many objects it was given."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self.objects = 0

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        async for index, result in super().run(self._count(task) for task in tasks):
            yield index, result

    def _count(self, task: ScanTask) -> ScanTask:
        self.objects += len(task.entries)
        return task


def test_without_a_function_there_is_no_lambda_and_auto_is_ray(tmp_path: Path) -> None:
    local = HereExecutor(Places(tmp_path).store("events"))
    lanes = System(Places(tmp_path), "any").lanes(local)
    assert set(lanes) == {"ray", "auto"}
    assert lanes["auto"] == lanes["ray"] == Lane(local, SearchLimits().task_bytes)
    function = FunctionLocation(
        "scan", "us-east-1", endpoint="http://127.0.0.1:1", access_key="made-up", secret_key="made-up"
    )
    lanes = System(Places(tmp_path), "any", function=function).lanes(local)
    assert set(lanes) == {"ray", "auto", "lambda"}
    assert not lanes["lambda"].in_place


async def _stored(world: World) -> VnodeWriter:
    writer = world.writer()
    await writer.assign(range(3))
    for name in ("one", "two"):
        await world.log.append(encode_records(batch_of([name], [None], 0, world.now_us), 0, "default"))
        await writer.poll()
        await writer.flush()
    return writer


async def test_only_a_lane_that_says_so_is_spared_what_is_small() -> None:
    world = World()
    await _stored(world)
    usual, asked = _Counting(world), _Counting(world)
    results = MemoryResultStore(lambda: world.now_us, AnswerLimits(ttl_s=60))
    lanes = {"ray": Lane(usual, 1), "lambda": Lane(asked, 1, in_place=False)}
    searcher = Searcher(
        world.log,
        world.catalog,
        world.store,
        NoOwners(),
        executor=usual,
        results=results,
        limits=SearchLimits(),
        lanes=lanes,
    )
    for executor in ("ray", "lambda"):
        query_id = await searcher.start("default", Query(), executor)
        await searcher.wait("default", query_id, 60)
        assert (await results.rows("default", query_id, 0, 10)).column("message").to_pylist() == ["two", "one"]
    assert (usual.objects, asked.objects) == (0, 2)
