"""The system's log: Kafka, or the embedded log's one owning process, as an actor, and the port it is reached by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ess_ray import metrics as m
from ess_ray.adapters.dead_letters import StoredDeadLetters
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.core.errors import EssError
from ess_ray.ports import DeadLetters, EventLog, LogRead, Record
from ess_ray.runtime.metrics import published_tally
from ess_ray.runtime.wiring import LOG_ACTOR, RemoteActor, System
from ess_ray.table.disk import DiskWatch, Room

if TYPE_CHECKING:
    from ess_ray.adapters.kafka_log import KafkaLog
    from ess_ray.adapters.kafka_settings import KafkaSettings

_log = logging.getLogger(__name__)

LOG_OFFLINE: Final = "the event log"
INLINE_BYTES: Final = 1536 * 1024
"""Of an append: more may be over what Ray carries within a call (`RAY_max_direct_call_object_size`)."""
LOOK_INTERVAL_S: Final = 1.0
"""How often the disk is looked at while nobody pushes: one call to the kernel. Each append looks for itself."""


class LogActor(SqliteLog):
    """The SQLite log of a system, and the watch over its disk; made an actor in `supervisor.start_pool`."""

    def __init__(self, system: System) -> None:
        self._disk = DiskWatch(system.log_path.parent, system.disk, keeps_objects=system.places.bucket is None)
        super().__init__(system.log_path, vnode_count=system.vnodes, admit=self._disk.admit)
        self._tally = published_tally()
        self._watch = asyncio.create_task(self._watch_loop(), name="disk watch")

    async def room(self) -> Room:
        """Look at the disk: what is free, and whether appends are refused for it. Raises Unavailable."""
        return self._disk.look(self.backlog_bytes())

    async def _watch_loop(self) -> None:
        while True:
            try:
                room = await self.room()
                self.spare_room(room.state == "refusing")
                self._tally.set(m.DISK_FREE, room.free_bytes)
                self._tally.set(m.DISK_REFUSE_BELOW, room.refuse_below_bytes)
                self._tally.set(m.DISK_REFUSING, room.state == "refusing")
            except EssError as error:
                _log.warning(error.message)
            except Exception:  # noqa: BLE001 (a watch that ends in silence is worse than one that fails now and then)
                _log.exception("the disk could not be watched")
            await asyncio.sleep(LOOK_INTERVAL_S)


class SystemLog(EventLog, Protocol):
    """The log of a running system, and what it tells of itself to who watches the system."""

    async def backlog_bytes(self) -> int | None:
        """Tell how much it keeps in the data directory until it is stored; None where it lies elsewhere.

        Raises Unavailable.
        """
        ...

    async def room(self) -> Room | None:
        """Look at the disk that it stands on; None where that is not ours to watch. Raises Unavailable."""
        ...


def open_log(system: System) -> SystemLog:
    """Give a process its way to the system's log. Makes no call."""
    if system.kafka is None:
        return RemoteLog(system)
    return _kafka_log(system.kafka)


def open_dead_letters(system: System) -> DeadLetters:
    """Give a process its place for records that cannot be decoded: the log's own kind. Makes no call."""
    if system.kafka is None:
        return StoredDeadLetters(system.dead_letters())
    return _kafka_log(system.kafka)


def _kafka_log(settings: KafkaSettings) -> KafkaLog:
    # Only here: its client takes a tenth of a second to import, in each process of a system that has no Kafka.
    from ess_ray.adapters import kafka_log

    return kafka_log.KafkaLog(settings)


class RemoteLog:
    """SystemLog over the log actor."""

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

    async def weaknesses(self) -> list[str]:
        return list(await self._call("weaknesses"))

    async def backlog_bytes(self) -> int:
        return int(await self._call("backlog_bytes"))

    async def room(self) -> Room:
        """Look at the disk of the log. Raises Unavailable."""
        room: Room = await self._call("room")
        return room
