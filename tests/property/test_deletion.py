"""Deletions among flushes and compactions in random order, against a list of events from which they are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.chunk import OffsetRange, encode_object, open_object
from ess_ray.core.event import ORDER
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, vnode_advances
from ess_ray.table.compaction import CompactionPolicy, compact
from ess_ray.table.deletion import Rewriting
from ess_ray.table.deletion_book import Cut, DeletionBook
from ess_ray.table.deletion_bytes import clear, due_us
from ess_ray.table.verify import verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from tests.compactions import DAY_US, HOUR_US, T0_US, Make
from tests.examples import examples

Event = dict[str, Any]
WORDS = ["alpha", "beta", "gamma"]
LEVELS = ["ERROR", "INFO", None]
VNODES = [0, 1]


@dataclass(frozen=True)
class Asked:
    """A query, and what it means, said naively."""

    text: str
    holds: Callable[[Event], bool]


LEAVES = st.one_of(
    st.sampled_from(WORDS).map(lambda word: Asked(word, lambda event: word in event["message"])),
    st.sampled_from(["ERROR", "INFO"]).map(lambda level: Asked(f"level:{level}", lambda e: e["level"] == level)),
    st.just(Asked("level:*", lambda event: event["level"] is not None)),
    st.sampled_from(WORDS).map(lambda word: Asked(f"/^{word[:2]}/", lambda e: e["message"].startswith(word[:2]))),
)


def joined(parts: st.SearchStrategy[Asked]) -> st.SearchStrategy[Asked]:
    return st.one_of(
        parts.map(lambda a: Asked(f"NOT ({a.text})", lambda event: not a.holds(event))),
        st.tuples(parts, parts).map(
            lambda t: Asked(f"({t[0].text}) AND ({t[1].text})", lambda e: t[0].holds(e) and t[1].holds(e))
        ),
        st.tuples(parts, parts).map(
            lambda t: Asked(f"({t[0].text}) OR ({t[1].text})", lambda e: t[0].holds(e) or t[1].holds(e))
        ),
    )


QUERIES = st.recursive(LEAVES, joined, max_leaves=4)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "at_us": st.integers(0, 5).map(lambda n: n * 1000),
            "message": st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join),
            "level": st.sampled_from(LEVELS),
        }
    ),
    min_size=1,
    max_size=6,
)
BOUNDS = st.none() | st.integers(-1, 2 * 6).map(lambda n: T0_US + n // 6 * HOUR_US + n % 6 * 1000)
STEPS = st.one_of(
    st.tuples(st.just("flush"), st.integers(0, 1), st.sampled_from(VNODES), EVENTS),
    st.tuples(st.just("compact")),
    st.tuples(st.just("delete"), QUERIES, BOUNDS, BOUNDS, st.none() | EVENTS),
)


class Model:
    """The table, and the list that it must be the same as."""

    def __init__(self, make: Make) -> None:
        self.make, self.now_us = make, T0_US + DAY_US
        self.store = MemoryObjectStore(lambda: self.now_us)
        self.catalog = MemoryCatalog(clock_us=lambda: self.now_us)
        self.book = DeletionBook(MemoryObjectStore(lambda: self.now_us))
        self.ends = dict.fromkeys(VNODES, 0)
        self.events: list[Event] = []
        self.gone: list[Event] = []

    def flush(self, hour: int, vnode: int, events: list[Event]) -> None:
        first = self.ends[vnode]
        end = self.ends[vnode] = first + len(events)
        placed = [
            {**event, "timestamp": T0_US + hour * HOUR_US + event["at_us"], "vnode": vnode, "offset": first + n}
            for n, event in enumerate(events)
        ]
        placed.sort(key=lambda event: event["timestamp"])  # stable, so that offsets ascend within a time
        columns = {name: [event[name] for event in placed] for name in ("level", "offset")}
        rows = self.make([e["timestamp"] for e in placed], [e["message"] for e in placed], vnode, **columns)
        encoded = encode_object(rows, [OffsetRange("log", vnode, first, end)])
        entry = entry_of(Sealed("default", encoded), self.now_us)
        self.store.put(entry.key, encoded.data)
        self.catalog.writer().commit([entry], [], vnode_advances("log", {vnode: Advance(first, end)}))
        self.events += placed

    def compact(self) -> None:
        compact(self.catalog, self.store, CompactionPolicy(), eager=True)

    def delete(self, asked: Asked, start_us: int | None, end_us: int | None, late: list[Event] | None) -> None:
        wish = self.book.create("default", asked.text, start_us, end_us)
        wish = replace(wish, cut=Cut("log", dict(self.ends)))
        going = [
            event
            for event in self.events
            if asked.holds(event)
            and (start_us is None or event["timestamp"] >= start_us)
            and (end_us is None or event["timestamp"] < end_us)
        ]
        self.events = [event for event in self.events if event not in going]
        self.gone += going
        if late is not None:
            self.flush(0, 0, late)
            self.compact()
        done = Rewriting(self.catalog, self.store, self.book, wish).run()
        assert done.rows_deleted == len(going)
        self.now_us = due_us(done) + 1
        assert clear(self.catalog, self.store, self.book, done).bytes_gone

    def check(self) -> None:
        stored = [row for entry in self.catalog.snapshot().objects(None, None, None) for row in self.rows(entry.key)]
        expected = [identity(event) for event in self.events]
        assert sorted(stored) == sorted(expected)
        everywhere = {row for info in self.store.list("tenant=") for row in self.rows(info.key)}
        assert not everywhere & {identity(event) for event in self.gone}
        assert verify(self.catalog, self.store, deep=True).problems == []

    def rows(self, key: str) -> list[tuple[Any, ...]]:
        found = self.store.head(key)
        assert found is not None
        reader = open_object(self.store, key, found.size)
        rows = [row for group in range(reader.groups) for row in reader.read_group(group).to_pylist()]
        places = [tuple(row[name] for name in ORDER) for row in rows]
        assert places == sorted(places)
        return [(row["vnode"], row["offset"], row["message"], row["level"] or "") for row in rows]


def identity(event: Event) -> tuple[Any, ...]:
    return event["vnode"], event["offset"], event["message"], event["level"] or ""


@settings(max_examples=examples(60))
@given(steps=st.lists(STEPS, min_size=2, max_size=8))
def test_what_matched_is_gone_and_all_else_is_there_once(make_events: Make, steps: list[tuple[Any, ...]]) -> None:
    model = Model(make_events)
    for step, *arguments in steps:
        getattr(model, step)(*arguments)
    model.check()
