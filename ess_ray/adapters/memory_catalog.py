"""The catalog in memory: the Catalog port without files, with the same fence and the same kinds of failure.

Commits are optimistic as Delta's are: a writer pins a version, checks, and at the commit point is refused when a commit
after its version carries one of its transactions or removes one of its objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ess_ray.adapters.catalog_rules import (
    check_advances,
    check_entries,
    maintenance_of,
    require_first,
    require_live,
    transaction_of,
)
from ess_ray.adapters.snapshots import Choice, SnapshotBase, choose, overlapping, totals_of
from ess_ray.core.errors import Fenced, UnknownOutcome
from ess_ray.ports import Advance, ObjectEntry, Removed, Totals

_MS_US = 1000


@dataclass(frozen=True)
class MemorySnapshot(SnapshotBase):
    """One version of the table; its mappings are never changed, a commit makes new ones."""

    version: int
    entries: Mapping[str, ObjectEntry]
    transactions: Mapping[str, int]

    def select(self, tenant: str | None, start_us: int | None, end_us: int | None) -> Choice:
        """Choose objects one by one."""
        if start_us is not None and end_us is not None and start_us >= end_us:
            return choose(None, np.empty(0, np.intp), ())
        return choose(None, np.empty(0, np.intp), overlapping(self.entries.values(), tenant, start_us, end_us))

    def count(self, tenant: str | None) -> int:
        """Count a tenant's objects (None: all)."""
        return sum(1 for entry in self.entries.values() if tenant in (None, entry.tenant))

    def totals(self) -> Totals:
        """Add up all objects."""
        return totals_of(self.entries.values())

    def holds(self, key: str) -> bool:
        """Tell whether an object is in this version."""
        return key in self.entries


@dataclass(frozen=True)
class _Commit:
    version: int
    adds: tuple[ObjectEntry, ...]
    removes: tuple[str, ...]
    transactions: Mapping[str, int]
    at_us: int


