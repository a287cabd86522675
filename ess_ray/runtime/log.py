"""The system's log: Kafka, or the embedded log's one owning process, as an actor, and the port it is reached by.

May live here: the wrapping of SqliteLog. May not: how it stores (the adapter's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.ports import EventLog, LogRead, Record
from ess_ray.runtime.wiring import LOG_ACTOR, RemoteActor, System

LOG_OFFLINE: Final = "the event log"
INLINE_BYTES: Final = 1536 * 1024
"""Of an append: more may be over what Ray carries within a call (`RAY_max_direct_call_object_size`)."""


class LogActor(SqliteLog):
    """The SQLite log of a system; made an actor in `supervisor.start_pool`."""

    def __init__(self, system: System) -> None:
        super().__init__(system.log_path, vnode_count=system.vnodes)


def open_log(system: System) -> EventLog:
    """Give a process its way to the system's log. Makes no call."""
    return RemoteLog(system) if system.kafka is None else KafkaLog(system.kafka)


class RemoteLog:
    """EventLog over the log actor."""

    def __init__(self, system: System) -> None:
        self._call = RemoteActor(system, LOG_ACTOR, LOG_OFFLINE).call
        self._log_id: str | None = None

    async def log_id(self) -> str:
        if self._log_id is None:  # it never changes while the log lives
            self._log_id = await self._call("log_id")
        return self._log_id

    async def vnode_count(self) -> int:
        return int(await self._call("vnode_count"))

    async def append(self, records: Sequence[Record]) -> list[int]:
        large = sum(len(record.value) for record in records) > INLINE_BYTES
        return list(await self._call("append", records, large=large))

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        read: LogRead = await self._call("read", vnode, offset, max_bytes)
        return read

    async def start_offsets(self) -> dict[int, int]:
        return dict(await self._call("start_offsets"))

    async def end_offsets(self) -> dict[int, int]:
        return dict(await self._call("end_offsets"))

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        await self._call("committed", dict(next_offsets))

    async def backlog_bytes(self) -> int:
        return int(await self._call("backlog_bytes"))
