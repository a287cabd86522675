"""The log on Kafka, what is special about it, on real brokers: restarts, lost answers, topics made anew, foreigners."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.produce import ProduceRequest

from ess_ray.adapters.kafka_log import DEAD_LETTERS, KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.kafka_wire import Brokers
from ess_ray.core.errors import BadRequest, Conflict, DataLoss, EssError, Unavailable
from ess_ray.ports import MAX_RECORD_BYTES, LogRead, Record
from infra.kafka.cluster import KafkaCluster, free_ports
from tests.kafka_server import kafka_cluster, new_topic, opened, read_all
from tests.waiting import until

VNODES = 2


@pytest.fixture
def settings(kafka: KafkaCluster) -> KafkaSettings:
    return new_topic(kafka.bootstrap, VNODES)


@pytest.fixture
async def log(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    async with opened(settings) as log:
        yield log


@pytest.fixture
async def admin(kafka: KafkaCluster) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[KafkaCluster]:
    """A broker that the test may stop."""
    with kafka_cluster(tmp_path) as cluster:
        yield cluster


@asynccontextmanager
async def foreign(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Another program's producer."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def values(log: KafkaLog, vnode: int = 0) -> list[bytes]:
    return [record.value for record in await read_all(log, vnode)]


async def raises(call: Callable[[], Awaitable[object]], error: type[EssError], match: str) -> None:
    """Call until it raises."""

    async def refused() -> bool:
        (raised,) = await asyncio.gather(call(), return_exceptions=True)
        return isinstance(raised, error) and match in raised.message

    await until(refused, f"it raised no {error.__name__} with {match!r}")


# ------------------------------------------------------------------------------------------------------- the topic
async def test_the_topic_is_made_once_and_keeps_its_own_number_of_partitions(settings: KafkaSettings) -> None:
    async with opened(settings) as one, opened(settings) as two, opened(replace(settings, vnodes=5)) as three:
        ids = await asyncio.gather(one.log_id(), two.log_id(), three.log_id())
        assert len(set(ids)) == 1
        assert len({await log.vnode_count() for log in (one, two, three)}) == 1


async def test_what_the_topic_lacks_is_told(log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient) -> None:
    told = "\n".join(await log.weaknesses())
    assert "1 replicas instead of 3" in told
    assert "min.insync.replicas" in told
    assert "unclean" not in told
    assert "compact" not in told
    name = f"test-{uuid4()}"
    worse = {"cleanup.policy": "compact", "unclean.leader.election.enable": "true"}
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs=worse)])
    async with opened(replace(settings, topic=name)) as other:
        told = "\n".join(await other.weaknesses())
        assert "unclean" in told
        assert "compact" in told


async def test_a_topic_made_anew_is_another_log_and_its_old_holder_is_told(
    log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    old_id = await log.log_id()
    await log.append([Record(0, b"old")] * 3)
    await admin.delete_topics([settings.topic])
    await raises(lambda: log.read(0, 0, 1000), Unavailable, "Kafka")
    async with opened(settings) as new:
        new_id = await new.log_id()
        assert new_id != old_id
        await new.append([Record(0, b"new")] * 5)
        with pytest.raises(DataLoss, match="made anew"):
            await log.read(0, 3, 1000)
        await raises(log.end_offsets, DataLoss, "made anew")
        assert await values(new) == [b"new"] * 5
        assert await new.log_id() == new_id


async def test_partitions_that_are_added_are_not_overlooked(
    log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    await log.append([Record(0, b"x")])
    await admin.create_partitions({settings.topic: NewPartitions(VNODES + 1)})
    await raises(log.end_offsets, Conflict, "restart")


async def test_a_password_is_not_shown() -> None:
    with pytest.raises(BadRequest, match="password"):
        KafkaSettings("h:1", security_protocol="SASL_SSL")
    with pytest.raises(BadRequest, match=r"nowhere\.pem"):
        KafkaSettings("h:1", security_protocol="SSL", ca_file="nowhere.pem").client_options()
    settings = KafkaSettings("h:1", username="me", password="hush", security_protocol="SASL_SSL")
    assert "hush" not in repr(settings)
    options = settings.client_options()
    assert options["sasl_plain_password"] == "hush"
    assert options["ssl_context"].check_hostname


# --------------------------------------------------------------------------------------------------------- outages
async def test_a_cluster_that_is_not_there_is_unavailable_in_time(settings: KafkaSettings) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    async with opened(replace(settings, brokers=nowhere, append_timeout_s=0.3)) as log:
        for call in (log.append([Record(0, b"x")]), log.read(0, 0, 1), log.end_offsets(), log.committed({0: 1})):
            with pytest.raises(Unavailable, match=nowhere):
                await asyncio.wait_for(call, 10)


async def test_a_listener_that_never_answers_is_unavailable_in_time(settings: KafkaSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        brokers = f"127.0.0.1:{silent.getsockname()[1]}"
        async with opened(replace(settings, brokers=brokers, append_timeout_s=0.3)) as log:
            with pytest.raises(Unavailable, match=brokers):
                await asyncio.wait_for(log.append([Record(0, b"x")]), 10)


async def test_a_closed_log_says_so(log: KafkaLog) -> None:
    await log.append([Record(0, b"x")])
    await log.close()
    await log.close()
    for call in (log.append([Record(0, b"y")]), log.read(0, 0, 100), log.end_offsets(), log.committed({0: 1})):
        with pytest.raises(Unavailable, match="closed"):
            await call


async def test_a_broker_that_was_killed_is_waited_for_and_nothing_acknowledged_is_lost(own: KafkaCluster) -> None:
    settings = KafkaSettings(own.bootstrap, "events", VNODES, replication=1, min_insync_replicas=1, append_timeout_s=20)
    async with opened(replace(settings, append_timeout_s=0.5)) as hasty, opened(settings) as patient:
        log_id = await patient.log_id()
        for i in range(20):
            await patient.append([Record(0, b"%d" % i)])
            await hasty.append([Record(1, b"%d" % i)])
        own.kill(own.brokers[0])
        with pytest.raises(Unavailable, match="send it again"):
            await hasty.append([Record(1, b"refused")])
        waiting = asyncio.create_task(patient.append([Record(0, b"waited")]))
        reading = asyncio.create_task(patient.read(0, 0, 1 << 20))
        await asyncio.to_thread(own.restart, own.brokers[0])
        assert await waiting == [20]
        await asyncio.wait([reading])  # it may have reached its own timeout
        assert await hasty_append(hasty, Record(1, b"after")) == [20]
        assert await values(patient, 0) == [*(b"%d" % i for i in range(20)), b"waited"]
        assert await values(patient, 1) == [*(b"%d" % i for i in range(20)), b"after"]
        assert await patient.log_id() == log_id
        assert await patient.end_offsets() == {0: 21, 1: 21}


async def hasty_append(log: KafkaLog, record: Record) -> list[int]:
    """Append with patience: as a client that sends again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await log.append([record])
        except Unavailable:
            assert time.monotonic() < deadline


