"""Deletion: rows that a query matches leave the table, while writers, searches and compactions run.

Objects that hold such rows are written anew without them and put in their place under the maintenance transaction
(docs/exactly-once.md, step 9). An object that had no others is replaced by one without rows: what repeats of its events
are known by is kept for the hour, and retention takes it out after that. So each step names an object that it made, and
after a crash the catalog tells whether it was done.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk import (
    ContentHash,
    DeletedId,
    Encoded,
    MessageCodec,
    ObjectReader,
    digest_of_id,
    encode_object,
    encode_stream,
    open_object,
)
from ess_ray.core.errors import CorruptData, NewerFormat, NotFound, Unavailable, UnknownOutcome
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import Query
from ess_ray.damage import Damaged, reading_from
from ess_ray.ports import Catalog, ObjectEntry, ObjectStore, Snapshot
from ess_ray.table.compaction import MESSAGE_LEVEL, carried_deleted, carried_requests, is_wanted
from ess_ray.table.deletion_book import Cut, Deletion, DeletionBook, Swap
from ess_ray.table.deletion_bytes import first_gone_by_us, is_beyond, matches
from ess_ray.table.replacing import Partition, Replacement, bucket_of, partition, replace_objects

COMMIT_OBJECTS: Final = 16
"""Objects of one commit: few, so that a compaction of the same hour seldom takes one of them meanwhile."""
MAX_TRIES: Final = 10
"""Commits of the same objects: each removal of anybody refuses those that began before it."""
MAX_REFUSED: Final = 5
"""Passes in a row in which nothing could be committed, before the whole is left for a while."""
SAVE_S: Final = 1.0
"""How old a record's progress may be while nothing is found."""
NO_ROOM: Final = (
    "the disk has no room for what is to replace an object, beside what must still be stored: free some; what was "
    "replaced before makes room within minutes"
)
MAX_NAMED: Final = 1_000
"""Reasons of one deletion that are told one by one."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Rest:
    """An object without the rows that go, put under a key of its own, and what it replaces."""

    old: ObjectEntry
    new: ObjectEntry
    rows: int


class Rewriting:
    """One deletion being carried out over the table. Resumable: whatever it finds done stays done."""

    def __init__(
        self,
        catalog: Catalog,
        store: ObjectStore,
        book: DeletionBook,
        deletion: Deletion,
        *,
        message_codec: MessageCodec = "zstd",
        clock: Callable[[], float] = time.monotonic,
        room: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`deletion` must have its cut, and everything below it must be stored. `room` tells the bytes that may be put
        into the store just now, None for any number."""
        assert deletion.cut is not None
        self._catalog, self._store, self._book, self._clock = catalog, store, book, clock
        self._writer = catalog.writer()
        self._codec: MessageCodec = message_codec
        self._room = room
        self._deletion = deletion
        self._sought, self._cut = deletion.sought(), deletion.cut
        self._clean: set[str] = set()  # objects never change, so that one look at each is enough
        self._damaged: dict[str, Damaged] = {}
        self._saved_s = clock()

    def run(self) -> Deletion:
        """Rewrite until no live object holds a row that is to go; gives the record, `done`, as it is kept then.

        Idempotent, safe beside writers, searches, compactions and another run. Objects that cannot be read are named
        in `incomplete`. Raises Unavailable, and UnknownOutcome when commits were refused again and again: what was
        done until then is kept, and the next run goes on.
        """
        self._settle()
        refused = 0
        while todo := self._todo():
            before = len(self._clean) + len(self._damaged)
            by_partition: dict[Partition, list[ObjectEntry]] = defaultdict(list)
            for entry in todo:
                by_partition[partition(entry)].append(entry)
            for entries in by_partition.values():
                self._pass(entries)
            refused = 0 if len(self._clean) + len(self._damaged) > before else refused + 1
            if refused == MAX_REFUSED:
                raise UnknownOutcome("other removals were first again and again: the deletion goes on in a while")
        return self._finished()

    def _todo(self) -> list[ObjectEntry]:
        """Give what may hold rows that are to go, as far as it was not looked at. New objects come while we work."""
        one = self._deletion
        entries = self._catalog.snapshot().objects(one.tenant, one.start_us, one.end_us)
        todo = [e for e in entries if e.rows and e.key not in self._clean and e.key not in self._damaged]
        looked = len(entries) - len(todo)
        self._deletion = replace(one, objects_done=looked, objects_total=len(entries))
        return sorted(todo, key=lambda entry: (entry.date, entry.hour, entry.key))

    # ------------------------------------------------------------------------------------------------- one partition
    def _pass(self, entries: Sequence[ObjectEntry]) -> None:
        made: list[_Rest] = []
        for entry in entries:
            if (rest := self._looked_at(entry)) is not None:
                made.append(rest)
            if len(made) == COMMIT_OBJECTS:
                self._put_in_place(made)
                made = []
            self._tell_progress()
        if made:
            self._put_in_place(made)

    def _looked_at(self, entry: ObjectEntry) -> _Rest | None:
        """Make what is to replace an object; None when nothing of it goes, or nobody can read it."""
        try:
            with reading_from(self._store, entry.key):
                encoded = self._rest_of(entry)
        except NotFound as error:
            # Somebody else may have replaced it and its bytes be gone: the next snapshot tells.
            if self._catalog.snapshot().holds(entry.key):
                self._damaged[entry.key] = Damaged(entry.key, error.message)
            return None
        except (CorruptData, NewerFormat) as error:
            self._damaged[entry.key] = Damaged(entry.key, error.message)
            return None
        if encoded is None:
            self._clean.add(entry.key)
            return None
        new = replace(entry, key=encoded.key(entry.tenant), size=encoded.data.size, rows=encoded.rows)
        new = replace(
            new,
            min_us=encoded.min_us,
            max_us=encoded.max_us,
            first_arrival_us=encoded.first_arrival_us,
            last_arrival_us=encoded.last_arrival_us,
        )
        if (free := self._room()) is not None and new.size > free:
            raise Unavailable(NO_ROOM)
        self._store.put(new.key, encoded.data)
        found = self._store.head(new.key)
        if found is None or found.size != new.size:
            raise Unavailable(f"{new.key} is not in the store though it was put: look at the store, then try again")
        return _Rest(entry, new, entry.rows - encoded.rows)

    def _rest_of(self, entry: ObjectEntry) -> Encoded | None:
        """Write what stays of an object; None when all of it does."""
        reader = open_object(self._store, entry.key, entry.size)
        if is_beyond(reader, self._cut) or not matches(reader, self._sought):
            return None
        kept = _kept(reader, self._sought, self._cut)
        if all(mask.all() for mask in kept):
            return None
        return _encode(entry, reader, kept, self._store.now_us(), self._codec)

    def _put_in_place(self, made: Sequence[_Rest]) -> None:
        swaps = tuple(Swap(one.old.key, one.new.key, one.rows) for one in made)
        self._save(replace(self._deletion, pending=swaps))

        def swap(view: Snapshot) -> Replacement | None:
            # Those that a compaction took are looked at again later.
            ready = [one for one in made if view.holds(one.old.key)]
            return Replacement([one.new for one in ready], [one.old for one in ready]) if ready else None

        bucket, who = bucket_of(partition(made[0].old)), f"deletion {self._deletion.id}"
        try:
            with suppress(UnknownOutcome):  # what the catalog says decides what was done, and what is left
                replace_objects(self._writer, bucket, swap, who, MAX_TRIES)
        finally:
            self._settle()

    # ---------------------------------------------------------------------------------------------------- the record
    def _settle(self) -> None:
        """Count what was committed of the swaps that were begun, by what the catalog says, and save it."""
        pending = self._deletion.pending
        if not pending:
            return
        snapshot = self._catalog.snapshot()
        # Looked at after the snapshot: what is in neither was never committed.
        removed = {one.key for one in self._writer.removed()}
        done = [swap for swap in pending if snapshot.holds(swap.new_key) or swap.new_key in removed]
        self._clean.update(swap.new_key for swap in done)
        self._save(
            replace(
                self._deletion,
                pending=(),
                rows_deleted=self._deletion.rows_deleted + sum(swap.rows for swap in done),
                objects_rewritten=self._deletion.objects_rewritten + len(done),
            )
        )

    def _tell_progress(self) -> None:
        one = self._deletion
        self._deletion = replace(one, objects_done=min(one.objects_done + 1, one.objects_total))
        if self._clock() - self._saved_s >= SAVE_S:
            self._save(self._deletion)

    def _save(self, deletion: Deletion) -> None:
        self._deletion = deletion
        self._book.write(deletion)
        self._saved_s = self._clock()

    def _finished(self) -> Deletion:
        told = [f"{one}: it may hold events that were to go" for _, one in sorted(self._damaged.items())]
        if len(told) > MAX_NAMED:
            told = [*told[:MAX_NAMED], f"{len(told) - MAX_NAMED:,} more objects cannot be read: `ess verify` names all"]
        now_us = self._store.now_us()
        one = self._deletion
        gone_by_us = first_gone_by_us(self._catalog, self._store, one, now_us)
        self._save(
            replace(
                one,
                state="done",
                objects_done=one.objects_total,
                incomplete=tuple(told),
                done_us=now_us,
                gone_by_us=gone_by_us,
            )
        )
        return self._deletion


