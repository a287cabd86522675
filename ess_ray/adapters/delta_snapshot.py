"""Frozen versions of the Delta table as columns, and how one version becomes the next.

A version is a block of columns (numpy and Arrow, shared between versions), a mask of the rows still live, and the few
objects added since the block was made. Planning over 100,000 objects is then a few vector comparisons, and following a
commit costs what the commit holds: deltalake's own refresh and listing cost a quarter of a second at that size, each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.adapters.snapshots import UNKNOWN_US, Choice, SnapshotBase, choose, known_us, overlapping, totals_of
from ess_ray.core.checksum import crc32
from ess_ray.core.errors import CorruptData
from ess_ray.core.timestamps import format_timestamp, parse_timestamp_us
from ess_ray.ports import Ints, ObjectEntry, Totals

MAX_RECENT: Final = 2_000
"""Objects kept beside the block before they are folded into it: scanning them one by one stays near 1 ms."""
_MS_US: Final = 1_000
_ARRIVAL: Final = "observed_timestamp"
SUM: Final = "essSum"
"""Where a commit's own information holds the sum of what it did: another digit, or letter, reads as well as before."""
_KNOWN_ACTIONS: Final = frozenset({"add", "remove", "txn", "commitInfo"})


class ForeignCommit(CorruptData):
    """A commit holds an action that ess_ray never writes: the table has to be read anew by deltalake."""


@dataclass(frozen=True)
class Block:
    """Objects as columns, in the order of rows; `tenants` are codes into `tenant_names`."""

    keys: pa.StringArray
    tenant_names: list[str]
    tenants: Ints
    dates: pa.StringArray
    hours: Ints
    sizes: Ints
    rows: Ints
    min_us: Ints
    max_us: Ints
    modified_us: Ints
    first_arrival_us: Ints
    last_arrival_us: Ints

    def __len__(self) -> int:
        return len(self.min_us)

    def row_of(self, key: str) -> int | None:
        """Find the row of a key."""
        return self._rows_by_key.get(key)

    @cached_property
    def _rows_by_key(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys.to_pylist())}

    def entries(self, chosen: npt.NDArray[np.intp]) -> list[ObjectEntry]:
        """Build the entries of some rows."""
        names = self.tenant_names
        return list(
            map(
                ObjectEntry,
                self.keys.take(pa.array(chosen)).to_pylist(),
                self.sizes[chosen].tolist(),
                [names[code] for code in self.tenants[chosen].tolist()],
                self.dates.take(pa.array(chosen)).to_pylist(),
                self.hours[chosen].tolist(),
                self.rows[chosen].tolist(),
                self.min_us[chosen].tolist(),
                self.max_us[chosen].tolist(),
                self.modified_us[chosen].tolist(),
                _or_none(self.first_arrival_us[chosen]),
                _or_none(self.last_arrival_us[chosen]),
            )
        )


@dataclass(frozen=True)
class Commit:
    """What one commit did, in ess_ray's terms."""

    adds: list[ObjectEntry]
    removes: list[str]
    transactions: dict[str, int]


