"""One damaged object among many, on a real directory: every reader goes on with the others, and names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import OffsetRange, encode_object
from ess_ray.core.errors import CorruptData, NotFound, Unavailable
from ess_ray.damage import MAX_NAMED, Damaged, named, reading_from
from ess_ray.ingest.repeats import CLOCK_SLACK_US, WINDOW_US
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Advance, ObjectEntry, ObjectInfo, vnode_advances
from ess_ray.record import RequestKey, encode_records
from ess_ray.table.compaction import compact
from ess_ray.table.maintenance import GARBAGE_AGE_US, collect_garbage
from ess_ray.table.retention import expire
from ess_ray.table.transfer import copy_table
from ess_ray.table.verify import verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from tests import compactions, exports, worlds
from tests.compactions import DAY_US, T0_US
from tests.damages import OBJECT_DAMAGES

Make = Callable[..., pa.Table]
each_damage = pytest.mark.parametrize("how", OBJECT_DAMAGES)


class Away:
    """A store that may be away as a whole, or refuse one object though it answers otherwise."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.away = False
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def head(self, key: str) -> ObjectInfo | None:
        if self.away:
            raise Unavailable("the store is away")
        found: ObjectInfo | None = self._store.head(key)
        return found

    def get_suffix(self, key: str, length: int) -> bytes:
        if self.away or key in self.refused:
            raise Unavailable(f"cannot read {key} just now")
        data: bytes = self._store.get_suffix(key, length)
        return data

    def delete(self, key: str) -> None:
        if key in self.refused:
            raise Unavailable(f"cannot delete {key}: not permitted")
        self._store.delete(key)


# -------------------------------------------------------------------------------------------------------- telling it
def test_whatever_reading_raises_becomes_the_objects_damage() -> None:
    store = MemoryObjectStore(lambda: 0)
    for error in (ValueError("no"), MemoryError(), KeyError("x"), RecursionError("deep"), pa.ArrowInvalid("bad")):
        with pytest.raises(CorruptData, match="a/b cannot be read"), reading_from(store, "a/b"):
            raise error
    for known in (NotFound("there is no a/b"), CorruptData("a/b is cut")):
        with pytest.raises(type(known), match=known.message), reading_from(store, "a/b"):
            raise known


def test_a_store_that_is_away_is_no_damage() -> None:
    store = Away(MemoryObjectStore(lambda: 0))
    with pytest.raises(CorruptData, match="though its store answers"), reading_from(store, "a/b"):
        raise Unavailable("bad sector")
    store.away = True
    with pytest.raises(Unavailable, match="the store is away"), reading_from(store, "a/b"):
        raise Unavailable("connection refused")


def test_what_is_named_is_bounded() -> None:
    many = [str(Damaged(f"key {number}", "it is gone")) for number in range(MAX_NAMED + 5)]
    assert named(many[:2]) == "key 0: it is gone; key 1: it is gone"
    assert "and 5 more: `ess verify` names all" in named(many)
    assert f"key {MAX_NAMED}" not in named(many)


# ------------------------------------------------------------------------------------------------------- a take-over
class Ingest(worlds.World):
    """A log, and a table in a real directory; events of three keys, each stored as an object of its own."""

    KEYS = ("a", "b", "c")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.store = Away(LocalObjectStore(folder))  # type: ignore[assignment]
        self.catalog = DeltaCatalog(folder)  # type: ignore[assignment]

    async def append(self, name: str) -> None:
        batch = worlds.batch_of([name], [None], 0, self.now_us)
        await self.log.append(encode_records(batch, 0, "default", RequestKey("default", name, "hash", 0, 1)))

    async def owner(self) -> VnodeWriter:
        """A new owner takes over everything and stores what the log has."""
        writer = self.writer()
        await writer.assign(range(worlds.VNODES))
        while await writer.poll():
            pass
        await writer.flush()
        return writer

    async def fill(self) -> dict[str, ObjectEntry]:
        """Store each key by itself; gives the objects by key."""
        found: dict[str, ObjectEntry] = {}
        for name in self.KEYS:
            await self.append(name)
            await self.owner()
            entries = self.catalog.snapshot().objects(None, None, None)
            found[name] = next(entry for entry in entries if entry.key not in {one.key for one in found.values()})
        return found


