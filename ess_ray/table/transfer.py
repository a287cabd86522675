"""A table copied into another one, event by event exactly once: from a data directory to a bucket.

What is missing in the target is decided by the identity of rows, (log_id, vnode, offset, row), not by bookkeeping: so a
copy that was interrupted goes on where it was, one that is repeated adds what is new, and neither compaction of the
source nor of the target in between doubles or loses a row. Objects are carried as they are: same key, bytes, statistics
and footer. Only where the target has a part of an object's rows already is an object of the others made.

As numbered steps, each safe to die in, and done again by the next run:

    1. read n of the copy's own transaction in the target, then the target's snapshot.
    2. choose a batch of source objects; per object, read which of its rows the target has.
    3. read each object whole, check its bytes against size, footer and content hash, PUT it: invisible. HEAD it.
    4. one commit of the batch with n -> n+1: a second copy at the same time is refused, and starts over from 1.
    5. when nothing is missing: the next offsets of the source's logs, so that the target knows what the source knew.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from typing import Final

import pyarrow as pa

from ess_ray.core.chunk import (
    IDENTITY,
    PARQUET_MAGIC,
    ContentHash,
    ObjectReader,
    OffsetRange,
    encode_object,
    open_object,
    parts_for,
    read_identities,
)
from ess_ray.core.errors import Conflict, CorruptData, Fenced, NotFound, Unavailable, UnknownOutcome
from ess_ray.damage import Damaged, reading_from
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.keys import ApiKey, key_bytes, read_key
from ess_ray.ports import Advance, Catalog, CatalogWriter, ObjectEntry, ObjectStore, Snapshot, vnode_advances
from ess_ray.table.replacing import Partition, partition

_log = logging.getLogger(__name__)

BATCH_OBJECTS: Final = 64
"""Objects of one commit: what is put again when a run dies, and few enough that 100,000 objects make 1,600 commits."""
BATCH_BYTES: Final = 1024**3
"""Stored bytes after which a batch is committed, however few its objects: a minute's upload at 17 MB/s."""
MAX_TRIES: Final = 8
"""Starts over after refused commits in a row: removals and another copy refuse one, rarely two."""

Progress = Callable[[int, int], None]
"""(objects decided, objects in all)."""


@dataclass
class Copied:
    """What a run did; sizes in bytes. `there`: objects whose rows the target had. `partly`: objects made anew.

    `mended`: objects of the target that could not be read and were put again. `failed`: what could not be copied, and
    why.
    """

    objects: int = 0
    rows: int = 0
    bytes: int = 0
    there: int = 0
    partly: int = 0
    mended: int = 0
    side_objects: int = 0
    failed: list[Damaged] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


def copy_table(
    source: Catalog,
    source_store: ObjectStore,
    target: Catalog,
    target_store: ObjectStore,
    *,
    name: str,
    on_progress: Progress = lambda done, total: None,
    batch_objects: int = BATCH_OBJECTS,
) -> Copied:
    """Copy what is live in one version of the source and not in the target. Idempotent, resumable; safe beside writers.

    `name` names the source for ever: copies of one name exclude each other. A source object that is not as it was
    written is named in `failed`, and the others are copied; the next run copies it once it is restored. An object that
    the target's table has and its store cannot give is put again. Raises Conflict when the target has other bytes under
    a key, Unavailable, UnknownOutcome.
    """
    snapshot = source.snapshot()
    entries = sorted(snapshot.objects(None, None, None), key=lambda e: (e.tenant, e.date, e.hour, e.key))
    # As it has been named ever since there are copies: so one goes on that an older version began.
    transaction = f"log/copy-{sha256(name.encode()).hexdigest()[:32]}/vnode/0"
    run = _Run(source_store, target, target_store, transaction=transaction, batch_objects=batch_objects)
    ranges = run.copy(entries, on_progress)
    run.carry_offsets(snapshot, ranges)
    return run.done


