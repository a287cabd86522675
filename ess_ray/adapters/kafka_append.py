"""Appending to a Kafka topic: an idempotent producer that knows the outcome of every batch, or says that it does not.

aiokafka's own producer retries a batch without end once it is idempotent: events that a client was told to send again
would be written minutes later, after an outage. It also goes on numbering after a batch that failed, which the broker
then refuses for ever, and may create a deleted topic anew with a broker's defaults. Here a batch has a deadline, and a
partition whose batch has an unknown outcome gets a new producer id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from ess_ray.adapters.kafka_requests import (
    DUPLICATE_SEQUENCE,
    INVALID_PRODUCER_EPOCH,
    MESSAGE_TOO_LARGE,
    NO_ERROR,
    NO_LEADER,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    OUT_OF_ORDER_SEQUENCE,
    UNKNOWN_PRODUCER_ID,
    UNKNOWN_TOPIC,
    Refused,
    check_code,
)
from ess_ray.adapters.kafka_topic import RETRY_S, Topic
from ess_ray.adapters.kafka_wire import REACHING_ERRORS
from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.ports import Record

MAX_BATCH_BYTES: Final = 1_000_000
"""Values and headers of one batch: with their envelope below Kafka's default `max.message.bytes` of 1,048,588."""
RECORD_OVERHEAD_BYTES: Final = 32
"""At most what a record and each of its headers add in lengths and numbers."""
LAST_SEQUENCE: Final = 2**31 - 1 - 2**20
"""Where a producer id is given up, before its 32-bit sequence would wrap within a batch."""
ALL_IN_SYNC: Final = -1
MAGIC: Final = 2
"""The record format with headers and idempotence."""
_NOT_WRITTEN: Final = frozenset({UNKNOWN_TOPIC, NO_LEADER, NOT_LEADER, NOT_ENOUGH_REPLICAS})
"""Refusals before anything is written."""
_LOST_PRODUCER: Final = frozenset({OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID})


