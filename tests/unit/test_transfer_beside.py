"""`ess_ray.table.transfer_beside`: a copied system forgets no deletion, rule or silence, whatever it was amid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ess_ray.alerts.book import AlertBook, check_record
from ess_ray.alerts.silences import read_matchers
from ess_ray.alerts.states import RuleState
from ess_ray.core.chunk import OffsetRange, encode_object
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, vnode_advances
from ess_ray.table.deletion_book import Cut, Deletion, DeletionBook
from ess_ray.table.deletion_bytes import clear, due_us
from ess_ray.table.transfer import copy_table
from ess_ray.table.transfer_beside import TOO_LATE, copy_deletions, copy_newer, read_deletions
from ess_ray.testing import MemoryObjectStore
from tests.alerting import group, rule
from tests.compactions import LONG_AGO_US, T0_US, Make
from tests.unit.test_deletion import Rig


class Move:
    """A system, and the one that it is copied to."""

    def __init__(self, make: Make) -> None:
        self.source, self.target = Rig(make), Rig(make)
        self.source.store_rows(["alice 1", "bob 1"])
        self.source.store_rows(["alice 2"], hour=1)

    def copy(self) -> list[str]:
        """Copy as `ess copy` does; gives what could not be."""
        source, target = self.source, self.target
        before = target.catalog.snapshot()
        found, damaged = read_deletions(source.book)
        _, late = copy_deletions(found, target.book, before)
        copy_table(source.catalog, source.store, target.catalog, target.store, name="log")
        copy_deletions(found, target.book, before)
        return [str(one) for one in [*damaged, *late]]

    def start_target(self) -> None:
        """Carry out there what is to be, as a system with a log of its own does."""
        for one in self.target.book.unfinished():
            assert one.cut is not None
            self.target.book.write(replace(one, cut=one.cut.carried_to("kafka")))
            if one.state == "running":
                self.target.go_on(one)

    def finish(self, rig: Rig, wish: Deletion) -> None:
        done = rig.book.read(wish.id)
        rig.now_us = due_us(done)
        assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone


@pytest.fixture
def move(make_events: Make) -> Move:
    return Move(make_events)


def test_a_deletion_that_has_not_begun_is_carried_out_where_events_were_copied_to(move: Move) -> None:
    wish = move.source.wish("alice")
    assert move.copy() == []
    assert sorted(move.target.texts()) == ["alice 1", "alice 2", "bob 1"]
    move.start_target()
    assert move.target.texts() == ["bob 1"]
    assert move.target.book.read(wish.id).rows_deleted == 2


def test_what_was_copied_before_a_deletion_does_not_come_back(move: Move) -> None:
    move.copy()
    move.source.delete("alice")
    assert move.source.texts() == ["bob 1"]
    assert move.copy() == []
    move.start_target()
    assert move.target.texts() == ["bob 1"]


def test_a_copy_that_goes_on_while_the_target_deletes_brings_nothing_back(move: Move) -> None:
    wish = move.source.wish("alice")
    move.copy()
    move.start_target()
    move.source.store_rows(["alice 3", "carol"], hour=2)
    move.source.book.write(replace(wish, cut=Cut("log", {0: move.source.next_offset})))
    move.copy()
    assert "alice 3" in move.target.texts()
    move.start_target()
    assert sorted(move.target.texts()) == ["bob 1", "carol"]


def test_one_that_is_over_is_known_and_runs_no_more(move: Move) -> None:
    wish = move.source.delete("alice")
    move.finish(move.source, wish)
    assert move.copy() == []
    kept = move.target.book.read(wish.id)
    assert (kept.state, kept.bytes_gone, kept.query) == ("done", True, "")
    assert move.target.book.unfinished() == []
    assert move.target.texts() == ["bob 1"]


def test_one_that_was_over_before_anybody_could_carry_it_along_is_told(move: Move) -> None:
    move.copy()
    wish = move.source.delete("alice")
    move.finish(move.source, wish)
    assert move.copy() == [f"deletions/{wish.id}.json: {TOO_LATE}"]
    kept = move.target.book.read(wish.id)
    assert (kept.state, kept.incomplete) == ("failed", (TOO_LATE,))
    assert move.copy() == []


def test_a_damaged_deletion_is_named(move: Move) -> None:
    store = MemoryObjectStore(lambda: 0)
    move.source.book = DeletionBook(store)
    wish = move.source.wish("alice")
    store.put(f"{wish.id}.json", b"{}")
    (told,) = move.copy()
    assert wish.id in told


def test_what_arrived_in_a_log_that_came_later_stays(move: Move) -> None:
    """A deletion covers all of logs that it does not know; the log of the system that goes on with it, it must know."""
    move.source.wish("alice")
    move.copy()
    target = move.target
    rows = target.make([T0_US], ["alice is new"], 0, 0, log_id=["kafka"])
    encoded = encode_object(rows, [OffsetRange("kafka", 0, 0, 1)])
    entry = entry_of(Sealed("default", encoded), LONG_AGO_US)
    target.store.put(entry.key, encoded.data)
    target.catalog.writer().commit([entry], [], vnode_advances("kafka", {0: Advance(0, 1)}))
    move.start_target()
    assert sorted(move.target.texts()) == ["alice is new", "bob 1"]


def test_rules_silences_and_states_go_along_and_the_newest_counts() -> None:
    source, target = MemoryObjectStore(lambda: 10), MemoryObjectStore(lambda: 20)
    ours, theirs = AlertBook(source), AlertBook(target)
    ours.apply("a", group(rule()))
    ours.write_state("a", "g", {"High x": RuleState("x")})
    ours.silence("a", read_matchers("alertname=High"), starts_us=0, ends_us=100, comment="", created_by="")
    assert copy_newer(source, target, check_record) == (3, [])
    assert copy_newer(source, target, check_record) == (0, [])
    assert [one.name for one in theirs.groups()] == ["g"]
    assert theirs.state("a", "g") == ours.state("a", "g")
    assert theirs.silences() == ours.silences()
    later = MemoryObjectStore(lambda: 30)
    AlertBook(later).apply("a", group(rule(alert="Other")))
    assert copy_newer(later, target, check_record) == (1, [])
    assert [one.alert for one in AlertBook(target).group("a", "g").rules] == ["Other"]


@pytest.mark.parametrize("folder", ["rules", "states", "silences"])
def test_a_damaged_record_takes_nothing_from_the_target(folder: str) -> None:
    source, target = MemoryObjectStore(lambda: 30), MemoryObjectStore(lambda: 20)
    place = f"{folder}/a/{'0' * 16}.json"
    source.put(place, b'{"name": 1')
    target.put(place, b"kept")
    written, damaged = copy_newer(source, target, check_record)
    assert (written, [one.key for one in damaged]) == (0, [place])
    assert target.get_suffix(place, 100) == b"kept"
