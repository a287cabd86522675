"""ResultStore's promises, sentence by sentence, over every adapter (see conftest)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.errors import BadRequest, Conflict, Gone, NotFound
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.ports import AnswerState, ResultStore

RUNNING = AnswerState("running", {"rows_matched": 0, "complete_from": None}, False, (), 0)
DONE = AnswerState("done", {"rows_matched": 3, "complete_from": "2026-09-21T00:00:00.000000Z"}, True, ("a", "b"), 12)
FIRST = {"start": "2026-09-21T00:00:00.000000Z", "by": {"level": "ERROR", "région": None}, "count": 2}
OTHER = {"start": None, "by": {"level": None, "région": None}, "other": True, "count": 2**53 + 1}
COUNTED = AnswerState(
    "running",
    {"rows_matched": 3, "groups": None},
    False,
    (),
    12,
    (FIRST, OTHER),
    60,
)
# tests/conformance/conftest: the caps that every adapter under test is opened with
MAX_ROWS, MAX_BYTES, TTL_S = 100, 64 * 1024, 60.0

Rows = Callable[..., pa.Table]


@pytest.fixture
def rows(make_events: Any, t0_us: int) -> Rows:
    """Give a maker of tables: `rows(first, count, width=10)`, message i being its number, `width` long."""

    def make(first: int, count: int, width: int = 10) -> pa.Table:
        numbers = range(first, first + count)
        attributes = [[("n", str(i))] for i in numbers]
        return make_events([t0_us + i for i in numbers], [str(i).zfill(width) for i in numbers], attributes=attributes)

    return make


def numbers(table: pa.Table) -> list[int]:
    return [int(message) for message in table.column("message").to_pylist()]


async def test_a_state_comes_back_as_it_was(results: ResultStore) -> None:
    await results.create("t", "q", RUNNING)
    assert await results.state("t", "q") == RUNNING
    await results.update("t", "q", DONE)
    assert await results.state("t", "q") == DONE


async def test_buckets_come_back_as_they_were(results: ResultStore) -> None:
    await results.create("t", "q", replace(COUNTED, buckets=(), interval_s=None))
    assert (await results.state("t", "q")).buckets == ()
    await results.update("t", "q", COUNTED)
    assert await results.state("t", "q") == COUNTED
    stats = {"stats": {"p95(ms)": 0.1, "sum(ms)": None, "max(ms)": 5e-324}}
    told = replace(COUNTED, buckets=({**FIRST, **stats},), statistics={"ignored": {"ms": 2}, "relative_error": {}})
    await results.update("t", "q", told)
    assert await results.state("t", "q") == told
    table = {"columns": [{"name": "n", "type": "number"}], "rows": [[1, None, "é", 1.5]], "rows_total": 1}
    tabled = replace(told, buckets=(), table=table)
    await results.update("t", "q", tabled)
    assert await results.state("t", "q") == tabled
    many = replace(COUNTED, state="done", buckets=tuple({**FIRST, "count": n} for n in range(5_000)))
    await results.update("t", "q", many)
    assert await results.state("t", "q") == many


async def test_an_id_is_created_once(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", DONE)
    await results.append("t", "q", rows(0, 3))
    with pytest.raises(Conflict):
        await results.create("t", "q", RUNNING)
    assert await results.state("t", "q") == DONE
    assert numbers(await results.rows("t", "q", 0, 10)) == [0, 1, 2]


async def test_a_question_is_kept_as_long_as_its_answer(
    results: ResultStore, rows: Rows, let_pass: Callable[[float], Awaitable[None]]
) -> None:
    asked = '{"root":["contains","message","\u00e4\u2028\\\\ud800\\n"]}'
    await results.create("t", "q", RUNNING, asked)
    await results.create("t", "without", RUNNING)
    assert await results.question("t", "q") == asked
    assert await results.question("t", "without") == ""
    await results.append("t", "q", rows(0, 3))
    await results.request_cancel("t", "q")
    await let_pass(TTL_S * 0.75)
    await results.update("t", "q", DONE)
    await let_pass(TTL_S * 0.75)
    assert await results.question("t", "q") == asked
    await let_pass(TTL_S)
    await expect_not_found(results, rows, "t", "q")
    await results.create("t", "q", RUNNING, "another")
    assert await results.question("t", "q") == "another"


async def test_an_unknown_id_is_not_found(results: ResultStore, rows: Rows) -> None:
    await expect_not_found(results, rows, "t", "nothing")


async def test_who_asks_for_an_answer_that_has_expired_is_told_so(
    results: ResultStore, rows: Rows, let_pass: Callable[[float], Awaitable[None]]
) -> None:
    await results.create("t", "q", RUNNING)
    await results.append("t", "q", rows(0, 3))
    await let_pass(TTL_S)
    for call in (results.state("t", "q"), results.rows("t", "q", 0, 1), results.question("t", "q")):
        with pytest.raises(Gone, match="no longer kept"):
            await call
    with pytest.raises(NotFound) as anothers:
        await results.state("theirs", "q")
    assert anothers.type is NotFound


async def test_another_tenants_id_is_not_found(results: ResultStore, rows: Rows) -> None:
    await results.create("mine", "q", RUNNING)
    await results.append("mine", "q", rows(0, 3))
    await expect_not_found(results, rows, "theirs", "q")
    await results.create("theirs", "q", DONE)  # the same id under another tenant is another answer
    assert len(await results.rows("theirs", "q", 0, 10)) == 0
    assert await results.state("mine", "q") == RUNNING
    assert numbers(await results.rows("mine", "q", 0, 10)) == [0, 1, 2]


async def expect_not_found(results: ResultStore, rows: Rows, tenant: str, query_id: str) -> None:
    for call in (
        lambda: results.state(tenant, query_id),
        lambda: results.rows(tenant, query_id, 0, 10),
        lambda: results.append(tenant, query_id, rows(0, 1)),
        lambda: results.update(tenant, query_id, DONE),
        lambda: results.request_cancel(tenant, query_id),
        lambda: results.question(tenant, query_id),
        lambda: results.row_count(tenant, query_id),
    ):
        with pytest.raises(NotFound):
            await call()


async def test_rows_come_by_position_whatever_the_pages_they_came_in(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    at = 0
    for count in (1, 0, 7, 2, 13):
        assert await results.append("t", "q", rows(at, count))
        at += count
        assert await results.row_count("t", "q") == at
    everything = list(range(at))
    for start in range(at + 2):
        for limit in (0, 1, 2, 9, 100):
            page = await results.rows("t", "q", start, limit)
            assert numbers(page) == everything[start : start + limit]
            assert page.schema.equals(EVENT_SCHEMA)


async def test_rows_keep_every_column(results: ResultStore, rows: Rows) -> None:
    table = rows(0, 5)
    await results.create("t", "q", RUNNING)
    await results.append("t", "q", table)
    assert (await results.rows("t", "q", 0, 5)).equals(table)
    assert (await results.rows("t", "q", 2, 2)).equals(table.slice(2, 2))


async def test_a_page_stays_what_it_was(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    await results.append("t", "q", rows(0, 5))
    before = await results.rows("t", "q", 3, 10)
    assert numbers(before) == [3, 4]
    await results.append("t", "q", rows(5, 5))
    assert numbers(before) == [3, 4]
    assert numbers(await results.rows("t", "q", 3, 2)) == [3, 4]
    assert numbers(await results.rows("t", "q", 3, 10)) == [3, 4, 5, 6, 7, 8, 9]


async def test_a_slice_of_a_large_table_is_only_itself(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    large = rows(0, 5000)
    assert large.nbytes > 4 * MAX_BYTES
    assert await results.append("t", "q", large.slice(1234, 10))
    page = await results.rows("t", "q", 0, 100)
    assert page.equals(large.slice(1234, 10))
    assert page.get_total_buffer_size() < MAX_BYTES


async def test_an_answer_that_fills_its_cap_exactly_is_whole(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    assert await results.append("t", "q", rows(0, MAX_ROWS - 1))
    assert await results.append("t", "q", rows(MAX_ROWS - 1, 1))
    assert await results.append("t", "q", rows(0, 0))
    assert len(await results.rows("t", "q", 0, 1000)) == MAX_ROWS


async def test_rows_are_kept_up_to_the_cap_and_none_after_it(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    assert await results.append("t", "q", rows(0, MAX_ROWS - 10))
    assert not await results.append("t", "q", rows(MAX_ROWS - 10, 20))
    assert not await results.append("t", "q", rows(MAX_ROWS + 10, 1))
    assert numbers(await results.rows("t", "q", 0, 1000)) == list(range(MAX_ROWS))
    await results.update("t", "q", DONE)
    assert await results.state("t", "q") == DONE


async def test_bytes_are_capped_too_and_what_was_kept_is_a_beginning(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    assert not await results.append("t", "q", rows(0, 90, width=1000))
    kept = await results.rows("t", "q", 0, 1000)
    assert numbers(kept) == list(range(len(kept)))
    assert 0.8 * MAX_BYTES < kept.nbytes <= MAX_BYTES
    assert not await results.append("t", "q", rows(len(kept), 1)), "a row after a hole"
    assert len(await results.rows("t", "q", 0, 1000)) == len(kept)


async def test_negative_positions_are_refused(results: ResultStore) -> None:
    await results.create("t", "q", RUNNING)
    for start, limit in ((-1, 5), (0, -1)):
        with pytest.raises(BadRequest):
            await results.rows("t", "q", start, limit)


async def test_who_was_asked_to_end_is_told_and_nobody_else(results: ResultStore) -> None:
    asked = [("t", "one"), ("t", "two"), ("u", "one"), ("t", "nothing")]
    assert await results.cancel_requested([]) == set()
    for tenant, query_id in asked[:3]:
        await results.create(tenant, query_id, RUNNING)
    assert await results.cancel_requested(asked) == set()
    for _ in range(2):  # asking again changes nothing
        await results.request_cancel("t", "one")
        assert await results.cancel_requested(asked) == {("t", "one")}
    assert await results.cancel_requested(asked[1:]) == set()
    await results.request_cancel("u", "one")
    assert await results.cancel_requested(asked) == {("t", "one"), ("u", "one")}


async def test_asking_an_answer_to_end_changes_nothing_of_it(results: ResultStore, rows: Rows) -> None:
    await results.create("t", "q", RUNNING)
    await results.append("t", "q", rows(0, 3))
    await results.request_cancel("t", "q")
    assert await results.state("t", "q") == RUNNING
    assert await results.append("t", "q", rows(3, 2))
    await results.update("t", "q", DONE)
    assert await results.cancel_requested([("t", "q")]) == {("t", "q")}
    await results.request_cancel("t", "q")
    assert await results.state("t", "q") == DONE
    assert numbers(await results.rows("t", "q", 0, 10)) == [0, 1, 2, 3, 4]


async def test_a_wish_to_end_goes_with_its_answer(
    results: ResultStore, let_pass: Callable[[float], Awaitable[None]]
) -> None:
    await results.create("t", "q", RUNNING)
    await let_pass(TTL_S * 0.75)
    await results.request_cancel("t", "q")  # no change of the answer: it does not live longer
    await let_pass(TTL_S / 2)
    assert await results.cancel_requested([("t", "q")]) == set()
    await results.create("t", "q", RUNNING)
    assert await results.cancel_requested([("t", "q")]) == set()


async def test_an_answer_expires_a_while_after_its_last_change(
    results: ResultStore, rows: Rows, let_pass: Callable[[float], Awaitable[None]]
) -> None:
    await results.create("t", "old", RUNNING)
    await results.create("t", "q", RUNNING)
    await let_pass(TTL_S / 2)
    await results.append("t", "q", rows(0, 3))
    await let_pass(TTL_S * 0.75)
    await expect_not_found(results, rows, "t", "old")
    await results.update("t", "q", DONE)
    await let_pass(TTL_S * 0.75)
    assert await results.state("t", "q") == DONE
    assert len(await results.rows("t", "q", 0, 10)) == 3
    await let_pass(TTL_S)
    await expect_not_found(results, rows, "t", "q")
    await results.create("t", "q", RUNNING)
    assert len(await results.rows("t", "q", 0, 10)) == 0


async def test_all_answers_of_one_tenant_are_dropped(results: ResultStore, rows: Rows) -> None:
    for tenant in ("t", "t2"):
        for query_id in ("running", "done"):
            await results.create(tenant, query_id, RUNNING)
            await results.append(tenant, query_id, rows(0, 5))
        await results.update(tenant, "done", DONE)
    assert await results.drop_all("t") == 2
    for query_id in ("running", "done"):
        for call in (results.state("t", query_id), results.rows("t", query_id, 0, 9), results.question("t", query_id)):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(NotFound):
            await results.append("t", query_id, rows(5, 1))
        assert numbers(await results.rows("t2", query_id, 0, 9)) == [0, 1, 2, 3, 4]
    assert await results.drop_all("t") == 0
    await results.create("t", "done", RUNNING)
    assert len(await results.rows("t", "done", 0, 9)) == 0
