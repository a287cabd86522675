"""Compaction: many small objects become few large ones."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Final

from ess_ray.core.chunk import (
    DeletedId,
    Encoded,
    MessageCodec,
    ObjectReader,
    OffsetRange,
    StoredRequest,
    encode_stream,
    merged,
    open_bytes,
    open_object,
)
from ess_ray.core.errors import CorruptData, EssError, NotFound, Unavailable, UnknownOutcome
from ess_ray.damage import Damaged, named, reading_from
from ess_ray.ingest.repeats import CLOCK_SLACK_US, WINDOW_US
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Catalog, CatalogWriter, ObjectEntry, ObjectStore, Snapshot
from ess_ray.table.replacing import Partition, Replacement, bucket_of, partition, replace_objects

_log = logging.getLogger(__name__)

TARGET_BYTES: Final = 128 * 1024 * 1024
"""Stored bytes that one merge takes in at the most: an object is built in memory, and beyond this size a table gains
little (a search cuts its tasks by bytes anyway)."""
SMALL_BYTES: Final = TARGET_BYTES // 2
"""Objects of at least this are left alone: merging them could not halve their number."""
MAX_INPUTS: Final = 64
"""Objects of one merge: each may hold a footer, an index and a row group in memory at the same time."""
MAX_OPEN_BYTES: Final = 512 * 1024 * 1024
"""Arrow bytes of the row groups that a merge may hold: with the new object twice (its buffer grows) about 1 GiB."""
BUSY_INPUTS: Final = 16
"""Objects that make a merge worth it while an hour is still written: two actors make as many in 4 min."""
QUIET_US: Final = 600 * 1_000_000
"""An hour that got nothing new for so long is finished for now: 20 times the age at which writers seal."""
_HOUR_US: Final = 3_600 * 1_000_000
MESSAGE_LEVEL: Final = 9
"""zstd(9) for `message`: decompresses a tenth faster than what a flush writes, and is paid a few times at the most."""
BUDGET_S: Final = 30.0
"""Wall time after which no further merge of a run begins: so that runs by hand and by the clock can take turns."""
NO_ROOM: Final = "the disk has no room for the merged object beside what must still be stored; see `ess doctor`"


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a run did. `more`: its time was over before its work was.

    `skipped` names (partition, reason), also for each object of `damaged`, without which the others were merged.
    """

    merged_objects: int = 0
    new_objects: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    damaged: tuple[Damaged, ...] = ()
    more: bool = False


# ------------------------------------------------------------------------------------------------------- the choice
def choose(entries: Sequence[ObjectEntry], now_us: int, eager: bool = False) -> list[ObjectEntry]:
    """Choose the objects of one partition to merge next, smallest first; empty when none are worth it.

    By size, neighbours are taken: from the smallest that has enough of them, as many as make TARGET_BYTES at the most.
    The largest must be no larger than all others together: so every rewrite at least doubles the object that a row
    lies in, and a row is rewritten at most log2(TARGET_BYTES / its first object) times, however long its hour stays
    busy or gets stragglers. While the hour is written, a merge is worth it when it takes BUSY_INPUTS, or when nothing
    will ever rewrite what comes of it.

    Nothing is left to choose only where sizes grow like Fibonacci's numbers up to TARGET_BYTES / 3 (of an hour that is
    still written: at most BUSY_INPUTS - 1 between one size and as many times it), and what lies above is at most
    3 * bytes / TARGET_BYTES objects. `eager` (a person asked) takes whatever is small.
    """
    small = sorted((entry for entry in entries if entry.size < SMALL_BYTES), key=lambda entry: (entry.size, entry.key))
    if not small:
        return []
    busy = max(entry.modified_us for entry in small) > now_us - QUIET_US
    least = BUSY_INPUTS if busy and not eager else 2
    sums = list(accumulate((entry.size for entry in small), initial=0))
    for start in range(len(small) - 1):
        # The furthest end at which what is taken in is no more than the target.
        most = min(bisect_right(sums, sums[start] + TARGET_BYTES) - 1, start + MAX_INPUTS)
        for end in range(most, start + 1, -1):
            total = sums[end] - sums[start]
            if end - start < least and total < SMALL_BYTES:
                break
            if eager or 2 * small[end - 1].size <= total:
                return small[start:end]
    return []


