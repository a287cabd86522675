"""From what an older ess_ray left in its log to an embedded system, and on to a cluster: down, `ess copy`, up on Kafka,
S3 and Redis: every event once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ess_ray.adapters.places import LOG
from ess_ray.adapters.s3_location import S3Location
from ess_ray.adapters.sqlite_log import SqliteLog
from infra.kafka.cluster import KafkaCluster
from tests.formats import encode_record_1
from tests.redis_server import redis_server
from tests.systems import System
from tests.worlds import T0_US, batch_of

VNODES = 8


def left_by_an_older_one(data_dir: Path) -> list[str]:
    """Leave a log with records of format 1; gives their messages."""
    names = [f"older {number}" for number in range(100)]

    async def leave() -> None:
        log = SqliteLog(data_dir / LOG, VNODES)
        for vnode in range(VNODES):
            mine = names[vnode::VNODES]
            await log.append([encode_record_1(batch_of(mine, [None] * len(mine), 0, T0_US), vnode, "default")])
        log.close()

    data_dir.mkdir(mode=0o700)
    asyncio.run(leave())
    return names


@pytest.mark.slow
def test_old_and_new_events_are_there_once(
    new_system: Callable[..., System], kafka: KafkaCluster, s3_location: S3Location, tmp_path: Path
) -> None:
    older = left_by_an_older_one(tmp_path / "data")
    embedded = new_system(tmp_path / "data")
    old = [*older, *(f"old {number}" for number in range(200))]
    embedded.push([{"message": name} for name in old[len(older) :]])
    for _ in ("in flight", "stored"):
        assert sorted(event["message"] for event in embedded.search("*")) == sorted(old)
        embedded.ess("flush")
    assert embedded.http.get("/search/healthz").status_code == 200
    assert not list(embedded.data_dir.glob("dead-letters/*"))
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
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
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
