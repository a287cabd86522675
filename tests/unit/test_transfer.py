"""`ess_ray.table.transfer`: whatever interrupts a copy, and whatever compacts in between, each row is there once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from click.testing import CliRunner

from ess_ray.cli import main
from ess_ray.core.chunk import OffsetRange, encode_object, open_object
from ess_ray.core.errors import Conflict
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.keys import KeyBook
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Advance, vnode_advances
from ess_ray.table.compaction import compact
from ess_ray.table.transfer import Copied, copy_keys, copy_missing, copy_table
from ess_ray.table.verify import verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore

Make = Callable[..., pa.Table]
HOUR_US = 3_600_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US


class Place:
    def __init__(self) -> None:
        self.fault: Callable[[str], None] = lambda moment: None
        self.store = MemoryObjectStore(clock_us=lambda: T0_US)
        self.catalog = MemoryCatalog(on_commit=self._strike, clock_us=lambda: T0_US)

    def _strike(self, moment: str) -> None:
        self.fault(moment)

    def messages(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for entry in self.catalog.snapshot().objects(None, None, None):
            reader = open_object(self.store, entry.key, entry.size)
            for group in range(reader.groups):
                found.update(reader.read_group(group).column("message").to_pylist())
        return found

    def compact(self) -> None:
        compact(self.catalog, self.store, CompactionPolicy(), eager=True)


class World:
    def __init__(self, make: Make) -> None:
        self.make, self.next_offset = make, 0
        self.source, self.target = Place(), Place()

    def add(self, hour: int = 0, count: int = 5) -> None:
        first = self.next_offset
        self.next_offset = end = first + count
        times = [T0_US + hour * HOUR_US + number for number in range(first, end)]
        rows = self.make(times, [f"m{number}" for number in range(first, end)], 0, first)
        encoded = encode_object(rows, [OffsetRange("log", 0, first, end)])
        entry = entry_of(Sealed("default", encoded), T0_US)
        self.source.store.put(entry.key, encoded.data)
        self.source.catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(first, end)}))

    def copy(self, **limits: int) -> Copied:
        a, b = self.source, self.target
        return copy_table(a.catalog, a.store, b.catalog, b.store, name="log", **limits)

    def right(self) -> None:
        assert self.target.messages() == Counter(f"m{number}" for number in range(self.next_offset))
        assert verify(self.target.catalog, self.target.store, deep=True).problems == []
        assert self.target.catalog.snapshot().next_offset("log", 0) == self.next_offset


@pytest.fixture
def world(make_events: Make) -> World:
    made = World(make_events)
    for hour in (0, 0, 1, 2):
        made.add(hour)
    return made


def test_everything_is_copied_as_it_is_and_a_second_run_copies_nothing(world: World) -> None:
    done = world.copy()
    assert (done.objects, done.rows, done.there) == (4, 20, 0)
    world.right()
    ours, theirs = (place.catalog.snapshot().objects(None, None, None) for place in (world.source, world.target))
    assert sorted(ours, key=lambda e: e.key) == sorted(theirs, key=lambda e: e.key)
    version = world.target.catalog.snapshot().version
    again = world.copy()
    assert (again.objects, again.there) == (0, 4)
    assert world.target.catalog.snapshot().version == version
    world.add()
    assert world.copy().objects == 1
    world.right()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("strike", range(5))
def test_a_copy_that_dies_at_a_commit_goes_on(world: World, moment: str, strike: int) -> None:
    left = [strike]

    def fault(now: str) -> None:
        if now == moment:
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt

    world.target.fault = fault
    with contextlib.suppress(KeyboardInterrupt):
        world.copy(batch_objects=1)
    world.target.fault = lambda now: None
    world.copy(batch_objects=1)
    world.right()


def test_a_commit_whose_answer_is_lost_is_not_made_twice(world: World) -> None:
    lost = [True]

    def fault(now: str) -> None:
        if now == "after" and lost:
            lost.pop()
            raise ConnectionError("the answer is lost")

    world.target.fault = fault
    world.copy(batch_objects=2)
    assert not lost
    world.right()


@pytest.mark.parametrize("compacted", ["source", "target", "both"])
def test_compaction_between_two_copies_neither_doubles_nor_loses(world: World, compacted: str) -> None:
    world.copy()
    world.add(0)
    world.add(1)
    for place in (world.source, world.target):
        if compacted == "both" or place is getattr(world, compacted):
            place.compact()
    done = world.copy()
    assert done.rows == 10, "only what was new"
    world.right()
    world.target.compact()
    world.right()


def test_two_copies_at_once_copy_once(world: World) -> None:
    inside = [False]

    def fault(now: str) -> None:
        if now == "before" and not inside[0]:
            inside[0] = True
            world.copy()

    world.target.fault = fault
    world.copy()
    assert inside[0]
    world.right()


def test_damage_is_found_and_not_copied_and_the_others_are(world: World) -> None:
    entry = world.source.catalog.snapshot().objects(None, None, None)[0]
    data = bytearray(world.source.store.get_range(entry.key, 0, entry.size))
    data[50:300:10] = bytes(byte ^ 0xFF for byte in data[50:300:10])
    world.source.store.put(entry.key, bytes(data))
    done = world.copy()
    assert [one.key for one in done.failed] == [entry.key]
    assert done.objects == 3
    assert world.target.messages().total() == 15


def test_other_bytes_under_a_key_are_refused(world: World) -> None:
    entry = world.source.catalog.snapshot().objects(None, None, None)[0]
    world.target.store.put(entry.key, b"somebody else's")
    with pytest.raises(Conflict, match="other bytes"):
        world.copy()


def test_keys_go_along_and_a_revoked_one_stays_revoked() -> None:
    source, target = (MemoryObjectStore(clock_us=lambda: T0_US) for _ in range(2))
    books = KeyBook(source), KeyBook(target)
    one, _ = books[0].create("default", ["push"])
    two, _ = books[0].create("default", ["search"])
    assert copy_keys(source, target) == (2, [])
    assert copy_keys(source, target) == (0, [])
    books[1].revoke(one.id)
    books[0].revoke(two.id)
    copy_keys(source, target)
    assert all(key.revoked_us is not None for key in books[1].look().keys)


def test_a_damaged_key_is_not_copied_and_takes_nothing_from_the_target() -> None:
    source, target = (MemoryObjectStore(clock_us=lambda: T0_US) for _ in range(2))
    key, _ = KeyBook(source).create("default", ["push"])
    good = source.get_suffix(f"{key.id}.json", 4096)
    source.put(f"{key.id}.json", good[: len(good) // 2])
    assert [one.key for one in copy_keys(source, target)[1]] == [f"{key.id}.json"]
    assert target.list("") == []
    target.put(f"{key.id}.json", good)
    assert copy_keys(source, target)[0] == 0
    assert target.get_suffix(f"{key.id}.json", 4096) == good
    source.put(f"{key.id}.json", good)
    target.put(f"{key.id}.json", b"")
    assert copy_keys(source, target) == (1, [])
    assert target.get_suffix(f"{key.id}.json", 4096) == good


def test_dead_letters_go_along_once() -> None:
    source, target = (MemoryObjectStore(clock_us=lambda: T0_US) for _ in range(2))
    source.put("0-7", b"\xff")
    assert (copy_missing(source, target), copy_missing(source, target)) == (1, 0)
    assert target.get_range("0-7", 0, 9) == b"\xff"


def test_the_command_says_where_to(tmp_path: object) -> None:
    done = CliRunner().invoke(main, ["copy", "--data-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "ESS_STORE__BUCKET" in done.output
