"""Gathering: many small batches into few large appends to the log, and which virtual node each goes to.

While nothing is under way a batch goes at once; while an append is, what arrives waits and goes with the next. So one
event alone waits for one append, and a flood makes large records without any timer. Routing (docs/virtual-nodes.md):

- a request with a route (a file's, a connection's) goes whole to the virtual node of (tenant, route): requests of one
  route that are sent one after the other keep their order where times are equal;
- a request with an Idempotency-Key goes whole to the virtual node of (tenant, key), in records of its own; one of
  several records that has none gets one, its body's hash, so that sending it again is exact;
- a request whose events have ids goes whole to the virtual node of (tenant, ids), so that the same events sent again
  meet their first copies; a route wins over a key, and a key over ids;
- all else goes to whichever virtual node this process has sent the fewest bytes to, record by record.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

import pyarrow as pa

from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.intake.gate import Claim, Gate
from ess_ray.intake.limits import MAX_KEY_BYTES, MAX_ROUTE_BYTES, GatherLimits
from ess_ray.metrics import PUSH_APPEND_FAILURES, PUSH_APPEND_SECONDS, PUSH_RECORDS, Tally
from ess_ray.ports import EventLog, Record
from ess_ray.record import CODEC, SURELY_ONE_RECORD_BYTES, RequestKey, encode_nothing, encode_records

_log = logging.getLogger(__name__)

SLOW_APPEND_S: Final = 2.0
"""An append that takes so long may never end: ten times what a busy disk or an election of a partition takes."""
PROBE_INTERVAL_S: Final = 1.0
"""How often at the most the log is tried again for health's sake, after an append that failed."""
_IN_LOOP_BYTES: Final = 1024 * 1024
"""Buffers encoded on the event loop, in about a millisecond; more go to a thread."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes, as its client named it: `vnode` is that of `key`, where there is one."""

    tenant: str
    key: str | None = None
    route_name: str | None = None
    vnode: int | None = None


@dataclass(frozen=True)
class _Waiting:
    """One submitted batch. `vnode` is None where any virtual node will do."""

    tenant: str
    batch: pa.RecordBatch
    bytes: int
    vnode: int | None
    request: RequestKey | None
    done: asyncio.Future[None]
    claim: Claim


@dataclass(frozen=True)
class _Failure:
    """The last append, which failed, and when one was last tried."""

    reason: str
    bytes: int
    tried_s: float


@dataclass
class _Group:
    """Batches that become one record, or one batch that becomes several."""

    tenant: str
    vnode: int | None
    request: RequestKey | None
    members: list[_Waiting] = field(default_factory=list)
    bytes: int = 0


def route(tenant: str, names: Iterable[str], vnode_count: int) -> int:
    """Give the virtual node of a key, or of ids (in any order): the same one in every process and for ever."""
    digest = sha256(tenant.encode())
    for name in sorted(names):
        encoded = name.encode()
        digest.update(b"%d:" % len(encoded) + encoded)  # lengths: ("ab", "c") is not ("a", "bc")
    return int.from_bytes(digest.digest()[:8], "big") % vnode_count


