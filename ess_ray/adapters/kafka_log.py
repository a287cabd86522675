"""The event log on Kafka: one topic, whose partitions are the virtual nodes and whose UUID is the log's name.

Differences that the port allows: records of one call for one virtual node stand together or not at all only as far as
one batch holds them (MAX_BATCH_BYTES, in any case one record); `committed` moves no start, since records go by the
topic's retention alone. Ends are linearizable as far as no two brokers lag behind an election at the same moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.record.default_records import DefaultRecord

from ess_ray.adapters.kafka_append import Appender
from ess_ray.adapters.kafka_batches import batches_of, records_of
from ess_ray.adapters.kafka_requests import (
    NO_ANSWER_IN_TIME,
    OFFSET_OUT_OF_RANGE,
    Fetch,
    Refused,
    check_code,
    fetched,
)
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.kafka_topic import END, START, Topic, TopicPlan
from ess_ray.adapters.kafka_wire import Brokers
from ess_ray.adapters.log_rules import check_committed, check_records, check_vnode, check_vnode_count
from ess_ray.core.errors import CorruptData, Unavailable
from ess_ray.ports import LogRead, Record, StoredRecord

DEAD_LETTERS: Final = "-dead-letters"
"""What the dead-letter topic's name has behind the log's."""
DEAD_LETTER_RETENTION_S: Final = 30 * 86_400
"""A person looks at dead letters, within a month."""
DEAD_LETTER_BYTES: Final = 2 * 1024 * 1024
"""A dead letter: a record as large as the log's topic takes, with a reason beside it."""
MAX_REASON_BYTES: Final = 4096
"""A reason's header: enough to see what is wrong."""
LOG_APPEND_TIME: Final = 1
"""Kafka's number for timestamps that the broker set."""
ENVELOPE_BYTES: Final = 64 * 1024
"""Asked for beyond a read's bytes: headers and envelopes do not count as values."""


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class KafkaLog:
    """EventLog on Kafka. Connects, and makes the topic, at the first call. Belongs to one event loop; `close` it.

    Every call raises Unavailable when Kafka does not answer in time, DataLoss when the topic was deleted and made
    anew, Conflict when it has got more partitions: then make a new KafkaLog, which is another log.
    """

    def __init__(self, settings: KafkaSettings, clock_us: Callable[[], int] = _wall_clock_us) -> None:
        check_vnode_count(settings.vnodes)
        self._settings = settings
        self._brokers = Brokers(settings)
        self._topic = Topic(self._brokers, settings, _log_plan(settings))
        self._appender = Appender(self._topic, settings.append_timeout_s, clock_us)
        self._dead_topic = Topic(self._brokers, settings, _dead_letter_plan(settings))
        self._dead_appender = Appender(self._dead_topic, settings.append_timeout_s, clock_us)
        self._committed: dict[int, int] = {}
        self._closed = False

    # -------------------------------------------------------------------------------------------------------- the port
    async def log_id(self) -> str:
        self._check_open()
        return str((await self._topic.opened()).topic_id)

    async def vnode_count(self) -> int:
        """Give the topic's own number of partitions, whatever the settings say."""
        self._check_open()
        return len((await self._topic.opened()).leaders)

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append as the port says. After Unavailable, a part may have been appended, or may be within seconds."""
        check_records(records, await self.vnode_count())
        by_vnode: dict[int, list[int]] = {}
        for i, record in enumerate(records):
            by_vnode.setdefault(record.vnode, []).append(i)
        answers = await asyncio.gather(
            *(self._appender.append(vnode, [records[i] for i in mine]) for vnode, mine in by_vnode.items()),
            return_exceptions=True,  # nothing is left running behind an error
        )
        offsets = [0] * len(records)
        for mine, answer in zip(by_vnode.values(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            for i, offset in zip(mine, answer, strict=True):
                offsets[i] = offset
        return offsets

    async def read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        """Read as the port says; beyond the end there is nothing, and the offset stays what it is.

        Holes (control records, records that were compacted away) are passed over by `next_offset`.
        Raises CorruptData when a batch does not read.
        """
        check_vnode(vnode, await self.vnode_count())
        return await self._topic.retried(
            f"read virtual node {vnode}", lambda: self._read(vnode, offset, max_bytes), self._settings.read_timeout_s
        )

    async def start_offsets(self) -> dict[int, int]:
        return await self._offsets(START)

    async def end_offsets(self) -> dict[int, int]:
        """As the port says: high watermarks, told by leaders that a second broker holds for leaders."""
        return await self._offsets(END)

    async def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Commit to the consumer group, for lag tools alone. Never goes back. Raises BadRequest beyond the end."""
        if not next_offsets:
            return
        check_committed(next_offsets, await self.end_offsets())
        news = {v: offset for v, offset in next_offsets.items() if offset > self._committed.get(v, -1)}
        if news:
            self._committed.update(news)
            await self._topic.retried(
                "commit offsets",
                lambda: self._commit({v: self._committed[v] for v in news}),
                self._settings.read_timeout_s,
            )

    async def keep(self, vnode: int, record: StoredRecord, reason: str) -> str:
        """Keep a record in the dead-letter topic (see `DeadLetters`); again and it is there once more.

        Its headers stay, with ours in front: where it came from and why it is here.
        """
        opened = await self._dead_topic.opened()
        ours = (
            ("ess-reason", reason.encode()[:MAX_REASON_BYTES]),
            ("ess-log-id", (await self.log_id()).encode()),
            ("ess-vnode", b"%d" % vnode),
            ("ess-offset", b"%d" % record.offset),
        )
        partition = vnode % len(opened.leaders)
        await self._dead_appender.append(partition, [Record(partition, record.value, ours + record.headers)])
        return f"in the dead-letter topic {self._dead_topic.name}"

    async def weaknesses(self) -> list[str]:
        """See `EventLog` and `Topic.weaknesses`."""
        self._check_open()
        return await self._topic.weaknesses()

    async def backlog_bytes(self) -> None:
        """Nothing of it is on this machine's disk: Kafka keeps what it is told to, whoever has stored it."""

    async def room(self) -> None:
        """The brokers' disks are theirs to watch."""

    async def close(self) -> None:
        """Let go of all connections; appends under way end with an error. Idempotent."""
        self._closed = True
        await self._brokers.close()
        await self._appender.close()
        await self._dead_appender.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(f"the event log {self._topic.name} is closed: open it again")

    # --------------------------------------------------------------------------------------------------------- requests
    async def _offsets(self, when: int) -> dict[int, int]:
        vnodes = range(await self.vnode_count())
        return await self._topic.retried(
            "ask for the log's offsets", lambda: self._topic.offsets(when, vnodes), self._settings.read_timeout_s
        )

    async def _read(self, vnode: int, offset: int, max_bytes: int) -> LogRead:
        topic_id = (await self._topic.opened()).topic_id
        position = max(offset, 0)
        while True:
            request = Fetch(topic_id, vnode, position, max(max_bytes, 0) + ENVELOPE_BYTES)
            answer = fetched(await self._brokers.send(await self._topic.leader(vnode), request))
            if answer.error_code == OFFSET_OUT_OF_RANGE:
                start = (await self._topic.offsets(START, [vnode]))[vnode]
                if start <= position:
                    return LogRead((), offset)  # beyond the end
                position = start
                continue
            check_code(answer.error_code)
            records, next_offset = decode_batches(answer.records, vnode, position, max_bytes)
            if records or next_offset >= answer.high_watermark:
                return LogRead(records, next_offset)
            if next_offset == position:
                raise Refused(
                    NO_ANSWER_IN_TIME
                )  # a broker that is held back by a quota gives nothing though there is something
            position = next_offset  # nothing but a hole

    async def _commit(self, next_offsets: Mapping[int, int]) -> None:
        node = await self._brokers.coordinator(self._settings.group)
        partitions = [(vnode, offset, "") for vnode, offset in next_offsets.items()]
        request = OffsetCommitRequest(self._settings.group, -1, "", -1, [(self._topic.name, partitions)])
        response = await self._brokers.send(node, request)
        for _, answers in response.topics:
            for _, code in answers:
                check_code(code)