@dataclass
class _Lane:
    """One partition's side of the protocol: one batch at a time, numbered without gaps within a producer id."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    producer: tuple[int, int] | None = None
    sequence: int = 0


class Appender:
    """Appends batches to a topic's partitions: in order and all or nothing within a batch, acknowledged by all in sync.

    Requests to one broker carry the batches of all partitions that wait for it: a broker serves one request of a
    connection after the other. Belongs to one event loop.
    """

    def __init__(self, topic: Topic, timeout_s: float, clock_us: Callable[[], int]) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._clock_us = clock_us
        self._lanes: dict[int, _Lane] = {}
        self._waiting: dict[int, list[tuple[int, bytes, asyncio.Future[tuple[int, int]]]]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}

    async def append(self, partition: int, records: Sequence[Record]) -> list[int]:
        """Append in order, in as few batches as MAX_BATCH_BYTES allows; gives the offsets.

        One batch is written as a whole or not at all. Raises Unavailable (what was appended is not known),
        BadRequest when the topic takes no record of this size.
        """
        lane = self._lanes.setdefault(partition, _Lane())
        trouble: list[Exception] = []
        offsets: list[int] = []
        try:
            async with asyncio.timeout(self._timeout_s), lane.lock:
                for batch in cut_batches(records):
                    first = await self._append_batch(lane, partition, batch, trouble)
                    offsets += range(first, first + len(batch))
        except TimeoutError as error:
            told = f" ({trouble[-1]})" if trouble else ""
            raise Unavailable(
                f"Kafka has not acknowledged an append to virtual node {partition} within {self._timeout_s:g} s{told}: "
                "nothing was acknowledged, send it again in a few seconds"
            ) from error
        return offsets

    async def close(self) -> None:
        """End what is under way. Idempotent."""
        senders = list(self._senders.values())
        for sender in senders:
            sender.cancel()
        if senders:
            await asyncio.wait(senders)

    async def _append_batch(
        self, lane: _Lane, partition: int, records: Sequence[Record], trouble: list[Exception]
    ) -> int:
        """Send one batch until its outcome is known; gives its first offset. Ends by the caller's deadline."""
        written = False  # whether a try may have been written without our knowing
        try:
            while True:
                if lane.producer is None or lane.sequence > LAST_SEQUENCE:
                    lane.producer, lane.sequence = None, 0
                try:
                    lane.producer = lane.producer or await self._new_producer()
                    code, offset = await self._send(partition, self._encode(records, lane.producer, lane.sequence))
                except REACHING_ERRORS as error:
                    written |= not isinstance(error, NodeNotReadyError)
                    trouble.append(error)
                except Refused as error:  # no leader, or no producer id: nothing was sent
                    if not error.transient:
                        raise Unavailable(
                            f"Kafka does not take events: {error}; correct its or our settings"
                        ) from error
                    trouble.append(error)
                else:
                    if code == NO_ERROR and offset >= 0:
                        lane.sequence += len(records)
                        return offset
                    self._judge(lane, code, written)
                    written |= code not in _NOT_WRITTEN | _LOST_PRODUCER
                    trouble.append(Refused(code))
                await self._pause(trouble)
        except BaseException:
            lane.producer = None  # its sequence is no longer known
            raise

    def _judge(self, lane: _Lane, code: int, written: bool) -> None:
        """Decide what a refusal means: return to try again, raise when there is no use. `written`: see above."""
        if code in _LOST_PRODUCER and not written:
            lane.producer = None  # the broker has forgotten it; this batch surely was not written
            return
        if code == MESSAGE_TOO_LARGE:
            raise BadRequest(
                f"the topic {self._topic.name} refuses a record of this size: "
                "set its max.message.bytes to 1048588 or more"
            )
        if code in (*_LOST_PRODUCER, DUPLICATE_SEQUENCE, NO_ERROR):
            raise Unavailable("Kafka cannot tell what became of an append: nothing was acknowledged, send it again")
        if not Refused(code).transient:
            raise Unavailable(f"Kafka does not take events: {Refused(code)}; correct the broker's or our settings")

    async def _pause(self, trouble: list[Exception]) -> None:
        """Wait a moment, then look for leaders anew."""
        await asyncio.sleep(RETRY_S)
        try:
            await self._topic.refresh()
        except (Refused, *REACHING_ERRORS) as error:
            trouble.append(error)

    async def _new_producer(self) -> tuple[int, int]:
        response = await self._topic.brokers.send_to_any(InitProducerIdRequest(None, 60_000))
        check_code(response.error_code)
        return response.producer_id, response.producer_epoch

    def _encode(self, records: Sequence[Record], producer: tuple[int, int], sequence: int) -> bytes:
        builder = DefaultRecordBatchBuilder(
            MAGIC,
            0,  # no compression: values are compressed Arrow streams
            is_transactional=0,
            producer_id=producer[0],
            producer_epoch=producer[1],
            base_sequence=sequence,
            batch_size=2 * MAX_BATCH_BYTES,  # cut before
        )
        now_ms = self._clock_us() // 1000
        for i, record in enumerate(records):
            builder.append(i, now_ms, None, record.value, list(record.headers))
        return bytes(builder.build())

    # --------------------------------------------------------------------------------------------------------- sending
    async def _send(self, partition: int, batch: bytes) -> tuple[int, int]:
        """Send a batch to its leader with whatever else waits for it; gives (error code, first offset)."""
        node = await self._topic.leader(partition)
        answer: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(node, []).append((partition, batch, answer))
        if node not in self._senders:
            self._senders[node] = asyncio.create_task(self._send_waiting(node))
        return await answer

    async def _send_waiting(self, node: int) -> None:
        try:
            while batches := self._waiting.pop(node, []):
                await self._send_now(node, [each for each in batches if not each[2].done()])
        finally:
            del self._senders[node]
            for *_, answer in self._waiting.pop(node, []):  # only when closed
                if not answer.done():
                    answer.set_exception(_closed())

    async def _send_now(self, node: int, batches: Sequence[tuple[int, bytes, asyncio.Future[tuple[int, int]]]]) -> None:
        if not batches:
            return
        topics = [(self._topic.name, [(partition, batch) for partition, batch, _ in batches])]
        request = ProduceRequest(None, ALL_IN_SYNC, round(self._timeout_s * 1000), topics)
        answers: dict[int, Any] = {}
        trouble: Exception = Unavailable("Kafka left a partition out of its answer: send this again")
        try:
            response = await self._topic.brokers.send(node, request)
            answers = {each[0]: (each[1], each[2]) for _, partitions in response.topics for each in partitions}
        except (EssError, *REACHING_ERRORS) as error:
            trouble = error
        except asyncio.CancelledError:
            trouble = _closed()
            raise
        finally:
            for partition, _, answer in batches:
                if answer.done():  # its caller has gone
                    continue
                if partition in answers:
                    answer.set_result(answers[partition])
                else:
                    answer.set_exception(trouble)


def _closed() -> Unavailable:
    return Unavailable("the event log was closed during an append: nothing was acknowledged, send it again")


def cut_batches(records: Sequence[Record]) -> list[list[Record]]:
    """Cut into runs of at most MAX_BATCH_BYTES, one record at least."""
    batches: list[list[Record]] = []
    size = 0
    for record in records:
        own = RECORD_OVERHEAD_BYTES + len(record.value)
        own += sum(RECORD_OVERHEAD_BYTES + len(key.encode()) + len(value) for key, value in record.headers)
        if not batches or size + own > MAX_BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += own
    return batches