@pytest.fixture
async def ingest(tmp_path: Path) -> Ingest:
    made = Ingest(tmp_path)
    made.now_us = made.store.now_us()
    return made


@each_damage
async def test_a_take_over_goes_on_without_a_damaged_object_and_names_it_as_long_as_it_matters(
    ingest: Ingest, how: str
) -> None:
    objects = await ingest.fill()
    path = ingest.folder / objects["b"].key
    whole = path.read_bytes()
    OBJECT_DAMAGES[how](path)
    for _ in range(2):  # the next one too
        owner = await ingest.owner()
        (part,) = owner.missing_repeats
        assert part.damaged.key == objects["b"].key
        assert objects["b"].key in str(part.damaged)
        assert part.until_us == objects["b"].modified_us + WINDOW_US + CLOCK_SLACK_US
    for name in ingest.KEYS:
        await ingest.append(name)
    await owner.poll()
    known = [owner.known_request(0, "default", name) for name in ingest.KEYS]
    assert [one and one.body_hash for one in known] == ["hash"] * 3
    assert owner.counts["repeats_dropped"] == 2, "of the other objects; the repeat of the damaged one is stored again"
    assert [e.column("message").to_pylist() for e in owner.freeze("default").batches] == [["b"]]
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    assert (await ingest.owner()).missing_repeats == []
    ingest.now_us = part.until_us + 1
    assert owner.missing_repeats == [], "its window is over"


async def test_a_take_over_waits_for_a_store_that_is_away_and_for_no_single_object(ingest: Ingest) -> None:
    objects = await ingest.fill()
    store: Any = ingest.store
    store.away = True
    with pytest.raises(Unavailable):
        await ingest.owner()
    store.away, store.refused = False, {objects["a"].key}
    (part,) = (await ingest.owner()).missing_repeats
    assert (part.damaged.key, "though its store answers" in part.damaged.reason) == (objects["a"].key, True)


# ---------------------------------------------------------------------------------------- compaction, garbage, verify
class Table(compactions.World):
    """A table in a real directory: in one hour four objects, in the next two."""

    def __init__(self, make: Make, folder: Path) -> None:
        super().__init__(make)
        self.folder = folder
        self.store, self.catalog = LocalObjectStore(folder), DeltaCatalog(folder)
        self.hour = [self.add([T0_US + number]) for number in range(4)]
        self.next_hour = [self.add([T0_US + compactions.HOUR_US + number]) for number in range(2)]
        self.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, self.next_offset)}))

    def messages_of(self, *entries: ObjectEntry) -> Counter[str]:
        return Counter(name for entry in entries for name in self.rows(entry).column("message").to_pylist())


@pytest.fixture
def table(make_events: Make, tmp_path: Path) -> Table:
    return Table(make_events, tmp_path)


@each_damage
def test_the_others_of_an_hour_are_merged_without_a_damaged_object(table: Table, how: str) -> None:
    bad, *others = table.hour
    path = table.folder / bad.key
    whole = path.read_bytes()
    OBJECT_DAMAGES[how](path)
    done = compact(table.catalog, table.store, CompactionPolicy())
    assert (done.merged_objects, done.new_objects, done.more) == (5, 2, False)
    assert [one.key for one in done.damaged] == [bad.key]
    ((where, reason),) = done.skipped
    assert where == f"default/{bad.date}/{bad.hour:02d}"
    assert bad.key in reason
    assert bad in table.entries()
    kept = [entry for entry in table.entries() if entry.key != bad.key]
    assert len(kept) == 2
    assert table.messages_of(*kept) == Counter(f"m{number}" for number in range(1, 6))
    assert others[0] not in kept
    again = compact(table.catalog, table.store, CompactionPolicy(), known=[bad.key])
    assert [one.key for one in again.damaged] == [bad.key], "named as long as it is so"
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    mended = compact(table.catalog, table.store, CompactionPolicy(), eager=True, known=[bad.key])
    assert (mended.damaged, mended.skipped, mended.merged_objects) == ((), (), 2)
    assert table.messages() == table.everything()


