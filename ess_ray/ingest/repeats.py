"""What a virtual node remembers of the last hour, so that a client's repeat is stored once.

One memory per virtual node and take-over: it must hold exactly what lies in the log before the node's position, since
an entry of a record that was read but never stored would later drop that very record.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk import DeletedId, ObjectReader, StoredRequest, digest_of_id, open_object
from ess_ray.core.errors import CorruptData, NotFound
from ess_ray.damage import Damaged, named, reading_from
from ess_ray.ingest.steady import TimeOf
from ess_ray.ports import ObjectEntry, ObjectStore
from ess_ray.record import KnownRequest, RequestKey

_log = logging.getLogger(__name__)

WINDOW_US: Final = 3_600 * 1_000_000
"""Repeats are known for an hour: longer than any client's retry, short enough for memory."""
CLOCK_SLACK_US: Final = 600 * 1_000_000
"""How far a store's clock may be from ours when choosing the objects to rebuild from."""
MAX_ENTRIES: Final = 5_000_000
"""Entries a process keeps: about 1 GB; beyond, the oldest are forgotten first."""
READ_ATTEMPTS: Final = 3
"""Tries an object gets before a memory does without it: what is missing stays so until the next take-over."""


def _same(observed_us: int) -> int:
    return observed_us


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A stored object that a memory could not be rebuilt from; from `until_us` on (epoch) nothing of it matters."""

    damaged: Damaged
    until_us: int


class RepeatMemory:
    """Keys and event ids seen by one virtual node within the window, oldest first.

    When they were seen is told in steady time (`steady.SteadyTime`): a clock that is set makes nothing older.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, time_of: TimeOf = _same) -> None:
        """`time_of` gives the steady time of a stored time of observation."""
        self.missing: tuple[MissingPart, ...] = ()
        """What it should know and does not: a repeat of what these objects hold may be stored twice."""
        self._keys: OrderedDict[tuple[str, str], dict[tuple[str, int, int], int]] = OrderedDict()
        self._ids: OrderedDict[tuple[str, str | bytes, bytes | None], int] = OrderedDict()
        self._knows_digests = False
        """Whether some ids are known by their digest alone: those of events that were deleted."""
        self._max_entries, self._time_of = max_entries, time_of
        self._newest_us = 0

    def __len__(self) -> int:
        return len(self._keys) + len(self._ids)

    def request(self, tenant: str, key: str) -> KnownRequest | None:
        """Give what this key was first seen with, None if it is not known (any more)."""
        parts = self._keys.get((tenant, key))
        if not parts or self._newest_us - min(parts.values()) > WINDOW_US:
            return None
        body_hash = next(iter(parts))[0]
        seen = frozenset((part, of) for known, part, of in parts if known == body_hash)
        return KnownRequest(body_hash, seen, _is_whole(seen))

    def after(self, seen_us: int) -> int:
        """Give this time, or that of what was seen before in the log: it is not older, whatever its sender's clock."""
        return max(seen_us, self._newest_us)

    def is_repeat(self, request: RequestKey, seen_at_us: int) -> bool:
        """Tell whether this very part of this very request was seen within the window; if not, remember it.

        A request that was seen whole is a repeat in whatever parts it comes: another version may cut it otherwise.
        """
        parts = self._keys.setdefault((request.tenant, request.key), {})
        identity = (request.body_hash, request.part, request.parts)
        seen_us = parts.get(identity)
        if seen_us is not None and seen_at_us - seen_us <= WINDOW_US:
            return True
        if parts and _is_whole(
            (part, of)
            for (body_hash, part, of), at_us in parts.items()
            if body_hash == request.body_hash and of != request.parts and seen_at_us - at_us <= WINDOW_US
        ):
            return True
        parts[identity] = seen_at_us
        self._forget(seen_at_us)
        return False

    def is_conflict(self, request: RequestKey) -> bool:
        """Tell whether this key is known with another body."""
        known = self.request(request.tenant, request.key)
        return known is not None and known.body_hash != request.body_hash

    def new_ids(self, tenant: str, batch: pa.RecordBatch, seen_at_us: int) -> pa.RecordBatch:
        """Give the rows that are no repeats, and remember them: the same `event_id` with the same `event_hash`.

        The same id with other content is another event. Where it was stored without a hash, the id alone counts.
        """
        ids = batch.column("event_id")
        if ids.null_count == len(ids):
            return batch
        keep = []
        for event_id, event_hash in zip(ids.to_pylist(), batch.column("event_hash").to_pylist(), strict=True):
            keep.append(event_id is None or self._add_id(tenant, event_id, event_hash, seen_at_us))
        self._forget(seen_at_us)
        return batch if all(keep) else batch.filter(pa.array(keep, pa.bool_()))

    def _add_id(self, tenant: str, event_id: str, event_hash: bytes | None, seen_at_us: int) -> bool:
        copy = (tenant, event_id, event_hash)
        stored: tuple[tuple[str, str | bytes, bytes | None], ...] = (copy, (tenant, event_id, None))
        if self._knows_digests:
            digest = digest_of_id(event_id)
            stored = (*stored, (tenant, digest, event_hash), (tenant, digest, None))
        for known in stored:
            seen_us = self._ids.get(known)
            if seen_us is not None and seen_at_us - seen_us <= WINDOW_US:
                return False
        self._ids[copy] = seen_at_us
        self._ids.move_to_end(copy)
        return True

    def _forget(self, seen_at_us: int) -> None:
        self._newest_us = max(self._newest_us, seen_at_us)
        oldest = self._newest_us - WINDOW_US
        while self._ids and (len(self) > self._max_entries or next(iter(self._ids.values())) < oldest):
            self._ids.popitem(last=False)
        while self._keys and (
            len(self) > self._max_entries or max(next(iter(self._keys.values())).values(), default=0) < oldest
        ):
            self._keys.popitem(last=False)

    def restore_requests(self, requests: Iterable[StoredRequest], tenant: str) -> None:
        for request in sorted(requests, key=lambda r: r.observed_us):
            key = RequestKey(tenant, request.key, request.body_hash, request.part, request.parts)
            self.is_repeat(key, self._time_of(request.observed_us))

    def restore_deleted(self, tenant: str, deleted: Iterable[DeletedId]) -> None:
        """Remember events that were stored and then deleted, whose ids nobody may tell any more."""
        for one in sorted(deleted, key=lambda one: one.observed_us):
            event_hash = None if one.event_hash is None else bytes.fromhex(one.event_hash)
            copy = (tenant, bytes.fromhex(one.id_digest), event_hash)
            self._knows_digests = True
            seen_at_us = self._time_of(one.observed_us)
            self._ids[copy] = max(seen_at_us, self._ids.get(copy, 0))
            self._ids.move_to_end(copy)
            self._newest_us = max(self._newest_us, seen_at_us)
        self._forget(self._newest_us)

    def restore_ids(self, tenant: str, rows: pa.Table) -> None:
        """Remember stored rows (columns event_id, event_hash, observed_timestamp)."""
        times = rows.column("observed_timestamp").cast(pa.int64()).to_pylist()
        copies = zip(times, rows.column("event_id").to_pylist(), rows.column("event_hash").to_pylist(), strict=True)
        for observed_us, event_id, event_hash in sorted(copies, key=itemgetter(0)):
            seen_at_us = self._time_of(observed_us)
            self._add_id(tenant, event_id, event_hash, seen_at_us)
            self._newest_us = max(self._newest_us, seen_at_us)
        self._forget(self._newest_us)