class _Run:
    """One run over the source's objects."""

    def __init__(
        self, source: ObjectStore, target: Catalog, store: ObjectStore, *, transaction: str, batch_objects: int
    ) -> None:
        self._batch_objects = batch_objects
        self._source, self._target, self._store = source, target, store
        self._writer: CatalogWriter = target.writer()
        self._transaction = transaction
        self.done = Copied()

    def copy(self, entries: Sequence[ObjectEntry], on_progress: Progress) -> set[tuple[str, int]]:
        """Copy all; gives the virtual nodes that their ranges name."""
        nodes: set[tuple[str, int]] = set()
        at = tries = 0
        while at < len(entries):
            batch = _batch(entries, at, self._batch_objects)
            try:
                nodes |= self._copy_batch(batch)
            except (Fenced, UnknownOutcome) as error:
                # Whatever came of the commit, the next look at the target tells.
                tries += 1
                if tries == MAX_TRIES:
                    raise
                _log.info("the copy looks again: %s", error.message)
                continue
            at, tries = at + len(batch), 0
            on_progress(at, len(entries))
        return nodes

    def _copy_batch(self, batch: Sequence[ObjectEntry]) -> set[tuple[str, int]]:
        # The number before the snapshot: what somebody else copies after it refuses our commit.
        stand = self._writer.stand(self._transaction)
        view = _Target(self._target.snapshot(), self._store, self._source, batch)
        adds: list[ObjectEntry] = []
        nodes: set[tuple[str, int]] = set()
        done = replace(self.done, failed=list(self.done.failed))
        for entry in batch:
            try:
                with reading_from(self._source, entry.key):
                    reader = open_object(self._source, entry.key, entry.size)
                nodes |= {(part.log_id, part.vnode) for part in reader.facts.ranges}
                if (present := view.live.get(entry.key)) is not None:
                    done.mended += self._mend(entry, reader, present)
                new = None if present is not None else self._one(entry, reader, view)
            except (NotFound, CorruptData) as error:
                done.failed.append(Damaged(entry.key, error.message))
                continue
            if new is None:
                done.there += 1
                continue
            adds.append(new)
            done.objects, done.rows, done.bytes = done.objects + 1, done.rows + new.rows, done.bytes + new.size
            done.partly += new.key != entry.key
        if adds:
            self._writer.commit(adds, [], {self._transaction: Advance.by_one(stand)})
        self.done = done
        return nodes

    def _one(self, entry: ObjectEntry, reader: ObjectReader, view: _Target) -> ObjectEntry | None:
        """Put what the target lacks of an object that it does not have as it is; None when it lacks nothing."""
        missing = view.missing(entry, reader)
        if missing == 0:
            return None
        if missing < entry.rows:
            return self._put_rest(entry, reader, view)
        data = _checked(self._source, entry)
        found = self._store.head(entry.key)
        if found is not None:
            _require_same(entry, reader, replace(entry, size=found.size), self._store)
        # Put again even if an interrupted run put it: garbage collection counts a day from the last PUT.
        _put(self._store, entry.key, data)
        return entry

    def _mend(self, entry: ObjectEntry, reader: ObjectReader, present: ObjectEntry) -> bool:
        """Put an object again that the target's table has and its store cannot give; False where all is well."""
        try:
            _require_same(entry, reader, present, self._store)
            return False
        except (NotFound, CorruptData) as error:
            _log.warning("the target's copy is put again: %s", error.message)
            _put(self._store, entry.key, _checked(self._source, entry))
            return True

    def _put_rest(self, entry: ObjectEntry, reader: ObjectReader, view: _Target) -> ObjectEntry:
        _checked(self._source, entry)
        rest = view.rest(entry, reader)
        encoded = encode_object(rest, reader.facts.ranges, reader.facts.requests, deleted=reader.facts.deleted)
        new = entry_of(Sealed(entry.tenant, encoded), entry.modified_us)
        _put(self._store, new.key, encoded.data)
        return new

    def carry_offsets(self, snapshot: Snapshot, nodes: Iterable[tuple[str, int]]) -> None:
        """Tell the target how far the source's logs were stored; only after all that they stored is there."""
        by_log: dict[str, list[int]] = defaultdict(list)
        for log_id, vnode in sorted(nodes):
            by_log[log_id].append(vnode)
        for log_id, vnodes in by_log.items():
            stands = self._writer.next_offsets(log_id, vnodes)
            steps = {
                vnode: Advance(stands[vnode] or 0, stored)
                for vnode, stored in snapshot.next_offsets(log_id, vnodes).items()
                if stored is not None and stored > (stands[vnode] or 0)
            }
            if steps:
                self._writer.commit([], [], vnode_advances(log_id, steps))
            self.done.logs.append(log_id)


