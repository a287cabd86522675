"""A live tail over real parts in memory: what a look covers, and the pace."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import partition_of
from ess_ray.search import tail as tailing
from ess_ray.search.follow import Shown, TailProgress, follow
from ess_ray.search.tail import GIVE_UP_S, MAX_RESUME_US, UNCOVERED_S
from ess_ray.table.compaction import commit, merge, plan
from tests.tails import Rig, new_rig
from tests.waiting import DEADLINE_S
from tests.worlds import T0_US, VNODES, World

Step = TypeVar("Step", Shown, TailProgress)


@pytest.fixture
async def rig() -> Rig:
    return await new_rig()


async def test_what_comes_after_the_beginning_is_shown_once_in_the_order_of_time(rig: Rig) -> None:
    await rig.push("before")
    tail = await rig.tail("e")
    assert await rig.look(tail) == []
    await rig.push("one", "three", "four", vnode=2)
    await rig.push("seven", vnode=0)
    assert await rig.look(tail) == ["seven", "one", "three"], "by time, then by virtual node"
    assert await rig.look(tail) == []
    assert tail.lag_records == 0


async def test_what_is_stored_between_two_looks_comes_from_objects(rig: Rig) -> None:
    await rig.push("before")
    tail = await rig.tail("o")
    await rig.push("one", "three")
    await rig.writer.flush()
    await rig.push("two")
    assert await rig.look(tail) == ["one", "two"]
    await rig.push("four")
    await rig.writer.flush()
    rig.away = True
    assert await rig.look(tail) == ["four"], "nobody holds a buffer now"


async def test_a_merged_object_gives_only_what_was_not_shown(rig: Rig) -> None:
    await rig.push("old")
    await rig.writer.flush()
    tail = await rig.tail()
    for name in ("new", "newer"):
        await rig.push(name)
        await rig.writer.flush()
    found = plan(rig.world.catalog.snapshot(), rig.world.now_us, eager=True)
    merged = merge(rig.world.store, found["default", *partition_of(T0_US)], rig.world.now_us)
    assert merged is not None
    assert commit(rig.world.catalog.writer(), merged)
    assert sorted(await rig.look(tail)) == ["new", "newer"]


async def test_objects_from_before_the_cursor_are_not_opened(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.push("old")
    await rig.writer.flush()
    rig.world.now_us += 2 * tailing.CLOCK_SLACK_US
    tail = await rig.tail()
    await rig.push("new")
    await rig.writer.flush()
    opened: list[str] = []
    open_object = tailing.open_object

    def opening(store: Any, key: str, size: int, **rest: Any) -> Any:
        opened.append(key)
        return open_object(store, key, size, **rest)

    monkeypatch.setattr(tailing, "open_object", opening)
    assert await rig.look(tail) == ["new"]
    assert len(opened) == 1


async def test_an_owner_that_has_not_read_so_far_as_was_shown_takes_nothing_back(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    assert await rig.look(tail) == ["one"]
    rig.writer = rig.world.writer()  # a new owner, which has read nothing yet
    await rig.writer.assign(range(VNODES))
    await rig.append("two")
    assert await rig.look(tail) == []
    await rig.writer.poll()
    assert await rig.look(tail) == ["two"]


async def test_what_nobody_covers_is_told_after_a_while_and_shown_when_it_comes(rig: Rig) -> None:
    tail = await rig.tail()
    rig.away = True
    await rig.append("late")
    assert await rig.look(tail) == []
    assert (tail.lag_records, tail.incomplete()) == (1, [])
    rig.clock.now_s += UNCOVERED_S
    assert await rig.look(tail) == []
    (reason,) = tail.incomplete()
    assert "virtual node 0: offsets 0 to 1" in reason
    rig.away = False
    await rig.writer.poll()
    assert await rig.look(tail) == ["late"]
    assert tail.incomplete() == []


async def test_an_object_that_cannot_be_read_is_named_and_its_rows_come_later(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    await rig.writer.flush()
    (info,) = rig.world.store.list("tenant=")
    data = rig.world.store.get_range(info.key, 0, info.size)
    rig.world.store.delete(info.key)
    assert await rig.look(tail) == []
    rig.clock.now_s += UNCOVERED_S
    assert await rig.look(tail) == []
    assert any(info.key in reason for reason in tail.incomplete())
    rig.world.store.put(info.key, data)
    assert await rig.look(tail) == ["one"]
    assert tail.incomplete() == []


async def test_a_damaged_object_is_given_up_after_a_while_named_and_keeps_nothing_else_back(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    await rig.writer.flush()
    (info,) = rig.world.store.list("tenant=")
    rig.world.store.put(info.key, b"damaged")
    await rig.push("two")
    await rig.writer.flush()
    await rig.push("three")
    assert await rig.look(tail) == []
    rig.clock.now_s += GIVE_UP_S
    assert await rig.look(tail) == ["two", "three"]
    (reason,) = tail.incomplete()
    assert info.key in reason
    await rig.push("four")
    await rig.writer.flush()
    assert await rig.look(tail) == ["four"], "at once: it is known by now"
    assert len(tail.incomplete()) == 1


async def test_more_than_a_look_shows_is_skipped_and_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "LOOK_ROWS", 3)
    tail = await rig.tail()
    await rig.push("a", "b", "c", "d", "e", vnode=0)
    await rig.writer.flush()
    await rig.push("f", vnode=0)
    await rig.push("g", vnode=1)
    look = await rig.whole_look(tail)
    assert (len(look.rows), look.matched, look.skipped) == (3, 7, 4)
    assert await rig.look(tail) == []


async def test_repeats_by_id_within_a_look_are_merged_and_counted(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("same", vnode=0, ids=True)
    await rig.push("same", vnode=1, ids=True)
    look = await rig.whole_look(tail)
    assert look.rows.column("message").to_pylist() == ["same"]
    assert (look.matched, look.duplicates_suppressed, look.skipped) == (2, 1, 0)


async def test_another_tenant_sees_nothing_buffered_or_stored(rig: Rig) -> None:
    tail = await rig.tail(tenant="other")
    await rig.push("secret")
    await rig.writer.flush()
    await rig.push("secret too")
    await rig.push("mine", tenant="other")
    assert await rig.look(tail) == ["mine"]


async def test_a_cursor_goes_on_where_it_was_given(rig: Rig) -> None:
    tail = await rig.tail()
    await rig.push("one")
    assert await rig.look(tail) == ["one"]
    cursor = str(tail.cursor)
    await rig.push("two")
    await rig.writer.flush()
    await rig.push("three")
    assert await rig.look(await rig.tail(cursor=cursor)) == ["two", "three"]


async def test_a_cursor_that_cannot_be_gone_on_from_is_a_bad_request(rig: Rig) -> None:
    other = World()
    foreign = str((await Rig(other, other.writer()).tail()).cursor)
    own = (await rig.tail()).cursor
    beyond = tailing.Cursor(own.log_id, own.since_us, (1, 0, 0))
    fewer = tailing.Cursor(own.log_id, own.since_us, (0,))
    cut = [str(own)[:length] for length in range(1, len(str(own)))]
    for wrong in (foreign, str(beyond), str(fewer), "nonsense", "r5", "é", "A" * 20_000, *cut, f"{own}AAAA"):
        with pytest.raises(BadRequest):
            await rig.tail(cursor=wrong)
    rig.world.now_us += MAX_RESUME_US + 1
    with pytest.raises(BadRequest, match="older than an hour"):
        await rig.tail(cursor=str(own))


async def test_a_cursor_stays_young_while_nothing_comes(rig: Rig) -> None:
    tail = await rig.tail()
    for _ in range(3):
        rig.world.now_us += MAX_RESUME_US // 2
        assert await rig.look(tail) == []
    assert await rig.look(await rig.tail(cursor=str(tail.cursor))) == []


async def test_tails_share_a_reading_of_the_log_that_is_young_enough(rig: Rig) -> None:
    before = await rig.parts.ends.read(0.0)
    await rig.append("one")
    assert (await rig.parts.ends.read(0.2)) is before
    rig.clock.now_s += 1
    assert (await rig.parts.ends.read(0.2)).offsets[0] == 1


# -------------------------------------------------------------------------------------------------------- the pace
async def until(steps: AsyncIterator[Shown | TailProgress], kind: type[Step]) -> Step:
    while not isinstance(step := await anext(steps), kind):
        pass
    return step


async def test_progress_comes_first_and_every_second_and_names_what_fails(rig: Rig) -> None:
    steps = follow(await rig.tail(), rig.clock, rig.clock.sleep)
    first = await anext(steps)
    assert isinstance(first, TailProgress)
    await rig.push("one", "two")
    shown = await until(steps, Shown)
    assert shown.rows.column("message").to_pylist() == ["one", "two"]
    told_s = rig.clock.now_s
    told = await until(steps, TailProgress)
    assert rig.clock.now_s - told_s <= 1.0
    assert (told.matched, told.shown, told.skipped, told.incomplete) == (2, 2, 0, [])
    assert told.cursor == shown.cursor
    rig.log_fails = True
    await rig.append("three")
    deadline = time.monotonic() + DEADLINE_S  # not by the rig's clock: it runs while a look waits for a thread
    while not (step := await until(steps, TailProgress)).incomplete:
        assert time.monotonic() < deadline
    assert step.incomplete == ["nobody is there"]
    rig.log_fails = False
    await rig.writer.poll()
    assert (await until(steps, Shown)).rows.column("message").to_pylist() == ["three"]
    await steps.aclose()


async def collect(steps: AsyncIterator[Shown | TailProgress]) -> list[Shown | TailProgress]:
    return [step async for step in steps]


async def test_a_log_that_was_replaced_ends_the_tail(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = follow(await rig.tail(), rig.clock, rig.clock.sleep)
    await anext(steps)

    async def another() -> str:
        return "another"

    monkeypatch.setattr(rig.world.log, "log_id", another)
    with pytest.raises(BadRequest, match="replaced"):
        await collect(steps)
