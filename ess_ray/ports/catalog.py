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
    """A virtual node's step in a commit: `first` is where consumption began, `next_offset` where to read next."""

    first: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Removed:
    """An object taken out of the table at `removed_us`, still in the store until garbage collection."""

    key: str
    removed_us: int


class ObjectColumns(Protocol):
    """Stored bytes and times of objects, as columns of equal length, one position an object."""

    @property
    def sizes(self) -> Ints: ...

    @property
    def min_us(self) -> Ints: ...

    @property
    def max_us(self) -> Ints: ...

    @property
    def modified_us(self) -> Ints: ...

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

    `commit` and `commit_removal` are the fence (docs/exactly-once.md, steps 4 and 9).
    """

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Reopen the table and read where each virtual node stands: the truth after any doubt."""
        ...

    def snapshot(self) -> Snapshot:
        """Reopen the table and freeze its newest version (for take-over: what the last hour stored)."""
        ...

    def commit(self, log_id: str, entries: Sequence[ObjectEntry], advances: Mapping[int, Advance]) -> int:
        """Refresh, require every virtual node to stand at `first` (an absent one: first commit, as said), commit.

        Nothing refreshes between check and commit. Gives the new version, durable on disk.
        Raises Fenced when a virtual node is not at its `first` (nothing was committed), UnknownOutcome after any
        exception of the commit itself (reopen and look).
        """
        ...

    def commit_removal(self, adds: Sequence[ObjectEntry], removes: Sequence[ObjectEntry], bucket: int) -> int:
        """Replace objects (compaction, retention, delete) under the maintenance transaction of `bucket`.

        The removed entries must come from this object's `maintenance_view()`, not refreshed since.
        Raises Fenced or UnknownOutcome: start over from `maintenance_view()`.
        """
        ...

    def maintenance_view(self, bucket: int) -> Snapshot:
        """Refresh, and pin the table version that the next `commit_removal` of `bucket` builds on."""
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
