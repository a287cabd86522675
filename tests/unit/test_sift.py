"""Objects ruled out by their skip indexes where a search is planned, and what that leaves to its tasks."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.chunk import FooterCache, ObjectLimits, encode_object
from ess_ray.core.query import Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.language import parse
from ess_ray.limits import SearchLimits
from ess_ray.ports import Advance, AnswerState, ObjectEntry, vnode_advances
from ess_ray.search import sift as sifting
from ess_ray.search.plan import make_plan
from ess_ray.search.run import Searcher
from ess_ray.search.sift import sift
from ess_ray.testing import HereExecutor, MemoryCatalog, MemoryLog, MemoryObjectStore, NoOwners

Tables = Callable[..., pa.Table]
OBJECTS, ROWS = 6, 200
MANY = 1_000
"""A limit of more rows than a probe looks for."""


class Store(MemoryObjectStore):
    """The store, remembering of which objects something was read, and without those that are `away`."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.read: list[str] = []
        self.away: set[str] = set()

    def get_suffix(self, key: str, length: int) -> bytes:
        self.read.append(key)
        if key in self.away:
            raise OSError("the disk is gone")
        return super().get_suffix(key, length)


class World:
    """Some objects, one after the other in time; the third one alone has the word `peregrination`."""

    def __init__(self, make_events: Tables, t0_us: int) -> None:
        self.store, self.catalog = Store(), MemoryCatalog()
        self.entries: list[ObjectEntry] = []
        for number in range(OBJECTS):
            texts = [f"the request number {at} was served" for at in range(ROWS)]
            if number == 2:
                texts[10] = "a peregrination begins"
            times = [t0_us + number * 1_000_000 + at for at in range(ROWS)]
            rows = make_events(times, texts, first=number * ROWS)
            encoded = encode_object(rows, [], limits=ObjectLimits(rows_per_group=50, index_min_rows=1))
            entry = entry_of(Sealed("default", encoded), 0)
            self.store.put(entry.key, encoded.data)
            self.entries.append(entry)
        self.catalog.writer().commit(self.entries, [], vnode_advances("elsewhere", {0: Advance(0, 1)}))

    def left(self, text: str, limit: int = MANY, max_bytes: int = 1 << 20) -> list[bool]:
        """Tell of each object, in the order of time, whether something is left to read."""
        plan = make_plan("default", Query(parse(text), limit=limit, order="oldest"), self.catalog.snapshot())
        return [bool(left) for left in sift(self.store, plan, max_bytes, lambda: False).left]

    async def ask(self, text: str, limits: SearchLimits, limit: int = MANY) -> tuple[AnswerState, list[str], int]:
        results, executor = MemoryResultStore(lambda: 0), HereExecutor(self.store)
        searcher = Searcher(
            MemoryLog(1), self.catalog, self.store, NoOwners(), executor=executor, results=results, limits=limits
        )
        query_id = await searcher.start("default", Query(parse(text), limit=limit))
        await searcher.wait("default", query_id, 60)
        rows = await results.rows("default", query_id, 0, limit)
        return await results.state("default", query_id), rows.column("message").to_pylist(), executor.ran


@pytest.fixture
def world(make_events: Tables, t0_us: int, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give objects whose footers this process does not know, so that each look is a reading."""
    monkeypatch.setattr(sifting, "FOOTERS", FooterCache())
    return World(make_events, t0_us)


def test_what_no_index_has_leaves_nothing_to_read(world: World) -> None:
    assert world.left("nowherewhatever") == [False] * OBJECTS
    assert len(world.store.read) == OBJECTS


def test_the_one_object_that_may_have_it_is_left_with_fewer_bytes(world: World) -> None:
    assert world.left("peregrination") == [False, False, True, False, False, False]
    plan = make_plan("default", Query(parse("peregrination"), limit=MANY, order="oldest"), world.catalog.snapshot())
    left = sift(world.store, plan, 1 << 20, lambda: False).left
    assert left[2] < world.entries[2].size / 2, "one row group of four"


def test_what_the_index_cannot_tell_is_left_as_it_was(world: World) -> None:
    assert world.left("/nu.ber [0-9]/") == [True] * OBJECTS


def test_words_that_may_be_everywhere_get_a_look_only_where_nothing_is_read(world: World) -> None:
    assert world.left("zebras") == [True] * OBJECTS
    assert world.store.read == []
    assert world.left("nowherewhatever") == [False] * OBJECTS  # now the indexes are known
    assert world.left("zebras") == [False] * OBJECTS
    assert len(world.store.read) == OBJECTS


def test_no_more_is_read_than_may_be(world: World) -> None:
    assert world.left("nowherewhatever", max_bytes=0) == [True] * OBJECTS
    assert world.store.read == []


def test_what_cannot_be_read_is_left_for_its_task(world: World) -> None:
    world.store.away = {world.entries[1].key}
    assert world.left("nowherewhatever") == [False, True, False, False, False, False]


def test_who_wants_no_more_gets_no_look(world: World) -> None:
    plan = make_plan("default", Query(parse("nowherewhatever"), limit=MANY), world.catalog.snapshot())
    assert (sift(world.store, plan, 1 << 20, lambda: True).left > 0).all()


@pytest.mark.parametrize("text", ["nowherewhatever", "peregrination", "request", "service:nobody", "trace_id:abc", "*"])
@pytest.mark.parametrize("limit", [3, MANY])
async def test_answers_are_the_same_with_and_without_looking(world: World, text: str, limit: int) -> None:
    without, rows, _ = await world.ask(text, SearchLimits(in_place_bytes=0), limit)
    looked, found, _ = await world.ask(text, SearchLimits(), limit)
    assert found == rows
    assert (looked.state, looked.complete) == (without.state, without.complete) == ("done", True)
    assert looked.progress["objects_total"] == without.progress["objects_total"] == OBJECTS


async def test_nothing_is_started_for_what_is_ruled_out(world: World) -> None:
    state, rows, ran = await world.ask("nowherewhatever", SearchLimits(in_place_bytes=1 << 20))
    assert (rows, ran) == ([], 0)
    assert state.progress["objects_done"] == OBJECTS
    assert state.progress["gets"] == OBJECTS
