"""VnodeWriter: carries the virtual nodes of one actor from the log to the catalog, each event exactly once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pyarrow as pa

from ess_ray.core.chunk import StoredRequest
from ess_ray.core.errors import CorruptData, DataLoss, EssError, Fenced, NewerFormat, UnknownOutcome
from ess_ray.ingest.buffer import Frozen, Node, Segment, freeze, segment_of, spans_hours
from ess_ray.ingest.repeats import MAX_ENTRIES, MissingPart, RepeatMemory, rebuild
from ess_ray.ingest.seal import Sealed, entry_of, seal
from ess_ray.ingest.steady import Clock, SteadyTime, elapsed_us
from ess_ray.limits import WriterLimits
from ess_ray.metrics import INGEST_COMMIT_SECONDS, INGEST_PUT_SECONDS, INGEST_SEAL_SECONDS, Metric, Tally
from ess_ray.ports import Advance, Catalog, EventLog, ObjectEntry, ObjectStore, StoredRecord, vnode_advances
from ess_ray.record import DecodedRecord, KnownRequest

Decode = Callable[[StoredRecord, str, int], DecodedRecord]
"""(record, log_id, vnode) -> its rows with their identity. Raises CorruptData, NewerFormat."""
DeadLetter = Callable[[int, StoredRecord, str], Awaitable[object]]
"""(vnode, record, reason): keeps a record that cannot be decoded, durably when awaited; may be told of one again."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush did: rows and objects committed, and the catalog's version (None: somebody else stored them)."""

    rows: int
    objects: int
    version: int | None


@dataclass(frozen=True)
class _Plan:
    """A flush's frozen contents: everything below each virtual node's `next`."""

    advances: dict[int, Advance]
    segments: dict[int, list[Segment]]
    sealed_us: int

    @property
    def rows(self) -> int:
        return sum(len(segment.batch) for parts in self.segments.values() for segment in parts)


