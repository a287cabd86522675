"""An export beside the naive answer: whatever the objects, the order, the repeats, and how it is cut into slices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.query import Order, Query
from ess_ray.language import parse
from ess_ray.limits import SearchLimits
from ess_ray.search.slices import SliceLimits
from tests.examples import examples
from tests.exports import World

Event = tuple[int, str, str | None]
"""Time after T0 in us, message, id."""

events = st.lists(
    st.tuples(
        st.integers(0, 25),
        st.sampled_from(["rose", "tulip", "rose tulip"]),
        st.sampled_from([None, None, "a", "b", "c"]),
    ),
    min_size=1,
    max_size=12,
)
bound = st.one_of(st.none(), st.integers(0, 26))


def naive(flat: Sequence[Event], word: str, start: int | None, end: int | None, order: Order) -> list[int]:
    """The answer by definition: all matching rows in order, the first of each id."""
    ranked = sorted(((time, number) for number, (time, _, _) in enumerate(flat)), reverse=order == "newest")
    expected: list[int] = []
    seen: set[str] = set()
    for time, number in ranked:
        _, message, event_id = flat[number]
        inside = (start is None or time >= start) and (end is None or time < end)
        if not inside or word not in message or (event_id is not None and event_id in seen):
            continue
        seen |= {event_id} if event_id else set()
        expected.append(number)
    return expected


@settings(max_examples=examples(200))
@pytest.mark.parametrize("order", ["newest", "oldest"])
@given(
    objects=st.lists(events, max_size=7),
    buffered=st.one_of(st.just([]), events),
    word=st.sampled_from(["", "rose"]),
    start=bound,
    end=bound,
    in_place=st.sampled_from([0, 1 << 30]),
    task_bytes=st.sampled_from([1, 300_000]),
    rows=st.integers(1, 9),
    read_bytes=st.sampled_from([0, 130_000, 400_000, 1 << 30]),
)
def test_an_export_is_the_naive_answer_however_it_is_cut(
    make_events: Callable[..., pa.Table],
    t0_us: int,
    order: Order,
    objects: list[list[Event]],
    buffered: list[Event],
    word: str,
    start: int | None,
    end: int | None,
    in_place: int,
    task_bytes: int,
    rows: int,
    read_bytes: int,
) -> None:
    def table(events: Sequence[Event], first: int) -> pa.Table:
        times, messages, ids = zip(*events, strict=True) if events else ((), (), ())
        return make_events([t0_us + time for time in times], list(messages), first=first, event_id=list(ids))

    tables, first = [], 0
    for stored in objects:
        tables.append(table(stored, first))
        first += len(stored)
    query = Query(
        parse(f'"{word}"' if word else ""),
        None if start is None else t0_us + start,
        None if end is None else t0_us + end,
        limit=1,
        order=order,
    )

    async def run() -> list[int]:
        world = World(
            tables,
            table(buffered, first),
            limits=SearchLimits(in_place_bytes=in_place, task_bytes=task_bytes),
            slices=SliceLimits(10_000, rows, rows, 2 * rows, read_bytes, max(1, read_bytes)),
        )
        return [offset for piece in await world.exported(query) for offset in piece.column("offset").to_pylist()]

    flat = [event for stored in [*objects, buffered] for event in stored]
    assert asyncio.run(run()) == naive(flat, word, start, end, order)
