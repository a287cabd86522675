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

from ess_ray.adapters.catalog_rules import NO_VIEW, check_advances, check_entries, require_first, require_live
from ess_ray.adapters.snapshots import Choice, SnapshotBase, choose, overlapping, totals_of
from ess_ray.core.errors import Fenced, UnknownOutcome
from ess_ray.ports import Advance, ObjectEntry, Removed, Totals, vnode_transaction

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
        self._seen: set[str] = set()
        self._pinned: MemorySnapshot | None = None

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Read where each virtual node stands."""
        return {vnode: self.stand(vnode_transaction(log_id, vnode)) for vnode in vnodes}

    def stand(self, transaction: str) -> int | None:
        """Read where a transaction stands."""
        found = self._catalog.snapshot().stand(transaction)
        if found is not None:
            self._seen.add(transaction)
        return found

    def snapshot(self) -> MemorySnapshot:
        """Freeze the newest version."""
        return self._catalog.snapshot()

    def view(self) -> MemorySnapshot:
        """Pin the version that the next commit that removes builds on."""
        self._pinned = self._catalog.snapshot()
        return self._pinned

    def commit(
        self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], transactions: Mapping[str, Advance]
    ) -> int:
        """Check, then commit against the very version that was checked. Raises Fenced, UnknownOutcome, BadRequest."""
        check_entries(adds)
        check_advances(transactions)
        with self._one_at_a_time, self._gate.commit():
            checked, self._pinned = (self._pinned, None) if removes else (self._catalog.snapshot(), self._pinned)
            if checked is None:
                raise Fenced(NO_VIEW)
            keys = [entry.key for entry in removes]
            require_live(keys, checked.holds)
            require_first({name: checked.stand(name) for name in transactions}, transactions, self._seen)
            version = self._apply(checked, adds, keys, {name: step.next for name, step in transactions.items()})
            self._seen.update(transactions)
            return version

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
