"""The five seams of ess_ray, as Protocols: what policy (floor 2) may ask of the real things (adapters).

Every adapter of a port passes the same suite in tests/conformance. `tenant` is always an argument. Logs and
results are async (they wait for a network or an owner); stores and catalogs are blocking (the libraries are),
and async callers run them in threads. May live here: Protocols and their value types. May not: behaviour.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ess_ray.core.aggregate import Counting
from ess_ray.core.query import Query

Ints = npt.NDArray[np.int64]
"""A column of sizes or microseconds."""

CONTENT_TYPE: Final = "content-type"
ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
MAX_RECORD_BYTES: Final = 900 * 1024
"""A log record's value: under Kafka's default `message.max.bytes` (1 MiB) with room for headers."""


# ---------------------------------------------------------------------------------------------------------- log
@dataclass(frozen=True, slots=True)
class Record:
    """One record to append: opaque bytes and headers, for one virtual node."""

    vnode: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as read back, at its offset."""

    offset: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    received_us: int | None = field(default=None, compare=False)
    """When the log took it, by the log's clock, where the log tells: no part of what was written."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """A read's answer: records in offset order (holes are possible), and where to read next."""

    records: tuple[StoredRecord, ...]
    next_offset: int


class EventLog(Protocol):
    """A durable log of `vnode_count` partitions, named by `log_id` for its whole life."""

    async def log_id(self) -> str: ...

    async def vnode_count(self) -> int: ...

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append durably, in order per virtual node; gives each record's offset once all are durable.

        Records of one call that go to one virtual node are appended together or not at all (embedded).
        Raises Unavailable: then nothing may be acknowledged, though a part may have been appended.
        """
        ...

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        """Read from `offset` on, at least one record if there is one; empty at the end; never waits for more.

        An offset below the log's start reads from the start (the caller compares with `start_offsets`).
        """
        ...

    async def start_offsets(self) -> dict[int, int]: ...

    async def end_offsets(self) -> dict[int, int]:
        """Give, per virtual node, the offset after the last durable record. Linearizable with `append`."""
        ...

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Tell that all below is durable elsewhere: SQLite trims, Kafka commits for lag tools. Idempotent."""
        ...


# -------------------------------------------------------------------------------------------------------- store
@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    size: int
    modified_us: int


class ObjectStore(Protocol):
    """Blobs under keys below one root. Keys are relative, of `[A-Za-z0-9._=/-]`, never with `..`.

    `coalesce_bytes`: what one request costs, in bytes that could be read meanwhile: readers join ranges that lie no
    further apart. A store that does not have it is taken to be a remote one.
    """

    @property
    def coalesce_bytes(self) -> int: ...

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Write durably and atomically; an existing key is replaced."""
        ...

    def head(self, key: str) -> ObjectInfo | None: ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read `length` bytes from `offset` (fewer at the end). Raises NotFound."""
        ...

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """Read the same bytes in pieces as they arrive, by one request; closing it early ends the request.

        What breaks is taken up where it broke. Raises NotFound, when the first piece is asked for.
        """
        ...

    def get_suffix(self, key: str, length: int) -> bytes:
        """Read the last `length` bytes (the whole object if it is smaller). Raises NotFound."""
        ...

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Name all objects whose key starts with `prefix`, sorted by key."""
        ...

    def delete(self, key: str) -> None:
        """Delete; a missing key is no error."""
        ...

    def now_us(self) -> int:
        """The store's own clock, for ages: what `modified_us` is measured by."""
        ...


# ------------------------------------------------------------------------------------------------------ catalog
@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object in the catalog: key, sizes and statistics (`min_us`, `max_us` inclusive, event time)."""

    key: str
    size: int
    tenant: str
    date: str
    hour: int
    rows: int
    min_us: int
    max_us: int
    modified_us: int


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


class Selection(ObjectColumns, Protocol):
    """Objects of a snapshot as columns: entries are made where asked for."""

    def __len__(self) -> int: ...

    def entries(self, positions: Sequence[int] | Ints) -> list[ObjectEntry]:
        """Make the entries at some positions, in their order."""
        ...


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


class CatalogWriter(Protocol):
    """A private table object for one writer: one commit at a time, never shared with readers.

    `commit` and `commit_removal` are the fence of the design's section 4.4 and 4.9.
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


# -------------------------------------------------------------------------------------------------------- views
@dataclass(frozen=True, slots=True)
class VnodeRange:
    """What a frozen view covers of one virtual node: offsets in [first, end)."""

    first: int
    end: int


@dataclass(frozen=True)
class View:
    """An owner's frozen answer: the ranges it covers and their matching rows (EVENT_SCHEMA, in answer order).

    When it was asked to count, there are no rows but `counts`, whose cells are kept apart by `vnode` and `offset`.
    """

    ranges: dict[int, VnodeRange]
    rows: pa.Table
    scanned_rows: int = 0
    duplicates_suppressed: int = 0
    matched: Mapping[int, int] = field(default_factory=dict)
    """Rows that match, by virtual node, before repeats and the limit took some out."""
    counts: pa.Table | None = None