@dataclass(frozen=True)
class DeltaSnapshot(SnapshotBase):
    """One frozen version of the table. Nothing it holds is ever changed. Safe to use from many threads."""

    version: int
    block: Block
    live: npt.NDArray[np.bool_]
    recent: Mapping[str, ObjectEntry]
    transactions: Mapping[str, int]

    def select(self, tenant: str | None, start_us: int | None, end_us: int | None) -> Choice:
        """Choose objects by vector comparisons over the block, and one by one beside it."""
        if start_us is not None and end_us is not None and start_us >= end_us:
            return choose(None, np.empty(0, np.intp), ())
        block, chosen = self.block, self.live
        if tenant is not None:
            code = block.tenant_names.index(tenant) if tenant in block.tenant_names else -1
            chosen = chosen & (block.tenants == code)
        if start_us is not None:
            chosen = chosen & (block.max_us >= start_us)
        if end_us is not None:
            chosen = chosen & (block.min_us < end_us)
        return choose(block, np.flatnonzero(chosen), overlapping(self.recent.values(), tenant, start_us, end_us))

    def count(self, tenant: str | None) -> int:
        """Count a tenant's objects (None: all), without choosing them."""
        block, live = self.block, self.live
        if tenant is None:
            return int(np.count_nonzero(live)) + len(self.recent)
        code = block.tenant_names.index(tenant) if tenant in block.tenant_names else -1
        mine = int(np.count_nonzero(live & (block.tenants == code)))
        return mine + sum(1 for entry in self.recent.values() if entry.tenant == tenant)

    def totals(self) -> Totals:
        """Add up all objects: columns of the block, and one by one beside it."""
        beside, live = totals_of(self.recent.values()), self.live
        return Totals(
            int(np.count_nonzero(live)) + beside.objects,
            int(self.block.rows[live].sum()) + beside.rows,
            int(self.block.sizes[live].sum()) + beside.bytes,
        )

    def holds(self, key: str) -> bool:
        """Tell whether an object is in this version."""
        if key in self.recent:
            return True
        row = self.block.row_of(key)
        return row is not None and bool(self.live[row])

    def after(self, commit: Commit) -> DeltaSnapshot:
        """Give the next version."""
        live, recent = self.live, dict(self.recent)
        for key in [*commit.removes, *(entry.key for entry in commit.adds)]:
            recent.pop(key, None)
            # An object that is added again replaces its row: a key is one object, however often it is committed.
            row = self.block.row_of(key)
            if row is not None and live[row]:
                live = live.copy() if live is self.live else live
                live[row] = False
        recent.update((entry.key, entry) for entry in commit.adds)
        transactions = {**self.transactions, **commit.transactions}
        block = self.block
        if len(recent) > MAX_RECENT:
            block, live, recent = _fold(block, live, recent), np.ones(int(live.sum()) + len(recent), np.bool_), {}
        return DeltaSnapshot(self.version + 1, block, live, recent, transactions)


def read_block(actions: pa.Table) -> Block:
    """Turn deltalake's flattened add actions into a block. Raises CorruptData without the timestamps' statistics."""
    times = [actions.column(f"{side}.timestamp").cast(pa.int64()) for side in ("min", "max")]
    needed = [*times, actions.column("num_records")]
    if any(column.null_count for column in needed):
        raise CorruptData("an object in the table has no row count or timestamp statistics: who added it? Remove it")
    tenants = _whole(actions.column("partition.tenant")).dictionary_encode()
    return Block(
        _whole(actions.column("path")),
        tenants.dictionary.to_pylist(),
        _ints(tenants.indices),
        _whole(actions.column("partition.date").cast(pa.string())),
        _ints(actions.column("partition.hour")),
        _ints(actions.column("size_bytes")),
        _ints(actions.column("num_records")),
        _ints(times[0]),
        _ints(times[1]),
        _ints(actions.column("modification_time")) * _MS_US,
        _arrivals(actions, "min"),
        _arrivals(actions, "max"),
    )


def _arrivals(actions: pa.Table, side: str) -> Ints:
    """Read times of receipt: objects and tables of older versions have none."""
    name = f"{side}.{_ARRIVAL}"
    if name not in actions.schema.names:
        return np.full(len(actions), UNKNOWN_US, np.int64)
    return _ints(pc.fill_null(actions.column(name).cast(pa.int64()), UNKNOWN_US))


def _or_none(arrivals_us: Ints) -> list[int | None]:
    return [None if us == UNKNOWN_US else us for us in arrivals_us.tolist()]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())


def _ints(column: pa.ChunkedArray | pa.Array) -> Ints:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values: Ints = whole.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def _fold(block: Block, live: npt.NDArray[np.bool_], recent: Mapping[str, ObjectEntry]) -> Block:
    """Make one block of what is live in a block and the entries beside it."""
    chosen = np.flatnonzero(live)
    rows = pa.array(chosen)
    added = list(recent.values())
    names = list(dict.fromkeys([*block.tenant_names, *(entry.tenant for entry in added)]))
    codes = {name: code for code, name in enumerate(names)}

    def ints(old: Ints, new: Iterable[int]) -> Ints:
        return np.concatenate([old[chosen], np.fromiter(new, np.int64, len(added))])

    def texts(old: pa.StringArray, new: list[str]) -> pa.StringArray:
        return pa.concat_arrays([old.take(rows), pa.array(new, pa.string())])

    return Block(
        texts(block.keys, [entry.key for entry in added]),
        names,
        ints(block.tenants, (codes[entry.tenant] for entry in added)),
        texts(block.dates, [entry.date for entry in added]),
        ints(block.hours, (entry.hour for entry in added)),
        ints(block.sizes, (entry.size for entry in added)),
        ints(block.rows, (entry.rows for entry in added)),
        ints(block.min_us, (entry.min_us for entry in added)),
        ints(block.max_us, (entry.max_us for entry in added)),
        ints(block.modified_us, (entry.modified_us for entry in added)),
        ints(block.first_arrival_us, (known_us(entry.first_arrival_us) for entry in added)),
        ints(block.last_arrival_us, (known_us(entry.last_arrival_us) for entry in added)),
    )