@pytest.mark.parametrize("other_bytes", ["another object's", "altered rows"])
def test_what_only_shows_when_it_is_read_keeps_no_other_from_being_merged(table: Table, other_bytes: str) -> None:
    bad, other = table.hour[1], table.hour[2]
    data = bytearray((table.folder / (other if other_bytes == "another object's" else bad).key).read_bytes())
    if other_bytes == "altered rows":
        data[4:200] = bytes(byte ^ 0xFF for byte in data[4:200])
    (table.folder / bad.key).write_bytes(data)
    done = compact(table.catalog, table.store, CompactionPolicy())
    assert [one.key for one in done.damaged] == [bad.key]
    assert (done.merged_objects, done.new_objects) == (5, 2)


def test_a_store_that_is_away_is_no_damage_of_a_partition(table: Table) -> None:
    store = Away(table.store)
    store.away = True
    done = compact(table.catalog, store, CompactionPolicy())
    assert (done.damaged, done.new_objects, len(done.skipped)) == ((), 0, 2)
    store.away, store.refused = False, {table.hour[0].key}
    done = compact(table.catalog, store, CompactionPolicy())
    assert ([one.key for one in done.damaged], done.new_objects) == ([table.hour[0].key], 2)


@each_damage
def test_retention_takes_a_damaged_object_too(table: Table, how: str) -> None:
    OBJECT_DAMAGES[how](table.folder / table.hour[0].key)
    long_ago = CompactionPolicy({"default": -30.0 * 365})  # days after the store's clock: everything is older
    assert expire(table.catalog, table.store, long_ago).objects == 6
    assert table.entries() == []


@each_damage
def test_verify_names_a_damaged_object_and_checks_the_others(table: Table, how: str) -> None:
    gone = table.next_hour[0]
    (table.folder / gone.key).unlink()
    OBJECT_DAMAGES[how](table.folder / table.hour[0].key)
    for deep in (False, True):
        report = verify(table.catalog, table.store, deep=deep)
        assert {problem.where for problem in report.problems} == {table.hour[0].key, gone.key}
        assert all(problem.advice for problem in report.problems)


def test_verify_compares_the_others_where_one_cannot_be_read(make_events: Make) -> None:
    world = compactions.World(make_events)
    count = 20_000
    texts = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(count)]  # no footer's read has them all
    rows = make_events([T0_US + number for number in range(count)], texts)
    keys = []
    for _ in range(3):
        encoded = encode_object(rows, [OffsetRange("log", 0, 0, count)])
        entry = entry_of(Sealed("default", encoded), T0_US)
        world.store.put(entry.key, encoded.data)
        world.catalog.writer().commit([entry], [], {})
        keys.append(entry.key)
    store: Any = Away(world.store)
    store.get_range = _broken_for(world.store, keys[0])
    problems = [p for p in verify(world.catalog, store).problems if p.check != "beyond the catalog"]
    assert sorted(problem.check for problem in problems) == ["doubled", "rows"]
    assert [problem.where for problem in problems if problem.check == "rows"] == [keys[0]]


def _broken_for(store: Any, key: str) -> Callable[[str, int, int], bytes]:
    def get_range(asked: str, offset: int, length: int) -> bytes:
        if asked == key:
            raise OSError("bad sector")
        data: bytes = store.get_range(asked, offset, length)
        return data

    return get_range