def decode_batches(data: bytes, vnode: int, position: int, max_bytes: int) -> tuple[tuple[StoredRecord, ...], int]:
    """Give the records from `position` on whose values fit `max_bytes` (one at least), and where to read next."""
    found: list[StoredRecord] = []
    taken = 0
    next_offset = position
    try:
        for batch, batch_bytes in batches_of(data):
            if not batch.validate_crc():
                raise CorruptData(f"virtual node {vnode}: the batch after offset {next_offset} is damaged", vnode=vnode)
            if not batch.is_control_batch:
                for record in records_of(batch, batch_bytes):
                    if record.offset < position:
                        continue
                    value = record.value or b""
                    if found and taken + len(value) > max_bytes:
                        return tuple(found), next_offset
                    taken += max(len(value), 1)  # an empty value has been given, too
                    headers = tuple((key, content or b"") for key, content in record.headers)
                    found.append(StoredRecord(record.offset, bytes(value), headers, _received_us(record)))
                    next_offset = record.offset + 1
            next_offset = max(next_offset, batch.next_offset)
    except (CorruptRecordException, UnsupportedCodecError) as error:
        raise CorruptData(
            f"virtual node {vnode}: the batch after offset {next_offset} cannot be read: {error}", vnode=vnode
        ) from error
    return tuple(found), next_offset


def _received_us(record: DefaultRecord) -> int | None:
    """Give the broker's time of receipt; a time that the sender set (CreateTime) is none."""
    return record.timestamp * 1000 if record.timestamp_type == LOG_APPEND_TIME else None


def _log_plan(settings: KafkaSettings) -> TopicPlan:
    configs = {
        "min.insync.replicas": str(settings.min_insync_replicas),
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete",
        "retention.ms": str(settings.retention_s * 1000),
        "retention.bytes": "-1",
        "max.message.bytes": "1048588",
        # Retention counts from receipt: a program that sends old events would else see them go at once.
        "message.timestamp.type": "LogAppendTime",
        "compression.type": "producer",
    }
    return TopicPlan(settings.topic, settings.vnodes, settings.replication, configs)


def _dead_letter_plan(settings: KafkaSettings) -> TopicPlan:
    configs = {
        "min.insync.replicas": str(settings.min_insync_replicas),
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete",
        "retention.ms": str(DEAD_LETTER_RETENTION_S * 1000),
        "max.message.bytes": str(DEAD_LETTER_BYTES),
        "message.timestamp.type": "LogAppendTime",
    }
    return TopicPlan(settings.topic + DEAD_LETTERS, 1, settings.replication, configs)
