"""The Catalog port, sentence by sentence, over every catalog: objects that are replaced or taken out."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import Fenced, UnknownOutcome
from ess_ray.ports import Advance, vnode_advances
from ess_ray.table.replacing import count_up
from tests.conformance.catalogs import CATALOGS, T0_US, Harness, broken, entry, stored


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest) -> Harness:
    """One empty catalog of each kind."""
    return Harness(request.param, request)


def test_a_removal_replaces_objects_at_once(world: Harness) -> None:
    old, new = stored(world, 3), entry(T0_US, T0_US + 1)
    writer = world.catalog.writer()
    view = writer.view()
    assert sorted(found.key for found in view.objects(None, None, None)) == world.keys_now()
    version = writer.commit([new], old[:2], count_up(view, 5))
    snapshot = world.catalog.snapshot()
    assert snapshot.version == version == view.version + 1
    assert world.keys_now() == sorted([new.key, old[2].key])
    assert snapshot.next_offset("log", 0) == 3


def test_removed_objects_are_named_with_their_time(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    assert writer.removed() == []
    for number, gone in enumerate(old):
        view = writer.view()
        writer.commit([], [gone], count_up(view, number))
    named = world.catalog.writer().removed()
    assert sorted(gone.key for gone in named) == sorted(gone.key for gone in old)
    assert all(gone.removed_us > T0_US for gone in named)
    assert writer.removed() == named


@pytest.mark.parametrize("buckets", [(7, 7), (7, 8)])
def test_of_two_compactions_of_one_object_one_commits(world: Harness, buckets: tuple[int, int]) -> None:
    (old,) = stored(world, 1)
    one, two, new = world.catalog.writer(), world.catalog.writer(), entry()
    one_view = one.view()
    two_view = two.view()
    one.commit([new], [old], count_up(one_view, buckets[0]))
    with pytest.raises((Fenced, UnknownOutcome)):
        two.commit([entry()], [old], count_up(two_view, buckets[1]))
    assert world.keys_now() == [new.key]


def test_removals_that_only_share_their_bucket_conflict(world: Harness) -> None:
    stored(world, 1)
    one, two, new = world.catalog.writer(), world.catalog.writer(), entry()
    one_view = one.view()
    two_view = two.view()
    one.commit([new], [], count_up(one_view, 7))
    with pytest.raises((Fenced, UnknownOutcome)):
        two.commit([entry()], [], count_up(two_view, 7))
    assert new.key in world.keys_now()
    assert len(world.keys_now()) == 2


def test_a_compaction_at_the_commit_point_of_another_is_refused(world: Harness) -> None:
    (old,) = stored(world, 1)
    slow, fast, new = world.catalog.writer(), world.catalog.writer(), entry()

    def overtake() -> None:
        fast_view = fast.view()
        fast.commit([new], [old], count_up(fast_view, 7))

    slow_view = slow.view()
    world.strikes["before"] = overtake
    with pytest.raises(UnknownOutcome):
        slow.commit([entry()], [old], count_up(slow_view, 7))
    assert world.keys_now() == [new.key]


def test_a_view_is_not_refreshed_by_anything(world: Harness) -> None:
    """The doubling that was measured: list, refresh, read n, commit. A view goes with its own n and version."""
    (old,) = stored(world, 1)
    slow, fast, new = world.catalog.writer(), world.catalog.writer(), entry()
    slow_view = slow.view()
    fast_view = fast.view()
    fast.commit([new], [old], count_up(fast_view, 7))
    slow.next_offsets("log", [0])
    slow.snapshot()
    slow.commit([], [], vnode_advances("log", {1: Advance(0, 0)}))
    slow.removed()
    with pytest.raises((Fenced, UnknownOutcome)):
        slow.commit([entry()], [old], count_up(slow_view, 7))
    assert world.keys_now() == [new.key]


def test_a_removal_needs_a_view_and_the_number_in_it_and_a_view_serves_once(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    with pytest.raises(Fenced):
        writer.commit([], old[:1], count_up(world.catalog.snapshot(), 1))
    view = writer.view()
    writer.commit([], [], count_up(view, 1))
    with pytest.raises(Fenced):
        writer.commit([], old[:1], {"maint-1": Advance(1, 2)})
    with pytest.raises(Fenced):
        writer.commit([], old[:1], count_up(view, 2))
    view = writer.view()
    writer.commit([], old[:1], count_up(view, 1))
    with pytest.raises(Fenced):
        writer.commit([], old[1:], count_up(view, 1))
    assert world.keys_now() == [old[1].key]


def test_only_objects_of_the_view_are_removed(world: Harness) -> None:
    old, writer = stored(world), world.catalog.writer()
    view = writer.view()
    with pytest.raises(Fenced):
        writer.commit([entry()], [entry()], count_up(view, 1))
    assert world.keys_now() == sorted(found.key for found in old)


def test_a_removal_and_a_flush_into_one_partition_both_commit(world: Harness) -> None:
    (old,) = stored(world, 1)
    compactor, writer, new, flushed = world.catalog.writer(), world.catalog.writer(), entry(), entry()
    compactor_view = compactor.view()
    writer.commit([flushed], [], vnode_advances("log", {0: Advance(1, 2)}))
    compactor.commit([new], [old], count_up(compactor_view, 7))
    assert world.keys_now() == sorted([new.key, flushed.key])
    assert world.stand(0) == 2


def test_a_removal_between_check_and_commit_of_a_flush_lets_both_in(world: Harness) -> None:
    (old,) = stored(world, 1)
    compactor, writer, new, flushed = world.catalog.writer(), world.catalog.writer(), entry(), entry()

    def remove() -> None:
        compactor_view = compactor.view()
        compactor.commit([new], [old], count_up(compactor_view, 7))

    world.strikes["before"] = remove
    writer.commit([flushed], [], vnode_advances("log", {0: Advance(1, 2)}))
    assert world.keys_now() == sorted([new.key, flushed.key])
    assert world.stand(0) == 2


def test_a_lost_answer_of_a_removal_is_unknown_and_starts_over(world: Harness) -> None:
    (old,) = stored(world, 1)
    writer, new = world.catalog.writer(), entry()
    view = writer.view()
    world.strikes["after"] = broken
    with pytest.raises(UnknownOutcome):
        writer.commit([new], [old], count_up(view, 7))
    with pytest.raises(Fenced):
        writer.commit([entry()], [old], count_up(view, 7))
    view = writer.view()
    assert [found.key for found in view.objects(None, None, None)] == [new.key]
    with pytest.raises(Fenced):
        writer.commit([entry()], [old], count_up(view, 7))
    assert world.keys_now() == [new.key]
