"""Real Kafka brokers for tests, as infra/kafka starts them: one for the session, or a cluster of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.ports import StoredRecord
from infra.kafka.cluster import Broker, KafkaCluster, KafkaMissing
from tests.servers import or_skip


@contextmanager
def kafka_cluster(
    folder: Path,
    brokers: int = 1,
    properties: Callable[[Broker], dict[str, str]] = lambda _: {},
    host: str = "127.0.0.1",
) -> Iterator[KafkaCluster]:
    """Run brokers in a folder, with more `properties` (made of the first, for all).

    Where Java or Maven are missing the test is skipped, and fails under CI=true.
    """
    try:
        cluster = KafkaCluster(folder, brokers, host)
    except KafkaMissing as missing:
        or_skip(f"no Kafka to test with: {missing}")
    cluster.properties |= properties(cluster.brokers[0])
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Give one broker that all tests share: use a topic of your own, and leave the broker running."""
    with kafka_cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


def new_topic(bootstrap: str, vnodes: int) -> KafkaSettings:
    """Give settings for a topic that does not exist yet, on a cluster of one broker."""
    return KafkaSettings(bootstrap, f"test-{uuid4()}", vnodes, replication=1, min_insync_replicas=1)


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(settings)
    try:
        yield log
    finally:
        await log.close()


async def read_all(log: KafkaLog, vnode: int = 0) -> list[StoredRecord]:
    found: list[StoredRecord] = []
    position = 0
    while (read := await log.read(vnode, position, 1 << 20)).records:
        found += read.records
        position = read.next_offset
    return found
