"""Scan tasks on a real Ray: order, a straggler's second copy, cancellation, a task that dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pyarrow as pa
import pytest
import ray

from ess_ray.adapters.places import EVENTS, Places
from ess_ray.core.chunk import encode_object
from ess_ray.core.collect import Partial
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Cost, ObjectEntry, ScanResult, ScanTask
from ess_ray.runtime.environment import free_ports
from ess_ray.runtime.metrics import RaySearchMeter
from ess_ray.runtime.ray_executor import RayScanExecutor
from ess_ray.runtime.wiring import System
from ess_ray.search.executors.hedge import HedgeLimits
from tests.rays import local_ray
from tests.waiting import until

DEADLINE_S = 60.0
(METRICS_PORT,) = free_ports(1)
TITLE = "ray::scan "
"""How Ray names a worker's process while it runs a scan task."""


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with local_ray(2, _metrics_export_port=METRICS_PORT, _system_config={"metrics_report_interval_ms": 500}):
        yield


class Stored:
    """A system's objects, one event each."""

    def __init__(self, folder: Path, make_events: Callable[..., pa.Table], t0_us: int) -> None:
        self.system = System(Places(folder), "test", scan_parallelism=2)
        self._make_events, self._t0_us = make_events, t0_us

    def task(self, *numbers: int) -> ScanTask:
        """Store an object for each number, whose one event has it as offset, and scan them as one task."""
        query = Query(order="oldest")
        return ScanTask("default", query, tuple(map(self._put, numbers)))

    def _put(self, number: int) -> ObjectEntry:
        encoded = encode_object(self._make_events([self._t0_us + number], first=number), [])
        entry = entry_of(Sealed("default", encoded), self._t0_us)
        self.system.store().put(entry.key, encoded.data)
        return entry

    def path(self, entry: ObjectEntry) -> Path:
        return self.system.places.data_dir / EVENTS / entry.key


@pytest.fixture
def stored(tmp_path: Path, make_events: Callable[..., pa.Table], t0_us: int) -> Stored:
    return Stored(tmp_path, make_events, t0_us)


async def offsets(executor: RayScanExecutor, tasks: list[ScanTask]) -> list[tuple[int, list[int]]]:
    return [(index, result.partial.table.column("offset").to_pylist()) async for index, result in executor.run(tasks)]