def _batch(entries: Sequence[ObjectEntry], at: int, most: int) -> list[ObjectEntry]:
    """Give the entries of the next commit, from `at` on: at least one, at most `most`."""
    batch: list[ObjectEntry] = []
    size = 0
    for entry in islice(entries, at, at + most):
        if batch and size + entry.size > BATCH_BYTES:
            break
        batch.append(entry)
        size += entry.size
    return batch


class _Target:
    """One version of the target, asked which rows of the source's objects it holds."""

    def __init__(
        self, snapshot: Snapshot, store: ObjectStore, source: ObjectStore, batch: Sequence[ObjectEntry]
    ) -> None:
        self._store, self._source = store, source
        # What meets the batch in time: copies lie in their originals' hours, and a table may hold 100,000 objects.
        first_us, last_us = min(entry.min_us for entry in batch), max(entry.max_us for entry in batch)
        self.live = {entry.key: entry for entry in snapshot.objects(None, first_us, last_us + 1)}
        self._by_partition: dict[Partition, list[ObjectEntry]] = defaultdict(list)
        for entry in self.live.values():
            self._by_partition[partition(entry)].append(entry)

    def missing(self, entry: ObjectEntry, reader: ObjectReader) -> int:
        """Count the rows of an object that no live object of the target holds."""
        others = self._meeting(entry, reader)
        return (
            sum(len(self._lacking(ours, others, part, parts)) for part, parts, ours in self._parts(reader))
            if others
            else entry.rows
        )

    def rest(self, entry: ObjectEntry, reader: ObjectReader) -> pa.Table:
        """Give those rows, in the object's order."""
        others = self._meeting(entry, reader)
        parts = self._parts(reader)
        wanted = pa.concat_tables([self._lacking(ours, others, part, of) for part, of, ours in parts])
        keys = set(zip(*(wanted.column(name).to_pylist() for name in IDENTITY), strict=True))
        kept = []
        for group in range(reader.groups):
            with reading_from(self._source, reader.key):
                rows = reader.read_group(group)
            reader.forget()
            mine = zip(*(rows.column(name).to_pylist() for name in IDENTITY), strict=True)
            kept.append(rows.filter(pa.array([one in keys for one in mine], pa.bool_())))
        return pa.concat_tables(kept).combine_chunks()

    def _parts(self, reader: ObjectReader) -> Iterator[tuple[int, int, pa.Table]]:
        parts = parts_for(int(reader.metadata.num_rows))
        for part in range(parts):
            yield part, parts, _identities(self._source, reader, part, parts)

    def _lacking(self, ours: pa.Table, others: Sequence[ObjectReader], part: int, parts: int) -> pa.Table:
        for other in others:
            theirs = _identities(self._store, other, part, parts)
            ours = ours.join(theirs, keys=list(IDENTITY), join_type="left anti")
        return ours

    def _meeting(self, entry: ObjectEntry, reader: ObjectReader) -> list[ObjectReader]:
        """Open the target's objects that may hold rows of this one: same partition, and ranges and times that meet."""
        found = []
        for other in self._by_partition[partition(entry)]:
            if other.min_us <= entry.max_us and entry.min_us <= other.max_us:
                with reading_from(self._store, other.key):
                    opened = open_object(self._store, other.key, other.size)
                if _meet(reader.facts.ranges, opened.facts.ranges):
                    found.append(opened)
        return found


