"""The table seam: which objects there are, and how far each virtual node is stored. The fence of every commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
"""A column of sizes or microseconds."""
ARRIVAL_SLACK_US: Final = 600 * 1_000_000
"""How far the clocks of who receives events may be ahead of the store's: as far as an event's own may be of ours."""


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object in the catalog: key, sizes and statistics (`min_us`, `max_us` inclusive, event time).

    `first_arrival_us`, `last_arrival_us`: the same of receipt; None where that is not known (written before it was
    kept, or no rows are left).
    """

    key: str
    size: int
    tenant: str
    date: str
    hour: int
    rows: int
    min_us: int
    max_us: int
    modified_us: int
    first_arrival_us: int | None = None
    last_arrival_us: int | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """A transaction's step in a commit: where it must stand before it, and where it stands after it.

    Of a virtual node: the offset where consumption began, and where to read next.
    """

    first: int
    next: int

    @classmethod
    def by_one(cls, stand: int | None) -> Advance:
        """Count up, of a transaction that excludes others of its name; None: it never took a step."""
        first = stand or 0
        return cls(first, first + 1)


def vnode_transaction(log_id: str, vnode: int) -> str:
    """Name the transaction that stands at the next offset of a virtual node."""
    return f"log/{log_id}/vnode/{vnode}"


def vnode_advances(log_id: str, advances: Mapping[int, Advance]) -> dict[str, Advance]:
    """Give the steps of a log's virtual nodes as those of their transactions."""
    return {vnode_transaction(log_id, vnode): step for vnode, step in advances.items()}


@dataclass(frozen=True, slots=True)
class Removed:
    """An object taken out of the table at `removed_us`, still in the store until garbage collection."""

    key: str
    removed_us: int


class StoredColumns(Protocol):
    """Stored bytes and times of objects, as columns of equal length, one position an object."""

    @property
    def sizes(self) -> Ints: ...

    @property
    def min_us(self) -> Ints: ...

    @property
    def max_us(self) -> Ints: ...

    @property
    def modified_us(self) -> Ints: ...


class ObjectColumns(StoredColumns, Protocol):
    """The same with what is known of when rows arrived."""

    @property
    def arrivals(self) -> tuple[Ints, Ints]:
        """Between what times of receipt the rows of each lie, at the widest.

        Where it is not known, what was received after an object was put is not in it (ARRIVAL_SLACK_US).
        """
        ...


class Selection(ObjectColumns, Protocol):
    """Objects of a snapshot as columns: entries are made where asked for."""

    def __len__(self) -> int: ...

    def entries(self, positions: Sequence[int] | Ints) -> list[ObjectEntry]:
        """Make the entries at some positions, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Totals:
    """What all objects of a snapshot come to; `bytes` as stored."""

    objects: int
    rows: int
    bytes: int


class Snapshot(Protocol):
    """One frozen version of the table. Safe to use from many threads."""

    @property
    def version(self) -> int: ...

    def stand(self, transaction: str) -> int | None:
        """Tell where a transaction stands, None while it took no step."""
        ...

    def next_offset(self, log_id: str, vnode: int) -> int | None:
        """Give the next offset to read, None while no commit of this virtual node exists."""
        ...

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]: ...

    def objects(self, tenant: str | None, start_us: int | None, end_us: int | None) -> list[ObjectEntry]:
        """List objects that may hold rows with start_us <= timestamp < end_us; `tenant` None means all."""
        ...

    def select(self, tenant: str | None, start_us: int | None, end_us: int | None) -> Selection:
        """Choose the same objects, as columns: for planning over many."""
        ...

    def count(self, tenant: str | None) -> int:
        """Count a tenant's objects, `tenant` None: all."""
        ...

    def totals(self) -> Totals:
        """Add up all objects, without making an entry of each."""
        ...

    def holds(self, key: str) -> bool:
        """Tell whether an object is in this version, without listing the others."""
        ...


class CatalogWriter(Protocol):
    """A private table object for one writer: one commit at a time, never shared with readers.

    `commit` is the fence of who stores, replaces and copies (docs/exactly-once.md, steps 4 and 9).
    """

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Reopen the table and read where each virtual node stands: the truth after any doubt."""
        ...

    def stand(self, transaction: str) -> int | None:
        """Reopen the table and read where a transaction stands, None while it took no step."""
        ...

    def snapshot(self) -> Snapshot:
        """Reopen the table and freeze its newest version (for take-over: what the last hour stored)."""
        ...

    def view(self) -> Snapshot:
        """Reopen the table, and pin its version for the next commit that removes objects: it builds on this one."""
        ...

    def commit(
        self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], transactions: Mapping[str, Advance]
    ) -> int:
        """Require every transaction to stand at its `first` (an absent one takes its first step, as said), commit.

        With `removes` it builds on the version of `view()`, in which they must be, and uses it up: any removal since
        then refuses it. Without, it builds on the newest version. Nothing refreshes between check and commit. Gives the
        new version, durable on disk. Raises Fenced where a transaction or an object is not where it must be (nothing
        was committed), UnknownOutcome after any exception of the commit itself: start over from what the catalog says.
        """
        ...

    def removed(self) -> list[Removed]:
        """Name the objects taken out by commits that the catalog's log still remembers."""
        ...


class Catalog(Protocol):
    """The table of objects. Creating it is idempotent and safe from many processes."""

    def writer(self) -> CatalogWriter: ...

    def snapshot(self) -> Snapshot:
        """Freeze the newest version, refreshed incrementally; safe from many threads."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep every commit out, where the catalog can (a local directory); elsewhere ages alone guard deletes."""
        ...