# ---------------------------------------------------------------------------------------------- a commit's JSON lines
def statistics_of(entry: ObjectEntry) -> str:
    """Write an object's statistics as Delta readers understand them (neither time is ever null)."""
    times = {"timestamp": (entry.min_us, entry.max_us)}
    if entry.first_arrival_us is not None and entry.last_arrival_us is not None:
        times[_ARRIVAL] = (entry.first_arrival_us, entry.last_arrival_us)
    low, high = ({name: format_timestamp(times[name][side]) for name in times} for side in (0, 1))
    nulls = dict.fromkeys(times, 0)
    return json.dumps({"numRecords": entry.rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def sum_of(commit: Commit) -> str:
    """Sum up what a commit does, in whatever order it is written."""
    adds = sorted(
        (
            *(e.key, e.size, e.tenant, e.date, e.hour, e.rows, e.min_us, e.max_us, e.modified_us // _MS_US),
            *(e.first_arrival_us, e.last_arrival_us),
        )
        for e in commit.adds
    )
    done = [adds, sorted(commit.removes), sorted(commit.transactions.items())]
    return f"{crc32(json.dumps(done).encode()):08x}"


def read_commit(data: bytes) -> Commit:
    """Read a commit file. Raises ForeignCommit if it holds what ess_ray never writes, CorruptData if it is broken, or
    does not do what its sum says."""
    commit, told = Commit([], [], {}), None
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            action: dict[str, dict[str, Any]] = json.loads(line)
            if not action.keys() <= _KNOWN_ACTIONS:
                raise ForeignCommit(f"a commit holds {sorted(action)}: not written by ess_ray")
            if "add" in action:
                commit.adds.append(_entry_of(action["add"]))
            elif "remove" in action:
                commit.removes.append(action["remove"]["path"])
            elif "txn" in action:
                commit.transactions[action["txn"]["appId"]] = action["txn"]["version"]
            elif "commitInfo" in action:
                told = action["commitInfo"].get(SUM)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"a commit of the table does not read as one: {error!r}") from error
    if told is not None and told != sum_of(commit):
        raise CorruptData("a commit of the table does not read as one: its sum is of other actions") from ValueError()
    return commit


def read_transactions(data: bytes) -> dict[str, int]:
    """Read the application transactions of a commit file alone. Raises CorruptData."""
    if b'"' + SUM.encode() in data:
        return read_commit(data).transactions
    try:
        found = (json.loads(line)["txn"] for line in data.splitlines() if line.startswith(b'{"txn"'))
        return {txn["appId"]: txn["version"] for txn in found}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(f"a commit of the table does not read as one: {error!r}") from error


def _entry_of(add: Mapping[str, Any]) -> ObjectEntry:
    if add.get("deletionVector") is not None:
        raise ForeignCommit("a commit adds a deletion vector: not written by ess_ray")
    statistics, partition = json.loads(add["stats"]), add["partitionValues"]
    return ObjectEntry(
        add["path"],
        add["size"],
        partition["tenant"],
        partition["date"],
        int(partition["hour"]),
        statistics["numRecords"],
        parse_timestamp_us(statistics["minValues"]["timestamp"]),
        parse_timestamp_us(statistics["maxValues"]["timestamp"]),
        add["modificationTime"] * _MS_US,
        *(_arrival(statistics[side]) for side in ("minValues", "maxValues")),
    )


def _arrival(values: Mapping[str, str]) -> int | None:
    return parse_timestamp_us(values[_ARRIVAL]) if _ARRIVAL in values else None