def _meet(ours: Sequence[OffsetRange], theirs: Sequence[OffsetRange]) -> bool:
    spans = {(part.log_id, part.vnode): part for part in ours}
    mine = ((spans.get((part.log_id, part.vnode)), part) for part in theirs)
    return any(own is not None and own.first < part.end and part.first < own.end for own, part in mine)


def _identities(store: ObjectStore, reader: ObjectReader, part: int, parts: int) -> pa.Table:
    with reading_from(store, reader.key):
        return read_identities(reader, part, parts)


def _checked(store: ObjectStore, entry: ObjectEntry) -> bytes:
    """Read an object whole and check it by the hash of its rows. Raises NotFound, CorruptData."""
    with reading_from(store, entry.key):
        data = store.get_range(entry.key, 0, entry.size + 1)
        if len(data) != entry.size:
            raise CorruptData(f"{entry.key} has not the {entry.size} bytes that the catalog says: see `ess verify`")
        reader = ObjectReader(entry.key, entry.size, data, lambda offset, length: data[offset : offset + length])
        digest = ContentHash(reader.facts.format_version)
        for group in range(reader.groups):
            digest.add(reader.read_group(group))
            reader.forget()
        altered = digest.hexdigest() != reader.facts.content_hash or reader.begins_with() != PARQUET_MAGIC
    if altered or reader.metadata.num_rows != entry.rows:
        raise CorruptData(f"{entry.key} does not hold the rows that were written: see `ess verify --deep`")
    return data


def _require_same(entry: ObjectEntry, reader: ObjectReader, present: ObjectEntry, store: ObjectStore) -> None:
    """A key names one object for ever: where the target has it, it must be this one. Raises Conflict."""
    if present.size == entry.size:
        with reading_from(store, entry.key):
            there = open_object(store, entry.key, entry.size)
        if there.facts == reader.facts:
            return
    raise Conflict(
        f"the target has other bytes under {entry.key}: it was written by something else than a copy of this table; "
        "choose an empty place (store.prefix), or look at both objects and take the wrong one away"
    )


def _put(store: ObjectStore, key: str, data: bytes | pa.Buffer) -> None:
    store.put(key, data)
    found = store.head(key)
    if found is None or found.size != len(data):
        raise Unavailable(f"{key} is not in the target though it was put: look at the store, then copy again")


# ------------------------------------------------------------------------------------------------ beside the table
def copy_keys(source: ObjectStore, target: ObjectStore) -> tuple[int, list[Damaged]]:
    """Copy the API keys that the target lacks; a key that is revoked in either place is revoked in the target.

    Gives how many were written, and those that cannot be read, which are not copied: a key that the target has stays as
    it is there. Idempotent. Raises Unavailable.
    """
    written, damaged = 0, list[Damaged]()
    for info in source.list(""):
        try:
            data = key_bytes(source, info.key)
            ours = read_key(info.key, data)
        except CorruptData as error:
            damaged.append(Damaged(info.key, error.message))
            continue
        theirs = None if target.head(info.key) is None else _readable(target, info.key)
        if theirs is None or (theirs.revoked_us is None and ours.revoked_us is not None):
            target.put(info.key, data)
            written += 1
    return written, damaged


def _readable(store: ObjectStore, place: str) -> ApiKey | None:
    """Read a key; None for one that is damaged, in whose place the source's may be put."""
    try:
        return read_key(place, key_bytes(store, place))
    except CorruptData:
        return None


def copy_missing(source: ObjectStore, target: ObjectStore) -> int:
    """Copy the objects whose keys the target lacks (dead letters: written once, never changed). Idempotent."""
    there = {info.key for info in target.list("")}
    missing = [info for info in source.list("") if info.key not in there]
    for info in missing:
        target.put(info.key, source.get_range(info.key, 0, info.size))
    return len(missing)
