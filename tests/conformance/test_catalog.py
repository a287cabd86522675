"""The Catalog port, sentence by sentence, over every catalog: the fence on which exactly-once rests.

`Harness` is the seam: another catalog joins with one more line in `CATALOGS`. `on_commit` strikes between a
writer's check and its commit ("before") and once the commit took effect ("after"), so that overlaps are exact.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.memory_catalog import MemoryCatalog
from ess_ray.core.errors import BadRequest, Fenced, Unavailable, UnknownOutcome
from ess_ray.core.event import partition_of
from ess_ray.ports import Advance, Catalog, CatalogWriter, ObjectEntry

T0_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
DEADLINE_S = 30.0


def _local(request: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    folder: Path = request.getfixturevalue("tmp_path")
    return DeltaCatalog(folder / "events", on_commit=on_commit)


def _memory(_: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    return MemoryCatalog(on_commit=on_commit)


def _s3(request: pytest.FixtureRequest, on_commit: Callable[[str], None]) -> Catalog:
    return DeltaCatalog(request.getfixturevalue("s3_location"), on_commit=on_commit)


CATALOGS: dict[str, Callable[[pytest.FixtureRequest, Callable[[str], None]], Catalog]] = {
    "delta": _local,
    "delta-s3": _s3,
    "memory": _memory,
}
CANNOT_EXCLUDE = frozenset({"delta-s3"})
"""Catalogs that cannot keep commits out: the port leaves it to them."""


class Harness:
    """One catalog, and what happens to the next commit (once)."""

    def __init__(self, name: str, request: pytest.FixtureRequest) -> None:
        self.name = name
        self.strikes: dict[str, Callable[[], None]] = {}
        self.catalog = CATALOGS[name](request, self._on_commit)

    def _on_commit(self, moment: str) -> None:
        strike = self.strikes.pop(moment, None)
        if strike is not None:
            strike()

    def stand(self, vnode: int, log_id: str = "log") -> int | None:
        return self.catalog.writer().next_offsets(log_id, [vnode])[vnode]

    def keys_now(self) -> list[str]:
        return sorted(entry.key for entry in self.catalog.snapshot().objects(None, None, None))


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest) -> Harness:
    """One empty catalog of each kind."""
    return Harness(request.param, request)


def entry(min_us: int = T0_US, max_us: int | None = None, tenant: str = "default", **changes: Any) -> ObjectEntry:
    last_us = min_us if max_us is None else max_us
    date, hour = partition_of(min_us)
    key = f"tenant={tenant}/date={date}/hour={hour:02d}/{min_us}-{last_us}-{uuid.uuid4().hex}-f900-x0.parquet"
    made = ObjectEntry(key, 4096, tenant, date, hour, 7, min_us, last_us, T0_US)
    return replace(made, **changes)


def broken() -> None:
    raise Unavailable("the connection broke")


# ------------------------------------------------------------------------------------------------------------- commits
def test_a_commit_stores_objects_and_offsets_together(world: Harness) -> None:
    writer, stored = world.catalog.writer(), entry(T0_US, T0_US + 5)
    version = writer.commit("log", [stored], {0: Advance(0, 10), 3: Advance(0, 2)})
    snapshot = world.catalog.snapshot()
    assert snapshot.version == version
    assert snapshot.objects(None, None, None) == [stored]
    assert snapshot.next_offsets("log", [0, 1, 3]) == {0: 10, 1: None, 3: 2}
    assert snapshot.next_offset("log", 0) == 10
    assert snapshot.next_offset("other log", 0) is None


def test_versions_grow_by_one_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    first = writer.commit("log", [], {0: Advance(0, 0)})
    assert writer.commit("log", [entry()], {0: Advance(0, 1)}) == first + 1
    assert world.catalog.writer().commit("log", [entry()], {0: Advance(1, 2)}) == first + 2
    assert writer.commit("log", [entry()], {0: Advance(2, 3)}) == first + 3


def test_the_first_commit_names_where_the_log_starts(world: Harness) -> None:
    writer = world.catalog.writer()
    assert writer.next_offsets("log", [0]) == {0: None}
    writer.commit("log", [], {0: Advance(17, 17)})
    assert writer.next_offsets("log", [0]) == {0: 17}
    assert world.keys_now() == []


def test_advances_without_objects_are_a_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit("log", [], {0: Advance(0, 0)})
    writer.commit("log", [], {0: Advance(0, 500)})
    assert world.stand(0) == 500


def test_a_step_that_stays_in_place_is_a_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit("log", [], {0: Advance(4, 4)})
    writer.commit("log", [], {0: Advance(4, 4)})
    assert world.stand(0) == 4


def test_objects_without_advances_are_a_commit_and_a_key_is_one_object(world: Harness) -> None:
    writer, stored = world.catalog.writer(), entry()
    writer.commit("log", [stored], {0: Advance(0, 1)})
    world.catalog.snapshot()
    writer.commit("log", [stored], {})
    assert world.catalog.snapshot().objects(None, None, None) == [stored]
    assert world.catalog.writer().snapshot().objects(None, None, None) == [stored]


def test_logs_do_not_touch_each_other(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit("one", [], {0: Advance(0, 10)})
    writer.commit("two", [], {0: Advance(0, 20)})
    assert (world.stand(0, "one"), world.stand(0, "two")) == (10, 20)


# ----------------------------------------------------------------------------------------------------------- the fence
@pytest.mark.parametrize("first", [0, 4, 6, 99])
def test_a_virtual_node_that_stands_elsewhere_fences(world: Harness, first: int) -> None:
    world.catalog.writer().commit("log", [], {0: Advance(0, 5)})
    before = world.catalog.snapshot().version
    with pytest.raises(Fenced):
        world.catalog.writer().commit("log", [entry()], {0: Advance(first, 100)})
    assert world.stand(0) == 5
    assert world.keys_now() == []
    assert world.catalog.snapshot().version == before


def test_one_stale_virtual_node_refuses_the_whole_commit(world: Harness) -> None:
    world.catalog.writer().commit("log", [], {0: Advance(0, 5), 1: Advance(0, 5)})
    with pytest.raises(Fenced):
        world.catalog.writer().commit("log", [entry()], {0: Advance(5, 9), 1: Advance(4, 9)})
    assert (world.stand(0), world.stand(1)) == (5, 5)
    assert world.keys_now() == []


def test_a_zombie_that_sleeps_through_its_successors_commits_is_fenced(world: Harness) -> None:
    zombie = world.catalog.writer()
    zombie.commit("log", [entry()], {0: Advance(0, 10)})
    successor, theirs = world.catalog.writer(), entry()
    assert successor.next_offsets("log", [0]) == {0: 10}
    successor.commit("log", [theirs], {0: Advance(10, 20)})
    with pytest.raises(Fenced):
        zombie.commit("log", [entry()], {0: Advance(10, 15)})
    assert world.stand(0) == 20
    assert len(world.keys_now()) == 2


def test_a_commit_between_check_and_commit_is_a_conflict(world: Harness) -> None:
    """Both writers passed the check; the second one to commit is refused. Would it refresh in between, both were in."""
    world.catalog.writer().commit("log", [], {0: Advance(0, 0)})
    slow, fast, theirs = world.catalog.writer(), world.catalog.writer(), entry()
    world.strikes["before"] = lambda: fast.commit("log", [theirs], {0: Advance(0, 8)})
    with pytest.raises(UnknownOutcome):
        slow.commit("log", [entry()], {0: Advance(0, 8)})
    assert not world.strikes
    assert world.keys_now() == [theirs.key]
    assert world.stand(0) == 8


def test_many_commits_of_others_between_check_and_commit_do_not_hide_the_conflict(world: Harness) -> None:
    world.catalog.writer().commit("log", [], {0: Advance(0, 0)})
    slow, fast, theirs = world.catalog.writer(), world.catalog.writer(), entry()

    def others() -> None:
        fast.commit("log", [theirs], {0: Advance(0, 8)})
        for vnode in range(1, 12):
            fast.commit("log", [], {vnode: Advance(0, 1)})
        world.catalog.snapshot()
        slow_snapshot.append(slow.snapshot().version)  # a look by the writer itself must not refresh its pinned table

    slow_snapshot: list[int] = []
    world.strikes["before"] = others
    with pytest.raises(UnknownOutcome):
        slow.commit("log", [entry()], {0: Advance(0, 9)})
    assert slow_snapshot
    assert world.keys_now() == [theirs.key]


def test_two_first_commits_of_a_virtual_node_are_a_conflict(world: Harness) -> None:
    slow, fast = world.catalog.writer(), world.catalog.writer()
    world.strikes["before"] = lambda: fast.commit("log", [], {0: Advance(3, 3)})
    with pytest.raises(UnknownOutcome):
        slow.commit("log", [], {0: Advance(0, 0)})
    assert world.stand(0) == 3


def test_a_refused_writer_goes_on_after_reading_the_catalog(world: Harness) -> None:
    world.catalog.writer().commit("log", [], {0: Advance(0, 0)})
    slow, fast = world.catalog.writer(), world.catalog.writer()
    world.strikes["before"] = lambda: fast.commit("log", [entry()], {0: Advance(0, 8)})
    with pytest.raises(UnknownOutcome):
        slow.commit("log", [entry()], {0: Advance(0, 9)})
    assert slow.next_offsets("log", [0]) == {0: 8}
    mine = entry()
    slow.commit("log", [mine], {0: Advance(8, 9)})
    assert mine.key in world.keys_now()


def test_other_virtual_nodes_in_between_are_no_conflict(world: Harness) -> None:
    slow, fast, mine, theirs = world.catalog.writer(), world.catalog.writer(), entry(), entry()
    world.strikes["before"] = lambda: fast.commit("log", [theirs], {1: Advance(0, 8)})
    slow.commit("log", [mine], {0: Advance(0, 8)})
    assert world.keys_now() == sorted([mine.key, theirs.key])
    assert (world.stand(0), world.stand(1)) == (8, 8)


# --------------------------------------------------------------------------------------------------- unknown outcomes
def test_a_commit_that_breaks_before_it_takes_effect_is_unknown_and_not_there(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit("log", [], {0: Advance(0, 0)})
    world.strikes["before"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit("log", [entry()], {0: Advance(0, 5)})
    assert writer.next_offsets("log", [0]) == {0: 0}
    mine = entry()
    writer.commit("log", [mine], {0: Advance(0, 5)})
    assert world.keys_now() == [mine.key]


def test_a_lost_answer_is_unknown_and_there(world: Harness) -> None:
    writer, mine = world.catalog.writer(), entry()
    writer.commit("log", [], {0: Advance(0, 0)})
    world.strikes["after"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit("log", [mine], {0: Advance(0, 5)})
    assert writer.next_offsets("log", [0]) == {0: 5}
    assert [found.key for found in writer.snapshot().objects(None, None, None)] == [mine.key]
    with pytest.raises(Fenced):
        writer.commit("log", [entry()], {0: Advance(0, 5)})
    writer.commit("log", [entry()], {0: Advance(5, 6)})
    assert len(world.keys_now()) == 2


# ------------------------------------------------------------------------------------------------------------ removals
def stored(world: Harness, count: int = 2) -> list[ObjectEntry]:
    entries = [entry(T0_US + i) for i in range(count)]
    world.catalog.writer().commit("log", entries, {0: Advance(0, count)})
    return entries


def test_a_removal_replaces_objects_at_once(world: Harness) -> None:
    old, new = stored(world, 3), entry(T0_US, T0_US + 1)
    writer = world.catalog.writer()
    view = writer.maintenance_view(5)
    assert sorted(found.key for found in view.objects(None, None, None)) == world.keys_now()
    version = writer.commit_removal([new], old[:2], 5)
    snapshot = world.catalog.snapshot()
    assert snapshot.version == version == view.version + 1
    assert world.keys_now() == sorted([new.key, old[2].key])
    assert snapshot.next_offset("log", 0) == 3


def test_removed_objects_are_named_with_their_time(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    assert writer.removed() == []
    for number, gone in enumerate(old):
        writer.maintenance_view(number)
        writer.commit_removal([], [gone], number)
    named = world.catalog.writer().removed()
    assert sorted(gone.key for gone in named) == sorted(gone.key for gone in old)
    assert all(gone.removed_us > T0_US for gone in named)
    assert writer.removed() == named


@pytest.mark.parametrize("buckets", [(7, 7), (7, 8)])
def test_of_two_compactions_of_one_object_one_commits(world: Harness, buckets: tuple[int, int]) -> None:
    (old,) = stored(world, 1)
    one, two, new = world.catalog.writer(), world.catalog.writer(), entry()
    one.maintenance_view(buckets[0])
    two.maintenance_view(buckets[1])
    one.commit_removal([new], [old], buckets[0])
    with pytest.raises((Fenced, UnknownOutcome)):
        two.commit_removal([entry()], [old], buckets[1])
    assert world.keys_now() == [new.key]


def test_removals_that_only_share_their_bucket_conflict(world: Harness) -> None:
    stored(world, 1)
    one, two, new = world.catalog.writer(), world.catalog.writer(), entry()
    one.maintenance_view(7)
    two.maintenance_view(7)
    one.commit_removal([new], [], 7)
    with pytest.raises((Fenced, UnknownOutcome)):
        two.commit_removal([entry()], [], 7)
    assert new.key in world.keys_now()
    assert len(world.keys_now()) == 2


def test_a_compaction_at_the_commit_point_of_another_is_refused(world: Harness) -> None:
    (old,) = stored(world, 1)
    slow, fast, new = world.catalog.writer(), world.catalog.writer(), entry()

    def overtake() -> None:
        fast.maintenance_view(7)
        fast.commit_removal([new], [old], 7)

    slow.maintenance_view(7)
    world.strikes["before"] = overtake
    with pytest.raises(UnknownOutcome):
        slow.commit_removal([entry()], [old], 7)
    assert world.keys_now() == [new.key]


def test_a_view_is_not_refreshed_by_anything(world: Harness) -> None:
    """The doubling that was measured: list, refresh, read n, commit. A view goes with its own n and version."""
    (old,) = stored(world, 1)
    slow, fast, new = world.catalog.writer(), world.catalog.writer(), entry()
    slow.maintenance_view(7)
    fast.maintenance_view(7)
    fast.commit_removal([new], [old], 7)
    slow.next_offsets("log", [0])
    slow.snapshot()
    slow.commit("log", [], {1: Advance(0, 0)})
    slow.removed()
    with pytest.raises((Fenced, UnknownOutcome)):
        slow.commit_removal([entry()], [old], 7)
    assert world.keys_now() == [new.key]


def test_a_removal_needs_a_view_of_its_bucket_and_a_view_serves_once(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    with pytest.raises(Fenced):
        writer.commit_removal([], old[:1], 1)
    writer.maintenance_view(1)
    with pytest.raises(Fenced):
        writer.commit_removal([], old[:1], 2)
    writer.maintenance_view(1)
    writer.commit_removal([], old[:1], 1)
    with pytest.raises(Fenced):
        writer.commit_removal([], old[1:], 1)
    assert world.keys_now() == [old[1].key]


def test_only_objects_of_the_view_are_removed(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    writer.maintenance_view(1)
    with pytest.raises(Fenced):
        writer.commit_removal([entry()], [entry()], 1)
    assert world.keys_now() == sorted(found.key for found in old)


def test_a_removal_and_a_flush_into_one_partition_both_commit(world: Harness) -> None:
    (old,) = stored(world, 1)
    compactor, writer, new, flushed = world.catalog.writer(), world.catalog.writer(), entry(), entry()
    compactor.maintenance_view(7)
    writer.commit("log", [flushed], {0: Advance(1, 2)})
    compactor.commit_removal([new], [old], 7)
    assert world.keys_now() == sorted([new.key, flushed.key])
    assert world.stand(0) == 2


def test_a_removal_between_check_and_commit_of_a_flush_lets_both_in(world: Harness) -> None:
    (old,) = stored(world, 1)
    compactor, writer, new, flushed = world.catalog.writer(), world.catalog.writer(), entry(), entry()

    def remove() -> None:
        compactor.maintenance_view(7)
        compactor.commit_removal([new], [old], 7)

    world.strikes["before"] = remove
    writer.commit("log", [flushed], {0: Advance(1, 2)})
    assert world.keys_now() == sorted([new.key, flushed.key])
    assert world.stand(0) == 2


def test_a_lost_answer_of_a_removal_is_unknown_and_starts_over(world: Harness) -> None:
    (old,) = stored(world, 1)
    writer, new = world.catalog.writer(), entry()
    writer.maintenance_view(7)
    world.strikes["after"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit_removal([new], [old], 7)
    with pytest.raises(Fenced):
        writer.commit_removal([entry()], [old], 7)
    view = writer.maintenance_view(7)
    assert [found.key for found in view.objects(None, None, None)] == [new.key]
    with pytest.raises(Fenced):
        writer.commit_removal([entry()], [old], 7)
    assert world.keys_now() == [new.key]


# ----------------------------------------------------------------------------------------------------------- snapshots
def test_a_snapshot_never_changes(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    frozen, empty = world.catalog.snapshot(), world.catalog.snapshot()
    view = (frozen.version, frozen.objects(None, None, None), frozen.next_offsets("log", [0, 1]))
    writer.maintenance_view(0)
    writer.commit_removal([entry()], old[:1], 0)
    writer.commit("log", [entry()], {0: Advance(2, 9), 1: Advance(0, 4)})
    assert world.catalog.snapshot().version == frozen.version + 2
    assert (frozen.version, frozen.objects(None, None, None), frozen.next_offsets("log", [0, 1])) == view
    # Also what was never asked for before the commits: the frozen version knew nothing of virtual node 1.
    assert empty.next_offset("log", 1) is None
    assert empty.next_offset("log", 0) == 2


def test_a_snapshot_sees_every_commit_that_ended_before_it(world: Harness) -> None:
    writer = world.catalog.writer()
    for step in range(30):
        writer.commit("log", [entry()], {0: Advance(step, step + 1)})
        snapshot = world.catalog.snapshot()
        assert snapshot.next_offset("log", 0) == step + 1
        assert len(snapshot.objects(None, None, None)) == step + 1


@pytest.mark.parametrize(
    ("start_us", "end_us", "expected"),
    [
        (None, None, True),
        (T0_US + 200, None, True),  # max is inclusive
        (T0_US + 201, None, False),
        (None, T0_US + 101, True),
        (None, T0_US + 100, False),  # end is exclusive
        (T0_US + 150, T0_US + 151, True),
        (T0_US, T0_US + 50, False),
        (T0_US + 150, T0_US + 150, False),  # no time at all
        (T0_US + 160, T0_US + 140, False),
    ],
)
def test_objects_are_pruned_by_time(world: Harness, start_us: int | None, end_us: int | None, expected: bool) -> None:
    found = entry(T0_US + 100, T0_US + 200)
    world.catalog.snapshot()
    world.catalog.writer().commit("log", [found], {0: Advance(0, 1)})
    assert world.catalog.snapshot().objects("default", start_us, end_us) == [found] * expected
    assert world.catalog.writer().snapshot().objects("default", start_us, end_us) == [found] * expected


def test_objects_are_pruned_by_tenant(world: Harness) -> None:
    mine, yours = entry(tenant="a"), entry(tenant="ab")
    world.catalog.writer().commit("log", [mine, yours], {0: Advance(0, 1)})
    for snapshot in (world.catalog.snapshot(), world.catalog.writer().snapshot()):
        assert snapshot.objects("a", None, None) == [mine]
        assert snapshot.objects("ab", None, None) == [yours]
        assert snapshot.objects("b", None, None) == []
        assert len(snapshot.objects(None, None, None)) == 2
        assert [snapshot.count(tenant) for tenant in ("a", "ab", "b", None)] == [1, 1, 0, 2]
        chosen = snapshot.select("ab", None, None)
        assert (chosen.sizes.tolist(), chosen.min_us.tolist()) == ([yours.size], [yours.min_us])
        assert (chosen.max_us.tolist(), chosen.entries([0])) == ([yours.max_us], [yours])
        assert chosen.modified_us.tolist() == [yours.modified_us]


# --------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": ".."},
        {"tenant": "a/b"},
        {"tenant": "A"},
        {"tenant": ""},
        {"date": ".."},
        {"date": "2026-13-01"},
        {"date": "2026-9-1"},
        {"hour": 24},
        {"hour": -1},
        {"key": "tenant=default/../x"},
        {"key": "/tenant=default/x"},
        {"key": "tenant=other/x"},
        {"max_us": T0_US - 1},
        {"rows": -1},
    ],
)
def test_names_and_numbers_are_checked(world: Harness, changes: dict[str, Any]) -> None:
    writer = world.catalog.writer()
    wrong = entry(**changes) if "tenant" not in changes else replace(entry(), **changes)
    with pytest.raises(BadRequest):
        writer.commit("log", [wrong], {0: Advance(0, 1)})
    writer.maintenance_view(0)
    with pytest.raises(BadRequest):
        writer.commit_removal([wrong], [], 0)
    assert world.keys_now() == []


@pytest.mark.parametrize("step", [Advance(5, 4), Advance(-1, 4)])
def test_a_step_backwards_is_refused(world: Harness, step: Advance) -> None:
    with pytest.raises(BadRequest):
        world.catalog.writer().commit("log", [], {0: step})


@pytest.mark.parametrize("bucket", [-1, 256])
def test_buckets_are_checked(world: Harness, bucket: int) -> None:
    with pytest.raises(BadRequest):
        world.catalog.writer().maintenance_view(bucket)


# ---------------------------------------------------------------------------------------------------------- at one time
def test_many_writers_at_once_all_get_in(world: Harness) -> None:
    commits, writers = 6, 8

    def work(vnode: int) -> None:
        writer = world.catalog.writer()
        for step in range(commits):
            for _ in range(50):
                try:
                    writer.commit("log", [entry(T0_US + vnode)], {vnode: Advance(step, step + 1)})
                    break
                except UnknownOutcome:
                    if writer.next_offsets("log", [vnode])[vnode] == step + 1:
                        break
            else:
                raise AssertionError("never got in")

    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(work, vnode) for vnode in range(writers)]:
            done.result(DEADLINE_S * 4)
    snapshot = world.catalog.snapshot()
    assert snapshot.next_offsets("log", range(writers)) == dict.fromkeys(range(writers), commits)
    assert len(snapshot.objects(None, None, None)) == writers * commits


def test_of_many_writers_of_one_virtual_node_one_gets_in(world: Harness) -> None:
    world.catalog.writer().commit("log", [], {0: Advance(0, 0)})
    barrier = threading.Barrier(6)

    def work(_: int) -> bool:
        writer = world.catalog.writer()
        writer.next_offsets("log", [0])
        barrier.wait(DEADLINE_S)
        try:
            writer.commit("log", [entry()], {0: Advance(0, 1)})
        except (Fenced, UnknownOutcome):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 1
    assert len(world.keys_now()) == 1


def test_one_writer_object_takes_one_commit_at_a_time(world: Harness) -> None:
    writer = world.catalog.writer()
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda v: writer.commit("log", [entry()], {v: Advance(0, 1)}), range(12)))
    assert len(set(versions)) == 12
    assert len(world.keys_now()) == 12


def test_exclusive_keeps_commits_out_but_not_snapshots(world: Harness) -> None:
    if world.name in CANNOT_EXCLUDE:
        with world.catalog.exclusive():
            world.catalog.writer().commit("log", [entry()], {0: Advance(0, 1)})
        assert len(world.keys_now()) == 1
        return
    entered, committed = threading.Event(), threading.Event()
    writer: CatalogWriter = world.catalog.writer()

    def commit() -> None:
        entered.set()
        writer.commit("log", [entry()], {0: Advance(0, 1)})
        committed.set()

    thread = threading.Thread(target=commit)
    with world.catalog.exclusive():
        thread.start()
        assert entered.wait(DEADLINE_S)
        assert not committed.wait(0.5)
        assert world.keys_now() == []
    assert committed.wait(DEADLINE_S)
    thread.join()
    assert len(world.keys_now()) == 1
