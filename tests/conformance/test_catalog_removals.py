"""The Catalog port, sentence by sentence, over every catalog: objects that are replaced or taken out."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import Fenced, UnknownOutcome
from ess_ray.ports import Advance
from tests.conformance.catalogs import CATALOGS, T0_US, Harness, broken, entry, stored


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest) -> Harness:
    """One empty catalog of each kind."""
    return Harness(request.param, request)


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