def plan(
    snapshot: Snapshot,
    now_us: int,
    *,
    eager: bool = False,
    before_us: int | None = None,
    without: Container[str] = (),
    hour_of: ObjectEntry | None = None,
) -> dict[Partition, list[ObjectEntry]]:
    """Choose one merge for each partition that needs one.

    `before_us`: only objects whose rows were put until then count, so that a run ends though writers go on. `without`:
    keys of objects that are left as they are. `hour_of`: only the partition of this object is looked at.
    """
    by_partition: dict[Partition, list[ObjectEntry]] = defaultdict(list)
    for entry in snapshot.objects(None, None, None) if hour_of is None else _beside(snapshot, hour_of):
        # One without rows has nothing to merge: it keeps what repeats are known by, and leaves after an hour.
        if entry.rows and (before_us is None or entry.modified_us <= before_us) and entry.key not in without:
            by_partition[partition(entry)].append(entry)
    chosen = {where: choose(entries, now_us, eager) for where, entries in by_partition.items()}
    return {where: entries for where, entries in chosen.items() if entries}


def _beside(snapshot: Snapshot, one: ObjectEntry) -> list[ObjectEntry]:
    """List the objects of the partition of an object that has rows: all of its rows are of one hour."""
    start_us = one.min_us - one.min_us % _HOUR_US
    found = snapshot.objects(one.tenant, start_us, start_us + _HOUR_US)
    return [entry for entry in found if partition(entry) == partition(one)]


# -------------------------------------------------------------------------------------------------------- the merge
@dataclass(frozen=True)
class Merge:
    """A new object, put but not committed, and those that it replaces."""

    entry: ObjectEntry
    inputs: tuple[ObjectEntry, ...]


def merge(
    store: ObjectStore, chosen: Sequence[ObjectEntry], now_us: int, message_codec: MessageCodec = "zstd"
) -> Merge | None:
    """Merge objects of one partition and put the result under a fresh key; None if no two fit into memory together.

    Takes the first of `chosen` whose row groups fit into MAX_OPEN_BYTES. Raises NotFound, CorruptData or NewerFormat
    for an object that cannot be read in full as it was written: then nothing was put. Before a commit, the result is an
    orphan.
    """
    inputs, readers = _fitting(store, chosen)
    if len(inputs) < 2:
        return None
    encoded = encode_stream(
        merged(readers),
        sum(entry.rows for entry in inputs),
        _united(part for reader in readers for part in reader.facts.ranges),
        requests=carried_requests(inputs, readers, now_us),
        message_codec=message_codec,
        message_level=MESSAGE_LEVEL,
        deleted=carried_deleted(inputs, readers, now_us),
    )
    entry = _entry_of(inputs, encoded)
    store.put(entry.key, encoded.data)
    found = store.head(entry.key)
    if found is None or found.size != entry.size:
        raise Unavailable(f"{entry.key} is not in the store though it was put: look at the store, then try again")
    return Merge(entry, tuple(inputs))


def _fitting(store: ObjectStore, chosen: Sequence[ObjectEntry]) -> tuple[list[ObjectEntry], list[ObjectReader]]:
    inputs, readers, held = [], [], 0
    for entry in chosen:
        reader = _opened(store, entry)
        held += open_bytes(reader)
        if held > MAX_OPEN_BYTES:
            break
        inputs.append(entry)
        readers.append(reader)
    return inputs, readers


def _opened(store: ObjectStore, entry: ObjectEntry) -> ObjectReader:
    """Open an object that is the one that the catalog tells of. Raises NotFound, CorruptData."""
    reader = open_object(store, entry.key, entry.size)
    times = reader.footer.times
    span = (min((low for low, _ in times), default=0), max((high for _, high in times), default=0))
    if (reader.metadata.num_rows, *span) != (entry.rows, entry.min_us, entry.max_us):
        raise CorruptData(f"{entry.key} holds other rows than the catalog tells of: see `ess verify`")
    return reader


