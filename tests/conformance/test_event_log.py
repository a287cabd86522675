"""EventLog's promises, sentence by sentence, over every adapter (see conftest)."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.ports import MAX_RECORD_BYTES, EventLog, Record, StoredRecord

HEADERS = (("content-type", b"application/x"), ("k\u00e9y", b"\x00\xff"), ("empty", b""), ("content-type", b"again"))


async def read_all(log: EventLog, vnode: int, max_bytes: int = 1 << 20) -> list[StoredRecord]:
    """Read from the start to the end."""
    found: list[StoredRecord] = []
    position = 0
    while True:
        read = await log.read(vnode, position, max_bytes)
        found += read.records
        if not read.records:
            return found
        assert read.next_offset > position
        position = read.next_offset


async def test_a_log_keeps_its_name_and_its_virtual_nodes(log: EventLog) -> None:
    assert await log.log_id()
    assert await log.log_id() == await log.log_id()
    vnodes = await log.vnode_count()
    assert sorted(await log.start_offsets()) == sorted(await log.end_offsets()) == list(range(vnodes))


async def test_an_empty_log_gives_nothing_and_does_not_wait(log: EventLog) -> None:
    assert await log.start_offsets() == await log.end_offsets()
    start = (await log.start_offsets())[0]
    read = await asyncio.wait_for(log.read(0, start, 1000), 10)
    assert read.records == ()
    assert read.next_offset == start


async def test_where_a_log_is_weak_is_told_in_sentences(log: EventLog) -> None:
    assert all(" " in sentence for sentence in await log.weaknesses())


async def test_records_come_back_as_they_were(log: EventLog) -> None:
    records = [Record(1, b"one", HEADERS), Record(1, b"", ()), Record(1, os.urandom(100_000), HEADERS[:1])]
    offsets = await log.append(records)
    found = await read_all(log, 1)
    assert found == [StoredRecord(o, r.value, r.headers) for o, r in zip(offsets, records, strict=True)]


async def test_each_record_gets_its_own_offset_in_the_order_of_the_call(log: EventLog) -> None:
    records = [Record(vnode, f"{vnode} {i}".encode()) for i in range(5) for vnode in (2, 0)]
    offsets = await log.append(records)
    assert len(offsets) == len(records)
    for vnode in (0, 2):
        mine = [(o, r.value) for o, r in zip(offsets, records, strict=True) if r.vnode == vnode]
        assert mine == sorted(mine)
        assert [(r.offset, r.value) for r in await read_all(log, vnode)] == mine
    assert await read_all(log, 1) == []


async def test_an_empty_append_does_nothing(log: EventLog) -> None:
    before = await log.end_offsets()
    assert await log.append([]) == []
    assert await log.end_offsets() == before


async def test_concurrent_appends_keep_the_order_within_a_call(log: EventLog) -> None:
    calls = [[Record(i % 3, f"{call} {i}".encode()) for i in range(7)] for call in range(40)]
    answers = await asyncio.gather(*(log.append(call) for call in calls))
    everything: dict[tuple[int, int], bytes] = {}
    for call, offsets in zip(calls, answers, strict=True):
        for vnode in range(3):
            mine = [o for o, r in zip(offsets, call, strict=True) if r.vnode == vnode]
            assert mine == sorted(mine)
        everything.update({(r.vnode, o): r.value for o, r in zip(offsets, call, strict=True)})
    assert len(everything) == 40 * 7
    assert {(v, r.offset): r.value for v in range(3) for r in await read_all(log, v)} == everything


async def test_the_ends_cover_what_was_appended_as_soon_as_it_is(log: EventLog) -> None:
    async def append_and_look(i: int) -> None:
        (offset,) = await log.append([Record(0, b"x" * i)])
        assert (await log.end_offsets())[0] > offset

    await asyncio.gather(*(append_and_look(i) for i in range(50)))
    records = await read_all(log, 0)
    assert (await log.end_offsets())[0] == records[-1].offset + 1


async def test_what_lies_below_an_end_can_be_read(log: EventLog) -> None:
    async def append() -> None:
        for i in range(50):
            await log.append([Record(0, str(i).encode())])

    writing = asyncio.create_task(append())
    end = 0
    while end < 50:
        end = (await log.end_offsets())[0]
        assert len(await read_all(log, 0)) >= end
        await asyncio.wait([writing], timeout=0)
    await writing


async def test_a_read_gives_at_least_one_record_and_stops_at_its_bytes(log: EventLog) -> None:
    await log.append([Record(0, bytes([i]) * 1000) for i in range(10)])
    start = (await log.start_offsets())[0]
    assert len((await log.read(0, start, 1)).records) == 1
    assert len((await log.read(0, start, 0)).records) == 1
    some = await log.read(0, start, 3500)
    assert 1 <= len(some.records) <= 3
    assert [r.offset for r in some.records] == sorted(r.offset for r in some.records)
    assert len((await log.read(0, start, 1 << 20)).records) == 10
    assert [r.value[0] for r in await read_all(log, 0, 2500)] == list(range(10))


async def test_a_read_from_the_middle_begins_there(log: EventLog) -> None:
    offsets = await log.append([Record(0, bytes([i])) for i in range(10)])
    read = await log.read(0, offsets[4], 1 << 20)
    assert [r.offset for r in read.records] == offsets[4:]
    assert read.next_offset == offsets[-1] + 1


async def test_a_read_at_the_end_is_empty_until_there_is_more(log: EventLog) -> None:
    await log.append([Record(0, b"a")])
    end = (await log.end_offsets())[0]
    read = await log.read(0, end, 1000)
    assert (read.records, read.next_offset) == ((), end)
    await log.append([Record(0, b"b")])
    assert [r.value for r in (await log.read(0, end, 1000)).records] == [b"b"]


async def test_a_record_of_the_largest_size_is_taken_and_a_larger_one_refused(log: EventLog) -> None:
    await log.append([Record(0, b"x" * MAX_RECORD_BYTES)])
    assert len((await read_all(log, 0))[0].value) == MAX_RECORD_BYTES
    with pytest.raises(BadRequest, match="split"):
        await log.append([Record(0, b"fine"), Record(0, b"x" * (MAX_RECORD_BYTES + 1))])
    assert len(await read_all(log, 0)) == 1, "a part of a refused call was kept"


@pytest.mark.parametrize("vnode", [-1, 3])
async def test_a_virtual_node_that_is_not_there_is_refused(log: EventLog, vnode: int) -> None:
    with pytest.raises(BadRequest, match="virtual node"):
        await log.append([Record(0, b"fine"), Record(vnode, b"lost")])
    with pytest.raises(BadRequest, match="virtual node"):
        await log.read(vnode, 0, 1000)
    assert await read_all(log, 0) == []


async def test_an_offset_below_the_start_reads_from_the_start(log_under_test: Any) -> None:
    log = log_under_test.log
    offsets = await log.append([Record(0, bytes([i])) for i in range(5)])
    if log_under_test.trims:
        await log.committed({0: offsets[3]})
    start = (await log.start_offsets())[0]
    assert [r.offset for r in (await log.read(0, -5, 1000)).records] == [o for o in offsets if o >= start]


async def test_committing_trims_and_is_idempotent(log_under_test: Any) -> None:
    log: EventLog = log_under_test.log
    offsets = await log.append([Record(0, bytes([i])) for i in range(10)])
    await log.append([Record(1, b"untouched")])
    ends = await log.end_offsets()
    for below in (offsets[6], offsets[6], offsets[2]):  # the last one goes back: no effect
        await log.committed({0: below})
        if log_under_test.trims:
            assert (await log.start_offsets())[0] == offsets[6]
            assert [r.offset for r in await read_all(log, 0)] == offsets[6:]
    assert await log.end_offsets() == ends
    assert [r.value for r in await read_all(log, 1)] == [b"untouched"]
    await log.committed({})


async def test_offsets_go_on_after_everything_was_trimmed(log: EventLog) -> None:
    offsets = await log.append([Record(0, b"x") for _ in range(5)])
    ends = await log.end_offsets()
    await log.committed(ends)
    assert await log.end_offsets() == ends
    (after,) = await log.append([Record(0, b"y")])
    assert after > offsets[-1]
    assert [r.value for r in (await log.read(0, ends[0], 1000)).records] == [b"y"]


async def test_committing_beyond_the_end_is_refused(log_under_test: Any) -> None:
    if not log_under_test.trims:
        pytest.skip("nothing is trimmed here")
    log: EventLog = log_under_test.log
    await log.append([Record(0, b"x"), Record(1, b"x")])
    with pytest.raises(BadRequest, match="another log"):
        await log.committed({1: 1, 0: 2})
    assert len(await read_all(log, 0)) == len(await read_all(log, 1)) == 1


async def test_offsets_have_no_holes_where_promised(log_under_test: Any) -> None:
    if not log_under_test.dense:
        pytest.skip("this log may have holes")
    for _ in range(3):
        await log_under_test.log.append([Record(0, b"x")] * 4)
    assert [r.offset for r in await read_all(log_under_test.log, 0)] == list(range(12))


async def test_commits_that_overtake_each_other_never_go_back(log_under_test: Any) -> None:
    if not log_under_test.trims:
        pytest.skip("nothing is trimmed here")
    log: EventLog = log_under_test.log
    await log.append([Record(0, b"x")] * 10)
    await asyncio.gather(*(log.committed({0: below}) for below in (2, 8, 3, 5)))
    assert (await log.start_offsets())[0] == 8
    assert [r.offset for r in await read_all(log, 0)] == [8, 9]
