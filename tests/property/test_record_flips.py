"""One flipped bit of a small record, anywhere: it reads as it was, or is named; never as something else.

A key of another tenant, a deletion of other events: JSON with another letter reads as well as before.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ess_ray.alerts.book import AlertBook
from ess_ray.alerts.silences import read_matchers
from ess_ray.alerts.states import RuleState
from ess_ray.core.errors import CorruptData
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.keys import KeyBook
from ess_ray.pool import PoolSize, size_flaw
from ess_ray.table.deletion_book import Cut, DeletionBook
from ess_ray.testing import MemoryObjectStore
from tests.alerting import group
from tests.damages import flipped


def all_of(store: MemoryObjectStore, place: str) -> list[bytes]:
    """Give all that come of one flipped bit of a record."""
    data = store.get_suffix(place, 1_000_000)
    return [flipped(data, bit) for bit in range(8 * len(data))]


def test_a_key_is_as_it_was_made_or_named() -> None:
    store = MemoryObjectStore(lambda: 0)
    made, _ = KeyBook(store).create("team-a", ["push", "search"], "an agent's")
    for data in all_of(store, f"{made.id}.json"):
        store.put(f"{made.id}.json", data)
        found = KeyBook(store).look()
        assert not found.keys
        assert made.id in found.damaged[0]


def test_a_deletion_is_as_it_was_asked_for_or_named() -> None:
    store = MemoryObjectStore(lambda: 0)
    book = DeletionBook(store)
    made = book.create("team-a", "user:bob", 1_700_000_000_000_000, None)
    book.write(replace(made, cut=Cut("log", {0: 5, 7: 12})))
    for data in all_of(store, f"{made.id}.json"):
        store.put(f"{made.id}.json", data)
        assert book.unfinished() == []
        assert made.id in book.unreadable[0]
        with pytest.raises(CorruptData):
            book.read(made.id)


def test_the_pools_size_is_as_it_was_wished_or_named() -> None:
    store = MemoryObjectStore(lambda: 0)
    PoolSize(store, 2).write(17)
    for data in all_of(store, "size.json"):
        store.put("size.json", data)
        assert PoolSize(store, 2).read() == (2 if size_flaw(store) else 17)


def test_rules_silences_and_states_are_as_they_were_made_or_named() -> None:
    """A threshold with another digit wakes somebody, or nobody."""
    store = MemoryObjectStore(lambda: 0)
    book = AlertBook(store)
    book.apply("team-a", group())
    book.write_state("team-a", "g", {"High x": RuleState("x")})
    matchers = read_matchers("alertname=High")
    book.silence("team-a", matchers, starts_us=0, ends_us=10, comment="", created_by="")
    for info in store.list(""):
        whole = store.get_suffix(info.key, 1_000_000)
        for data in all_of(store, info.key):
            store.put(info.key, data)
            (flaw,) = AlertBook(store).every_flaw()
            assert info.key in flaw
        store.put(info.key, whole)
    assert AlertBook(store).every_flaw() == []


def test_a_record_of_before_has_no_sum() -> None:
    assert read_summed(b'{"a": 1}') == {"a": 1}
    assert read_summed(with_sum(b'{"a":1}')) == {"a": 1}