class VnodeWriter:
    """Writes the virtual nodes assigned to it. One event loop; the blocking parts run in threads.

    1. `assign`: the catalog's next offset is the truth. None yet: the log's start, committed at once. Beyond the log's
       end: DataLoss. Below the log's start: the gap is committed alone, kept in `gaps`, then on it goes.
    2. `poll`: append to the buffer, searchable from then on through `freeze`. Full buffers: no more is read. A record
       of a newer format stops its virtual node, which `stopped` names: it waits in the log, with all behind it.
    3. `flush`, first half: everything below each position is sealed and PUT: invisible.
    4. one commit, fenced by each virtual node's `first` (`CatalogWriter.commit`).
    5. after any exception of it the outcome is unknown: the catalog is read again, what it has is let go, the rest is
       kept and sealed again later.
    6. the committed objects are looked for, one that is missing is PUT and committed again; only then are buffers let
       go and the log told.
    7. repeats by key and by id are dropped while polling, by a memory that is rebuilt at `assign`.
    """

    def __init__(
        self,
        log: EventLog,
        catalog: Catalog,
        store: ObjectStore,
        *,
        decode: Decode,
        dead_letter: DeadLetter,
        clock_us: Clock,
        limits: WriterLimits,
        elapsed: Clock = elapsed_us,
        tally: Tally | None = None,
    ) -> None:
        """`clock_us` gives the time of day, `elapsed` the time between two moments whoever sets the clock."""
        self._log = log
        self._catalog = catalog.writer()
        self._store = store
        self._decode = decode
        self._dead_letter = dead_letter
        self._clock_us, self._time = clock_us, SteadyTime(clock_us, elapsed)
        self._limits = limits
        self._tally = tally if tally is not None else Tally()
        self._nodes: dict[int, Node] = {}
        self._wanted: set[int] = set()
        self._busy = asyncio.Lock()  # the catalog object takes one commit at a time, and no refresh beside it
        self._log_id = ""
        self.advanced = asyncio.Event()
        self.caught_up = True
        """Whether the last poll read all that the log held when it began."""
        self.ends: dict[int, int] = {}
        """The log's ends when it was last polled."""
        self.counts: Counter[str] = Counter()
        self.gaps: list[tuple[int, int, int]] = []

    # ------------------------------------------------------------------------------------------- step 1: taking over
    async def assign(self, vnodes: Iterable[int]) -> None:
        """Own exactly these virtual nodes: take over the new ones, let go of the others (what they hold is in the log).

        Idempotent. Raises DataLoss, Unavailable; then the new ones are not owned.
        """
        wanted = set(vnodes)
        async with self._busy:
            self._log_id = await self._log.log_id()
            for vnode in self._nodes.keys() - wanted:
                del self._nodes[vnode]
            await self._acquire(wanted)
            self._wanted = wanted
        self.advanced.set()

    async def _acquire(self, wanted: Iterable[int]) -> None:
        """Take over what is wanted and not owned; hold `_busy`."""
        new = sorted(set(wanted) - self._nodes.keys())
        if new:
            self._nodes.update(await self._take_over(new))

    async def _take_over(self, vnodes: Sequence[int]) -> dict[int, Node]:
        starts, ends = await self._log.start_offsets(), await self._log.end_offsets()
        stands = await asyncio.to_thread(self._catalog.next_offsets, self._log_id, vnodes)
        steps: dict[int, Advance] = {}
        for vnode in vnodes:
            stand = stands[vnode]
            if stand is None:
                steps[vnode] = Advance(starts[vnode], starts[vnode])
            elif stand > ends[vnode]:
                raise DataLoss(
                    f"virtual node {vnode}: the catalog has stored up to {stand}, the log ends at {ends[vnode]}: "
                    "the log was replaced or truncated; restore it, or start with a new one",
                    vnode=vnode,
                )
            elif stand < starts[vnode]:
                steps[vnode] = Advance(stand, starts[vnode])
        if steps:
            await asyncio.to_thread(self._catalog.commit, [], [], vnode_advances(self._log_id, steps))
            lost = [(vnode, s.first, s.next) for vnode, s in steps.items() if s.first < s.next]
            self.gaps += lost
            self.counts["lost_offsets"] += sum(end - first for _, first, end in lost)
        first = {vnode: steps[vnode].next if vnode in steps else stands[vnode] for vnode in vnodes}
        # A process may come to own every virtual node, and its memories share one bound.
        share = MAX_ENTRIES // await self._log.vnode_count()
        memories = await asyncio.to_thread(self._rebuild, vnodes, share)
        return {vnode: Node(at, at, memories[vnode]) for vnode, at in first.items() if at is not None}

    def _rebuild(self, vnodes: Sequence[int], max_entries: int) -> dict[int, RepeatMemory]:
        entries = self._catalog.snapshot().objects(None, None, None)
        return rebuild(
            self._store,
            entries,
            log_id=self._log_id,
            vnodes=vnodes,
            now_us=self._clock_us(),
            time_of=self._time.as_of_now(),
            max_entries=max_entries,
        )

    # -------------------------------------------------------------------------------------------------- step 2: reading
    async def poll(self) -> int:
        """Read what is new of every owned virtual node, one read each; gives the number of records read.

        A virtual node whose log was trimmed beyond our position belongs to somebody else's progress: it is taken over
        anew, since what they stored is not in our memory of repeats. Raises Unavailable, Fenced, UnknownOutcome.
        """
        if self._wanted - self._nodes.keys():
            async with self._busy:
                await self._acquire(self._wanted)
        self.caught_up = True
        if not self._nodes or self.buffered_bytes >= self._limits.max_buffer_bytes:
            return 0
        ends = self.ends = await self._log.end_offsets()
        records = 0
        for vnode, node in list(self._nodes.items()):
            asked = node.position
            if asked >= ends[vnode] or node.stopped is not None:
                continue
            read = await self._log.read(vnode, asked, self._limits.read_bytes)
            decoded, newer = await self._decoded(vnode, read.records)
            has_hole = read.next_offset - asked != len(read.records)
            overtaken = has_hole and (await self._log.start_offsets())[vnode] > asked
            if self._nodes.get(vnode) is not node or node.position != asked:
                continue  # taken away or moved on while we read
            if overtaken:
                del self._nodes[vnode]  # the next poll takes it over
                continue
            for offset, each in decoded:
                self._take(vnode, node, offset, each)
            if newer is None:
                node.position = read.next_offset
                self.caught_up &= node.position >= ends[vnode]
                records += len(read.records)
                continue
            node.position, node.stopped = newer
            records += sum(record.offset < node.position for record in read.records)
        if records:
            self.counts["records_read"] += records
            self.advanced.set()
        return records

    async def _decoded(
        self, vnode: int, records: Iterable[StoredRecord]
    ) -> tuple[list[tuple[int, DecodedRecord]], tuple[int, NewerFormat] | None]:
        """Decode, keeping aside what cannot be; nothing is taken yet, so a failure leaves nothing half read.

        Ends before a record of a newer format, and gives its offset.
        """
        decoded: list[tuple[int, DecodedRecord]] = []
        for record in records:
            try:
                decoded.append((record.offset, self._decode(record, self._log_id, vnode)))
            except NewerFormat as error:
                return decoded, (record.offset, error)
            except CorruptData as error:
                await self._dead_letter(vnode, record, error.message)
                self.counts["dead_letters"] += 1
        return decoded, None

    def _take(self, vnode: int, node: Node, offset: int, decoded: DecodedRecord) -> None:
        batch, request = decoded.batch, decoded.request
        if not len(batch):
            return
        observed_us = batch.column("observed_timestamp")[0].cast(pa.int64()).as_py()
        seen_us = node.memory.after(self._time.of(observed_us))
        stored = None
        if request is not None:
            self.counts["key_conflicts"] += node.memory.is_conflict(request)
            if node.memory.is_repeat(request, seen_us):
                self.counts["repeats_dropped"] += len(batch)
                return
            stored = StoredRequest(
                self._log_id,
                vnode,
                offset,
                request.key,
                request.body_hash,
                request.part,
                request.parts,
                observed_us,
            )
        kept = node.memory.new_ids(decoded.tenant, batch, seen_us)
        self.counts["repeats_dropped"] += len(batch) - len(kept)
        self.counts["rows_read"] += len(kept)
        if len(kept):
            node.segments.append(segment_of(offset, decoded.tenant, kept, self._time.now_us(), stored))

    @property
    def buffered_bytes(self) -> int:
        return sum(segment.bytes for node in self._nodes.values() for segment in node.segments)

    @property
    def oldest_age_us(self) -> int | None:
        """How long ago the oldest buffered record was received; None with empty buffers."""
        received_us = min((s.received_us for node in self._nodes.values() for s in node.segments), default=None)
        return None if received_us is None else self._time.now_us() - received_us

    @property
    def positions(self) -> dict[int, tuple[int, int]]:
        """Give (first, position) of every owned virtual node."""
        return {vnode: (node.first, node.position) for vnode, node in self._nodes.items()}

    @property
    def stopped(self) -> dict[int, NewerFormat]:
        """Say why owned virtual nodes are read no further; taken over anew, by a newer version, they go on."""
        return {vnode: node.stopped for vnode, node in self._nodes.items() if node.stopped is not None}

    def freeze(self, tenant: str, *, since: Mapping[int, int] | None = None) -> Frozen:
        """Picture what is buffered for a search (see `buffer.collect_frozen`)."""
        return freeze(self._nodes, tenant, since)

    @property
    def missing_repeats(self) -> list[MissingPart]:
        """Give the damaged objects that an owned virtual node's memory of repeats lacks, for as long as it matters."""
        now_us = self._clock_us()
        parts = {part.damaged.key: part for node in self._nodes.values() for part in node.memory.missing}
        return [part for part in parts.values() if part.until_us >= now_us]

    def known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        """Give what this Idempotency-Key came with before, if this writer knows it."""
        node = self._nodes.get(vnode)
        return node.memory.request(tenant, key) if node else None

    # ------------------------------------------------------------------------------------------- steps 3 to 6: flushing
    def due(self) -> bool:
        """Tell whether the buffers should be sealed now."""
        segments = [segment for node in self._nodes.values() for segment in node.segments]
        if not segments:
            return any(node.position > node.first for node in self._nodes.values())
        if sum(segment.bytes for segment in segments) >= self._limits.seal_bytes:
            return True
        oldest_us = min(segment.received_us for segment in segments)
        return (
            self._time.now_us() - oldest_us >= self._limits.seal_age_us
            and spans_hours(segments) <= self._limits.many_hours
        )

    async def flush(self) -> Flushed | None:
        """Store every row below each position; None if there is nothing to move on.

        Raises Fenced or UnknownOutcome after reconciling with the catalog (call again: what is left is kept), and the
        store's errors (nothing was committed, everything is kept).
        """
        async with self._busy:
            plan = self._plan()
            if plan is None:
                return None
            with self._timed(INGEST_SEAL_SECONDS):
                sealed = await asyncio.to_thread(lambda: list(seal(self._log_id, plan.segments, plan.advances)))
            with self._timed(INGEST_PUT_SECONDS):
                entries = await asyncio.to_thread(self._put, sealed)
            if self._time.now_us() - plan.sealed_us > self._limits.reput_after_us:
                entries = await asyncio.to_thread(self._put, sealed)
            try:
                with self._timed(INGEST_COMMIT_SECONDS):
                    steps = vnode_advances(self._log_id, plan.advances)
                    version = await asyncio.to_thread(self._catalog.commit, entries, [], steps)
            except EssError as error:
                await self._reconcile(entries, sealed, plan.advances)
                if not isinstance(error, Fenced | UnknownOutcome):
                    raise UnknownOutcome(f"the commit ended with: {error.message}") from error
                raise
            await asyncio.to_thread(self._make_sure, entries, sealed)
            await self._let_go({vnode: step.next for vnode, step in plan.advances.items()})
            self.counts["rows_stored"] += plan.rows
            self.counts["objects_stored"] += len(entries)
            self.counts["bytes_stored"] += sum(entry.size for entry in entries)
            return Flushed(plan.rows, len(entries), version)

    @contextmanager
    def _timed(self, metric: Metric) -> Iterator[None]:
        """Observe how long something took that succeeded; the failures have a count of their own."""
        started_s = time.monotonic()
        yield
        self._tally.observe(metric, time.monotonic() - started_s)

    def _plan(self) -> _Plan | None:
        advances = {v: Advance(n.first, n.position) for v, n in self._nodes.items() if n.position > n.first}
        if not advances:
            return None
        return _Plan(advances, {vnode: list(self._nodes[vnode].segments) for vnode in advances}, self._time.now_us())

    def _put(self, sealed: Sequence[Sealed]) -> list[ObjectEntry]:
        entries = [entry_of(one, self._store.now_us()) for one in sealed]
        done: list[ObjectEntry] = []
        try:
            for entry, one in zip(entries, sealed, strict=True):
                self._store.put(entry.key, one.encoded.data)
                done.append(entry)
        except EssError:
            # On a full disk each try would leave some behind for a day, and take the room that the next one needs. No
            # commit has named them, so nobody can know these keys: after a commit was tried, nothing is ever deleted.
            with suppress(EssError):
                for entry in done:
                    self._store.delete(entry.key)
            raise
        return entries

    def _make_sure(self, entries: Sequence[ObjectEntry], sealed: Sequence[Sealed]) -> None:
        """Step 6: the catalog takes objects that do not exist, so look for each before its rows are let go."""
        missing = [(e, s) for e, s in zip(entries, sealed, strict=True) if self._store.head(e.key) is None]
        if missing:
            for entry, one in missing:
                self._store.put(entry.key, one.encoded.data)
            self._catalog.commit([entry for entry, _ in missing], [], {})
            self.counts["objects_put_again"] += len(missing)

    async def _reconcile(
        self, entries: Sequence[ObjectEntry], sealed: Sequence[Sealed], advances: Mapping[int, Advance]
    ) -> None:
        """Step 5: read where every virtual node stands, and keep what is not stored."""
        self.counts["unknown_outcomes"] += 1
        stands = await asyncio.to_thread(self._catalog.next_offsets, self._log_id, sorted(self._nodes))
        snapshot = await asyncio.to_thread(self._catalog.snapshot)
        ours = [(e, s) for e, s in zip(entries, sealed, strict=True) if snapshot.holds(e.key)]
        await asyncio.to_thread(self._make_sure, [e for e, _ in ours], [s for _, s in ours])
        # Where the catalog moved to where our commit would have moved it, and has our objects, it was our commit. Where
        # it moved otherwise, it was somebody else, whose repeats we do not know: then only taking over anew is exact.
        committed = len(ours) == len(entries) > 0
        mine = {v: a.next for v, a in advances.items() if committed and stands[v] == a.next}
        for vnode, node in list(self._nodes.items()):
            if vnode not in mine and stands.get(vnode) != node.first:
                del self._nodes[vnode]
        await self._acquire(self._wanted)
        await self._let_go(mine)

    async def _let_go(self, stored: Mapping[int, int]) -> None:
        for vnode, offset in stored.items():
            node = self._nodes.get(vnode)
            if node is not None:
                node.forget_below(offset)
        await self._log.committed(stored)