def test_garbage_that_cannot_be_deleted_keeps_no_other(make_events: Make) -> None:
    world = compactions.World(make_events)
    for _ in range(3):
        world.add([T0_US])
    compact(world.catalog, world.store, CompactionPolicy())
    world.now_us += GARBAGE_AGE_US + DAY_US
    store = Away(world.store)
    store.refused = {world.store.list("tenant=")[0].key}
    done = collect_garbage(world.catalog, store)
    assert (done.objects, len(done.failed)) in ((2, 1), (3, 0))
    store.refused = set()
    collect_garbage(world.catalog, store)
    assert len(world.store.list("tenant=")) == 1


# -------------------------------------------------------------------------------------------------------------- copy
@each_damage
def test_a_copy_goes_on_with_the_others_and_the_next_one_takes_it(table: Table, how: str) -> None:
    bad = table.hour[2]
    path = table.folder / bad.key
    whole = path.read_bytes()
    OBJECT_DAMAGES[how](path)
    store = MemoryObjectStore(lambda: T0_US)
    target = MemoryCatalog(clock_us=lambda: T0_US)
    done = copy_table(table.catalog, table.store, target, store, name="log")
    assert (done.objects, [one.key for one in done.failed]) == (5, [bad.key])
    assert bad.key in str(done.failed[0])
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    done = copy_table(table.catalog, table.store, target, store, name="log")
    assert (done.objects, done.there, done.failed) == (1, 5, [])
    assert verify(target, store, deep=True).problems == []


@each_damage
def test_a_copy_mends_what_was_damaged_in_the_target(table: Table, tmp_path: Path, how: str) -> None:
    there = tmp_path / "target"
    store, target = LocalObjectStore(there), DeltaCatalog(there)
    copy_table(table.catalog, table.store, target, store, name="log")
    path = there / table.hour[0].key
    OBJECT_DAMAGES[how](path)
    if path.is_dir():
        path.rmdir()
    done = copy_table(table.catalog, table.store, target, store, name="log")
    assert (done.mended, done.there, done.objects, done.failed) == (1, 6, 0, [])
    assert verify(target, store, deep=True).problems == []


# ----------------------------------------------------------------------------------------------------------- answers
@pytest.fixture
def answering(make_events: Make) -> exports.World:
    return exports.World([make_events([T0_US + number], first=number) for number in range(4)], make_events([]))


async def test_answers_and_exports_go_on_and_name_it(answering: exports.World) -> None:
    bad = answering.entries[1]
    answering.store.put(bad.key, b"damaged" * 100)
    app = exports.app_of(answering)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        query_id = (await http.post("/v1/queries", json={"query": "", "start": 0})).json()["id"]
        await answering.searcher.wait("default", query_id, 60)
        page = (await http.get(f"/v1/queries/{query_id}")).json()
        assert (page["state"], page["complete"], len(page["events"])) == ("done", False, 3)
        assert [bad.key in reason for reason in page["incomplete"]] == [True]
        explained = (await http.post("/v1/explain", json={"query": "", "start": 0})).json()
        assert explained["objects"] == 4
        with pytest.raises(RuntimeError, match="response already started"):
            await http.get(f"/v1/queries/{query_id}/export")
        page = (await http.get(f"/v1/queries/{query_id}")).json()
        assert any(reason.startswith("an export of it was broken off") for reason in page["incomplete"])
        assert all(bad.key in reason for reason in page["incomplete"])


@pytest.mark.parametrize("file_format", ["ndjson", "csv", "parquet"])
async def test_an_export_hands_out_all_else_before_it_is_broken_off(answering: exports.World, file_format: str) -> None:
    bad = answering.entries[1]
    query_id = await answering.asked(exports.Query(limit=1))
    answering.store.put(bad.key, b"damaged" * 100)
    export = await answering.exporter.open("default", query_id)
    read: list[int] = []

    async def read_all() -> None:
        async for piece in export.tables():
            read.append(len(piece))

    with pytest.raises(Unavailable, match=bad.key):
        await read_all()
    export.close()
    assert (sum(read), export.whole, list(export.left_out)) == (3, False, [bad.key])