async def test_a_broker_that_hangs_is_unavailable_and_then_goes_on(own: KafkaCluster) -> None:
    settings = KafkaSettings(own.bootstrap, "events", VNODES, replication=1, min_insync_replicas=1)
    impatient = replace(settings, append_timeout_s=1, read_timeout_s=1, request_timeout_s=0.5)
    process = own.brokers[0].process
    assert process is not None
    async with opened(settings) as log:
        await log.append([Record(0, b"before")])
        async with opened(impatient) as hasty:
            await hasty.append([Record(1, b"before")])
            process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(Unavailable, match="not acknowledged"):
                    await hasty.append([Record(0, b"perhaps")])
                with pytest.raises(Unavailable, match="could not"):
                    await hasty.end_offsets()
            finally:
                process.send_signal(signal.SIGCONT)
            await hasty_append(hasty, Record(0, b"after"))
            found = await values(log)
            assert [value for value in found if value != b"perhaps"] == [b"before", b"after"]
            assert found.count(b"perhaps") <= 1, "the tries of one append are one record"


class LosesAnswers:
    """Loses the answers to produce requests, after the broker has done its work, as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        real = Brokers.send

        async def send(brokers: Brokers, node_id: int, request: Any) -> Any:
            answer = await real(brokers, node_id, request)
            if isinstance(request, ProduceRequest) and self.times > 0:
                self.times -= 1
                raise KafkaConnectionError("the answer was lost")
            return answer

        monkeypatch.setattr(Brokers, "send", send)


async def test_an_append_whose_answer_is_lost_is_written_once(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = LosesAnswers(monkeypatch)
    await log.append([Record(0, b"a")])
    lost.times = 3
    assert await log.append([Record(0, b"b"), Record(0, b"c")]) == [1, 2]
    assert lost.times == 0
    assert await log.append([Record(0, b"d")]) == [3]
    assert await values(log) == [b"a", b"b", b"c", b"d"]


async def test_an_append_of_unknown_outcome_is_not_acknowledged_and_disturbs_no_other(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(replace(settings, append_timeout_s=0.5)) as log:
        lost = LosesAnswers(monkeypatch)
        await log.append([Record(0, b"a"), Record(1, b"a")])
        lost.times = 1_000_000
        with pytest.raises(Unavailable, match="the answer was lost"):
            await log.append([Record(0, b"perhaps")])
        lost.times = 0
        assert await log.append([Record(0, b"b"), Record(1, b"b")]) == [2, 1]
        assert await values(log) == [b"a", b"perhaps", b"b"]


async def test_a_cancelled_append_disturbs_nobody(log: KafkaLog) -> None:
    await log.append([Record(0, b"first")])
    appends = [asyncio.create_task(log.append([Record(0, b"%d" % i)])) for i in range(60)]
    await asyncio.wait(appends[:1])
    for append in appends[1::2]:
        append.cancel()
    answers = await asyncio.gather(*appends, return_exceptions=True)
    there = {r.offset: r.value for r in await read_all(log)}
    assert len(set(there.values())) == len(there)
    for i, answer in enumerate(answers):
        if not isinstance(answer, BaseException):
            assert there[answer[0]] == b"%d" % i
    assert all(isinstance(answer, list) for answer in answers[::2])


async def test_the_tasks_of_a_log_end_with_it(settings: KafkaSettings) -> None:
    before = asyncio.all_tasks()
    log = KafkaLog(settings)
    await log.append([Record(0, b"x")])
    append = asyncio.create_task(log.append([Record(0, os.urandom(MAX_RECORD_BYTES))] * 20))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(Unavailable, match="closed"):
        await append
    assert asyncio.all_tasks() == before


# --------------------------------------------------------------------------------------------------- sizes and holes
async def test_a_call_larger_than_a_request_is_cut_and_kept_in_order(log: KafkaLog) -> None:
    records = [Record(i % 2, os.urandom(MAX_RECORD_BYTES - i)) for i in range(12)]
    records += [Record(0, b"%d" % i, (("h", b"v" * 100),)) for i in range(5000)]
    offsets = await log.append(records)
    for vnode in range(2):
        mine = [(o, r.value) for o, r in zip(offsets, records, strict=True) if r.vnode == vnode]
        assert [(r.offset, r.value) for r in await read_all(log, vnode)] == mine


async def test_a_record_whose_headers_are_too_large_is_refused_for_good(log: KafkaLog) -> None:
    with pytest.raises(BadRequest, match=r"max\.message\.bytes"):
        await log.append([Record(0, b"x" * MAX_RECORD_BYTES, (("h", b"x" * 300_000),))])
    assert await log.append([Record(0, b"fine")]) == [0]


async def test_control_records_are_holes(log: KafkaLog, settings: KafkaSettings) -> None:
    await log.append([Record(0, b"a")])
    async with foreign(settings, transactional_id=str(uuid4())) as producer:
        for i in range(3):  # each leaves a marker behind its record
            async with producer.transaction():
                await producer.send_and_wait(settings.topic, b"t%d" % i, partition=0)

    async def ended() -> bool:
        return (await log.end_offsets())[0] == 7

    await until(ended, "a marker is missing")  # the last marker may come after the commit's answer
    assert await values(log) == [b"a", b"t0", b"t1", b"t2"]
    read = await log.read(0, 2, 1 << 20)
    assert [r.offset for r in read.records] == [3, 5]
    assert read.next_offset == 7
    assert await log.read(0, 6, 1 << 20) == LogRead((), 7)
    assert await log.append([Record(0, b"z")]) == [7]
    assert [r.value for r in (await log.read(0, 6, 1)).records] == [b"z"]


async def test_what_retention_took_is_below_the_start(
    log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    await log.append([Record(0, b"%d" % i) for i in range(10)])
    await admin.delete_records({TopicPartition(settings.topic, 0): RecordsToDelete(7)})
    assert await log.start_offsets() == {0: 7, 1: 0}
    assert [r.offset for r in (await log.read(0, 2, 1 << 20)).records] == [7, 8, 9]
    assert await log.end_offsets() == {0: 10, 1: 0}
    assert await log.read(0, 11, 100) == LogRead((), 11)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_of_other_programs_are_read_whatever_their_compression(
    log: KafkaLog, settings: KafkaSettings, codec: str
) -> None:
    await log.vnode_count()
    async with foreign(settings, compression_type=codec, linger_ms=50) as producer:
        sent = [await producer.send(settings.topic, b'{"message": "%d"}' % i * 50, partition=1) for i in range(20)]
        sent.append(await producer.send(settings.topic, None, key=b"k", partition=1, headers=[("n", None)]))
        await asyncio.gather(*sent)
    records = await read_all(log, 1)
    assert [r.value for r in records] == [*(b'{"message": "%d"}' % i * 50 for i in range(20)), b""]
    assert records[-1].headers == (("n", b""),)
    now_us = time.time_ns() // 1000
    assert all(now_us - 60_000_000 < (r.received_us or 0) <= now_us for r in records), "the broker's time of receipt"
    middle = await log.read(1, 10, 1 << 20)
    assert [r.offset for r in middle.records] == list(range(10, 21))


# ------------------------------------------------------------------------------------------------------ beside the log
async def test_committed_offsets_are_there_for_lag_tools_and_never_go_back(
    log: KafkaLog, settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    await log.append([Record(0, b"x")] * 10)
    for below in (4, 8, 8, 3):
        await log.committed({0: below, 1: 0})
    with pytest.raises(BadRequest, match="another log"):
        await log.committed({0: 11})
    told = await admin.list_consumer_group_offsets(settings.group)
    assert {p.partition: at.offset for p, at in told.items() if p.topic == settings.topic} == {0: 8, 1: 0}
    assert (await log.start_offsets())[0] == 0


async def test_a_dead_letter_is_kept_with_its_reason(log: KafkaLog, settings: KafkaSettings) -> None:
    await log.append([Record(1, b"first"), Record(1, b"{broken", (("from", b"rsyslog"),))])
    bad = (await read_all(log, 1))[1]
    await log.keep(1, bad, "it is no JSON \u2026")
    async with opened(replace(settings, topic=settings.topic + DEAD_LETTERS)) as letters:
        (letter,) = await read_all(letters)
    assert letter.value == b"{broken"
    headers = dict(letter.headers)
    assert headers["ess-reason"].decode() == "it is no JSON \u2026"
    assert headers["ess-log-id"].decode() == await log.log_id()
    assert (headers["ess-vnode"], headers["ess-offset"]) == (b"1", b"1")
    assert headers["from"] == b"rsyslog"
