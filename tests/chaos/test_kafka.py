"""Three Kafka brokers, of which one at a time is killed: what was acknowledged stays, once, at its offset."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.core.errors import Unavailable
from ess_ray.ports import Record
from infra.kafka.cluster import Broker, KafkaCluster
from tests.kafka_server import kafka_cluster, opened, read_all
from tests.waiting import until

VNODES = 6
WRITERS = 4
DEADLINE_S = 60.0


class Writers:
    """Append without pause, and remember what was acknowledged and what was refused."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.acks: dict[tuple[int, int], bytes] = {}
        self.refused: set[bytes] = set()
        self._tasks = [asyncio.create_task(self._write(writer)) for writer in range(WRITERS)]

    async def _write(self, writer: int) -> None:
        i = 0
        while True:
            records = [Record((writer + i + k) % VNODES, b"%d %d %d" % (writer, i, k)) for k in range(3)]
            try:
                offsets = await self._log.append(records)
            except Unavailable:
                self.refused.update(record.value for record in records)
            else:
                for record, offset in zip(records, offsets, strict=True):
                    assert (record.vnode, offset) not in self.acks, "an offset was given twice"
                    self.acks[record.vnode, offset] = record.value
                ends = await self._log.end_offsets()
                assert all(ends[r.vnode] > offset for r, offset in zip(records, offsets, strict=True)), (
                    "an end went back"
                )
            i += 1

    async def more(self, count: int) -> None:
        """Wait until so many more records are acknowledged on every virtual node."""
        before = self._per_vnode()

        async def came() -> bool:
            ended = [task for task in self._tasks if task.done()]
            assert not ended, [task.exception() for task in ended]
            return all(now - then >= count for now, then in zip(self._per_vnode(), before, strict=True))

        await until(came, "too little was acknowledged", DEADLINE_S)

    def _per_vnode(self) -> list[int]:
        return [sum(vnode == of for of, _ in self.acks) for vnode in range(VNODES)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended


async def in_sync(cluster: KafkaCluster, topic: str, broker: Broker) -> bool:
    """Tell whether a broker holds every partition in sync again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return all(broker.node_id in partition["isr"] for partition in described["partitions"])


async def test_acknowledged_records_survive_the_loss_of_any_one_broker(tmp_path: Path) -> None:
    with kafka_cluster(tmp_path, 3) as cluster:
        settings = KafkaSettings(cluster.bootstrap, "events", VNODES, append_timeout_s=20, read_timeout_s=20)
        async with opened(settings) as log, opened(settings) as reader:
            assert await log.weaknesses() == []
            writers = Writers(log)
            await writers.more(10)
            for broker in cluster.brokers:  # each leads a third of the partitions, and one of them the controllers
                await asyncio.to_thread(cluster.kill, broker)
                await writers.more(10)
                for vnode in range(VNODES):
                    assert await read_all(reader, vnode)
                await asyncio.to_thread(cluster.restart, broker)
                await until(lambda broker=broker: in_sync(cluster, settings.topic, broker), "not in sync", DEADLINE_S)
            await writers.stop()
            there = {(v, r.offset): r.value for v in range(VNODES) for r in await read_all(reader, v)}
            lost = {at: value for at, value in writers.acks.items() if there.get(at) != value}
            assert not lost, f"{len(lost)} of {len(writers.acks)} acknowledged records are lost"
            assert len(set(there.values())) == len(there), "doubled"
            print(f"{len(writers.acks)} acknowledged, {len(writers.refused)} refused")


async def test_a_leader_that_stood_still_while_it_was_replaced_does_not_tell_its_old_end(tmp_path: Path) -> None:
    with kafka_cluster(tmp_path, 3) as cluster:
        settings = KafkaSettings(
            cluster.bootstrap, "events", VNODES, append_timeout_s=30, read_timeout_s=30, request_timeout_s=20
        )
        async with opened(settings) as searcher, opened(replace(settings, request_timeout_s=1)) as pusher:
            everywhere = [Record(vnode, b"before") for vnode in range(VNODES)]
            await pusher.append(everywhere)
            assert set((await searcher.end_offsets()).values()) == {1}  # it knows the leaders and is connected to them
            process = cluster.brokers[0].process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            try:
                await pusher.append(everywhere)  # by the successors
                asking = asyncio.create_task(searcher.end_offsets())
                await asyncio.wait([asking], timeout=0.5)  # its questions are on their way
            finally:
                process.send_signal(signal.SIGCONT)
            assert set((await asking).values()) == {2}


async def test_one_broker_of_three_acknowledges_nothing(tmp_path: Path) -> None:
    with kafka_cluster(tmp_path, 3) as cluster:
        settings = KafkaSettings(cluster.bootstrap, "events", VNODES, append_timeout_s=3, read_timeout_s=3)
        async with opened(settings) as log:
            everywhere = [Record(vnode, b"x") for vnode in range(VNODES)]
            await log.append(everywhere)
            for broker in cluster.brokers[:2]:
                cluster.kill(broker)
            with pytest.raises(Unavailable, match="nothing was acknowledged"):
                await log.append(everywhere)
            with pytest.raises(Unavailable):
                await log.end_offsets()
            for broker in cluster.brokers[:2]:
                cluster.launch(broker)
            for broker in cluster.brokers[:2]:
                await asyncio.to_thread(cluster.wait, broker)

            async def taken() -> bool:
                (answer,) = await asyncio.gather(log.append(everywhere), return_exceptions=True)
                return isinstance(answer, list)

            await until(taken, "no append was taken", DEADLINE_S)
