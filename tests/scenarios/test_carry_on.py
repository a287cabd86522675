"""From a data directory to a cluster: embedded, down, `ess copy`, up on Kafka, S3 and Redis: every event once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import KafkaCluster
from tests.redis_server import redis_server
from tests.systems import System


def test_old_and_new_events_are_there_once(
    new_system: Callable[..., System], kafka: KafkaCluster, s3_location: S3Location, tmp_path: Path
) -> None:
    embedded = new_system()
    old = [f"old {number}" for number in range(300)]
    embedded.push([{"message": name} for name in old])
    at = s3_location
    assert at.endpoint is not None
    assert at.access_key is not None
    assert at.secret_key is not None
    store = {
        "ESS_STORE__BUCKET": at.bucket,
        "ESS_STORE__PREFIX": at.prefix,
        "ESS_STORE__ENDPOINT": at.endpoint,
        "ESS_STORE__ACCESS_KEY": at.access_key,
        "ESS_STORE__SECRET_KEY": at.secret_key,
    }
    alone = dict(embedded.environment)
    embedded.environment |= store
    refused = embedded.ess("copy", ok=(1,))
    assert "ess down" in refused.stderr or "owns" in refused.stderr or "another process" in refused.stderr
    embedded.environment = alone
    embedded.down()
    embedded.environment |= store
    first = json.loads(embedded.ess("copy", "--json").stdout)
    assert first["rows"] == 300
    assert json.loads(embedded.ess("copy", "--json").stdout)["objects"] == 0
    assert json.loads(embedded.ess("verify", "--deep", "--json").stdout)["right"]
    embedded.environment = alone
    with redis_server(tmp_path) as redis:
        cluster = new_system(
            **store,
            ESS_LOG__BROKERS=kafka.bootstrap,
            ESS_LOG__TOPIC=f"events-{uuid.uuid4().hex[:8]}",
            ESS_LOG__VNODES="8",
            ESS_LOG__REPLICATION="1",
            ESS_LOG__MIN_INSYNC_REPLICAS="1",
            ESS_RESULTS__REDIS_URL=redis.url,
        )
        new = [f"new {number}" for number in range(200)]
        cluster.push([{"message": name} for name in new])
        assert sorted(event["message"] for event in cluster.search("*")) == sorted(old + new)
        cluster.ess("flush")
        found = cluster.search("*")
        assert sorted(event["message"] for event in found) == sorted(old + new)
        assert len({event["log_id"] for event in found}) == 2
        report = json.loads(cluster.ess("verify", "--deep", "--json").stdout)
        assert (report["right"], report["rows"]) == (True, 500)
        cluster.down()
