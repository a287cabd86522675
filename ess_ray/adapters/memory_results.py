"""The result store in the memory of one process, which the embedded profile runs on: gone with the process."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ess_ray.adapters.result_rules import check_page, conflict, expired, fitting, gone, not_found
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.limits import AnswerLimits
from ess_ray.ports import AnswerState

MAX_TOTAL_BYTES: Final = 1024 * 1024 * 1024
"""Arrow bytes of all answers of one process: four of the largest, on a machine that runs everything else as well."""
MAX_ANSWERS: Final = 10_000
"""Answers kept at once, so that empty ones are bounded too: three new queries a second for an hour."""
TENANT_SHARE: Final = 3
"""A tenant's answers take at most so many times the room that they leave free: three quarters where nobody else has
any. So the next one's first answer always fits, though all others run and cannot make room."""
MAX_REMEMBERED: Final = 20_000
"""Answers that were let go of whose ids are known, so that who asks for one is told why: 200 bytes each."""
BUCKET_BYTES: Final = 1_000
"""A bucket of an aggregation, or a row of a table, as Python values, about: dictionaries and short texts."""
SLICE_WASTE: Final = 1.25
"""An appended slice may keep this many times its own bytes alive in its parent's buffers; beyond, it is copied out."""
_NO_ROOM: Final = (
    "all kept answers together were more than there is room for, yours were most of them, and this one was written "
    "longest ago"
)

_DELETED: Final = "events were deleted, which it may have had"

Key = tuple[str, str]
"""(tenant, query id)"""


@dataclass
class _Answer:
    """One answer: its pages as they were appended, and for each the position of the row after its last."""

    state: AnswerState
    question: str
    written_us: int
    tables: list[pa.Table] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    bytes: int = 0
    full: bool = False
    cancel_requested: bool = False

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def total_bytes(self) -> int:
        return self.bytes + BUCKET_BYTES * self.state.parts