class Gatherer:
    """Makes batches durable in the log. One per event loop; all its methods are called on that loop."""

    def __init__(
        self,
        log: EventLog,
        *,
        limits: GatherLimits = GatherLimits(),  # noqa: B008
        codec: str = CODEC,
        tally: Tally | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        gate: Gate | None = None,
    ) -> None:
        self._log, self._limits, self._codec, self._clock_s = log, limits, codec, clock_s
        self._tally = tally if tally is not None else Tally()
        self.gate = gate if gate is not None else Gate(tally=self._tally)
        """Bounds what is submitted and not durable yet, with what is read and decoded before."""
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._appends: set[asyncio.Task[None]] = set()
        self._sent_bytes: list[int] = []
        self._turn = 0
        self._begun_s: dict[int, float] = {}  # of the appends in the log's hands, by a number of their own
        self._begun = itertools.count()
        self._failure: _Failure | None = None

    async def log_id(self) -> str:
        """Name the log, and so the system, whatever its address is. Raises Unavailable."""
        return await self._log.log_id()

    async def vnode_of_key(self, tenant: str, key: str, route_name: str | None = None) -> int:
        """Give the virtual node that requests with this Idempotency-Key go to. Raises Unavailable, BadRequest."""
        if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
            raise BadRequest(f"the Idempotency-Key must have 1 to {MAX_KEY_BYTES} bytes")
        if route_name is not None:
            return await self._vnode_of_route(tenant, route_name)
        return route(tenant, [key], await self._vnode_count())

    async def _vnode_of_route(self, tenant: str, route_name: str) -> int:
        if not 1 <= len(route_name.encode()) <= MAX_ROUTE_BYTES:
            raise BadRequest(f"the route (header Ess-Route) must have 1 to {MAX_ROUTE_BYTES} bytes")
        return route(tenant, [route_name], await self._vnode_count())

    async def submit(
        self,
        tenant: str,
        batch: pa.RecordBatch,
        idempotency_key: str | None = None,
        body_hash: str = "",
        claim: Claim | None = None,
        *,
        route_name: str | None = None,
        part: tuple[int, int] = (0, 1),
        implied: bool = False,
    ) -> None:
        """Return once the batch (RECORD_SCHEMA) is durable in the log; at once for no rows.

        `route_name`: batches of the same one, each submitted when the one before is durable, keep their order. `part`:
        which one, of how many, the batch is of its request. `implied`: the key is one that we made up, so that events
        with ids go where their ids go all the same. `claim`: the caller's, on whatever the batch was made of; it goes
        over to the batch as soon as that waits. A batch that fits one record is appended whole or not at all. Raises
        Unavailable (nothing may be acknowledged; with a key or ids, sending it again is exact; also when the gate is
        full), BadRequest (the key). A cancelled caller leaves the others alone; its batch may or may not be appended.
        """
        if not len(batch):
            return
        vnode = await self._vnode_of(tenant, batch, idempotency_key, route_name, implied)
        request = RequestKey(tenant, idempotency_key, body_hash, *part) if idempotency_key is not None else None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(tenant, batch, batch.nbytes, vnode, request, done, self._claimed(tenant, batch, claim))
        self._queue.append(waiting)
        self._queued_bytes += waiting.bytes
        self._start_appends()
        await done

    def _claimed(self, tenant: str, batch: pa.RecordBatch, claim: Claim | None) -> Claim:
        """Give a claim that outlives the caller: a batch is held until it is durable or forgotten, whoever waits."""
        mine = self.gate.claim(tenant) if claim is None else claim.pass_on()
        try:
            mine.hold(batch.nbytes)
        except Unavailable:
            mine.close()
            raise
        return mine

    async def _vnode_of(
        self, tenant: str, batch: pa.RecordBatch, key: str | None, route_name: str | None, implied: bool
    ) -> int | None:
        ids = batch.column("event_id")
        has_ids = ids.null_count < len(ids)
        if key is not None and (route_name is not None or not (implied and has_ids)):
            return await self.vnode_of_key(tenant, key, route_name)
        if route_name is not None:
            return await self._vnode_of_route(tenant, route_name)
        vnode_count = await self._vnode_count()
        if not has_ids:
            return None
        return route(tenant, ids.drop_null().to_pylist(), vnode_count)

    async def _vnode_count(self) -> int:
        if not self._sent_bytes:
            count = await self._log.vnode_count()
            # The awaiting ones of the first moments all come by here: only one of them sets the table.
            self._sent_bytes = self._sent_bytes or [0] * count
            self._turn = random.randrange(count)  # replicas that start together begin at different nodes
        return len(self._sent_bytes)

    def _start_appends(self) -> None:
        """Start an append if none is under way, or if enough waits and there is room for one more."""
        enough = self._queued_bytes >= self._limits.worth_an_append_bytes
        if self._queue and (not self._appends or (enough and len(self._appends) < self._limits.max_appends)):
            # The task takes from the queue when it runs, so what arrives in this turn of the loop goes along.
            task = asyncio.get_running_loop().create_task(self._append(), name="append to the log")
            self._appends.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._appends.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("an append failed in a way that the log should have named", exc_info=error)
        self._start_appends()

    def _take(self) -> list[_Waiting]:
        """Take the oldest waiting batches, up to the bytes of one append; forget those whose callers have gone."""
        taken: list[_Waiting] = []
        size = 0
        while self._queue and (not taken or size + self._queue[0].bytes <= self._limits.max_append_bytes):
            waiting = self._queue.popleft()
            self._queued_bytes -= waiting.bytes
            if waiting.done.done():
                waiting.claim.close()
                continue
            taken.append(waiting)
            size += waiting.bytes
        return taken

    async def _append(self) -> None:
        members = self._take()
        try:
            await self._append_members(members)
        except EssError as error:
            self._tally.count(PUSH_APPEND_FAILURES)
            _fail(members, error)
        finally:
            for member in members:
                member.claim.close()
            # Only an error that is no EssError (see `_ended`), or a loop that closes, leaves callers waiting here.
            _fail(members, Unavailable("the event log failed; nothing was acknowledged, send it again"))

    async def _append_members(self, members: Sequence[_Waiting]) -> None:
        records: list[Record] = []
        for group in _groups(members):
            vnode = group.vnode if group.vnode is not None else self._lightest()
            self._sent_bytes[vnode] += group.bytes
            try:
                if group.bytes <= _IN_LOOP_BYTES:
                    records += self._encode(group, vnode)
                else:
                    records += await asyncio.to_thread(self._encode, group, vnode)
            except BadRequest as error:
                _fail(group.members, error)
        if records:
            started_s = time.monotonic()
            await self._append_records(records)
            self._tally.observe(PUSH_APPEND_SECONDS, time.monotonic() - started_s)
            self._tally.count(PUSH_RECORDS, len(records))
        for member in members:
            if not member.done.done():
                member.done.set_result(None)

    async def _append_records(self, records: Sequence[Record]) -> None:
        """Append, and remember how it went."""
        number = next(self._begun)
        self._begun_s[number] = self._clock_s()
        try:
            await self._log.append(records)
            self._failure = None
        except EssError as error:
            if error.retryable:  # else this request is wrong, and not the log
                size = sum(map(_size, records))
                self._failure = _Failure(error.message, size, self._clock_s())
            raise
        finally:
            del self._begun_s[number]

    def trouble(self) -> list[str]:
        """Tell whether the log takes nothing just now: the last append failed, or one has not ended for too long."""
        if self._failure is not None:
            return [f"the last append to the event log failed: {self._failure.reason}"]
        waits_s = max((self._clock_s() - begun_s for begun_s in self._begun_s.values()), default=0.0)
        return [f"an append to the event log has not ended for {waits_s:.1f} s"] if waits_s >= SLOW_APPEND_S else []

    async def try_again(self) -> None:
        """After a failed append, append as much that means nothing, so that `trouble` need not wait for a push.

        Clients keep away from what is not healthy: nobody else might try. A disk that takes little may still be full
        for what failed. Raises Unavailable, which `trouble` tells too.
        """
        failure = self._failure
        if failure is None or self._clock_s() - failure.tried_s < PROBE_INTERVAL_S:
            return
        self._failure = replace(failure, tried_s=self._clock_s())
        vnode = random.randrange(await self._vnode_count())
        await self._append_records([encode_nothing(vnode, DEFAULT_TENANT, failure.bytes)])

    def _lightest(self) -> int:
        """Give the virtual node with the fewest bytes sent; of equals, the next in turn."""
        count = len(self._sent_bytes)
        chosen = min(range(count), key=lambda vnode: (self._sent_bytes[vnode], (vnode - self._turn) % count))
        self._turn = (chosen + 1) % count
        return chosen

    def _encode(self, group: _Group, vnode: int) -> list[Record]:
        batches = [member.batch for member in group.members]
        batch = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        return encode_records(batch, vnode, group.tenant, group.request, self._codec)


def _size(record: Record) -> int:
    return len(record.value) + sum(len(value) for _, value in record.headers)


def _groups(members: Sequence[_Waiting]) -> list[_Group]:
    """Merge what may share a record: one tenant, one route, no key, and surely no more than one record holds."""
    groups: list[_Group] = []
    opened: dict[tuple[str, int | None], _Group] = {}
    for member in members:
        group = opened.get((member.tenant, member.vnode)) if member.request is None else None
        if group is None or group.bytes + member.bytes > SURELY_ONE_RECORD_BYTES:
            group = _Group(member.tenant, member.vnode, member.request)
            groups.append(group)
            if member.request is None:
                opened[(member.tenant, member.vnode)] = group
        group.members.append(member)
        group.bytes += member.bytes
    return groups


def _fail(members: Iterable[_Waiting], error: EssError) -> None:
    """Tell everybody who still waits; each gets an exception of its own, since raising one changes it."""
    for member in members:
        if not member.done.done():
            member.done.set_exception(copy.copy(error))
