"""Which adapters stand behind each port's suite: one entry here, and the whole suite runs over a new adapter.

An opener gives a fresh, empty adapter; what it opened is closed by the fixture that called it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.redis_results import RedisResultStore
from ess_ray.adapters.redis_slots import RedisSlots
from ess_ray.adapters.sqlite_log import SqliteLimits, SqliteLog
from ess_ray.limits import AnswerLimits
from ess_ray.ports import EventLog, InvocationSlots, ResultStore
from ess_ray.search.executors.pace import LocalSlots
from ess_ray.testing import MemoryLog
from tests.kafka_server import new_topic, opened
from tests.redis_server import RedisServer, redis_server

VNODES = 3


# --------------------------------------------------------------------------------------------------------- logs
@dataclass(frozen=True)
class LogUnderTest:
    """A fresh log of VNODES virtual nodes, and what its kind promises beyond the port.

    `trims` tells whether `committed` moves `start_offsets` (Kafka's retention does, not its committed offset);
    `dense` whether offsets have no holes.
    """

    log: EventLog
    trims: bool
    dense: bool


LogOpener = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[LogUnderTest]]


@asynccontextmanager
async def _memory_log(_: pytest.FixtureRequest) -> AsyncIterator[LogUnderTest]:
    yield LogUnderTest(MemoryLog(VNODES), trims=True, dense=True)


def _sqlite_log(limits: SqliteLimits) -> LogOpener:
    @asynccontextmanager
    async def opened(request: pytest.FixtureRequest) -> AsyncIterator[LogUnderTest]:
        log = SqliteLog(request.getfixturevalue("tmp_path") / "log.sqlite", VNODES, limits)
        try:
            yield LogUnderTest(log, trims=True, dense=True)
        finally:
            log.close()

    return opened


@asynccontextmanager
async def _kafka_log(request: pytest.FixtureRequest) -> AsyncIterator[LogUnderTest]:
    async with opened(new_topic(request.getfixturevalue("kafka").bootstrap, VNODES)) as log:
        yield LogUnderTest(log, trims=False, dense=False)


LOGS: dict[str, LogOpener] = {
    "memory": _memory_log,
    "sqlite": _sqlite_log(SqliteLimits()),
    "sqlite-from-disk": _sqlite_log(SqliteLimits(recent_bytes=0)),  # every read goes to the file
    "kafka": _kafka_log,
}


@pytest.fixture(params=LOGS)
async def log_under_test(request: pytest.FixtureRequest) -> AsyncIterator[LogUnderTest]:
    async with LOGS[request.param](request) as opened:
        yield opened


@pytest.fixture
def log(log_under_test: LogUnderTest) -> EventLog:
    return log_under_test.log


# ------------------------------------------------------------------------------------------------------ results
MAX_ROWS = 100
MAX_BYTES = 64 * 1024
TTL_S = 60.0
LIMITS = AnswerLimits(ttl_s=TTL_S, max_rows=MAX_ROWS, max_bytes=MAX_BYTES)


@dataclass(frozen=True)
class ResultsUnderTest:
    """An empty result store with caps of MAX_ROWS and MAX_BYTES an answer, and a way to let `seconds` pass."""

    results: ResultStore
    let_pass: Callable[[float], Awaitable[None]]


ResultsOpener = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[ResultsUnderTest]]


@asynccontextmanager
async def _memory_results(_: pytest.FixtureRequest) -> AsyncIterator[ResultsUnderTest]:
    now_us = 1_790_000_000_000_000

    async def let_pass(seconds: float) -> None:
        nonlocal now_us
        now_us += round(seconds * 1_000_000)

    yield ResultsUnderTest(MemoryResultStore(lambda: now_us, LIMITS), let_pass)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@asynccontextmanager
async def _redis_results(request: pytest.FixtureRequest) -> AsyncIterator[ResultsUnderTest]:
    server: RedisServer = request.getfixturevalue("redis")
    server.client.flushall()
    store = RedisResultStore(server.url, LIMITS, alive_s=100 * TTL_S)

    async def let_pass(seconds: float) -> None:
        server.let_pass(seconds)

    try:
        yield ResultsUnderTest(store, let_pass)
    finally:
        await store.close()


RESULTS: dict[str, ResultsOpener] = {"memory": _memory_results, "redis": _redis_results}


@pytest.fixture(params=RESULTS)
async def results_under_test(request: pytest.FixtureRequest) -> AsyncIterator[ResultsUnderTest]:
    async with RESULTS[request.param](request) as opened:
        yield opened


@pytest.fixture
def results(results_under_test: ResultsUnderTest) -> ResultStore:
    return results_under_test.results


@pytest.fixture
def let_pass(results_under_test: ResultsUnderTest) -> Callable[[float], Awaitable[None]]:
    return results_under_test.let_pass


# -------------------------------------------------------------------------------------------------------- slots
CAP = 3
SlotsOpener = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[InvocationSlots]]


@asynccontextmanager
async def _local_slots(_: pytest.FixtureRequest) -> AsyncIterator[InvocationSlots]:
    yield LocalSlots(CAP)


@asynccontextmanager
async def _redis_slots(request: pytest.FixtureRequest) -> AsyncIterator[InvocationSlots]:
    slots = RedisSlots(request.getfixturevalue("redis").url, uuid4().hex, cap=CAP, lease_s=600)
    try:
        yield slots
    finally:
        await slots.close()


SLOTS: dict[str, SlotsOpener] = {"local": _local_slots, "redis": _redis_slots}


@pytest.fixture(params=SLOTS)
async def slots(request: pytest.FixtureRequest) -> AsyncIterator[InvocationSlots]:
    async with SLOTS[request.param](request) as opened:
        yield opened