def scanning(what: str = "") -> list[psutil.Process]:
    """Find the workers of this test's Ray that run a scan task, or one with these words in its name."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline())
            if title.startswith(TITLE) and what in title:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def replace_by_pipe(path: Path) -> Callable[[], None]:
    """Put a pipe where a file is: whoever opens it waits. Gives how to put the file back."""
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    os.mkfifo(path)
    return lambda: os.replace(hidden, path)


async def test_every_task_gives_one_result_and_is_made_when_it_starts(stored: Stored) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[ScanTask]:
        for number in range(6):
            taken.append(number)
            yield stored.task(number)

    seen: list[tuple[int, list[int]]] = []
    async for index, result in RayScanExecutor(stored.system).run(tasks()):
        assert len(taken) <= len(seen) + stored.system.scan_parallelism
        seen.append((index, result.partial.table.column("offset").to_pylist()))
    assert sorted(seen) == [(number, [number]) for number in range(6)]


async def test_a_straggler_is_overtaken_by_its_second_copy_once_a_cpu_is_free(stored: Stored, tmp_path: Path) -> None:
    tasks = [stored.task(0), stored.task(1), stored.task(2, 3)]
    put_back = replace_by_pipe(stored.path(tasks[2].entries[0]))
    os.mkfifo(tmp_path / "held")
    holder = ray.remote(num_cpus=1)(lambda path: path.read_bytes()).remote(tmp_path / "held")
    seen: list[tuple[int, list[int]]] = []

    async def search() -> None:
        executor = RayScanExecutor(stored.system, HedgeLimits(min_s=0.05, unknown_s=0.05))
        async for index, result in executor.run(tasks):
            seen.append((index, result.partial.table.column("offset").to_pylist()))

    answer = asyncio.create_task(search())
    (first,) = await until(lambda: len(seen) == 2 and scanning("2 objects"), "the third task did not start", DEADLINE_S)
    # It cannot end before the pipe is gone, and from here on it does nothing at all: a process that hangs.
    first.send_signal(signal.SIGSTOP)
    try:
        put_back()
        (tmp_path / "held").write_bytes(b"go")
        await asyncio.wait_for(answer, DEADLINE_S)
        assert await asyncio.wrap_future(holder.future()) == b"go"
    finally:
        first.send_signal(signal.SIGCONT)
    assert sorted(seen) == [(0, [0]), (1, [1]), (2, [2, 3])], "each task once"
    await until(lambda: not scanning(), "the straggler still runs", DEADLINE_S)


async def test_closing_a_run_frees_its_tasks_even_those_in_native_code(stored: Stored) -> None:
    tasks = [stored.task(number) for number in range(4)]
    for task in tasks:
        replace_by_pipe(stored.path(task.entries[0]))
    executor = RayScanExecutor(stored.system)
    answer = asyncio.create_task(offsets(executor, tasks))
    await until(lambda: len(scanning()) == 2, "the tasks did not start", DEADLINE_S)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    await until(lambda: not scanning(), "cancelled tasks still run", DEADLINE_S)
    assert await offsets(executor, [stored.task(9)]) == [(0, [9])], "the next search has the machine"


async def test_an_object_that_cannot_be_read_is_named(stored: Stored) -> None:
    tasks = [stored.task(number) for number in range(2)]
    gone = tasks[0].entries[0]
    stored.path(gone).unlink()
    results = [pair async for pair in RayScanExecutor(stored.system).run(tasks)]
    failed = {index: [key for key, _ in result.failed] for index, result in results}
    assert failed == {0: [gone.key], 1: []}


async def test_what_searches_cost_stands_among_rays_metrics() -> None:
    meter = RaySearchMeter()
    meter.planned(7)
    for _ in range(2):
        meter.scanned(5, ScanResult(Partial(EMPTY, 3), Cost(1000, 6), (("key", "gone"),)))
    meter.ended("done", 0.2)
    expected = {"objects_pruned": 7, "objects_scanned": 8, "objects_failed": 2, "bytes_read": 2000, "gets": 12}
    async with httpx.AsyncClient() as http:

        async def told() -> dict[str, float]:
            try:
                text = (await http.get(f"http://127.0.0.1:{METRICS_PORT}/metrics")).text
            except httpx.TransportError:
                return {}
            lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("ray_ess_search_")]
            costs = {line[0].partition("{")[0].removeprefix("ray_ess_search_"): float(line[2]) for line in lines}
            return costs if costs.get("seconds_count") else {}

        found = await until(told, "no metrics came", DEADLINE_S)
    assert {name: found[f"{name}_total"] for name in expected} == expected
    assert found["rows_matched_total"] == 6


async def test_tasks_that_never_come_back_are_given_up_in_time(stored: Stored) -> None:
    """As if Ray stood still: every CPU is somebody else's for good, so that no task ever begins."""

    @ray.remote(num_cpus=2)
    class Hog:
        def there(self) -> bool:
            return True

    hog = Hog.remote()
    try:
        assert await hog.there.remote()
        executor = RayScanExecutor(stored.system, silence_s=0.5)
        tasks = [stored.task(number) for number in range(5)]
        results = {index: result async for index, result in executor.run(tasks)}
        assert sorted(results) == [0, 1, 2, 3, 4]
        for index, result in results.items():
            ((key, reason),) = result.failed
            assert key == tasks[index].entries[0].key
            assert "no scan task came back for 0.5 s" in reason
    finally:
        ray.kill(hog)
    assert [
        found for _, found in sorted(await offsets(RayScanExecutor(stored.system), [stored.task(7), stored.task(8)]))
    ] == [[7], [8]]
