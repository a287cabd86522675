"""What the in-memory adapters promise beyond their ports: one bound over all answers, and a store that is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.adapters.memory_results import BUCKET_BYTES, TENANT_SHARE, MemoryResultStore
from ess_ray.core.errors import BadRequest, Gone, NotFound
from ess_ray.limits import AnswerLimits
from ess_ray.ports import AnswerState, Record
from ess_ray.testing import MemoryLog, MemoryObjectStore

RUNNING = AnswerState("running", {}, False, (), 0)
DONE = AnswerState("done", {}, True, (), 0)


@pytest.fixture
def rows(make_events: Callable[..., pa.Table], t0_us: int) -> pa.Table:
    return make_events([t0_us] * 100, ["x" * 1000] * 100)


def alone(tenant_bytes: float) -> int:
    """Give the bytes of all answers of which one tenant that is alone may have so many."""
    return round(tenant_bytes * (TENANT_SHARE + 1) / TENANT_SHARE)


async def fill(
    results: MemoryResultStore, query_id: str, rows: pa.Table, state: AnswerState = DONE, tenant: str = "t"
) -> bool:
    await results.create(tenant, query_id, RUNNING)
    fits = await results.append(tenant, query_id, rows)
    await results.update(tenant, query_id, state)
    return fits


async def there(results: MemoryResultStore, *query_ids: str, tenant: str = "t") -> list[str]:
    found = []
    for query_id in query_ids:
        try:
            await results.state(tenant, query_id)
            found.append(query_id)
        except NotFound:
            pass
    return found


async def test_the_oldest_finished_answers_make_room(rows: pa.Table) -> None:
    results = MemoryResultStore(lambda: 0, max_total_bytes=alone(3.5 * rows.nbytes))
    assert await fill(results, "running", rows, RUNNING)
    assert await fill(results, "old", rows)
    assert await fill(results, "newer", rows)
    assert await fill(results, "newest", rows)
    assert await there(results, "running", "old", "newer", "newest") == ["running", "newer", "newest"]
    assert len(await results.rows("t", "newest", 0, 1000)) == 100


async def test_running_answers_are_cut_when_nothing_can_go(rows: pa.Table) -> None:
    results = MemoryResultStore(lambda: 0, max_total_bytes=alone(2.5 * rows.nbytes))
    assert await fill(results, "a", rows, RUNNING)
    assert await fill(results, "b", rows, RUNNING)
    assert not await fill(results, "c", rows, RUNNING)
    assert 40 <= len(await results.rows("t", "c", 0, 1000)) <= 50
    assert await there(results, "a", "b", "c") == ["a", "b", "c"]


async def test_who_has_most_makes_room_and_is_told_so(rows: pa.Table) -> None:
    results = MemoryResultStore(lambda: 0, max_total_bytes=10 * rows.nbytes)
    assert await fill(results, "mine", rows, tenant="light")
    for number in range(20):
        assert await fill(results, str(number), rows, tenant="heavy")
    assert await there(results, "mine", tenant="light") == ["mine"]
    assert await there(results, *map(str, range(20)), tenant="heavy") == [str(number) for number in range(14, 20)]
    with pytest.raises(Gone, match="yours were most of them"):
        await results.state("heavy", "13")
    with pytest.raises(NotFound) as never_there:
        await results.state("light", "13")
    assert never_there.type is NotFound


async def test_a_tenants_running_answers_leave_room_for_anothers(rows: pa.Table) -> None:
    results = MemoryResultStore(lambda: 0, max_total_bytes=10 * rows.nbytes)
    fits = [await fill(results, str(number), rows, RUNNING, tenant="heavy") for number in range(12)]
    assert fits == [True] * 7 + [False] * 5
    assert await fill(results, "mine", rows, tenant="light")


async def test_who_asks_for_an_answer_that_has_expired_is_told_so(rows: pa.Table) -> None:
    now_us = 0
    results = MemoryResultStore(lambda: now_us, AnswerLimits(ttl_s=10))
    await fill(results, "q", rows)
    now_us = 10_000_000
    with pytest.raises(Gone, match=r"more than 10 s ago \(results.ttl_s\)"):
        await results.rows("t", "q", 0, 1)


async def test_room_comes_back_when_answers_expire(rows: pa.Table) -> None:
    now_us = 0
    results = MemoryResultStore(lambda: now_us, AnswerLimits(ttl_s=10), max_total_bytes=alone(1.5 * rows.nbytes))
    for _ in range(5):
        assert await fill(results, "same id", rows, RUNNING)
        now_us += 10_000_000


async def test_the_number_of_answers_is_bounded(rows: pa.Table) -> None:
    results = MemoryResultStore(lambda: 0, max_answers=3)
    for i in range(5):
        await fill(results, str(i), rows.slice(0, 0))
    assert await there(results, *"01234") == ["2", "3", "4"]


async def test_buckets_take_room_too_and_give_it_back(rows: pa.Table) -> None:
    now_us = 0
    results = MemoryResultStore(lambda: now_us, AnswerLimits(ttl_s=10), max_total_bytes=alone(25 * BUCKET_BYTES))
    buckets = replace(DONE, buckets=({"start": None, "by": {}, "count": 1},) * 10)
    for query_id in "abc":
        await fill(results, query_id, rows.slice(0, 0))
        for _ in range(3):
            await results.update("t", query_id, buckets)
    assert await there(results, *"abc") == ["b", "c"]
    now_us = 10_000_000
    assert await there(results, *"abc") == []
    for query_id in "de":
        await fill(results, query_id, rows.slice(0, 0))
        await results.update("t", query_id, buckets)
    assert await there(results, *"de") == ["d", "e"]


async def test_logs_have_names_of_their_own() -> None:
    assert await MemoryLog(1).log_id() != await MemoryLog(1).log_id()


async def test_the_log_counts_what_is_not_trimmed() -> None:
    log = MemoryLog(2)
    await log.append([Record(0, b"abc"), Record(1, b"de")])
    assert log.backlog_bytes() == 5
    await log.committed({0: 1})
    assert log.backlog_bytes() == 2


def test_objects_are_copies_with_the_time_of_their_put() -> None:
    now_us = 5
    store = MemoryObjectStore(lambda: now_us)
    data = bytearray(b"0123456789")
    store.put("a/b", pa.py_buffer(data))
    data[:] = b"overwritten"[:10]
    now_us = 7
    info = store.head("a/b")
    assert info is not None
    assert (info.size, info.modified_us, store.now_us()) == (10, 5, 7)
    assert store.get_range("a/b", 2, 3) == b"234"
    assert store.get_range("a/b", 8, 30) == b"89"
    assert store.get_suffix("a/b", 3) == b"789"
    assert store.get_suffix("a/b", 30) == b"0123456789"
    assert store.get_suffix("a/b", 0) == b""


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/../b", "a..b", "./a", "a b", "ä", "a\n", "a\\b"])
def test_keys_that_could_be_another_are_refused(key: str) -> None:
    store = MemoryObjectStore(lambda: 0)
    calls: list[Callable[[], Any]] = [
        lambda: store.put(key, b""),
        lambda: store.head(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.get_suffix(key, 1),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(BadRequest):
            call()


def test_the_store_is_safe_from_many_threads() -> None:
    store = MemoryObjectStore(lambda: 0)
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for i in range(300):
                store.put(f"{n}/{i}", b"x")
                assert any(info.key == f"{n}/{i}" for info in store.list(f"{n}/"))
                store.delete(f"{n}/{i - 5}" if i >= 5 else "nothing")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.list("")) == 8 * 5
