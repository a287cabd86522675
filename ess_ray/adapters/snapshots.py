"""What the snapshots of every catalog share: offsets out of transactions, and objects chosen as columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from ess_ray.ports import ARRIVAL_SLACK_US, Ints, ObjectEntry, StoredColumns, Totals, vnode_transaction

UNKNOWN_US: Final = -1
"""A time of receipt that is not known, in a column: ours are all after 1970."""
_EVER_US: Final = -(2**63)


class Block(StoredColumns, Protocol):
    """Objects as columns, of which entries are made only where they are asked for."""

    @property
    def first_arrival_us(self) -> Ints: ...

    @property
    def last_arrival_us(self) -> Ints: ...

    def entries(self, chosen: npt.NDArray[np.intp]) -> list[ObjectEntry]: ...


@dataclass(frozen=True)
class Choice:
    """Objects of one version (see `ports.Selection`): `rows` of a block, then entries beside it."""

    sizes: Ints
    min_us: Ints
    max_us: Ints
    modified_us: Ints
    first_arrival_us: Ints
    last_arrival_us: Ints
    _block: Block | None
    _rows: npt.NDArray[np.intp]
    _beside: Sequence[ObjectEntry]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def arrivals(self) -> tuple[Ints, Ints]:
        """Between what times of receipt the rows of each lie, at the widest."""
        first, last = self.first_arrival_us, self.last_arrival_us
        put_by_us = self.modified_us + ARRIVAL_SLACK_US
        return np.where(first == UNKNOWN_US, _EVER_US, first), np.where(last == UNKNOWN_US, put_by_us, last)

    def entries(self, positions: Sequence[int] | Ints) -> list[ObjectEntry]:
        """Make the entries at some positions, in their order."""
        at = np.asarray(positions, np.int64)
        inside = at < len(self._rows)
        found = iter(self._block.entries(self._rows[at[inside]]) if self._block is not None else ())
        beside = self._beside
        first = len(self._rows)
        return [next(found) if one else beside[n - first] for n, one in zip(at.tolist(), inside.tolist(), strict=True)]


def choose(block: Block | None, rows: npt.NDArray[np.intp], beside: Sequence[ObjectEntry]) -> Choice:
    """Put rows of a block and the entries beside it into one choice."""

    def column(old: Ints | None, value: Callable[[ObjectEntry], int]) -> Ints:
        new = np.fromiter(map(value, beside), np.int64, len(beside))
        return new if old is None else np.concatenate([old[rows], new])

    return Choice(
        column(block.sizes if block else None, lambda entry: entry.size),
        column(block.min_us if block else None, lambda entry: entry.min_us),
        column(block.max_us if block else None, lambda entry: entry.max_us),
        column(block.modified_us if block else None, lambda entry: entry.modified_us),
        column(block.first_arrival_us if block else None, lambda entry: known_us(entry.first_arrival_us)),
        column(block.last_arrival_us if block else None, lambda entry: known_us(entry.last_arrival_us)),
        block,
        rows,
        beside,
    )


def known_us(arrival_us: int | None) -> int:
    """Give a time of receipt as columns have it."""
    return UNKNOWN_US if arrival_us is None else arrival_us


def overlapping(
    entries: Iterable[ObjectEntry], tenant: str | None, start_us: int | None, end_us: int | None
) -> list[ObjectEntry]:
    """Give the entries that may hold a tenant's rows with start_us <= timestamp < end_us, one by one."""
    return [
        entry
        for entry in entries
        if (tenant is None or entry.tenant == tenant)
        and (start_us is None or entry.max_us >= start_us)
        and (end_us is None or entry.min_us < end_us)
    ]


def totals_of(entries: Collection[ObjectEntry]) -> Totals:
    """Add up entries."""
    return Totals(len(entries), sum(entry.rows for entry in entries), sum(entry.size for entry in entries))


class SnapshotBase(ABC):
    """The part of `ports.Snapshot` that is the same whatever holds the objects: `select` is the catalog's own."""

    transactions: Mapping[str, int]

    @abstractmethod
    def select(self, tenant: str | None, start_us: int | None, end_us: int | None) -> Choice:
        """Choose objects, as `ports.Snapshot.select` says."""

    def stand(self, transaction: str) -> int | None:
        """Tell where a transaction stands, None while it took no step."""
        return self.transactions.get(transaction)

    def next_offset(self, log_id: str, vnode: int) -> int | None:
        """Give the next offset to read, None while no commit of this virtual node exists."""
        return self.stand(vnode_transaction(log_id, vnode))

    def next_offsets(self, log_id: str, vnodes: Sequence[int]) -> dict[int, int | None]:
        """Give the next offset of each."""
        return {vnode: self.next_offset(log_id, vnode) for vnode in vnodes}

    def objects(self, tenant: str | None, start_us: int | None, end_us: int | None) -> list[ObjectEntry]:
        """List objects that may hold rows with start_us <= timestamp < end_us; `tenant` None means all."""
        chosen = self.select(tenant, start_us, end_us)
        return chosen.entries(np.arange(len(chosen)))
