"""The Catalog port, sentence by sentence, over every catalog: the fence on which exactly-once rests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, Fenced, UnknownOutcome
from ess_ray.ports import ARRIVAL_SLACK_US, Advance, CatalogWriter, vnode_advances
from ess_ray.table.replacing import count_up
from tests.conformance.catalogs import CANNOT_EXCLUDE, CATALOGS, DEADLINE_S, T0_US, Harness, broken, entry, stored


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest) -> Harness:
    """One empty catalog of each kind."""
    return Harness(request.param, request)


# ------------------------------------------------------------------------------------------------------------- commits
def test_a_commit_stores_objects_and_offsets_together(world: Harness) -> None:
    writer, stored = world.catalog.writer(), entry(T0_US, T0_US + 5)
    version = writer.commit([stored], [], vnode_advances("log", {0: Advance(0, 10), 3: Advance(0, 2)}))
    snapshot = world.catalog.snapshot()
    assert snapshot.version == version
    assert snapshot.objects(None, None, None) == [stored]
    assert snapshot.next_offsets("log", [0, 1, 3]) == {0: 10, 1: None, 3: 2}
    assert snapshot.next_offset("log", 0) == 10
    assert snapshot.next_offset("other log", 0) is None


def test_versions_grow_by_one_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    first = writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    assert writer.commit([entry()], [], vnode_advances("log", {0: Advance(0, 1)})) == first + 1
    assert world.catalog.writer().commit([entry()], [], vnode_advances("log", {0: Advance(1, 2)})) == first + 2
    assert writer.commit([entry()], [], vnode_advances("log", {0: Advance(2, 3)})) == first + 3


def test_the_first_commit_names_where_the_log_starts(world: Harness) -> None:
    writer = world.catalog.writer()
    assert writer.next_offsets("log", [0]) == {0: None}
    writer.commit([], [], vnode_advances("log", {0: Advance(17, 17)}))
    assert writer.next_offsets("log", [0]) == {0: 17}
    assert world.keys_now() == []


def test_advances_without_objects_are_a_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 500)}))
    assert world.stand(0) == 500


def test_a_step_that_stays_in_place_is_a_commit(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit([], [], vnode_advances("log", {0: Advance(4, 4)}))
    writer.commit([], [], vnode_advances("log", {0: Advance(4, 4)}))
    assert world.stand(0) == 4


def test_objects_without_advances_are_a_commit_and_a_key_is_one_object(world: Harness) -> None:
    writer, stored = world.catalog.writer(), entry()
    writer.commit([stored], [], vnode_advances("log", {0: Advance(0, 1)}))
    world.catalog.snapshot()
    writer.commit([stored], [], {})
    assert world.catalog.snapshot().objects(None, None, None) == [stored]
    assert world.catalog.writer().snapshot().objects(None, None, None) == [stored]


def test_logs_do_not_touch_each_other(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit([], [], vnode_advances("one", {0: Advance(0, 10)}))
    writer.commit([], [], vnode_advances("two", {0: Advance(0, 20)}))
    assert (world.stand(0, "one"), world.stand(0, "two")) == (10, 20)


# ----------------------------------------------------------------------------------------------------------- the fence
@pytest.mark.parametrize("first", [0, 4, 6, 99])
def test_a_virtual_node_that_stands_elsewhere_fences(world: Harness, first: int) -> None:
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 5)}))
    before = world.catalog.snapshot().version
    with pytest.raises(Fenced):
        world.catalog.writer().commit([entry()], [], vnode_advances("log", {0: Advance(first, 100)}))
    assert world.stand(0) == 5
    assert world.keys_now() == []
    assert world.catalog.snapshot().version == before


def test_one_stale_virtual_node_refuses_the_whole_commit(world: Harness) -> None:
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 5), 1: Advance(0, 5)}))
    with pytest.raises(Fenced):
        world.catalog.writer().commit([entry()], [], vnode_advances("log", {0: Advance(5, 9), 1: Advance(4, 9)}))
    assert (world.stand(0), world.stand(1)) == (5, 5)
    assert world.keys_now() == []


def test_a_zombie_that_sleeps_through_its_successors_commits_is_fenced(world: Harness) -> None:
    zombie = world.catalog.writer()
    zombie.commit([entry()], [], vnode_advances("log", {0: Advance(0, 10)}))
    successor, theirs = world.catalog.writer(), entry()
    assert successor.next_offsets("log", [0]) == {0: 10}
    successor.commit([theirs], [], vnode_advances("log", {0: Advance(10, 20)}))
    with pytest.raises(Fenced):
        zombie.commit([entry()], [], vnode_advances("log", {0: Advance(10, 15)}))
    assert world.stand(0) == 20
    assert len(world.keys_now()) == 2


def test_a_commit_between_check_and_commit_is_a_conflict(world: Harness) -> None:
    """Both writers passed the check; the second one to commit is refused. Would it refresh in between, both were in."""
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    slow, fast, theirs = world.catalog.writer(), world.catalog.writer(), entry()
    world.strikes["before"] = lambda: fast.commit([theirs], [], vnode_advances("log", {0: Advance(0, 8)}))
    with pytest.raises(UnknownOutcome):
        slow.commit([entry()], [], vnode_advances("log", {0: Advance(0, 8)}))
    assert not world.strikes
    assert world.keys_now() == [theirs.key]
    assert world.stand(0) == 8


def test_many_commits_of_others_between_check_and_commit_do_not_hide_the_conflict(world: Harness) -> None:
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    slow, fast, theirs = world.catalog.writer(), world.catalog.writer(), entry()

    def others() -> None:
        fast.commit([theirs], [], vnode_advances("log", {0: Advance(0, 8)}))
        for vnode in range(1, 12):
            fast.commit([], [], vnode_advances("log", {vnode: Advance(0, 1)}))
        world.catalog.snapshot()
        slow_snapshot.append(slow.snapshot().version)  # a look by the writer itself must not refresh its pinned table

    slow_snapshot: list[int] = []
    world.strikes["before"] = others
    with pytest.raises(UnknownOutcome):
        slow.commit([entry()], [], vnode_advances("log", {0: Advance(0, 9)}))
    assert slow_snapshot
    assert world.keys_now() == [theirs.key]


def test_two_first_commits_of_a_virtual_node_are_a_conflict(world: Harness) -> None:
    slow, fast = world.catalog.writer(), world.catalog.writer()
    world.strikes["before"] = lambda: fast.commit([], [], vnode_advances("log", {0: Advance(3, 3)}))
    with pytest.raises(UnknownOutcome):
        slow.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    assert world.stand(0) == 3


def test_a_refused_writer_goes_on_after_reading_the_catalog(world: Harness) -> None:
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    slow, fast = world.catalog.writer(), world.catalog.writer()
    world.strikes["before"] = lambda: fast.commit([entry()], [], vnode_advances("log", {0: Advance(0, 8)}))
    with pytest.raises(UnknownOutcome):
        slow.commit([entry()], [], vnode_advances("log", {0: Advance(0, 9)}))
    assert slow.next_offsets("log", [0]) == {0: 8}
    mine = entry()
    slow.commit([mine], [], vnode_advances("log", {0: Advance(8, 9)}))
    assert mine.key in world.keys_now()


def test_other_virtual_nodes_in_between_are_no_conflict(world: Harness) -> None:
    slow, fast, mine, theirs = world.catalog.writer(), world.catalog.writer(), entry(), entry()
    world.strikes["before"] = lambda: fast.commit([theirs], [], vnode_advances("log", {1: Advance(0, 8)}))
    slow.commit([mine], [], vnode_advances("log", {0: Advance(0, 8)}))
    assert world.keys_now() == sorted([mine.key, theirs.key])
    assert (world.stand(0), world.stand(1)) == (8, 8)


# --------------------------------------------------------------------------------------------------- unknown outcomes
def test_a_commit_that_breaks_before_it_takes_effect_is_unknown_and_not_there(world: Harness) -> None:
    writer = world.catalog.writer()
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    world.strikes["before"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit([entry()], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert writer.next_offsets("log", [0]) == {0: 0}
    mine = entry()
    writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert world.keys_now() == [mine.key]


def test_a_lost_answer_is_unknown_and_there(world: Harness) -> None:
    writer, mine = world.catalog.writer(), entry()
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    world.strikes["after"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert writer.next_offsets("log", [0]) == {0: 5}
    assert [found.key for found in writer.snapshot().objects(None, None, None)] == [mine.key]
    with pytest.raises(Fenced):
        writer.commit([entry()], [], vnode_advances("log", {0: Advance(0, 5)}))
    writer.commit([entry()], [], vnode_advances("log", {0: Advance(5, 6)}))
    assert len(world.keys_now()) == 2


# ----------------------------------------------------------------------------------------------------------- snapshots
def test_a_snapshot_never_changes(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    frozen, empty = world.catalog.snapshot(), world.catalog.snapshot()
    told = (frozen.version, frozen.objects(None, None, None), frozen.next_offsets("log", [0, 1]))
    view = writer.view()
    writer.commit([entry()], old[:1], count_up(view, 0))
    writer.commit([entry()], [], vnode_advances("log", {0: Advance(2, 9), 1: Advance(0, 4)}))
    assert world.catalog.snapshot().version == frozen.version + 2
    assert (frozen.version, frozen.objects(None, None, None), frozen.next_offsets("log", [0, 1])) == told
    # Also what was never asked for before the commits: the frozen version knew nothing of virtual node 1.
    assert empty.next_offset("log", 1) is None
    assert empty.next_offset("log", 0) == 2


def test_a_snapshot_sees_every_commit_that_ended_before_it(world: Harness) -> None:
    writer = world.catalog.writer()
    for step in range(30):
        writer.commit([entry()], [], vnode_advances("log", {0: Advance(step, step + 1)}))
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
    world.catalog.writer().commit([found], [], vnode_advances("log", {0: Advance(0, 1)}))
    assert world.catalog.snapshot().objects("default", start_us, end_us) == [found] * expected
    assert world.catalog.writer().snapshot().objects("default", start_us, end_us) == [found] * expected


def test_objects_are_pruned_by_tenant(world: Harness) -> None:
    mine, yours = entry(tenant="a"), entry(tenant="ab")
    world.catalog.writer().commit([mine, yours], [], vnode_advances("log", {0: Advance(0, 1)}))
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
        writer.commit([wrong], [], vnode_advances("log", {0: Advance(0, 1)}))
    view = writer.view()
    with pytest.raises(BadRequest):
        writer.commit([wrong], [], count_up(view, 0))
    assert world.keys_now() == []


@pytest.mark.parametrize("step", [Advance(5, 4), Advance(-1, 4)])
def test_a_step_backwards_is_refused(world: Harness, step: Advance) -> None:
    with pytest.raises(BadRequest):
        world.catalog.writer().commit([], [], vnode_advances("log", {0: step}))


# ---------------------------------------------------------------------------------------------------------- at one time
def test_many_writers_at_once_all_get_in(world: Harness) -> None:
    commits, writers = 6, 8

    def work(vnode: int) -> None:
        writer = world.catalog.writer()
        for step in range(commits):
            for _ in range(50):
                try:
                    writer.commit([entry(T0_US + vnode)], [], vnode_advances("log", {vnode: Advance(step, step + 1)}))
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
    world.catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    barrier = threading.Barrier(6)

    def work(_: int) -> bool:
        writer = world.catalog.writer()
        writer.next_offsets("log", [0])
        barrier.wait(DEADLINE_S)
        try:
            writer.commit([entry()], [], vnode_advances("log", {0: Advance(0, 1)}))
        except (Fenced, UnknownOutcome):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 1
    assert len(world.keys_now()) == 1


def test_one_writer_object_takes_one_commit_at_a_time(world: Harness) -> None:
    writer = world.catalog.writer()
    with ThreadPoolExecutor(4) as pool:
        versions = list(
            pool.map(lambda v: writer.commit([entry()], [], vnode_advances("log", {v: Advance(0, 1)})), range(12))
        )
    assert len(set(versions)) == 12
    assert len(world.keys_now()) == 12


def test_exclusive_keeps_commits_out_but_not_snapshots(world: Harness) -> None:
    if world.name in CANNOT_EXCLUDE:
        with world.catalog.exclusive():
            world.catalog.writer().commit([entry()], [], vnode_advances("log", {0: Advance(0, 1)}))
        assert len(world.keys_now()) == 1
        return
    entered, committed = threading.Event(), threading.Event()
    writer: CatalogWriter = world.catalog.writer()

    def commit() -> None:
        entered.set()
        writer.commit([entry()], [], vnode_advances("log", {0: Advance(0, 1)}))
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


def test_when_rows_arrived_comes_back_and_may_be_unknown(world: Harness) -> None:
    known, unknown = entry(T0_US, first_arrival_us=T0_US + 5, last_arrival_us=T0_US + 9), entry(T0_US + 1)
    world.catalog.writer().commit([known, unknown], [], vnode_advances("log", {0: Advance(0, 2)}))
    for snapshot in (world.catalog.snapshot(), world.catalog.writer().snapshot()):
        found = {one.key: one for one in snapshot.objects("default", None, None)}
        assert (found[known.key].first_arrival_us, found[known.key].last_arrival_us) == (T0_US + 5, T0_US + 9)
        assert (found[unknown.key].first_arrival_us, found[unknown.key].last_arrival_us) == (None, None)
        chosen = snapshot.select("default", None, None)
        at = [one.key for one in chosen.entries(range(2))].index(unknown.key)
        earliest, latest = (int(times[at]) for times in chosen.arrivals)
        assert earliest < 0
        assert latest == chosen.modified_us[at] + ARRIVAL_SLACK_US