def _united(ranges: Iterator[OffsetRange]) -> list[OffsetRange]:
    """Unite offset ranges per (log_id, vnode): from the lowest first to the highest end."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for part in ranges:
        first, end = spans.get((part.log_id, part.vnode), (part.first, part.end))
        spans[part.log_id, part.vnode] = min(first, part.first), max(end, part.end)
    return [OffsetRange(log_id, vnode, *span) for (log_id, vnode), span in sorted(spans.items())]


def is_wanted(observed_us: int, entry: ObjectEntry, now_us: int) -> bool:
    """Tell whether a take-over may still ask for what was observed then, and lies in this object."""
    return max(observed_us, entry.modified_us) >= now_us - WINDOW_US - CLOCK_SLACK_US


def carried_requests(
    inputs: Sequence[ObjectEntry], readers: Sequence[ObjectReader], now_us: int
) -> list[StoredRequest]:
    """Give the request keys that a take-over may still ask for, oldest first.

    Those observed within the hour, and all of an object put within the hour: a writer that caught up late stored keys
    that were old already, and repeats of them may be the next records that its successor reads.
    """
    kept = {
        request
        for entry, reader in zip(inputs, readers, strict=True)
        for request in reader.facts.requests
        if is_wanted(request.observed_us, entry, now_us)
    }
    return sorted(kept, key=lambda r: (r.observed_us, r.log_id, r.vnode, r.offset, r.key, r.part))


def carried_deleted(inputs: Sequence[ObjectEntry], readers: Sequence[ObjectReader], now_us: int) -> list[DeletedId]:
    """Give what is known of deleted events for as long as request keys, oldest first."""
    kept = {
        one
        for entry, reader in zip(inputs, readers, strict=True)
        for one in reader.facts.deleted
        if is_wanted(one.observed_us, entry, now_us)
    }
    return sorted(kept, key=lambda one: (one.observed_us, one.log_id, one.vnode, one.id_digest, one.event_hash or ""))


def _entry_of(inputs: Sequence[ObjectEntry], encoded: Encoded) -> ObjectEntry:
    tenant, date, hour = partition(inputs[0])
    # `modified_us` stays when the newest rows were put: a take-over then reads a merged object exactly when it would
    # have read one of the inputs, and an hour does not seem busy because it was compacted.
    modified_us = max(entry.modified_us for entry in inputs)
    return ObjectEntry(
        encoded.key(tenant),
        encoded.data.size,
        tenant,
        date,
        hour,
        encoded.rows,
        encoded.min_us,
        encoded.max_us,
        modified_us,
        encoded.first_arrival_us,
        encoded.last_arrival_us,
    )


# ------------------------------------------------------------------------------------------------------- the commit
def commit(writer: CatalogWriter, done: Merge) -> bool:
    """Put the merged object in place of its inputs; False when another removal took one of them first. Idempotent.

    A refused merge need not be made anew: objects never change, so it holds for as long as all its inputs are there.
    Raises UnknownOutcome when commits were refused again and again.
    """
    committed = False

    def swap(view: Snapshot) -> Replacement | None:
        nonlocal committed
        committed = view.holds(done.entry.key)  # an earlier try, though its answer was lost
        if committed or not all(view.holds(entry.key) for entry in done.inputs):
            return None
        return Replacement([done.entry], done.inputs)

    return replace_objects(writer, bucket_of(partition(done.entry)), swap, "a merge") or committed


def compact(
    catalog: Catalog,
    store: ObjectStore,
    policy: CompactionPolicy,
    *,
    eager: bool = False,
    before_us: int | None = None,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
    room: Callable[[], int | None] = lambda: None,
    known: Container[str] = (),
) -> Compacted:
    """Merge until nothing is worth it or `budget_s` is over. Idempotent; safe beside writers, searches, compactions.

    An object that cannot be read is left as it is, and the others of its hour are merged without it; it is named in
    `damaged`, as are those of the keys `known` to be damaged that still are. `room` tells the bytes that a merge may
    put into the store just now, None for any number; a partition whose merge has no room is named in `skipped`. Raises
    Unavailable when the catalog itself cannot be read.
    """
    deadline, writer = clock() + budget_s, catalog.writer()
    done, skipped = Compacted(), dict[Partition, str]()
    before = [entry for entry in catalog.snapshot().objects(None, None, None) if entry.key in known]
    where_of = {entry.key: partition(entry) for entry in before}
    damaged = {one.key: (where_of[one.key], one.reason) for one in _damaged_of(store, before)}
    look = partial(plan, eager=eager, before_us=before_us, without=damaged)
    chosen = look(catalog.snapshot(), store.now_us())
    while True:
        if (free := room()) is not None:
            too_large = [w for w, inputs in chosen.items() if sum(entry.size for entry in inputs) > free]
            skipped |= dict.fromkeys(too_large, NO_ROOM)
        where = _largest(chosen, skipped)
        more = where is not None and bool(done.new_objects or skipped or damaged) and clock() >= deadline
        if where is None or more:
            found = [Damaged(key, reason) for key, (_, reason) in sorted(damaged.items())]
            aside = [(damaged[one.key][0], f"{one}; its hour's others are merged without it") for one in found]
            told = tuple((f"{t}/{d}/{h:02d}", why) for (t, d, h), why in sorted([*skipped.items(), *aside]))
            return replace(done, skipped=told, damaged=tuple(found), more=more)
        # The table is listed once, and of what changes only an hour again: it may have 100,000 objects.
        inputs, snapshot = chosen.pop(where), catalog.snapshot()
        if not all(snapshot.holds(entry.key) for entry in inputs):  # another removal was first
            chosen |= look(snapshot, store.now_us(), hour_of=inputs[0])
            continue
        try:
            one = merge(store, inputs, store.now_us(), policy.message_codec)
            if one is None:
                skipped[where] = "its row groups are too large to be merged in bounded memory"
            elif not commit(writer, one):
                skipped[where] = "another removal was first; it is looked at again with the next run"
            else:
                done = _plus(done, one)
        except Exception as error:  # noqa: BLE001 (damaged bytes may break a decoder anywhere)
            found = [] if isinstance(error, UnknownOutcome) else _damaged_of(store, inputs)
            damaged |= {one.key: (where, one.reason) for one in found}
            if not found:
                skipped[where] = error.message if isinstance(error, EssError) else f"{type(error).__name__}: {error}"
            reason = named(list(map(str, found))) or skipped[where]
            _log.warning("compaction leaves something of %s as it is: %s", "/".join(map(str, where)), reason)
        if where not in skipped:
            chosen |= look(catalog.snapshot(), store.now_us(), hour_of=inputs[0])


def _largest(chosen: Mapping[Partition, Sequence[ObjectEntry]], skipped: Container[Partition]) -> Partition | None:
    """Give the partition whose merge takes in the most objects; None when none is left."""
    left = (where for where in chosen if where not in skipped)
    return min(left, key=lambda where: (-len(chosen[where]), where), default=None)


def _damaged_of(store: ObjectStore, chosen: Sequence[ObjectEntry]) -> list[Damaged]:
    """Read objects one by one, as a merge does, and tell what is wrong with each that is not as it was written.

    Gives nothing while the store itself does not answer: nobody can tell then.
    """
    found: list[Damaged] = []
    for entry in chosen:
        try:
            with reading_from(store, entry.key):
                for _ in merged([_opened(store, entry)]):
                    continue  # what was read is held against the content hash at the end
        except (NotFound, CorruptData) as error:
            found.append(Damaged(entry.key, error.message))
        except EssError:
            return []
    return found


def _plus(done: Compacted, one: Merge) -> Compacted:
    return replace(
        done,
        merged_objects=done.merged_objects + len(one.inputs),
        new_objects=done.new_objects + 1,
        rows=done.rows + one.entry.rows,
        bytes_before=done.bytes_before + sum(entry.size for entry in one.inputs),
        bytes_after=done.bytes_after + one.entry.size,
    )