class _Gate:
    """Many commits at once, or one `exclusive` and no commit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def commit(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed and not self._inside)
            self._closed = True
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class MemoryCatalog:
    """A Catalog that lives as long as its process. Safe from many threads.

    `on_commit` is called with "before" between a writer's check and its commit and with "after" once the commit has
    taken effect; what it raises becomes UnknownOutcome, as a failing store's errors do. `clock_us` dates removals.
    """

    def __init__(
        self, on_commit: Callable[[str], None] | None = None, clock_us: Callable[[], int] | None = None
    ) -> None:
        self._on_commit = on_commit or (lambda moment: None)
        self._clock_us = clock_us or (lambda: time.time_ns() // _MS_US)
        self._lock = threading.Lock()
        self._gate = _Gate()
        self._commits: list[_Commit] = []
        self._newest = MemorySnapshot(0, {}, {})

    def writer(self) -> MemoryCatalogWriter:
        """Give a writer of its own."""
        return MemoryCatalogWriter(self, self._gate, self._on_commit)

    def snapshot(self) -> MemorySnapshot:
        """Freeze the newest version."""
        with self._lock:
            return self._newest

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every commit out. A commit by the same thread inside it would wait for ever."""
        return self._gate.exclusive()

    def removed(self) -> list[Removed]:
        """Name every object that was taken out."""
        with self._lock:
            return [Removed(key, commit.at_us) for commit in self._commits for key in commit.removes]

    def apply(
        self,
        pinned: MemorySnapshot,
        adds: Sequence[ObjectEntry],
        removes: Sequence[str],
        transactions: Mapping[str, int],
    ) -> int:
        """The commit point: conflicts with what came after `pinned` are refused, else it takes effect at once.

        Gives the new version. Raises UnknownOutcome (a refusal looks to a writer like any other failure).
        """
        with self._lock:
            for later in self._commits[pinned.version :]:
                if later.transactions.keys() & transactions.keys() or set(later.removes) & set(removes):
                    raise UnknownOutcome("a concurrent transaction was first: read the catalog again")
            stored = [replace(entry, modified_us=entry.modified_us // _MS_US * _MS_US) for entry in adds]
            gone = set(removes)
            entries = {key: entry for key, entry in self._newest.entries.items() if key not in gone}
            entries.update((entry.key, entry) for entry in stored)
            version = self._newest.version + 1
            self._commits.append(_Commit(version, tuple(stored), tuple(removes), dict(transactions), self._clock_us()))
            self._newest = MemorySnapshot(version, entries, {**self._newest.transactions, **transactions})
            return version


class MemoryCatalogWriter:
    """A CatalogWriter of a MemoryCatalog: its pinned versions are its own."""

    def __init__(self, catalog: MemoryCatalog, gate: _Gate, on_commit: Callable[[str], None]) -> None:
        self._catalog, self._gate, self._on_commit = catalog, gate, on_commit
        self._one_at_a_time = threading.Lock()
        self._seen: dict[str, set[int]] = {}
        self._pinned: tuple[int, MemorySnapshot] | None = None

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Read where each virtual node stands."""
        stands = self._catalog.snapshot().next_offsets(log_id, vnodes)
        self._remember(log_id, stands)
        return stands

    def snapshot(self) -> MemorySnapshot:
        """Freeze the newest version."""
        return self._catalog.snapshot()

    def commit(self, log_id: str, entries: Sequence[ObjectEntry], advances: Mapping[int, Advance]) -> int:
        """Check, then commit against the very version that was checked. Raises Fenced, UnknownOutcome, BadRequest."""
        check_entries(entries)
        check_advances(advances)
        transactions = {transaction_of(log_id, vnode): step.next_offset for vnode, step in advances.items()}
        with self._one_at_a_time, self._gate.commit():
            checked = self._catalog.snapshot()
            stands = checked.next_offsets(log_id, list(advances))
            require_first(stands, advances, frozenset(self._seen.get(log_id, ())))
            version = self._apply(checked, entries, (), transactions)
            self._remember(log_id, dict.fromkeys(advances, 0))
            return version

    def maintenance_view(self, bucket: int) -> MemorySnapshot:
        """Pin the version that the next `commit_removal` of `bucket` builds on."""
        maintenance_of(bucket)
        view = self._catalog.snapshot()
        self._pinned = (bucket, view)
        return view

    def commit_removal(self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], bucket: int) -> int:
        """Replace objects of the pinned view. Raises Fenced, UnknownOutcome: start over from `maintenance_view()`."""
        check_entries(adds)
        name = maintenance_of(bucket)
        with self._one_at_a_time, self._gate.commit():
            pinned, self._pinned = self._pinned, None
            if pinned is None or pinned[0] != bucket:
                raise Fenced(f"there is no maintenance view of bucket {bucket}: start over from maintenance_view()")
            view = pinned[1]
            keys = [entry.key for entry in removes]
            require_live(keys, view.entries.__contains__)
            return self._apply(view, adds, keys, {name: view.transactions.get(name, 0) + 1})

    def removed(self) -> list[Removed]:
        """Name the objects taken out."""
        return self._catalog.removed()

    def _apply(
        self,
        pinned: MemorySnapshot,
        adds: Sequence[ObjectEntry],
        removes: Sequence[str],
        transactions: Mapping[str, int],
    ) -> int:
        try:
            self._on_commit("before")
            version = self._catalog.apply(pinned, adds, removes, transactions)
            self._on_commit("after")
        except UnknownOutcome:
            raise
        except Exception as error:
            raise UnknownOutcome(f"the commit ended with: {error}; read the catalog again") from error
        return version

    def _remember(self, log_id: str, stands: Mapping[int, int | None]) -> None:
        present = {vnode for vnode, stand in stands.items() if stand is not None}
        self._seen.setdefault(log_id, set()).update(present)