class MemoryResultStore:
    """ResultStore in memory, for one event loop. Rows are immutable Arrow tables, so a page once given never changes.

    One answer is bounded by `limits`, all of them together, with their buckets, by `max_total_bytes` and `max_answers`.
    One tenant's leave a quarter for others. Finished answers make room: those of the tenant that has most, the one
    first that was written longest ago, so that nobody's answers push out those of who has fewer. When only running ones
    are left, the one that asks for more is cut as if it were full. Who asks for an answer that was let go of is told
    why.
    """

    def __init__(
        self,
        clock_us: Callable[[], int],
        limits: AnswerLimits = AnswerLimits(),
        *,
        max_total_bytes: int = MAX_TOTAL_BYTES,
        max_answers: int = MAX_ANSWERS,
    ) -> None:
        self._clock_us = clock_us
        self._limits = limits
        self._ttl_us = round(limits.ttl_s * 1_000_000)
        self._max_total_bytes, self._max_answers = max_total_bytes, max_answers
        self._answers: OrderedDict[Key, _Answer] = OrderedDict()  # the longest untouched first
        self._bytes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._gone: OrderedDict[Key, str] = OrderedDict()

    async def create(self, tenant: str, query_id: str, state: AnswerState, question: str = "") -> None:
        """Begin an answer. Raises Conflict when the tenant has one under this id already."""
        self._expire()
        key = (tenant, query_id)
        if key in self._answers:
            raise conflict(query_id)
        self._gone.pop(key, None)
        answer = self._answers[key] = _Answer(state, question, self._clock_us())
        self._counts[tenant] += 1
        self._bytes[tenant] += answer.total_bytes
        self._make_room(key, 0)

    async def question(self, tenant: str, query_id: str) -> str:
        return self._find(tenant, query_id).question

    async def append(self, tenant: str, query_id: str, rows: pa.Table) -> bool:
        """Add rows at the end, each once. False when some were not kept; then no later row is kept either."""
        answer = self._touch(tenant, query_id)
        wanted = rows.slice(0, 0) if answer.full else rows.slice(0, self._limits.max_rows - answer.rows)
        own_room = self._limits.max_bytes - answer.bytes
        self._make_room((tenant, query_id), min(wanted.nbytes, own_room))
        kept = _own(fitting(wanted, min(own_room, self._room(tenant))))
        if len(kept):
            answer.tables.append(kept)
            answer.ends.append(answer.rows + len(kept))
            answer.bytes += kept.nbytes
            self._bytes[tenant] += kept.nbytes
        answer.full |= len(kept) < len(rows)
        return not answer.full

    async def update(self, tenant: str, query_id: str, state: AnswerState) -> None:
        """Replace the state. Raises NotFound."""
        answer = self._touch(tenant, query_id)
        grown = BUCKET_BYTES * (state.parts - answer.state.parts)
        self._make_room((tenant, query_id), max(0, grown))
        self._bytes[tenant] += grown
        answer.state = state

    async def state(self, tenant: str, query_id: str) -> AnswerState:
        return self._find(tenant, query_id).state

    async def request_cancel(self, tenant: str, query_id: str) -> None:
        """Keep the wish beside the answer. Raises NotFound."""
        self._find(tenant, query_id).cancel_requested = True

    async def cancel_requested(self, answers: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        self._expire()
        return {key for key in answers if key in self._answers and self._answers[key].cancel_requested}

    async def row_count(self, tenant: str, query_id: str) -> int:
        return self._find(tenant, query_id).rows

    async def rows(self, tenant: str, query_id: str, start: int, limit: int) -> pa.Table:
        """As the port says; rows of EVENT_SCHEMA, none beyond the end. Raises BadRequest for negative numbers."""
        check_page(start, limit)
        answer = self._find(tenant, query_id)
        found = []
        for index in range(bisect_right(answer.ends, start), len(answer.tables)):
            table = answer.tables[index]
            skipped = max(start - (answer.ends[index] - len(table)), 0)
            part = table.slice(skipped, limit)
            found.append(part)
            limit -= len(part)
            if limit <= 0:
                break
        return pa.concat_tables(found) if found else EVENT_SCHEMA.empty_table()

    async def drop_all(self, tenant: str) -> int:
        keys = [key for key in self._answers if key[0] == tenant]
        for key in keys:
            self._drop(key, _DELETED)
        return len(keys)

    # ------------------------------------------------------------------------------------------------ what is kept
    def _find(self, tenant: str, query_id: str) -> _Answer:
        self._expire()
        answer = self._answers.get((tenant, query_id))
        if answer is None:
            why = self._gone.get((tenant, query_id))
            raise not_found(query_id) if why is None else gone(query_id, why)
        return answer

    def _touch(self, tenant: str, query_id: str) -> _Answer:
        answer = self._find(tenant, query_id)
        answer.written_us = self._clock_us()
        self._answers.move_to_end((tenant, query_id))
        return answer

    def _expire(self) -> None:
        oldest_us = self._clock_us() - self._ttl_us
        while self._answers:
            key, answer = next(iter(self._answers.items()))
            if answer.written_us > oldest_us:
                return
            self._drop(key, expired(self._limits.ttl_s))

    def _make_room(self, wanting: Key, more_bytes: int) -> None:
        """Let finished answers go, but not the one that wants the room, until there is enough of it or none is left."""
        while len(self._answers) > self._max_answers and self._drop_of_heaviest(self._counts, wanting):
            continue
        while more_bytes > self._room(wanting[0]) and self._drop_of_heaviest(self._bytes, wanting):
            continue

    def _room(self, tenant: str) -> int:
        """Give how many bytes more a tenant's answers may take."""
        free = self._max_total_bytes - self._bytes.total()
        return max(0, (TENANT_SHARE * free - self._bytes[tenant]) // (TENANT_SHARE + 1))

    def _drop_of_heaviest(self, held: Counter[str], wanting: Key) -> bool:
        """Let a finished answer go of who holds most; False where there is none."""
        for tenant, _ in held.most_common():
            for key, answer in self._answers.items():
                if key[0] == tenant and key != wanting and not answer.state.under_way:
                    self._drop(key, _NO_ROOM)
                    return True
        return False

    def _drop(self, key: Key, why: str) -> None:
        answer = self._answers.pop(key)
        self._bytes[key[0]] -= answer.total_bytes
        self._counts[key[0]] -= 1
        if not self._counts[key[0]]:
            del self._counts[key[0]], self._bytes[key[0]]
        self._gone[key] = why
        while len(self._gone) > MAX_REMEMBERED:
            self._gone.popitem(last=False)


def _own(rows: pa.Table) -> pa.Table:
    """Give rows whose buffers hold little else: a slice of a large table would keep all of it alive, uncounted."""
    if rows.get_total_buffer_size() <= rows.nbytes * SLICE_WASTE:
        return rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return pa.ipc.open_stream(sink.getvalue()).read_all()
