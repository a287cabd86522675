"""RedisResultStore: answers in Redis (or Valkey), written by the search replica that runs the query, read by any.

Keys of one answer, all with its time to live, `{}` keeping them on one node of a Redis cluster:

    ess:{TENANT/ID}          hash: state (JSON), rows, bytes (Arrow's), full (0 or 1), cancel (1: asked to end),
                             question (text)
    ess:{TENANT/ID}:chunks   list: Arrow IPC streams of at most CHUNK_ROWS rows
    ess:{TENANT/ID}:ends     list: the number of rows up to and with each chunk
    ess:{TENANT/ID}:alive    string, gone ALIVE_S after the writer's last sign of life
    ess:{TENANT/ID}:was      string, there a day longer than the others: who asks then is told that it has expired
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
import pyarrow as pa
from pyarrow import ipc
from redis import asyncio as aioredis
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from ess_ray.adapters.result_rules import check_page, conflict, expired, fitting, gone, not_found
from ess_ray.aside import aside
from ess_ray.core.errors import Conflict, NotFound, Unavailable
from ess_ray.core.event import EVENT_SCHEMA, with_all_columns
from ess_ray.limits import AnswerLimits
from ess_ray.ports import AnswerState

_log = logging.getLogger(__name__)

MAX_READ_AT_ONCE: Final = 65_536
"""Bytes of a state's JSON that are read on the event loop: a millisecond. Longer ones have many buckets."""
CHUNK_ROWS: Final = 2_000
"""Rows of one chunk: what a page of 1,000 rows reads beyond itself stays small."""
ALIVE_S: Final = 10.0
"""How long a running answer outlives its writer's last sign of life: then it is told as failed."""
SIGN_OF_LIFE_S: Final = 3.0
"""Pause between signs of life: two may be lost before anybody notices."""
WAS: Final = ":was"
REMEMBERED_MS: Final = 86_400_000
"""How much longer than an answer it is known that there was one."""
TIMEOUT_S: Final = 5.0
"""One command: a page of the largest events takes a tenth of it on a slow network."""
RETRIES: Final = 3
SCANNED_KEYS: Final = 1_000
"""Keys that Redis looks at in one step of a scan: a millisecond."""
_LOST: Final = (
    "the search replica that ran this query has ended before its answer did: what it found is here, run it again"
)

# An append that is sent again because its answer was lost finds `rows` moved on already, and changes nothing.
_APPEND: Final = """
local rows = redis.call('HGET', KEYS[1], 'rows')
if not rows then return -1 end
if rows ~= ARGV[1] then return tonumber(rows) end
redis.call('HSET', KEYS[1], 'rows', ARGV[2], 'bytes', ARGV[3], 'full', ARGV[4])
for i = 7, #ARGV, 2 do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  redis.call('RPUSH', KEYS[3], ARGV[i + 1])
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
redis.call('SET', KEYS[4], '1', 'PX', ARGV[6])
return tonumber(ARGV[2])
"""
_UPDATE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[1])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
if ARGV[4] == '1' then redis.call('SET', KEYS[4], '1', 'PX', ARGV[3]) else redis.call('DEL', KEYS[4]) end
return 1
"""
_CREATE: Final = """
if redis.call('HSETNX', KEYS[1], 'state', ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'rows', 0, 'bytes', 0, 'full', 0, 'question', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])
redis.call('SET', KEYS[5], '1', 'PX', ARGV[5])
return 1
"""
# Only where the answer is: HSET would make one that never expires.
_CANCEL: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'cancel', '1')
return 1
"""