class InFlight(Protocol):
    """The owners of the virtual nodes, asked for views of what is not stored yet."""

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        grouping: Counting | None = None,
    ) -> list[View]:
        """Ask every owner for one frozen view reaching at least `min_ends`, waiting up to `timeout_s`.

        A virtual node without an owner, or whose owner does not get there in time, is absent from the ranges.
        `since`: look only at rows of these virtual nodes, from these offsets on; the ranges are told as ever.
        `grouping`: give counts instead of rows.
        """
        ...


# ----------------------------------------------------------------------------------------------------- executor
@dataclass(frozen=True, slots=True)
class ScanTask:
    """Objects to scan with one query: the unit that a Ray task or a Lambda invocation takes."""

    tenant: str
    query: Query
    entries: tuple[ObjectEntry, ...]
    probe: bool = False
    """Whether it comes first: a limit of few rows is often filled by it, so that no skip index need be read."""
    grouping: Counting | None = None
    """What to count all matching rows by, instead of giving the first of them."""


@dataclass(frozen=True)
class ScanResult:
    """Matching rows of a task's objects (EVENT_SCHEMA, answer order, the first `limit` only), with its cost.

    Of a task that counts: no rows, and `counts` (None when there was nothing to count).
    """

    rows: pa.Table
    rows_matched: int
    bytes_read: int
    gets: int
    duplicates_suppressed: int = 0
    failed: tuple[tuple[str, str], ...] = field(default=())
    """(key, reason) of each object that could not be read."""
    footer_hits: int = 0
    """Objects opened by a footer in memory; `footer_misses`: by a request."""
    footer_misses: int = 0
    invocations: int = 0
    """Of a Lambda function, lost ones and second copies too; with what they cost, an estimate."""
    gb_seconds: float = 0.0
    cost_usd: float = 0.0
    counts: pa.Table | None = None


class ScanExecutor(Protocol):
    """Runs scan tasks with bounded parallelism."""

    def run(self, tasks: Iterable[ScanTask]) -> AsyncGenerator[tuple[int, ScanResult], None]:
        """Start tasks in the order given and yield (index, result) as they finish: one result for each task taken.

        `tasks` is iterated once, and the next one is taken only when it is about to start: tasks are made then, with
        what is known by then, and there may be fewer the later they are asked for. Closing the iterator cancels what
        is running and starts nothing more.
        """
        ...


@dataclass(frozen=True)
class Invoked:
    """What an invocation gave, and the memory times the time that it is billed for."""

    result: ScanResult
    gb_seconds: float


class ScanFunction(Protocol):
    """A function somewhere else that runs scan tasks, as many at a time as it is asked to."""

    @property
    def memory_gb(self) -> float:
        """What a second of it is billed for."""
        ...

    def start(self, task: ScanTask) -> Future[Invoked]:
        """Invoke it once, without waiting. The future ends when the invocation does, whoever still wants it.

        It raises TooFast (refused, it did not run), Unavailable (lost: it crashed, ran out of time or memory, or its
        answer did not arrive; `gb_seconds` in its details), or another EssError: asking again will not help.
        """
        ...


class InvocationSlots(Protocol):
    """The concurrency cap of a function, shared by all searches, and by all replicas where the adapter can."""

    @property
    def cap(self) -> int: ...

    async def take(self) -> str | None:
        """Take a slot and give its name; None when all are taken. Slots of a replica that died come back."""
        ...

    async def give_back(self, slot: str) -> None:
        """Free a slot. Idempotent."""
        ...


# ------------------------------------------------------------------------------------------------------ results
@dataclass(frozen=True)
class AnswerState:
    """Where an answer stands: the JSON of the contract without its events.

    `buckets` (JSON values, as they are shown) and `interval_s` only aggregations have.
    """

    state: str
    progress: dict[str, int | float | str | None]
    complete: bool
    incomplete: tuple[str, ...]
    elapsed_ms: int
    buckets: tuple[dict[str, Any], ...] | None = None
    interval_s: int | None = None


class ResultStore(Protocol):
    """Answers under (tenant, query id), appended in final order, read by position, expiring after a while."""

    async def create(self, tenant: str, query_id: str, state: AnswerState, question: str = "") -> None:
        """Begin an answer. `question` is kept beside it: text from which it can be asked again, empty if it cannot."""
        ...

    async def question(self, tenant: str, query_id: str) -> str:
        """Give the question of an answer, whoever asked it and whatever became of them. Raises NotFound."""
        ...

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        """Add rows at the end. False when the answer's cap is reached: rows were kept up to the cap."""
        ...

    async def update(self, tenant: str, query_id: str, state: AnswerState) -> None: ...

    async def state(self, tenant: str, query_id: str) -> AnswerState:
        """Raises NotFound for an unknown or expired id, and for another tenant's."""
        ...

    async def request_cancel(self, tenant: str, query_id: str) -> None:
        """Ask whoever runs this query to end it; the answer itself stays as it is. Idempotent. Raises NotFound."""
        ...

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Give those of these (tenant, query id) that were asked to end; unknown ones were not. One round trip."""
        ...

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        """Give rows [start, start + limit) that are there by now. Raises NotFound."""
        ...