# --------------------------------------------------------------------------------------------------------- one object
def _kept(reader: ObjectReader, sought: Query, cut: Cut) -> list[Mask]:
    """Tell for each row group which of its rows stay: those that do not match, and those that came after the cut."""
    names = sorted(sought.columns() | {"log_id", "vnode", "offset"})
    masks = []
    for group in range(reader.groups):
        rows = reader.read_group(group, names).combine_chunks()
        reader.forget()
        going = np.zeros(len(rows), np.bool_)
        going[filter_batch(rows, sought).to_numpy()] = True
        masks.append(~(going & _covered(rows, cut)))
    return masks


def _covered(rows: pa.Table, cut: Cut) -> Mask:
    vnodes, offsets = (rows.column(name).to_numpy() for name in ("vnode", "offset"))
    logs = pc.dictionary_encode(rows.column("log_id").combine_chunks())
    of_log = logs.indices.to_numpy()
    covered = np.zeros(len(rows), np.bool_)
    for at, log_id in enumerate(logs.dictionary.to_pylist()):
        for vnode in np.unique(vnodes[of_log == at]).tolist():
            mine, end = (of_log == at) & (vnodes == vnode), cut.end_of(log_id, vnode)
            covered[mine] = True if end is None else offsets[mine] < end
    return covered


