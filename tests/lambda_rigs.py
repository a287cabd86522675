"""A local Lambda service with the scan function over a folder of objects, and executors over it."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ess_ray.adapters.lambda_function import FunctionLocation, LambdaFunction
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import encode_object
from ess_ray.core.query import Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import InvokeLimits
from ess_ray.ports import ObjectEntry, ScanExecutor, ScanResult, ScanTask
from ess_ray.search.executors.hedge import HedgeLimits
from ess_ray.search.executors.invocations import HEDGE, InvokingExecutor
from ess_ray.search.executors.pace import LocalSlots
from lambda_compat.local.environment import Function
from lambda_compat.local.service import Deployed, LambdaService, local_lambda
from tests.servers import or_skip

ROOT = Path(__file__).parents[1]
KEYS = {"access_key": "made-up", "secret_key": "made-up"}
LOADS_PYARROW_MB = 1_024
"""Enough for the scan of small objects, and little enough for a fault to overrun it."""


def need_runtime_client() -> None:
    """Skip, visibly, where AWS's runtime client is not installed."""
    if importlib.util.find_spec("awslambdaric") is None:
        or_skip("awslambdaric is not installed: pip install awslambdaric")


class Rig:
    """One function, `scan`, its store and faults."""

    def __init__(self, folder: Path, service: LambdaService, function: Function) -> None:
        self.folder, self.service, self.function = folder, service, function
        self.store = LocalObjectStore(folder / "events")
        self.answers = LocalObjectStore(folder / "answers")

    @property
    def deployed(self) -> Deployed:
        return self.service.functions["scan"]

    def order(self, fault: str, times: int = 1) -> None:
        for _ in range(times):
            (self.folder / "faults" / f"{fault}-{uuid.uuid4().hex}").touch()

    @contextmanager
    def lambda_function(self, **changed: Any) -> Iterator[LambdaFunction]:
        location = FunctionLocation(
            "scan",
            "us-east-1",
            endpoint=self.service.endpoint,
            timeout_s=self.function.timeout_s,
            memory_mb=LOADS_PYARROW_MB,
            **KEYS,
        )
        function = LambdaFunction(replace(location, **changed), self.answers, 64)
        try:
            yield function
        finally:
            function.close()

    @contextmanager
    def executor(
        self, cap: int = 4, limits: InvokeLimits | None = None, hedge: HedgeLimits = HEDGE, **changed: Any
    ) -> Iterator[InvokingExecutor]:
        with self.lambda_function(**changed) as function:
            yield InvokingExecutor(function, LocalSlots(cap), limits=limits or InvokeLimits(), hedge=hedge)

    def put(self, rows: pa.Table, now_us: int) -> ObjectEntry:
        """Store rows as one object."""
        encoded = encode_object(rows, [])
        entry = entry_of(Sealed("default", encoded), now_us)
        self.store.put(entry.key, encoded.data)
        return entry

    def tasks(self, make_events: Callable[..., pa.Table], t0_us: int, count: int, query: Query) -> list[ScanTask]:
        """Store an object of one event for each task; its offset is the task's index."""
        entries = [self.put(make_events([t0_us + number], first=number), t0_us) for number in range(count)]
        return [ScanTask("default", query, (entry,)) for entry in entries]


@contextmanager
def rig(folder: Path, **changed: Any) -> Iterator[Rig]:
    """Run a service with the function until the context ends."""
    need_runtime_client()
    for name in ("faults", "events", "answers"):
        (folder / name).mkdir()
    environment = {
        "TABLE_URL": (folder / "events").as_uri(),
        "ANSWERS_URL": (folder / "answers").as_uri(),
        "FAULTS": str(folder / "faults"),
    }
    function = Function(
        "scan", "tests.lambda.faulty.handler", ROOT, environment, memory_mb=LOADS_PYARROW_MB, python=sys.executable
    )
    function = replace(function, **changed)
    with local_lambda(function) as service:
        yield Rig(folder, service, function)


async def results(executor: ScanExecutor, tasks: Sequence[ScanTask]) -> dict[int, ScanResult]:
    """Run tasks; every index must come once."""
    found: dict[int, ScanResult] = {}
    async for index, result in executor.run(iter(tasks)):
        assert index not in found, f"two results of task {index}"
        found[index] = result
    return found


def offsets(found: dict[int, ScanResult]) -> dict[int, list[int]]:
    return {index: result.partial.table.column("offset").to_pylist() for index, result in found.items()}
