"""The persist actor: drives a VnodeWriter and answers searches about what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from ess_ray import metrics as m
from ess_ray import telemetry
from ess_ray.core.collect import ROWS, Collector
from ess_ray.core.errors import BadRequest, EssError, Fenced, Unavailable, UnknownOutcome
from ess_ray.core.query import Query
from ess_ray.damage import MAX_NAMED
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import Flushed, VnodeWriter
from ess_ray.intake.foreign import decode_any
from ess_ray.ports import EventLog, StoredRecord, View
from ess_ray.record import DecodedRecord, KnownRequest
from ess_ray.runtime.log import open_dead_letters
from ess_ray.runtime.wiring import System

_log = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 0.1
"""How often an actor that has read everything looks at the log: searches wake it at once, so this bounds only the lag
of storing, and a flood is read in few large pieces."""
MAX_POLL_INTERVAL_S: Final = 2.0
"""After each look that found nothing the next one waits twice as long, up to this: looking ten times a second took a
sixth of all the CPU time that an idle system takes. What comes first after a pause is then read in one large piece."""
KNOWN_REQUEST_TIMEOUT_S: Final = 2.0
"""How long a keyed push waits for its owner to have read the log, when buffers are full: then it is taken unasked."""
RETRY_S: Final = 0.5
"""Pause after a failed poll or flush: long enough not to spin, short beside the 5 s of a take-over."""
FLUSH_ATTEMPTS: Final = 5
"""Tries of an asked-for flush: each ends by reconciling with the catalog, so one more is always sensible."""


TOLD_REFUSALS: Final = 4
"""Flushes in a row that the catalog did not take until health tells: one or two come of an overlap with a former owner,
more of a table that cannot be written, as on a full disk."""
SLOW_FLUSH_S: Final = 10.0
"""A flush of 64 MiB takes about a second: from here on its line in the log is a warning."""
GAUGES_INTERVAL_S: Final = 1.0
"""How often lag and buffers are looked at for the metrics: Ray is told no oftener."""
COUNTS: Final = {
    "records_read": m.INGEST_RECORDS,
    "rows_read": m.INGEST_EVENTS,
    "objects_stored": m.INGEST_OBJECTS,
    "bytes_stored": m.INGEST_OBJECT_BYTES,
    "rows_stored": m.INGEST_ROWS,
    "repeats_dropped": m.INGEST_REPEATS,
    "key_conflicts": m.INGEST_KEY_CONFLICTS,
    "dead_letters": m.INGEST_DEAD_LETTERS,
    "lost_offsets": m.INGEST_LOST,
    "objects_put_again": m.INGEST_PUT_AGAIN,
}
"""What a writer counts, and the metric that it is."""


class PersistActor:
    """Persists the virtual nodes it is assigned; a plain class, made an actor by the supervisor."""

    def __init__(
        self,
        system: System,
        name: str,
        open_log: Callable[[], EventLog],
        *,
        make_tally: Callable[[], m.Tally] = m.Tally,
        vnodes: Sequence[int] = (),
    ) -> None:
        self._name = name
        self._tally = make_tally()
        self._born_for = list(vnodes)
        self._gauged_s = float("-inf")
        self._gauged: set[int] = set()
        self._log = log = open_log()
        self._foreign_tenant = system.foreign_tenant
        self._intake = system.intake
        self._writer = VnodeWriter(
            log,
            system.catalog(),
            system.store(),
            decode=self._decode,
            dead_letter=self._dead_letter,
            clock_us=lambda: time.time_ns() // 1000,
            limits=system.writer,
            tally=self._tally,
        )
        self._dead_letters = open_dead_letters(system)
        self._wake, self._arrived = asyncio.Event(), asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._failure: str | None = None
        self._trouble: dict[str, str] = {}
        self._refusals = 0

    def __repr__(self) -> str:
        """What Ray's dashboard calls this actor: read once, so it names the virtual nodes that it was made for."""
        return f"{self._name} for virtual nodes {', '.join(map(str, self._born_for))}"

    async def assign(self, vnodes: Sequence[int]) -> None:
        """Own exactly these virtual nodes; starts the loops the first time."""
        await self._writer.assign(vnodes)
        if not self._loops:
            self._loops = [self._watched(self._poll_loop(), "poll"), self._watched(self._flush_loop(), "flush")]
        self._wake.set()

    async def close(self) -> None:
        """End the loops; what is buffered stays in the log."""
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            await asyncio.wait(self._loops)

    def _watched(self, coroutine: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        with telemetry.context(actor=self._name):
            task = asyncio.create_task(coroutine, name=f"{self._name} {what}")
        task.add_done_callback(lambda ended: self._ended(ended, what))
        return task

    def _ended(self, task: asyncio.Task[None], what: str) -> None:
        """A loop never ends by itself: without this, it would die in silence and nothing would be stored any more."""
        if not task.cancelled():
            error = task.exception()
            self._failure = f"{self._name}: the {what} loop died: {type(error).__name__}: {error}"
            _log.error(self._failure, exc_info=error)

    async def _poll_loop(self) -> None:
        interval_s = POLL_INTERVAL_S
        while True:
            self._wake.clear()
            records = 0
            try:
                records = await self._writer.poll()
                self._trouble.pop("poll", None)
            except EssError as error:
                if not (error.retryable or isinstance(error, Fenced)):
                    raise
                self._trouble["poll"] = f"{self._name} cannot read the log: {error.message}"
            interval_s = POLL_INTERVAL_S if records else min(2 * interval_s, MAX_POLL_INTERVAL_S)
            if records:
                self._arrived.set()
            if self._writer.caught_up or "poll" in self._trouble:
                await _wait(self._wake, interval_s)

    async def _flush_loop(self) -> None:
        while True:
            if self._writer.due():
                await self._try_flush()
            self._gauge()
            if self._writer.oldest_age_us is None:  # nothing is buffered: only what is read can make a flush due
                self._arrived.clear()
                await _wait(self._arrived, GAUGES_INTERVAL_S)
            else:
                await asyncio.sleep(POLL_INTERVAL_S)

    def _gauge(self) -> None:
        """Tell the metrics where reading and storing stand."""
        now_s = time.monotonic()
        if now_s - self._gauged_s < GAUGES_INTERVAL_S:
            return
        self._gauged_s = now_s
        for name, metric in COUNTS.items():
            self._tally.total(metric, self._writer.counts[name])
        positions, ends = self._writer.positions, self._writer.ends
        for vnode, (first, position) in positions.items():
            end = max(ends.get(vnode, position), position)
            self._tally.set(m.INGEST_UNREAD, end - position, str(vnode))
            self._tally.set(m.INGEST_UNSTORED, end - first, str(vnode))
        for vnode in self._gauged - positions.keys():  # another actor's now: what we said last must not stay
            self._tally.set(m.INGEST_UNREAD, 0, str(vnode))
            self._tally.set(m.INGEST_UNSTORED, 0, str(vnode))
        self._gauged = set(positions)
        self._tally.set(m.INGEST_BUFFER_BYTES, self._writer.buffered_bytes, self._name)
        self._tally.set(m.INGEST_BUFFER_AGE, self._oldest_s(), self._name)

    def _oldest_s(self) -> float:
        return (self._writer.oldest_age_us or 0) / 1_000_000

    async def _try_flush(self) -> Flushed | None:
        started_s = time.monotonic()
        try:
            flushed = await self._writer.flush()
            self._trouble.pop("flush", None)
            self._refusals = 0
            if flushed is not None:
                self._tell_flush(flushed, time.monotonic() - started_s)
            return flushed
        except (Fenced, UnknownOutcome) as error:
            self._tally.count(m.INGEST_FLUSHES, 1, "refused")
            _log.warning("%s: %s: reconciled with the catalog, will flush again", self._name, error.message)
            self._refusals += 1
            if self._refusals >= TOLD_REFUSALS:
                self._trouble["flush"] = f"{self._name} cannot store: {error.message}"
        except (EssError, OSError) as error:
            if isinstance(error, EssError) and not error.retryable and not isinstance(error, BadRequest):
                raise
            self._tally.count(m.INGEST_FLUSHES, 1, "failed")
            self._trouble["flush"] = f"{self._name} cannot store: {error}"
            _log.exception("%s cannot store just now; nothing is let go", self._name)
        await asyncio.sleep(RETRY_S)
        return None

    def _tell_flush(self, flushed: Flushed, seconds: float) -> None:
        self._tally.count(m.INGEST_FLUSHES, 1, "stored")
        slow = seconds >= SLOW_FLUSH_S
        told = {"actor": self._name, "rows": flushed.rows, "objects": flushed.objects, "seconds": round(seconds, 3)}
        _log.log(
            logging.WARNING if slow else logging.INFO,
            "%s stored %d rows in %d objects in %.2f s%s",
            self._name,
            flushed.rows,
            flushed.objects,
            seconds,
            ": slow" if slow else "",
            extra={**told, "vnodes": sorted(self._writer.positions)},
        )

    async def flush(self) -> int:
        """Read to where the log ends now and store everything; gives the rows stored by this call.

        Raises UnknownOutcome, Unavailable when the log does not answer, and NewerFormat when all was stored but what
        waits for a newer version.
        """
        ends = await self._log.end_offsets()
        rows = 0
        while True:
            # Up to that end, not until nothing is left to read: under a steady load that never comes.
            while self._behind(ends) and await self._writer.poll():
                pass
            rows += await self.store()
            if not self._behind(ends):  # else the buffers were full, or the reading loop was faster
                if stopped := list(self._writer.stopped.values()):
                    raise stopped[0]
                return rows

    async def store(self) -> int:
        """Store what is buffered, reading no more; gives the rows stored by this call. Raises UnknownOutcome."""
        rows = 0
        for _ in range(FLUSH_ATTEMPTS):
            targets = self._writer.positions
            flushed = await self._try_flush()
            rows += flushed.rows if flushed else 0
            now = self._writer.positions
            if all(now[vnode][0] >= at for vnode, (_, at) in targets.items() if vnode in now):
                return rows
        raise UnknownOutcome(f"{self._name} could not store everything: {self._trouble.get('flush', 'fenced')}")

    async def view(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        collector: Collector = ROWS,
    ) -> View:
        """Give one frozen view, reaching `min_ends` of the owned virtual nodes if that comes within `timeout_s`.

        `since`: see `ports.InFlight`.
        """
        await self._reach(min_ends, timeout_s)
        frozen = self._writer.freeze(tenant, since=since)
        return await asyncio.to_thread(collect_frozen, frozen, query, collector)

    async def _reach(self, min_ends: Mapping[int, int], timeout_s: float) -> None:
        """Wait until the owned virtual nodes are read up to `min_ends`, or for so long."""
        deadline = time.monotonic() + timeout_s
        while self._behind(min_ends) and (left := deadline - time.monotonic()) > 0:
            self._writer.advanced.clear()
            self._wake.set()
            await _wait(self._writer.advanced, left)

    def _behind(self, min_ends: Mapping[int, int]) -> bool:
        """Tell whether reading on would bring what is below `min_ends`: of a stopped virtual node, it would not."""
        stopped = self._writer.stopped
        return any(
            at < min_ends.get(vnode, 0) for vnode, (_, at) in self._writer.positions.items() if vnode not in stopped
        )

    async def known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        """Give what this key came with, having read all that the log holds by now.

        Another push replica may have taken the key a moment ago. Raises Unavailable when the log does not answer, or
        the virtual node is not this actor's (any more): it cannot know, and must not say that nobody does.
        """
        if self._writer.known_request(vnode, tenant, key) is None:
            ends = await self._log.end_offsets()
            await self._reach({vnode: ends[vnode]}, KNOWN_REQUEST_TIMEOUT_S)
        if vnode not in self._writer.positions:
            raise Unavailable(f"{self._name} does not own virtual node {vnode}; ask its owner")
        return self._writer.known_request(vnode, tenant, key)

    async def ping(self) -> dict[str, Any]:
        """Tell how this actor is: `failure` (a loop died), `trouble` (being retried), positions and counts.

        `missing_repeats`: how many damaged objects its memory of repeats lacks, and the first of them.
        """
        missing = self._writer.missing_repeats
        return {
            "failure": self._failure,
            "trouble": sorted([*self._trouble.values(), *self._stopped()]),
            "missing_repeats": {
                "objects": len(missing),
                "named": [
                    {"key": part.damaged.key, "reason": str(part.damaged), "until_us": part.until_us}
                    for part in missing[:MAX_NAMED]
                ],
            },
            "positions": self._writer.positions,
            "ends": dict(self._writer.ends),
            "buffered_bytes": self._writer.buffered_bytes,
            "oldest_s": round(self._oldest_s(), 1),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "counts": dict(self._writer.counts),
            "gaps": list(self._writer.gaps),
        }

    def _stopped(self) -> list[str]:
        stopped = self._writer.stopped.items()
        return [f"{self._name}: virtual node {vnode} is stopped: {error.message}" for vnode, error in stopped]

    def _decode(self, record: StoredRecord, log_id: str, vnode: int) -> DecodedRecord:
        return decode_any(
            record, log_id, vnode, tenant=self._foreign_tenant, now_us=time.time_ns() // 1000, limits=self._intake
        )

    async def _dead_letter(self, vnode: int, record: StoredRecord, reason: str) -> None:
        """Keep a record that cannot be decoded, and have health say so."""
        where = await self._dead_letters.keep(vnode, record, reason)
        self._trouble[f"dead letter {vnode}"] = (
            f"{self._name}: the record at offset {record.offset} of virtual node {vnode} cannot be decoded ({reason}); "
            f"it is kept {where}"
        )
        _log.error(self._trouble[f"dead letter {vnode}"])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, or for so long."""
    # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