def _encode(
    entry: ObjectEntry, reader: ObjectReader, kept: Sequence[Mask], now_us: int, message_codec: MessageCodec
) -> Encoded:
    """Write the rows that stay, in their order, with all that the object told of repeats. Raises CorruptData."""
    requests = carried_requests([entry], [reader], now_us)
    ids = [*carried_deleted([entry], [reader], now_us), *_ids_of_deleted(entry, reader, kept, now_us)]
    rows = int(sum(mask.sum() for mask in kept))
    ranges = reader.facts.ranges
    if rows:
        tables = _rest(reader, kept)
        return encode_stream(
            tables,
            rows,
            ranges,
            requests=requests,
            message_codec=message_codec,
            message_level=MESSAGE_LEVEL,
            deleted=ids,
        )
    for _ in _rest(reader, kept):
        continue  # for the content hash: what was read of a damaged object decides nothing
    encoded = encode_object(EVENT_SCHEMA.empty_table(), ranges, requests, deleted=ids)
    return replace(encoded, min_us=entry.min_us, max_us=entry.max_us)


def _rest(reader: ObjectReader, kept: Sequence[Mask]) -> Iterator[pa.Table]:
    """Give what stays of each row group. Raises CorruptData, at the end, if its rows are not those of its hash."""
    digest = ContentHash(reader.facts.format_version)
    for group, mask in enumerate(kept):
        rows = reader.read_group(group).combine_chunks()
        reader.forget()
        digest.add(rows)
        if mask.any():
            yield rows.filter(pa.array(mask))
    if digest.hexdigest() != reader.facts.content_hash:
        raise CorruptData(f"{reader.key}: its rows are not those that were written (content hash)")


def _ids_of_deleted(entry: ObjectEntry, reader: ObjectReader, kept: Sequence[Mask], now_us: int) -> Iterator[DeletedId]:
    """Give what repeats of the rows that go are known by, as long as somebody may ask."""
    if not reader.facts.ids:
        return
    names = ["log_id", "vnode", "event_id", "event_hash", "observed_timestamp"]
    for group, mask in enumerate(kept):
        if mask.all():
            continue
        rows = reader.read_group(group, names).filter(pa.array(~mask))
        reader.forget()
        rows = rows.filter(pc.is_valid(rows.column("event_id")))
        times = rows.column("observed_timestamp").cast(pa.int64()).to_pylist()
        columns: list[list[Any]] = [rows.column(name).to_pylist() for name in names[:4]]
        for log_id, vnode, event_id, event_hash, observed_us in zip(*columns, times, strict=True):
            if is_wanted(observed_us, entry, now_us):
                told = None if event_hash is None else event_hash.hex()
                yield DeletedId(log_id, vnode, digest_of_id(event_id).hex(), told, observed_us)