class RedisResultStore:
    """ResultStore in Redis, for one event loop. One answer has one writer, the store that created it.

    While an answer is running, `state` of a writer that gave no sign of life for `alive_s` reads `failed`, with what
    was found until then. All methods raise Unavailable when Redis does not answer.
    """

    def __init__(
        self,
        url: str,
        limits: AnswerLimits = AnswerLimits(),
        *,
        alive_s: float = ALIVE_S,
    ) -> None:
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES)
        self._redis: Any = aioredis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry
        )
        self._ttl_ms, self._alive_ms = round(limits.ttl_s * 1000), round(alive_s * 1000)
        self._max_rows, self._max_bytes = limits.max_rows, limits.max_bytes
        self._create = self._redis.register_script(_CREATE)
        self._append = self._redis.register_script(_APPEND)
        self._update = self._redis.register_script(_UPDATE)
        self._cancel = self._redis.register_script(_CANCEL)
        self._running: set[tuple[str, str]] = set()
        self._signs: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End the signs of life and the connections; answers that still run read as failed soon. Idempotent."""
        if self._signs is not None:
            self._signs.cancel()
            await asyncio.wait([self._signs])
            self._signs = None
        await self._redis.aclose()

    # ------------------------------------------------------------------------------------------------------ the port
    async def create(self, tenant: str, query_id: str, state: AnswerState, question: str = "") -> None:
        """Begin an answer. Raises Conflict when the tenant has one under this id already."""
        with _answering():
            made = await self._create(
                keys=_keys(tenant, query_id),
                args=[_to_json(state), self._ttl_ms, self._alive_ms, question, 2 * self._ttl_ms + REMEMBERED_MS],
            )
        if not made:
            raise conflict(query_id)
        self._running.add((tenant, query_id))
        if self._signs is None:
            self._signs = asyncio.create_task(self._give_signs(), name="signs of life of running searches")

    async def question(self, tenant: str, query_id: str) -> str:
        """As the port says; its replica need not live."""
        with _answering():
            text = await self._redis.hget(_keys(tenant, query_id)[0], "question")
        if text is None:
            raise await self._missing(tenant, query_id)
        question: str = text.decode()
        return question

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        """Add rows at the end, each once. False when some were not kept; then no later row is kept either."""
        keys = _keys(tenant, query_id)
        with _answering():
            held, size, full = await self._redis.hmget(keys[0], "rows", "bytes", "full")
        if held is None:
            raise await self._missing(tenant, query_id)
        wanted = rows.slice(0, 0) if int(full) else rows.slice(0, self._max_rows - int(held))
        kept, pairs = await aside(_packed, wanted, self._max_bytes - int(size), int(held))
        cut = bool(int(full)) or len(kept) < len(rows)
        until = int(held) + len(kept)
        arguments = [held, until, int(size) + kept.nbytes, int(cut), self._ttl_ms, self._alive_ms, *pairs]
        with _answering():
            found = await self._append(keys=keys, args=arguments)
        if found == -1:
            raise await self._missing(tenant, query_id)
        if found != until:
            raise Conflict(f"the answer of query {query_id} has another writer: run the query again")
        return not cut

    async def update(self, tenant: str, query_id: str, state: AnswerState) -> None:
        """Replace the state. Raises NotFound."""
        running = state.under_way
        if not running:
            self._running.discard((tenant, query_id))
        # An aggregation's may have 10 MB.
        text = await aside(_to_json, state) if state.parts else _to_json(state)
        with _answering():
            there = await self._update(
                keys=_keys(tenant, query_id), args=[text, self._ttl_ms, self._alive_ms, int(running)]
            )
        if not there:
            self._running.discard((tenant, query_id))
            raise await self._missing(tenant, query_id)

    async def state(self, tenant: str, query_id: str) -> AnswerState:
        """As the port says; `failed` for a running answer whose writer is gone."""
        answer, _, _, alive, _ = _keys(tenant, query_id)
        with _answering():
            async with self._redis.pipeline(transaction=True) as together:
                text, lives = await together.hget(answer, "state").exists(alive).execute()
        if text is None:
            raise await self._missing(tenant, query_id)
        state = _from_json(text) if len(text) <= MAX_READ_AT_ONCE else await aside(_from_json, text)
        if state.under_way and not lives:
            return replace(state, state="failed", complete=False, incomplete=(*state.incomplete, _LOST))
        return state

    async def request_cancel(self, tenant: str, query_id: str) -> None:
        """Keep the wish beside the answer, for the replica that runs it. Raises NotFound."""
        with _answering():
            there = await self._cancel(keys=_keys(tenant, query_id)[:1])
        if not there:
            raise await self._missing(tenant, query_id)

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """As the port says, in one pipeline."""
        if not answers:
            return set()
        with _answering():
            async with self._redis.pipeline(transaction=False) as together:
                for tenant, query_id in answers:
                    together.hexists(_keys(tenant, query_id)[0], "cancel")
                asked = await together.execute()
        return {answer for answer, wish in zip(answers, asked, strict=True) if wish}

    async def row_count(self, tenant: str, query_id: str) -> int:
        """As the port says."""
        with _answering():
            rows = await self._redis.hget(_keys(tenant, query_id)[0], "rows")
        if rows is None:
            raise await self._missing(tenant, query_id)
        return int(rows)

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        """As the port says; rows of EVENT_SCHEMA, none beyond the end. Raises BadRequest for negative numbers."""
        check_page(start, limit)
        answer, chunks, ends_key, _, _ = _keys(tenant, query_id)
        with _answering():
            async with self._redis.pipeline(transaction=True) as together:
                there, texts = await together.exists(answer).lrange(ends_key, 0, -1).execute()
        if not there:
            raise await self._missing(tenant, query_id)
        ends = [int(text) for text in texts]
        first, last = bisect_right(ends, start), bisect_right(ends, start + limit - 1)
        if limit == 0 or first == len(ends):
            return EVENT_SCHEMA.empty_table()
        with _answering():
            found = await self._redis.lrange(chunks, first, last)
        if not found:  # expired between the two
            raise await self._missing(tenant, query_id)
        whole = await aside(lambda: pa.concat_tables([_from_stream(chunk) for chunk in found]))
        return whole.slice(start - (ends[first - 1] if first else 0), limit)

    async def drop_all(self, tenant: str) -> int:
        """As the port says: all replicas' answers. What is begun meanwhile may stay."""
        count = 0
        with _answering():
            async for key in self._redis.scan_iter(match=f"{_begin(tenant)}*", count=SCANNED_KEYS):
                count += key.endswith(b"}")
                if not key.endswith(WAS.encode()):
                    await self._redis.unlink(key)
        self._running = {answer for answer in self._running if answer[0] != tenant}
        return count

    async def _missing(self, tenant: str, query_id: str) -> NotFound:
        """Give the error for an answer that is not there: whether there was one."""
        with _answering():
            was = await self._redis.exists(_keys(tenant, query_id)[4])
        return gone(query_id, expired(self._ttl_ms / 1000)) if was else not_found(query_id)

    # ------------------------------------------------------------------------------------------------- signs of life
    async def _give_signs(self) -> None:
        """Keep what this store's searches run alive, until they end. Redis away: they read as failed meanwhile."""
        while True:
            await asyncio.sleep(SIGN_OF_LIFE_S)
            try:
                async with self._redis.pipeline(transaction=False) as together:
                    for tenant, query_id in self._running:
                        together.set(_keys(tenant, query_id)[3], "1", px=self._alive_ms)
                    await together.execute()
            except redis_errors.RedisError as error:
                _log.warning("Redis did not take the signs of life of running searches: %s", error)