def _is_whole(seen: Iterable[tuple[int, int]]) -> bool:
    """Tell whether some cut's parts are all among these (part, of how many)."""
    return any(count == of for of, count in Counter(of for _, of in set(seen)).items())


def rebuild(
    store: ObjectStore,
    entries: Iterable[ObjectEntry],
    *,
    log_id: str,
    vnodes: Iterable[int],
    now_us: int,
    time_of: TimeOf = _same,
    max_entries: int = MAX_ENTRIES,
) -> dict[int, RepeatMemory]:
    """Read from the objects of the last hour what these virtual nodes stored: the memory at take-over.

    `now_us` is the time of day, `time_of` gives the steady time of such a one; `max_entries` is of each memory. An
    object that cannot be read leaves its part empty in every memory (whose it was, nobody can tell) and is told by
    `missing`. Raises Unavailable when the store itself does not answer: a writer must not start with half a memory
    because of a moment's outage.
    """
    memories = {vnode: RepeatMemory(max_entries, time_of) for vnode in vnodes}
    missing: list[MissingPart] = []
    for entry in entries:
        until_us = entry.modified_us + WINDOW_US + CLOCK_SLACK_US
        if until_us < now_us:
            continue
        damaged = _restore(store, entry, log_id, memories)
        if damaged is not None:
            missing.append(MissingPart(damaged, until_us))
    for memory in memories.values():
        memory.missing = tuple(missing)
    if missing and memories:
        lost = named([str(part.damaged) for part in missing])
        _log.error("repeats of what these objects of the last hour hold may be stored twice: %s", lost)
    return memories


def _restore(store: ObjectStore, entry: ObjectEntry, log_id: str, memories: dict[int, RepeatMemory]) -> Damaged | None:
    """Remember what an object holds of the memories' virtual nodes; what was read of a damaged one stays."""
    damaged = None
    for _ in range(READ_ATTEMPTS):
        try:
            with reading_from(store, entry.key):
                _restore_object(open_object(store, entry.key, entry.size), entry.tenant, log_id, memories)
            return None
        except (NotFound, CorruptData) as error:
            damaged = Damaged(entry.key, error.message)
    return damaged


def _restore_object(reader: ObjectReader, tenant: str, log_id: str, memories: dict[int, RepeatMemory]) -> None:
    held = {part.vnode for part in reader.facts.ranges if part.log_id == log_id} & memories.keys()
    for vnode in held:
        mine = [r for r in reader.facts.requests if r.vnode == vnode and r.log_id == log_id]
        memories[vnode].restore_requests(mine, tenant)
        gone = [one for one in reader.facts.deleted if one.vnode == vnode and one.log_id == log_id]
        memories[vnode].restore_deleted(tenant, gone)
    if held and reader.facts.ids:
        _restore_ids(reader, tenant, log_id, {vnode: memories[vnode] for vnode in held})


def _restore_ids(reader: ObjectReader, tenant: str, log_id: str, memories: dict[int, RepeatMemory]) -> None:
    for group in range(reader.groups):
        rows = reader.read_group(group, ["observed_timestamp", "event_id", "event_hash", "log_id", "vnode"])
        known = pc.and_(pc.is_valid(rows.column("event_id")), pc.equal(rows.column("log_id"), log_id))
        for vnode, memory in memories.items():
            mine = rows.filter(pc.and_(known, pc.equal(rows.column("vnode"), vnode)))
            memory.restore_ids(tenant, mine)
