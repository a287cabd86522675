"""Compaction and retention: many small objects become few large ones, and what is too old leaves the table.

May live here: which objects are merged, how, and the commit that puts one in place of many; what retention takes. May
not: deleting anything from the store (`maintenance` does, a day later), or Ray.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zlib import crc32

from ess_ray.adapters.catalog_rules import MAINTENANCE_BUCKETS
from ess_ray.core.chunk import (
    Encoded,
    MessageCodec,
    ObjectReader,
    OffsetRange,
    StoredRequest,
    encode_stream,
    merged,
    open_bytes,
    open_object,
    reading,
)
from ess_ray.core.errors import CorruptData, EssError, Fenced, NewerFormat, NotFound, Unavailable, UnknownOutcome
from ess_ray.ingest.repeats import CLOCK_SLACK_US, WINDOW_US
from ess_ray.ports import Catalog, CatalogWriter, ObjectEntry, ObjectStore, Snapshot

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
MESSAGE_LEVEL: Final = 9
"""zstd(9) for `message`: decompresses a tenth faster than what a flush writes, and is paid a few times at the most."""
MAX_TRIES: Final = 4
"""Commits of one merge: every removal of anybody refuses all that began before it, so a few refusals are normal."""
BUDGET_S: Final = 30.0
"""Wall time after which no further merge of a run begins: so that runs by hand and by the clock can take turns."""
_DAY_US: Final = 86_400 * 1_000_000

Partition = tuple[str, str, int]
"""(tenant, date, hour)"""


@dataclass(frozen=True)
class CompactionPolicy:
    """What can be chosen: how long each tenant's events are kept (absent: for ever), and the codec of `message`."""

    retention_days: Mapping[str, float] = field(default_factory=dict)
    message_codec: MessageCodec = "zstd"


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a run did. `skipped` names (partition, reason); `more`: its time was over before its work was."""

    merged_objects: int = 0
    new_objects: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """What retention took out of the table."""

    objects: int = 0
    rows: int = 0
    bytes: int = 0


def partition(entry: ObjectEntry) -> Partition:
    """Give the partition of an object."""
    return entry.tenant, entry.date, entry.hour


def bucket_of(where: Partition) -> int:
    """Give the maintenance transaction of a partition (section 4.9): the same in every process and version."""
    tenant, date, hour = where
    return crc32(f"{tenant}/{date}/{hour:02d}".encode()) % MAINTENANCE_BUCKETS


# ------------------------------------------------------------------------------------------------------- the choice
def choose(entries: Sequence[ObjectEntry], now_us: int, eager: bool = False) -> list[ObjectEntry]:
    """Choose the objects of one partition to merge next, smallest first; empty when none are worth it.

    The smallest go first, and the largest of them must be no larger than all others together: so every rewrite at
    least doubles the object that a row lies in, and a row is rewritten at most log2(TARGET_BYTES / its first object)
    times, however long its hour stays busy or gets stragglers. `eager` (a person asked) takes whatever is small.
    """
    small = sorted((entry for entry in entries if entry.size < SMALL_BYTES), key=lambda entry: (entry.size, entry.key))
    if not small:
        return []
    busy = max(entry.modified_us for entry in small) > now_us - QUIET_US
    least = BUSY_INPUTS if busy and not eager else 2
    for count in range(min(len(small), MAX_INPUTS), least - 1, -1):
        total, largest = sum(entry.size for entry in small[:count]), small[count - 1].size
        if total <= TARGET_BYTES and (eager or 2 * largest <= total):
            return small[:count]
    return []


def plan(
    snapshot: Snapshot, now_us: int, eager: bool = False, before_us: int | None = None
) -> dict[Partition, list[ObjectEntry]]:
    """Choose one merge for each partition that needs one, the one of most objects first.

    `before_us`: only objects whose rows were put until then count, so that a run ends though writers go on.
    """
    by_partition: dict[Partition, list[ObjectEntry]] = defaultdict(list)
    for entry in snapshot.objects(None, None, None):
        if before_us is None or entry.modified_us <= before_us:
            by_partition[partition(entry)].append(entry)
    chosen = {where: choose(entries, now_us, eager) for where, entries in by_partition.items()}
    return dict(sorted(((w, c) for w, c in chosen.items() if c), key=lambda item: (-len(item[1]), item[0])))


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
    rows = sum(entry.rows for entry in inputs)
    if rows != sum(reader.metadata.num_rows for reader in readers):
        raise CorruptData("the objects hold another number of rows than the catalog says: see `ess verify`")
    encoded = encode_stream(
        merged(readers),
        rows,
        _united(part for reader in readers for part in reader.facts.ranges),
        _carried(inputs, readers, now_us),
        message_codec,
        MESSAGE_LEVEL,
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
        with reading(entry.key):
            reader = open_object(store, entry.key, entry.size)
            held += open_bytes(reader)
        if held > MAX_OPEN_BYTES:
            break
        inputs.append(entry)
        readers.append(reader)
    return inputs, readers


def _united(ranges: Iterator[OffsetRange]) -> list[OffsetRange]:
    """Unite offset ranges per (log_id, vnode): from the lowest first to the highest end."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for part in ranges:
        first, end = spans.get((part.log_id, part.vnode), (part.first, part.end))
        spans[part.log_id, part.vnode] = min(first, part.first), max(end, part.end)
    return [OffsetRange(log_id, vnode, *span) for (log_id, vnode), span in sorted(spans.items())]


def _carried(inputs: Sequence[ObjectEntry], readers: Sequence[ObjectReader], now_us: int) -> list[StoredRequest]:
    """Give the request keys that a take-over may still ask for (section 4.7), oldest first.

    Those observed within the hour, and all of an object put within the hour: a writer that caught up late stored keys
    that were old already, and repeats of them may be the next records that its successor reads.
    """
    since_us = now_us - WINDOW_US - CLOCK_SLACK_US
    kept = {
        request
        for entry, reader in zip(inputs, readers, strict=True)
        for request in reader.facts.requests
        if max(request.observed_us, entry.modified_us) >= since_us
    }
    return sorted(kept, key=lambda r: (r.observed_us, r.log_id, r.vnode, r.offset, r.key, r.part))


def _entry_of(inputs: Sequence[ObjectEntry], encoded: Encoded) -> ObjectEntry:
    tenant, date, hour = partition(inputs[0])
    # `modified_us` stays when the newest rows were put: a take-over then reads a merged object exactly when it would
    # have read one of the inputs, and an hour does not seem busy because it was compacted.
    modified_us = max(entry.modified_us for entry in inputs)
    size = encoded.data.size
    return ObjectEntry(
        encoded.key(tenant), size, tenant, date, hour, encoded.rows, encoded.min_us, encoded.max_us, modified_us
    )


# ------------------------------------------------------------------------------------------------------- the commit
def commit(writer: CatalogWriter, done: Merge) -> bool:
    """Put the merged object in place of its inputs; False when another removal took one of them first. Idempotent.

    Each try takes the list of what is there, the transaction's number and the commit from one view. A refused merge
    need not be made anew: objects never change, so it holds for as long as all its inputs are in the view. Raises
    UnknownOutcome when MAX_TRIES were not enough.
    """
    bucket = bucket_of(partition(done.entry))
    for _ in range(MAX_TRIES):
        view = writer.maintenance_view(bucket)
        live = {entry.key: entry for entry in view.objects(done.entry.tenant, None, None)}
        if done.entry.key in live:
            return True  # an earlier try was committed though its answer was lost
        if any(entry.key not in live for entry in done.inputs):
            return False
        try:
            writer.commit_removal([done.entry], [live[entry.key] for entry in done.inputs], bucket)
            return True
        except (Fenced, UnknownOutcome) as error:
            _log.info("compaction looks again: %s", error.message)
    raise UnknownOutcome(f"{MAX_TRIES} commits of a merged object were refused: it is tried again with the next run")


def compact(
    catalog: Catalog,
    store: ObjectStore,
    policy: CompactionPolicy,
    eager: bool = False,
    before_us: int | None = None,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
) -> Compacted:
    """Merge until nothing is worth it or `budget_s` is over. Idempotent; safe beside writers, searches, compactions.

    A partition with an object that cannot be read is left as it is and named in `skipped`. Raises Unavailable when the
    catalog itself cannot be read.
    """
    deadline, writer = clock() + budget_s, catalog.writer()
    done, skipped = Compacted(), dict[Partition, str]()
    while True:
        chosen = plan(catalog.snapshot(), store.now_us(), eager, before_us)
        where = next((where for where in chosen if where not in skipped), None)
        more = where is not None and (done.new_objects > 0 or bool(skipped)) and clock() >= deadline
        if where is None or more:
            told = tuple((f"{t}/{d}/{h:02d}", reason) for (t, d, h), reason in sorted(skipped.items()))
            return replace(done, skipped=told, more=more)
        try:
            one = merge(store, chosen[where], store.now_us(), policy.message_codec)
            if one is None:
                skipped[where] = "its row groups are too large to be merged in bounded memory"
            elif not commit(writer, one):
                skipped[where] = "another removal was first; it is looked at again with the next run"
            else:
                done = _plus(done, one)
        except (NotFound, CorruptData, NewerFormat, Unavailable, UnknownOutcome, OSError) as error:
            skipped[where] = str(error)
            _log.warning("compaction leaves %s as it is: %s", "/".join(map(str, where)), error)


def _plus(done: Compacted, one: Merge) -> Compacted:
    return replace(
        done,
        merged_objects=done.merged_objects + len(one.inputs),
        new_objects=done.new_objects + 1,
        rows=done.rows + one.entry.rows,
        bytes_before=done.bytes_before + sum(entry.size for entry in one.inputs),
        bytes_after=done.bytes_after + one.entry.size,
    )


# -------------------------------------------------------------------------------------------------------- retention
def expire(catalog: Catalog, store: ObjectStore, policy: CompactionPolicy) -> Expired:
    """Take objects out whose newest event is older than their tenant's retention, by the store's clock. Idempotent.

    Whole objects only: an event stays up to an hour longer. Raises UnknownOutcome when commits were refused MAX_TRIES
    times, Unavailable.
    """
    writer, now_us = catalog.writer(), store.now_us()
    gone: list[ObjectEntry] = []
    for tenant, days in policy.retention_days.items():
        cutoff_us = now_us - round(days * _DAY_US)
        buckets = {bucket_of(partition(entry)) for entry in _older(catalog.snapshot(), tenant, cutoff_us)}
        for bucket in sorted(buckets):
            gone += _expire_bucket(writer, tenant, cutoff_us, bucket)
    return Expired(len(gone), sum(entry.rows for entry in gone), sum(entry.size for entry in gone))


def _older(view: Snapshot, tenant: str, cutoff_us: int) -> list[ObjectEntry]:
    return [entry for entry in view.objects(tenant, None, cutoff_us) if entry.max_us < cutoff_us]


def _expire_bucket(writer: CatalogWriter, tenant: str, cutoff_us: int, bucket: int) -> list[ObjectEntry]:
    taken: dict[str, ObjectEntry] = {}
    last: EssError | None = None
    for _ in range(MAX_TRIES):
        view = writer.maintenance_view(bucket)
        old = [entry for entry in _older(view, tenant, cutoff_us) if bucket_of(partition(entry)) == bucket]
        if not old:
            return list(taken.values())
        # Counted even if the answer is lost: whoever took them, they are gone once the next view lacks them.
        taken |= {entry.key: entry for entry in old}
        try:
            writer.commit_removal([], old, bucket)
            return list(taken.values())
        except (Fenced, UnknownOutcome) as error:
            last = error
            _log.info("retention looks again: %s", error.message)
    raise UnknownOutcome(f"{MAX_TRIES} commits of retention were refused, it is tried again with the next run: {last}")
