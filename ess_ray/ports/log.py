"""The log seam: records appended durably, read back in order, by virtual node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

CONTENT_TYPE: Final = "content-type"
ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
MAX_RECORD_BYTES: Final = 900 * 1024
"""A log record's value: under Kafka's default `message.max.bytes` (1 MiB) with room for headers."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record to append: opaque bytes and headers, for one virtual node."""

    vnode: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as read back, at its offset."""

    offset: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    received_us: int | None = field(default=None, compare=False)
    """When the log took it, by the log's clock, where the log tells: no part of what was written."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """A read's answer: records in offset order (holes are possible), and where to read next."""

    records: tuple[StoredRecord, ...]
    next_offset: int


class EventLog(Protocol):
    """A durable log of `vnode_count` partitions, named by `log_id` for its whole life."""

    async def log_id(self) -> str: ...

    async def vnode_count(self) -> int: ...

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append durably, in order per virtual node; gives each record's offset once all are durable.

        Records of one call that go to one virtual node are appended together or not at all (embedded).
        Raises Unavailable: then nothing may be acknowledged, though a part may have been appended.
        """
        ...

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        """Read from `offset` on, at least one record if there is one; empty at the end; never waits for more.

        An offset below the log's start reads from the start (the caller compares with `start_offsets`).
        """
        ...

    async def start_offsets(self) -> dict[int, int]: ...

    async def end_offsets(self) -> dict[int, int]:
        """Give, per virtual node, the offset after the last durable record. Linearizable with `append`."""
        ...

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Tell that all below is durable elsewhere: SQLite trims, Kafka commits for lag tools. Idempotent."""
        ...

    async def weaknesses(self) -> list[str]:
        """Tell where it keeps less than it was asked to, for people; empty where all is well. Raises Unavailable."""
        ...


class DeadLetters(Protocol):
    """Keeps records that cannot be decoded for a person to look at."""

    async def keep(self, vnode: int, record: StoredRecord, reason: str) -> str:
        """Keep one durably, beside why; gives where, for people. May be repeated. Raises Unavailable."""
        ...
