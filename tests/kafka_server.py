"""Real Kafka brokers for tests, as infra/kafka starts them: one for the session, or a cluster of a test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.kafka.cluster import Broker, KafkaCluster, KafkaMissing


@contextmanager
def kafka_cluster(
    folder: Path, brokers: int = 1, properties: Callable[[Broker], dict[str, str]] = lambda _: {}
) -> Iterator[KafkaCluster]:
    """Run brokers in a folder, with more `properties` (made of the first, for all).

    Where Java or Maven are missing the test is skipped, and fails under CI=true.
    """
    try:
        cluster = KafkaCluster(folder, brokers)
    except KafkaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Kafka to test with: {missing}")
        pytest.skip(f"no Kafka to test with: {missing}")
    cluster.properties |= properties(cluster.brokers[0])
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Give one broker that all tests share: use a topic of your own, and leave the broker running."""
    with kafka_cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster
