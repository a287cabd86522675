"""A whole search beside the naive answer: whatever the objects, the order, the limit, and which task ends first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.chunk import ObjectLimits, encode_object, read
from ess_ray.core.query import Order, Query
from ess_ray.core.timestamps import format_timestamp
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.language import parse
from ess_ray.limits import SearchLimits
from ess_ray.ports import Advance, AnswerState, Record, ScanResult, ScanTask, View, VnodeRange, vnode_advances
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryCatalog, MemoryLog, MemoryObjectStore
from tests.examples import examples

Event = tuple[int, str, str | None]
"""Time after T0 in us, message, id."""


class Shuffled:
    """ScanExecutor in this process that takes up to `parallelism` tasks at once and ends them as `pick` says."""

    def __init__(self, store: MemoryObjectStore, parallelism: int, pick: Callable[[int], int]) -> None:
        self._store, self._parallelism, self._pick = store, parallelism, pick
        self.objects_taken: list[str] = []

    async def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        following = enumerate(tasks)
        running: list[tuple[int, ScanTask]] = []
        while True:
            while len(running) < self._parallelism and (taken := next(following, None)) is not None:
                self.objects_taken += [entry.key for entry in taken[1].entries]
                running.append(taken)
            if not running:
                return
            index, task = running.pop(self._pick(len(running)))
            yield index, run_task(self._store, task)


class Buffered:
    """InFlight whose one owner holds some rows that no object has."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **_: object
    ) -> list[View]:
        return [View({vnode: VnodeRange(0, end) for vnode, end in min_ends.items()}, self._rows, len(self._rows))]


class Growing(MemoryResultStore):
    """The result store, remembering how an answer grew."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.grew: list[int] = []

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        self.grew += rows.column("offset").to_pylist()
        return await super().append(tenant, query_id, rows)


@dataclass
class Answer:
    offsets: list[int]
    state: AnswerState
    grew: list[int]
    executor: Shuffled


def search(
    make_events: Callable[..., pa.Table],
    t0_us: int,
    objects: Sequence[Sequence[Event]],
    buffered: Sequence[Event],
    query: Query,
    limits: SearchLimits,
    parallelism: int = 1,
    pick: Callable[[int], int] = lambda count: 0,
) -> Answer:
    """Store the objects, search them, and give the offsets of the answer's rows: events numbered as they are given."""

    def table(events: Sequence[Event], first: int) -> pa.Table:
        times, messages, ids = zip(*events, strict=True) if events else ((), (), ())
        return make_events([t0_us + time for time in times], list(messages), first=first, event_id=list(ids))

    async def run() -> Answer:
        store, catalog, results = MemoryObjectStore(lambda: t0_us), MemoryCatalog(), Growing()
        entries, first = [], 0
        for events in objects:
            rows = table(events, first).sort_by("timestamp")
            entry = entry_of(Sealed("default", encoded := encode_object(rows, [], limits=_Small.limits)), t0_us)
            store.put(entry.key, encoded.data)
            entries.append(entry)
            first += len(events)
        catalog.writer().commit(entries, [], vnode_advances("elsewhere", {0: Advance(0, first)}))
        executor = Shuffled(store, parallelism, pick)
        log = MemoryLog(1)
        await log.append([Record(0, b"")] * (first + len(buffered)))
        searcher = Searcher(
            log, catalog, store, Buffered(table(buffered, first)), executor=executor, results=results, limits=limits
        )
        query_id = await searcher.start("default", query)
        await searcher.wait("default", query_id, 60)
        rows = await results.rows("default", query_id, 0, query.limit + 1)
        state = await results.state("default", query_id)
        return Answer(rows.column("offset").to_pylist(), state, results.grew, executor)

    return asyncio.run(run())


def naive(objects: Sequence[Sequence[Event]], buffered: Sequence[Event], word: str, query: Query) -> list[int]:
    """The answer by definition: all matching rows in order, the first of each id, the first `limit`."""
    flat = [event for events in [*objects, buffered] for event in events]
    ranked = sorted(((time, number) for number, (time, _, _) in enumerate(flat)), reverse=query.order == "newest")
    expected: list[int] = []
    seen: set[str] = set()
    for _, number in ranked:
        _, message, event_id = flat[number]
        if word not in message or (event_id is not None and event_id in seen):
            continue
        seen |= {event_id} if event_id else set()
        expected.append(number)
    return expected[: query.limit]


events = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from(["rose", "tulip", "rose tulip"]), st.sampled_from([None, None, "a", "b"])
    ),
    min_size=1,
    max_size=8,
)


class _Small:
    """How small row groups are just now."""

    limits = ObjectLimits()


@pytest.fixture(params=["windows", "streams"])
def _reading(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take requests to be dear, once, and stream row groups of two rows."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "streams":
            patch.setattr(MemoryObjectStore, "coalesce_bytes", 1 << 20)
            patch.setattr(_Small, "limits", ObjectLimits(rows_per_group=2))
            patch.setattr(read, "WHOLE_BYTES", 0)
            patch.setattr(read, "STREAM_GAPS", 0)
        yield


@settings(max_examples=examples(150))
@pytest.mark.usefixtures("_reading")
@pytest.mark.parametrize("order", ["newest", "oldest"])
@given(
    objects=st.lists(events, max_size=7),
    buffered=st.one_of(st.just([]), events),
    limit=st.integers(1, 25),
    word=st.sampled_from(["", "rose"]),
    in_place=st.sampled_from([0, 200_000, 1 << 30]),
    task_bytes=st.sampled_from([1, 300_000]),
    parallelism=st.integers(1, 4),
    data=st.data(),
)
def test_an_answer_is_the_naive_one_whatever_ends_first(
    make_events: Callable[..., pa.Table],
    t0_us: int,
    order: Order,
    objects: list[list[Event]],
    buffered: list[Event],
    limit: int,
    word: str,
    in_place: int,
    task_bytes: int,
    parallelism: int,
    data: st.DataObject,
) -> None:
    query = Query(parse(f'"{word}"' if word else ""), limit=limit, order=order)
    matching = [event for event in buffered if word in event[1]]
    if matching != buffered:  # an owner gives matching rows only
        buffered = matching
    answer = search(
        make_events,
        t0_us,
        objects,
        buffered,
        query,
        SearchLimits(in_place_bytes=in_place, task_bytes=task_bytes),
        parallelism,
        lambda count: data.draw(st.integers(0, count - 1)),
    )
    expected = naive(objects, buffered, word, query)
    assert answer.state.state == "done", answer.state
    assert answer.state.complete
    assert answer.offsets == expected
    assert answer.grew == expected, "rows came once, in final order only"
    progress = answer.state.progress
    assert progress["objects_total"] == len(objects)
    assert progress["objects_pruned"] == progress["objects_failed"] == 0
    assert len(answer.executor.objects_taken) == len(set(answer.executor.objects_taken)), "an object was read twice"
    if len(expected) < limit:
        assert progress["objects_done"] == len(objects), "only a proven limit may leave objects unread"
        assert int(progress["rows_matched"] or 0) >= len(expected)


def test_a_newest_hundred_of_a_common_term_reads_little(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    objects = [[(1000 * number + row, "a common term", None) for row in range(400)] for number in range(300)]
    answer = search(
        make_events,
        t0_us,
        objects,
        [],
        Query(parse("common"), limit=100),
        SearchLimits(in_place_bytes=4 << 20),
    )
    flat = 300 * 400
    assert answer.offsets == list(range(flat - 1, flat - 101, -1))
    assert (answer.state.complete, answer.state.progress["objects_done"]) == (True, 1)
    assert answer.executor.objects_taken == [], "nothing was started for it"
    bytes_read, bytes_total = answer.state.progress["bytes_read"], answer.state.progress["bytes_total"]
    assert isinstance(bytes_read, int)
    assert isinstance(bytes_total, int)
    assert bytes_read <= bytes_total // 100


def test_objects_behind_the_proven_bound_are_not_started(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    """Ten overlapping objects: the first to end proves a bound that leaves out all but those that may hold better."""
    objects = [[(100 * number + row, "term", None) for row in range(150)] for number in range(10)]
    ended: list[int] = []

    def last(count: int) -> int:
        ended.append(count)
        return count - 1

    answer = search(
        make_events,
        t0_us,
        objects,
        [],
        Query(parse("term"), limit=100),
        SearchLimits(in_place_bytes=0, task_bytes=1),
        2,
        last,
    )
    assert answer.offsets == naive(objects, [], "term", Query(limit=100))
    assert answer.state.complete
    # Two are taken at once; when the second ends with 100 rows of its own, nothing older than those can matter.
    assert len(answer.executor.objects_taken) <= 3


def test_what_is_in_flight_may_be_the_whole_answer(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    objects = [[(number, "term", None)] for number in range(5)]
    buffered = [(100 + number, "term", None) for number in range(3)]
    answer = search(
        make_events, t0_us, objects, buffered, Query(parse("term"), limit=2), SearchLimits(in_place_bytes=0)
    )
    assert answer.offsets == [7, 6]
    assert (answer.state.complete, answer.state.progress["objects_done"]) == (True, 0)
    assert answer.state.progress["complete_from"] == format_timestamp(t0_us + 101)
    assert answer.executor.objects_taken == []
