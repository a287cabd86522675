"""An export's bounds: what it holds, what it takes ahead, how many there are; and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.collect import Partial, SliceFold
from ess_ray.core.collect import slices as slices_module
from ess_ray.core.errors import BadRequest, CorruptData, NotFound, TooFast, Unavailable
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.limits import SearchLimits
from ess_ray.ports import AnswerState, Record
from ess_ray.search.export import PIECE_ROWS, Export
from ess_ray.search.slices import SliceLimits
from tests.exports import World
from tests.waiting import until

Tables = Callable[..., pa.Table]
EVERYTHING = Query(limit=1)


def stored(make_events: Tables, t0_us: int, objects: int, rows: int, apart: int | None = None) -> list[pa.Table]:
    """Objects after each other in time, or `apart` rows from each other so that they overlap; offsets follow times."""
    step = rows if apart is None else apart
    return [
        make_events([t0_us + n * step + i for i in range(rows)], first=n * rows, vnode=n if apart else 0)
        for n in range(objects)
    ]


def offsets(pieces: list[pa.Table]) -> list[int]:
    return [offset for piece in pieces for offset in piece.column("offset").to_pylist()]


def slices_under_way() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("a slice of the export")]


# ---------------------------------------------------------------------------------------------------------- bounds
class Recorded(SliceFold):
    """Remembers the most rows that were added at once."""

    most = 0

    def add(self, partial: Partial) -> None:
        Recorded.most = max(Recorded.most, len(partial.table))
        super().add(partial)


@pytest.mark.parametrize("apart", [None, 50])
async def test_no_more_rows_are_held_than_a_slice_may_have(
    make_events: Tables, t0_us: int, apart: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices_module, "SliceFold", Recorded)
    monkeypatch.setattr(Recorded, "most", 0)
    objects = stored(make_events, t0_us, 20, 1_000, apart)
    buffered = make_events([t0_us + 5_000 + i for i in range(3_000)], first=50_000)
    limit = 500
    world = World(objects, buffered, slices=SliceLimits(1 << 40, limit, 1, limit))
    pieces = await world.exported(EVERYTHING)
    times = [us for piece in pieces for us in piece.column("timestamp").cast(pa.int64()).to_pylist()]
    assert len(times) == 23_000
    assert times == sorted(times, reverse=True)
    assert max(map(len, pieces)) < limit
    assert world.counted.most_rows <= limit
    assert Recorded.most == limit, "of one task, or of what is in flight"


async def test_an_export_takes_the_memory_of_a_few_slices(make_events: Tables, t0_us: int) -> None:
    texts = [f"{i * 2654435761 % 2**64:x}" * 30 for i in range(4_000)]
    objects = [make_events([t0_us + n * 4_000 + i for i in range(4_000)], texts, first=n * 4_000) for n in range(30)]
    whole = sum(table.nbytes for table in objects)
    slice_bytes = 2 << 20
    assert whole > 20 * slice_bytes
    world = World(objects, make_events([]), slices=SliceLimits(slice_bytes, 1_000, 1))
    del objects
    export = await world.open(EVERYTHING)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    async for piece in export.tables():
        rows += len(piece)
        most = max(most, pa.total_allocated_bytes() - before)
    export.close()
    assert rows == 120_000
    assert most < 6 * slice_bytes


async def test_slices_of_objects_after_each_other_read_little_twice(make_events: Tables, t0_us: int) -> None:
    world = World(stored(make_events, t0_us, 40, 2_000), make_events([]))
    pieces = await world.exported(EVERYTHING)
    assert offsets(pieces) == list(range(79_999, -1, -1))
    read = [entry.key for task in world.counted.tasks for entry in task.entries]
    assert len(set(read)) == 40
    assert len(read) <= 60, "an object is read again only where a slice begins"


async def test_more_rows_of_one_microsecond_than_a_slice_may_have_are_all_given(
    make_events: Tables, t0_us: int
) -> None:
    times = [t0_us - 1, *[t0_us] * 700, t0_us + 1]
    for order in ("newest", "oldest"):
        world = World(
            [make_events(times)], make_events([t0_us] * 300, first=1_000), slices=SliceLimits(1 << 40, 9, 9, 9)
        )
        found = offsets(await world.exported(Query(limit=1, order=order)))
        inside = [*range(1, 701), *range(1_000, 1_300)]
        assert found == ([0, *inside, 701] if order == "oldest" else [701, *inside[::-1], 0])


async def test_a_slice_of_more_rows_than_an_answer_may_have_is_whole(make_events: Tables, t0_us: int) -> None:
    count = MAX_LIMIT + 10_000
    buffered = make_events([t0_us + i for i in range(count)], ["m"] * count)
    limits = SliceLimits(1 << 40, 1 << 40, 1, 1 << 40)
    world = World([make_events([t0_us - 1], first=count)], buffered, slices=limits)
    pieces = await world.exported(EVERYTHING)
    assert offsets(pieces) == [*range(count - 1, -1, -1), count]
    assert max(map(len, pieces)) == PIECE_ROWS


# ---------------------------------------------------------------------------------------------------- back-pressure
async def test_who_does_not_read_lets_one_slice_be_prepared_and_no_more(make_events: Tables, t0_us: int) -> None:
    limits = SearchLimits(in_place_bytes=0, task_bytes=1)
    slices = SliceLimits(1 << 40, 2_000, 2_000, 2_000, 1, 1)
    world = World(stored(make_events, t0_us, 30, 1_000), make_events([]), limits=limits, slices=slices)
    export = await world.open(EVERYTHING)
    tables = export.tables()
    read = len(await anext(tables))
    await until(lambda: not slices_under_way(), "the slice ahead is not done")
    assert 0 < len(world.counted.tasks) <= 4
    taken = len(world.counted.tasks)
    async for piece in tables:
        read += len(piece)
    assert read == 30_000
    assert len(world.counted.tasks) >= 30 > taken
    export.close()


async def test_closing_an_export_ends_what_it_scans(make_events: Tables, t0_us: int) -> None:
    world = World(
        stored(make_events, t0_us, 30, 1_000), make_events([]), slices=SliceLimits(1 << 40, 100, 1, 100, 1, 1)
    )
    export = await world.open(EVERYTHING)
    tables = export.tables()
    await anext(tables)
    assert slices_under_way()
    await tables.aclose()
    assert not slices_under_way()
    taken = len(world.counted.tasks)
    export.close()
    assert len(world.counted.tasks) == taken
    assert not export.whole


async def test_only_so_many_are_under_way_and_no_tenant_has_all_of_them(make_events: Tables, t0_us: int) -> None:
    world = World(stored(make_events, t0_us, 2, 10), make_events([]), most=3)
    query_ids = {tenant: await world.asked(EVERYTHING, tenant) for tenant in ("red", "blue", "green")}

    async def opened(tenant: str) -> Export:
        return await world.exporter.open(tenant, query_ids[tenant])

    first, second = [await opened("red") for _ in range(2)]
    with pytest.raises(TooFast, match=r"2 of the 3 exports .* are yours"):
        await opened("red")
    third = await opened("blue")
    with pytest.raises(TooFast, match="3 exports are under way"):
        await opened("green")
    first.close()
    first.close()
    fourth = await opened("green")
    with pytest.raises(TooFast):
        await opened("blue")
    for export in (second, third, fourth):
        export.close()


# ------------------------------------------------------------------------------------------------- whole, or nothing
async def test_what_the_cut_does_not_cover_is_named_and_takes_no_place(make_events: Tables, t0_us: int) -> None:
    world = World(stored(make_events, t0_us, 1, 10), make_events([]), most=1)
    query_id = await world.asked(EVERYTHING)
    await world.log.append([Record(0, b"nobody has read it")])
    world.buffers.covers = False
    for _ in range(2):
        with pytest.raises(Unavailable, match="virtual node 0") as caught:
            await world.exporter.open("default", query_id)
        assert caught.value.retryable
        assert caught.value.details["incomplete"]
    world.buffers.covers = True
    (await world.exporter.open("default", query_id)).close()


async def test_an_object_that_cannot_be_read_ends_it_without_being_whole(make_events: Tables, t0_us: int) -> None:
    world = World(
        stored(make_events, t0_us, 5, 1_000), make_events([]), slices=SliceLimits(1 << 40, 1_000, 1_000, 1_000)
    )
    export = await world.open(EVERYTHING)
    oldest = min(world.entries, key=lambda entry: entry.min_us)
    world.store.put(oldest.key, b"damaged" * 100)
    read: list[int] = []

    async def reading() -> None:
        async for piece in export.tables():
            read.append(len(piece))

    with pytest.raises(Unavailable, match="cannot be read"):
        await reading()
    assert 0 < sum(read) <= 4_000
    assert not export.whole
    export.close()


async def test_the_snapshot_is_pinned(make_events: Tables, t0_us: int) -> None:
    world = World(stored(make_events, t0_us, 5, 1_000), make_events([]), slices=SliceLimits(1 << 40, 100, 1, 100, 1, 1))
    export = await world.open(EVERYTHING)
    tables = export.tables()
    pieces = [await anext(tables)]
    world.commit(make_events([t0_us + i for i in range(100)], ["later"] * 100, first=9_000))
    pieces += [piece async for piece in tables]
    export.close()
    assert offsets(pieces) == list(range(4_999, -1, -1))
    assert len(offsets(await world.exported(EVERYTHING))) == 5_100, "but the next one has it"


async def test_ids_that_are_no_search_of_this_tenant_are_refused(make_events: Tables, t0_us: int) -> None:
    world = World([], make_events([]))
    query_id = await world.asked(EVERYTHING)
    running = AnswerState("running", {}, False, (), 0)
    for tenant, asked in (("other", query_id), ("default", "unknown")):
        with pytest.raises(NotFound):
            await world.exporter.open(tenant, asked)
    await world.results.create("default", "aggregation", running)
    with pytest.raises(BadRequest, match="something else"):
        await world.exporter.open("default", "aggregation")
    await world.results.create("default", "newer", running, '{"query":{"root":["almost"]}}')
    with pytest.raises(CorruptData, match="run the query again"):
        await world.exporter.open("default", "newer")
