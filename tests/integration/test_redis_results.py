"""What is special about answers in Redis: replicas that go, a server that hangs, answers that were lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.adapters import redis_results
from ess_ray.adapters.redis_results import CHUNK_ROWS, RedisResultStore
from ess_ray.core.errors import Conflict, Gone, Unavailable
from ess_ray.limits import AnswerLimits
from ess_ray.ports import AnswerState
from tests.redis_server import PASSWORD, RedisServer, redis_server
from tests.waiting import until

RUNNING = AnswerState("running", {"rows_matched": 1}, False, ("one object is missing",), 0)
DONE = AnswerState("done", {"rows_matched": 1}, True, (), 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def make(server: RedisServer) -> AsyncIterator[Callable[..., RedisResultStore]]:
    """Give a maker of stores over the one server: each is what a search replica has."""
    server.client.flushall()
    made: list[RedisResultStore] = []

    def maker(**options: Any) -> RedisResultStore:
        made.append(RedisResultStore(server.url, **options))
        return made[-1]

    yield maker
    for store in made:
        await store.close()


@pytest.fixture
def rows(make_events: Any, t0_us: int) -> Callable[[int, int], pa.Table]:
    return lambda first, count: make_events(
        [t0_us + i for i in range(first, first + count)], [str(i) for i in range(first, first + count)]
    )


async def test_any_replica_reads_what_one_writes(make: Any, rows: Any) -> None:
    writer, reader = make(), make()
    await writer.create("t", "q", RUNNING)
    await writer.append("t", "q", rows(0, 10))
    assert await reader.state("t", "q") == RUNNING
    assert (await reader.rows("t", "q", 3, 4)).equals(rows(0, 10).slice(3, 4))
    with pytest.raises(Conflict):
        await reader.create("t", "q", RUNNING)


async def test_an_answer_whose_replica_is_gone_has_failed_and_keeps_what_was_found(make: Any, rows: Any) -> None:
    writer, reader = make(alive_s=0.2), make()
    await writer.create("t", "q", RUNNING, "what was asked")
    await writer.append("t", "q", rows(0, 3))
    await writer.close()

    async def failed() -> AnswerState | None:
        state: AnswerState = await reader.state("t", "q")
        return state if state.state == "failed" else None

    state = await until(failed, "the answer runs for ever")
    assert not state.complete
    assert state.incomplete[0] == "one object is missing"
    assert "has ended before its answer" in state.incomplete[1]
    assert len(await reader.rows("t", "q", 0, 10)) == 3
    assert await reader.question("t", "q") == "what was asked"


async def test_a_replica_that_lives_keeps_a_slow_search_running(
    make: Any, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_results, "SIGN_OF_LIFE_S", 0.01)
    writer, reader = make(alive_s=0.5), make()
    await writer.create("t", "q", RUNNING)
    alive = "ess:{t/q}:alive"
    for _ in range(3):
        server.client.pexpire(alive, 400)

        async def renewed() -> bool:
            return int(server.client.pttl(alive)) > 400

        await until(renewed, "no sign of life")
    assert (await reader.state("t", "q")).state == "running"
    await writer.update("t", "q", DONE)
    assert not server.client.exists(alive)
    assert await reader.state("t", "q") == DONE


async def test_a_large_append_is_read_in_small_pieces(make: Any, rows: Any, server: RedisServer) -> None:
    store = make()
    await store.create("t", "q", RUNNING)
    count = 2 * CHUNK_ROWS + 10
    await store.append("t", "q", rows(0, count))
    assert server.client.llen("ess:{t/q}:chunks") == 3
    for start in (0, CHUNK_ROWS - 1, CHUNK_ROWS, 2 * CHUNK_ROWS - 5, count - 1, count):
        page = await store.rows("t", "q", start, 10)
        assert page.column("message").to_pylist() == [str(i) for i in range(start, min(start + 10, count))]


async def test_an_append_that_is_sent_again_is_there_once(make: Any, rows: Any) -> None:
    """The client sends a command again when its connection broke before the answer came."""
    store = make()
    await store.create("t", "q", RUNNING)
    once = store._append

    async def twice(**arguments: Any) -> Any:
        await once(**arguments)
        return await once(**arguments)

    store._append = twice
    assert await store.append("t", "q", rows(0, 5))
    assert await store.append("t", "q", rows(5, 5))
    found = await store.rows("t", "q", 0, 100)
    assert found.column("message").to_pylist() == [str(i) for i in range(10)]


async def test_a_second_writer_of_one_answer_is_refused(make: Any, rows: Any, server: RedisServer) -> None:
    store = make()
    await store.create("t", "q", RUNNING)
    append = store._append

    async def overtaken(**arguments: Any) -> Any:
        server.client.hset("ess:{t/q}", "rows", 77)
        return await append(**arguments)

    store._append = overtaken
    with pytest.raises(Conflict):
        await store.append("t", "q", rows(0, 5))


async def test_nothing_is_left_behind_when_an_answer_expires(make: Any, rows: Any, server: RedisServer) -> None:
    store = make(limits=AnswerLimits(ttl_s=5.0))
    await store.create("t", "q", RUNNING)
    await store.append("t", "q", rows(0, 5))
    await store.update("t", "q", DONE)
    server.let_pass(5.0)
    assert list(server.client.scan_iter()) == [b"ess:{t/q}:was"], "that it was there is known for a day"
    with pytest.raises(Gone):
        await store.rows("t", "q", 0, 1)
    server.let_pass(86_400 + 10.0)
    assert list(server.client.scan_iter()) == []


async def test_a_server_that_is_gone_is_unavailable_and_its_password_is_not_told(tmp_path: Any, rows: Any) -> None:
    with redis_server(tmp_path) as lonely:
        store = RedisResultStore(lonely.url)
        await store.create("t", "q", RUNNING)
    for call in (store.state("t", "q"), store.append("t", "q", rows(0, 1)), store.update("t", "q", DONE)):
        with pytest.raises(Unavailable) as refused:
            await call
        assert PASSWORD not in str(refused.value)
    await store.close()


async def test_a_full_server_says_what_to_do(make: Any, rows: Any, server: RedisServer) -> None:
    store = make()
    await store.create("t", "q", RUNNING)
    server.client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Unavailable, match="out of memory"):
            await store.append("t", "q", rows(0, 5))
    finally:
        server.client.config_set("maxmemory", "0")
    assert await store.append("t", "q", rows(0, 5))
