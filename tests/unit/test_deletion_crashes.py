"""Deletions that die between two steps, and what is left of the bytes of deleted rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import open_object
from ess_ray.core.errors import NotFound
from ess_ray.table import deletion_bytes
from ess_ray.table.compaction import CompactionPolicy, compact
from ess_ray.table.deletion import Rewriting
from ess_ray.table.deletion_bytes import GRACE_US, MARGIN_US, clear, due_us
from ess_ray.table.maintenance import GARBAGE_AGE_US
from ess_ray.table.verify import verify
from tests.compactions import Make
from tests.deletions import Rig, rig

__all__ = ["rig"]


# --------------------------------------------------------------------------------------------------------- crashes
class Crash(Exception):
    """The process dies here."""


class Dying:
    """Passes every call on, until the given one of those that change something: then, or just after it, it dies."""

    def __init__(self, inner: Any, left: list[int]) -> None:
        self._inner, self._left = inner, left

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "writer":
            return lambda: Dying(found(), self._left)
        if name not in ("put", "commit", "delete", "write"):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            self._left[0] -= 1
            if self._left[0] == 0:
                raise Crash
            done = found(*arguments, **named)
            self._left[0] -= 1
            if self._left[0] == 0:
                raise Crash
            return done

        return counted


def test_a_crash_before_or_after_any_step_changes_nothing_in_the_end(make_events: Make) -> None:
    steps = 0
    for step in range(1, 200):
        rig = Rig(make_events)
        for hour in range(2):
            rig.store_rows(["a", "b"], hour=hour)
            rig.store_rows(["a"], hour=hour)
        wish, left = rig.wish("a"), [step]
        try:
            dying = [Dying(one, left) for one in (rig.catalog, rig.store, rig.book)]
            done = Rewriting(*dying, rig.book.read(wish.id)).run()
            rig.now_us = due_us(done) + 1
            clear(*dying, done)
        except Crash:
            steps += 1
        rig.now_us += 1000
        found = rig.book.read(wish.id)
        done = rig.go_on(found) if found.state == "running" else found
        assert (done.rows_deleted, done.objects_rewritten) == (4, 4), f"a crash at {step}"
        assert rig.texts() == ["b", "b"]
        if not done.bytes_gone:
            rig.now_us = max(rig.now_us, due_us(done) + 1)
            done = clear(rig.catalog, rig.store, rig.book, done)
        assert done.bytes_gone, f"a crash at {step}"
        assert not holders(rig, "a"), f"a crash at {step}"
        if left[0] > 0:
            break
    assert steps > 20


def holders(rig: Rig, text: str) -> list[str]:
    """Name the objects in the store, whoever knows of them, that hold an event with this message."""
    found = []
    for info in rig.store.list("tenant="):
        reader = open_object(rig.store, info.key, info.size)
        for group in range(reader.groups):
            if text in reader.read_group(group).column("message").to_pylist():
                found.append(info.key)
    return found


# --------------------------------------------------------------------------------------------------------- the bytes
def test_what_compaction_took_out_before_goes_too(rig: Rig) -> None:
    rig.store_rows(["a", "b"])
    rig.store_rows(["a", "c"])
    compact(rig.catalog, rig.store, CompactionPolicy(), eager=True)
    assert len(holders(rig, "a")) == 3
    done = rig.delete("a")
    assert done.gone_by_us == rig.now_us + GRACE_US + MARGIN_US
    rig.now_us = due_us(done) + 1
    assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone
    assert not holders(rig, "a")


def test_an_orphan_that_holds_rows_is_waited_for(rig: Rig) -> None:
    entry = rig.store_rows(["a", "b"])
    data = rig.store.get_range(entry.key, 0, entry.size)
    orphan = entry.key.replace(entry.key.split("-")[4], "0" * 32)
    rig.store.put(orphan, data)
    put_us = rig.now_us
    done = rig.delete("a")
    assert done.gone_by_us == put_us + GARBAGE_AGE_US + MARGIN_US
    rig.now_us += 2 * GRACE_US
    early = clear(rig.catalog, rig.store, rig.book, done)
    assert (early.bytes_gone, early.gone_by_us) == (False, done.gone_by_us)
    assert rig.store.head(orphan) is not None, "whoever put it may be about to commit it"
    rig.now_us = due_us(done)
    assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone
    assert not holders(rig, "a")


def test_the_words_that_were_sought_are_let_go_in_the_end(rig: Rig) -> None:
    rig.store_rows(["erika mustermann", "b"])
    done = rig.delete("mustermann")
    rig.now_us = due_us(done) + 1
    cleared = clear(rig.catalog, rig.store, rig.book, done)
    assert rig.book.read(done.id) == cleared
    assert (cleared.query, cleared.finished, rig.book.unfinished()) == ("", True, [])


def test_a_deletion_in_a_directory_leaves_no_byte(
    make_events: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(make_events)
    rig.catalog, rig.store = DeltaCatalog(tmp_path), LocalObjectStore(tmp_path)
    rig.store_rows(["erika mustermann", "b"])
    rig.store_rows(["erika mustermann"])
    done = rig.delete("mustermann")
    assert (done.rows_deleted, rig.texts()) == (2, ["b"])
    assert verify(rig.catalog, rig.store, deep=True).problems == []
    assert not clear(rig.catalog, rig.store, rig.book, done).bytes_gone
    assert len(holders(rig, "erika mustermann")) == 2
    monkeypatch.setattr(deletion_bytes, "GRACE_US", -10_000_000)  # as if the time had passed: a disk's clock goes on
    assert clear(rig.catalog, rig.store, rig.book, done).bytes_gone
    assert not holders(rig, "erika mustermann")


# ---------------------------------------------------------------------------------------------------------- the book
def test_a_record_comes_back_as_it_was(rig: Rig) -> None:
    rig.store_rows(["a"])
    wish = rig.wish("a", 1, 2)
    assert rig.book.read(wish.id) == wish
    assert [one.id for one in rig.book.unfinished()] == [wish.id]
    for unknown in ("0" * 24, "x", "../keys"):
        with pytest.raises(NotFound):
            rig.book.read(unknown)


def test_answers_are_dropped_once(rig: Rig) -> None:
    wish = rig.wish("a")
    assert not rig.book.are_answers_dropped(wish.id)
    rig.book.answers_dropped(wish.id)
    assert rig.book.are_answers_dropped(wish.id)
    assert [one.id for one in rig.book.unfinished()] == [wish.id]
