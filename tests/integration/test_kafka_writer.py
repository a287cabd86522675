"""The writer on the log on Kafka: what is pushed, what other programs write, and what lies between, is stored once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from ess_ray.adapters.kafka_log import DEAD_LETTERS, KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.core.query import All, Query
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.intake.foreign import decode_any
from ess_ray.intake.limits import IntakeLimits
from ess_ray.limits import WriterLimits
from ess_ray.ports import StoredRecord
from ess_ray.record import DecodedRecord, encode_records
from ess_ray.search.plan import Tasks, make_plan
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from infra.kafka.cluster import KafkaCluster
from tests.formats import encode_record_1
from tests.kafka_server import new_topic, opened
from tests.worlds import T0_US, batch_of

VNODES = 2


@pytest.fixture
def settings(kafka: KafkaCluster) -> KafkaSettings:
    return new_topic(kafka.bootstrap, VNODES)


@pytest.fixture
async def log(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    async with opened(settings) as log:
        yield log


class Table:
    """A catalog and its objects, and writers that fill it from a log."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self._catalog = MemoryCatalog()
        self._store = MemoryObjectStore(clock_us=lambda: T0_US)

    def writer(self) -> VnodeWriter:
        def decode(record: StoredRecord, log_id: str, vnode: int) -> DecodedRecord:
            return decode_any(record, log_id, vnode, tenant="default", now_us=T0_US, limits=IntakeLimits())

        return VnodeWriter(
            self._log,
            self._catalog,
            self._store,
            decode=decode,
            dead_letter=self._log.keep,
            clock_us=lambda: T0_US,
            limits=WriterLimits(),
        )

    def stored(self) -> Counter[str]:
        """Count the messages in the table."""
        found: Counter[str] = Counter()
        plan = make_plan("default", Query(All(), limit=10_000), self._catalog.snapshot())
        for task in Tasks(plan, 1 << 20):
            result = run_task(self._store, task)
            assert not result.failed
            found.update(result.partial.table.column("message").to_pylist())
        return found


async def store_all(writer: VnodeWriter) -> None:
    while await writer.poll():
        pass
    await writer.flush()


async def push(log: KafkaLog, vnode: int, *messages: str) -> None:
    await log.append(encode_records(batch_of(list(messages), [None] * len(messages), 0, T0_US), vnode, "default"))


async def test_ours_and_foreign_records_are_stored_once_over_holes_dead_letters_and_take_overs(
    log: KafkaLog, settings: KafkaSettings
) -> None:
    table = Table(log)
    first = table.writer()
    await first.assign(range(VNODES))
    await push(log, 0, "a", "b")
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, transactional_id=str(uuid4()))
    await producer.start()
    async with producer.transaction():  # leaves a hole
        await producer.send(settings.topic, b'{"message": "foreign", "host": "h"}', partition=0)
        await producer.send(settings.topic, b"<34>no JSON", partition=0)
    await producer.stop()
    await push(log, 0, "c")
    await push(log, 1, "d")
    await store_all(first)
    assert table.stored() == Counter("abcd") + Counter(["foreign"])
    heir = table.writer()
    await heir.assign(range(VNODES))
    await push(log, 1, "e")
    await store_all(heir)
    assert table.stored() == Counter("abcde") + Counter(["foreign"])
    assert first.counts["dead_letters"] == 1
    assert not heir.counts["dead_letters"]
    letters = KafkaLog(
        KafkaSettings(settings.brokers, settings.topic + DEAD_LETTERS, 1, replication=1, min_insync_replicas=1)
    )
    assert [record.value for record in (await letters.read(0, 0, 1 << 20)).records] == [b"<34>no JSON"]
    await letters.close()


async def test_what_retention_took_before_it_was_stored_is_a_named_gap(log: KafkaLog, settings: KafkaSettings) -> None:
    table = Table(log)
    first = table.writer()
    await first.assign((0,))
    await push(log, 0, "a")
    await store_all(first)
    for message in "bcd":
        await push(log, 0, message)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers)
    await admin.start()
    await admin.delete_records({TopicPartition(settings.topic, 0): RecordsToDelete(3)})
    await admin.close()
    heir = table.writer()
    await heir.assign((0,))
    await store_all(heir)
    assert heir.gaps == [(0, 1, 3)]
    assert table.stored() == Counter("ad")


async def test_over_an_upgrade_old_and_new_records_are_stored_once_and_a_version_of_before_waits(
    log: KafkaLog, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(log)
    for name in ("old", "older"):
        await log.append([encode_record_1(batch_of([name], [None], 0, T0_US), 0, "default")])
    await push(log, 0, "new")
    with monkeypatch.context() as before:
        before.setattr("ess_ray.record.FORMAT_VERSION", 1)
        writer = table.writer()
        await writer.assign(range(VNODES))
        await store_all(writer)
        assert "upgrade it" in writer.stopped[0].message
        assert not writer.counts["dead_letters"]
    assert table.stored() == Counter(["old", "older"])
    heir = table.writer()
    await heir.assign(range(VNODES))
    await store_all(heir)
    assert table.stored() == Counter(["old", "older", "new"])
    assert not heir.counts["dead_letters"]