def _begin(tenant: str) -> str:
    """Give what the keys of all answers of a tenant begin with: nothing in it is special in a pattern."""
    return f"ess:{{{tenant}/"


def _keys(tenant: str, query_id: str) -> list[str]:
    answer = f"{_begin(tenant)}{query_id}}}"
    return [answer, f"{answer}:chunks", f"{answer}:ends", f"{answer}:alive", f"{answer}{WAS}"]


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Turn what Redis refuses into Unavailable; its address may hold a password, so it is not told."""
    try:
        yield
    except redis_errors.OutOfMemoryError as error:
        raise Unavailable(
            "Redis is out of memory: give it more, or keep answers for less time (results.ttl_s)"
        ) from error
    except (redis_errors.RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__}): try again in a few seconds") from error


def _packed(rows: pa.Table, max_bytes: int, held: int) -> tuple[pa.Table, list[bytes | int]]:
    """Give the rows that fit, and each chunk of them as a stream and the position where it ends."""
    kept = fitting(rows, max_bytes)
    pairs: list[bytes | int] = []
    for at in range(0, len(kept), CHUNK_ROWS):
        chunk = kept.slice(at, CHUNK_ROWS)
        pairs += [_to_stream(chunk), held + at + len(chunk)]
    return kept, pairs


def _to_json(state: AnswerState) -> bytes:
    return orjson.dumps(state)


def _from_json(text: bytes) -> AnswerState:
    told = orjson.loads(text)
    buckets = told.get("buckets")
    told["buckets"] = None if buckets is None else tuple(buckets)
    return AnswerState(**{**told, **{name: tuple(told.get(name, ())) for name in ("incomplete", "hints")}})


def _to_stream(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, EVENT_SCHEMA, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _from_stream(value: bytes) -> pa.Table:
    with ipc.open_stream(pa.py_buffer(value)) as reader:
        return with_all_columns(reader.read_all(), EVENT_SCHEMA)  # an older version may have stored it
