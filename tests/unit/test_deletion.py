"""A deletion over store and catalog in memory: what goes, what stays, whatever comes in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ess_ray.core.chunk import StoredRequest, digest_of_id, open_object
from ess_ray.core.event import EVENT_HASH_BYTES
from ess_ray.core.query import All, Query
from ess_ray.ingest.repeats import CLOCK_SLACK_US, WINDOW_US, rebuild
from ess_ray.ports import ScanTask
from ess_ray.record import RequestKey
from ess_ray.search.scan import run_task
from ess_ray.table.compaction import CompactionPolicy, commit, compact
from ess_ray.table.deletion_book import Cut
from ess_ray.table.deletion_bytes import GRACE_US, clear, due_us
from ess_ray.table.retention import expire
from ess_ray.table.verify import verify
from tests.compactions import HOUR_US, T0_US
from tests.deletions import Rig, rig

__all__ = ["rig"]


# ------------------------------------------------------------------------------------------------------ what goes
def test_rows_that_match_go_and_the_others_stay_as_they_were(rig: Rig) -> None:
    rig.store_rows([f"user={n % 3} m{n}" for n in range(20_000)])
    rig.store_rows(["user=1 other", "nothing"], hour=1)
    untouched = rig.store_rows(["nothing at all"], hour=2)
    before = rig.all_rows()
    done = rig.delete('"user=1"')
    assert (done.state, done.rows_deleted, done.objects_rewritten, done.incomplete) == ("done", 6_668, 2, ())
    kept = [n for n, text in enumerate(before.column("message").to_pylist()) if "user=1" not in text]
    assert rig.all_rows() == before.take(kept)
    assert untouched.key in {entry.key for entry in rig.entries()}
    assert verify(rig.catalog, rig.store, deep=True).problems == []


def test_only_the_range_and_the_tenant_are_touched(rig: Rig) -> None:
    for hour in range(3):
        rig.store_rows(["a", "b"], hour=hour)
    other = rig.store_rows(["a"], hour=1, tenant="other")
    done = rig.delete("a", T0_US + HOUR_US, T0_US + 2 * HOUR_US)
    assert done.rows_deleted == 1
    assert rig.texts() == ["a", "a", "a", "b", "b", "b"]
    assert other.key in {entry.key for entry in rig.entries("other")}


def test_rows_behind_the_cut_stay(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    wish = rig.wish("a")
    rig.store_rows(["a", "c"])
    compact(rig.catalog, rig.store, CompactionPolicy(), eager=True)  # both in one object now
    assert len(rig.entries()) == 1
    assert rig.go_on(wish).rows_deleted == 1
    assert rig.texts() == ["a", "b", "c"]


def test_rows_of_another_log_go_whatever_their_offsets(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    wish = rig.wish("a")
    moved = replace(wish, cut=Cut("new-log", {0: 0}))
    rig.book.write(moved)
    assert rig.go_on(moved).rows_deleted == 1


def test_an_object_without_rows_left_stays_for_the_hour_and_is_searched_without_harm(rig: Rig) -> None:
    rig.store_rows(["a", "a"], modified_us=rig.now_us)
    assert rig.delete("a").rows_deleted == 2
    (entry,) = rig.entries()
    assert (entry.rows, entry.min_us, entry.max_us) == (0, T0_US, T0_US + 1000)
    found = run_task(rig.store, ScanTask("default", Query(All()), (entry,)))
    assert (found.failed, len(found.partial.table)) == ((), 0)
    assert verify(rig.catalog, rig.store, deep=True).problems == []
    rig.store_rows(["x"])
    rig.store_rows(["y"])
    compact(rig.catalog, rig.store, CompactionPolicy(), eager=True)
    assert entry.key in {one.key for one in rig.entries()}
    rig.now_us += WINDOW_US + CLOCK_SLACK_US + 1000
    assert expire(rig.catalog, rig.store, CompactionPolicy()).objects == 1
    assert rig.texts() == ["x", "y"]


def test_a_damaged_object_is_named_and_the_others_are_rewritten(rig: Rig) -> None:
    bad = rig.store_rows(["a"] * 100)
    rig.store_rows(["a", "b"], hour=1)
    data = rig.store.get_range(bad.key, 0, bad.size)
    rig.store.put(bad.key, data[:40] + bytes(20) + data[60:])
    done = rig.delete("a")
    assert (done.state, done.rows_deleted) == ("done", 1)
    (reason,) = done.incomplete
    assert bad.key in reason


# --------------------------------------------------------------------------------------------------------- repeats
def test_request_keys_live_on(rig: Rig) -> None:
    now_us = rig.now_us
    young = StoredRequest("log", 0, 0, "young", "hash", 0, 1, now_us)
    rig.store_rows(["a", "b"], requests=[young], modified_us=now_us)
    rig.store_rows(["a"], hour=1, requests=[replace(young, key="gone")], modified_us=now_us)
    rig.delete("a")
    memory = rebuild(rig.store, rig.entries(), log_id="log", vnodes=[0], now_us=now_us)[0]
    for key in ("young", "gone"):
        assert memory.is_repeat(RequestKey("default", key, "hash", 0, 1), now_us)


@pytest.mark.parametrize("others", [[], ["b"]])
def test_a_deleted_event_with_an_id_is_still_known_as_a_repeat(rig: Rig, others: list[str]) -> None:
    now_us, count = rig.now_us, 1 + len(others)
    ids, hashes = ["secret-id", *others], [bytes([n]) * EVENT_HASH_BYTES for n in range(count)]
    seen = {"observed_timestamp": [now_us] * count, "event_id": ids, "event_hash": hashes}
    rig.store_rows(["a", *others], modified_us=now_us, **seen)
    again = rig.make([T0_US], ["a"], 0, 9, **{name: values[:1] for name, values in seen.items()}).to_batches()[0]
    rig.delete("a")
    rig.store_rows(["c"], modified_us=now_us)
    compact(rig.catalog, rig.store, CompactionPolicy(), eager=True)
    for entry in rig.entries():
        assert b"secret-id" not in rig.store.get_range(entry.key, 0, entry.size)
    memory = rebuild(rig.store, rig.entries(), log_id="log", vnodes=[0], now_us=now_us)[0]
    assert len(memory.new_ids("default", again, now_us + 1)) == 0
    other = again.set_column(again.schema.get_field_index("event_hash"), "event_hash", [b"x" * EVENT_HASH_BYTES])
    assert len(memory.new_ids("default", other, now_us + 1)) == 1, "the same id with other content is another event"
    late = rebuild(rig.store, rig.entries(), log_id="log", vnodes=[0], now_us=now_us)[0]
    assert len(late.new_ids("default", again, now_us + WINDOW_US + 1)) == 1, "after an hour it is a new event"


def test_ids_are_carried_from_deletion_to_deletion_and_left_behind_after_the_hour(rig: Rig) -> None:
    now_us = rig.now_us
    rig.store_rows(
        ["a", "b", "c"],
        modified_us=now_us,
        observed_timestamp=[now_us] * 3,
        event_id=["1", "2", "3"],
        event_hash=[b"h" * EVENT_HASH_BYTES] * 3,
    )
    rig.delete("a")
    rig.delete("b")
    (entry,) = rig.entries()
    told = {one.id_digest for one in open_object(rig.store, entry.key, entry.size).facts.deleted}
    assert told == {digest_of_id("1").hex(), digest_of_id("2").hex()}
    rig.now_us += WINDOW_US + CLOCK_SLACK_US + 1000
    rig.delete("c")
    (entry,) = rig.entries()
    assert open_object(rig.store, entry.key, entry.size).facts.deleted == ()


# ----------------------------------------------------------------------------------------------- what comes between
def test_a_compaction_that_is_first_is_looked_at_anew(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    rig.store_rows(["a", "c"])

    def compacts(moment: str) -> None:
        if moment == "before":
            rig.fault = None
            assert commit(rig.catalog.writer(), rig.merge())

    rig.fault = compacts
    done = rig.delete("a")
    assert (done.state, done.rows_deleted) == ("done", 2)
    assert rig.texts() == ["b", "c"]


def test_a_compaction_that_is_second_is_refused(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    rig.store_rows(["a", "c"])
    merged = rig.merge()
    rig.delete("a")
    assert not commit(rig.catalog.writer(), merged)
    assert rig.texts() == ["b", "c"]


def test_a_writer_that_commits_meanwhile_loses_nothing(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    wish = rig.wish("a")

    def writes(moment: str) -> None:
        if moment == "before":
            rig.fault = None
            rig.store_rows(["a", "new"])

    rig.fault = writes
    assert rig.go_on(wish).rows_deleted == 1
    assert rig.texts() == ["a", "b", "new"]


def test_a_search_over_the_old_snapshot_goes_on_until_the_grace_is_over(rig: Rig) -> None:
    old = rig.store_rows(["a", "b"])
    task = ScanTask("default", Query(All()), (old,))
    done = rig.delete("a")
    rig.now_us += GRACE_US - 1_000_000
    assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone is False
    assert len(run_task(rig.store, task).partial.table) == 2
    rig.now_us = due_us(done) + 1
    assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone
    assert [key for key, _ in run_task(rig.store, task).failed] == [old.key]
