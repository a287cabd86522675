"""The cluster profile on real servers: Kafka, S3 and Redis in the places of the embedded log, directory and memory."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
import pytest
from aiokafka import AIOKafkaProducer

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import KafkaCluster
from tests.formats import encode_record_1
from tests.kafka_server import new_topic, opened
from tests.redis_server import RedisServer, redis_server
from tests.servers import ADMIN, S3Server
from tests.systems import Reader, System, Watcher, persist_actors, running, wait_until
from tests.webhooks import Webhooks, alert_settings, story_of_an_alert, webhooks
from tests.worlds import T0_US, batch_of


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> S3Location:
    location = S3Location(
        f"cluster-{uuid.uuid4().hex[:8]}",
        "a/prefix",
        s3.endpoint,
        region="us-east-1",
        access_key=ADMIN.access_key,
        secret_key=ADMIN.secret_key,
    )
    make_bucket(location)
    return location


@pytest.fixture(scope="module")
def topic(kafka: KafkaCluster) -> str:
    """Give a topic that holds what an ess_ray of before wrote, in format 1."""
    settings = new_topic(kafka.bootstrap, 16)

    async def leave() -> None:
        async with opened(settings) as log:
            for vnode in range(16):
                batch = batch_of([f"before-the-upgrade {vnode}"], [None], 0, T0_US)
                await log.append([encode_record_1(batch, vnode, "default")])

    asyncio.run(leave())
    return settings.topic


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as found:
        yield found


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    kafka: KafkaCluster,
    bucket: S3Location,
    redis: RedisServer,
    topic: str,
    hooks: Webhooks,
) -> Iterator[System]:
    assert bucket.endpoint is not None
    with running(
        tmp_path_factory.mktemp("ess") / "data",
        ESS_LOG__BROKERS=kafka.bootstrap,
        ESS_LOG__TOPIC=topic,
        ESS_LOG__VNODES="16",
        ESS_LOG__REPLICATION="1",
        ESS_LOG__MIN_INSYNC_REPLICAS="1",
        ESS_STORE__BUCKET=bucket.bucket,
        ESS_STORE__PREFIX=bucket.prefix,
        ESS_STORE__ENDPOINT=bucket.endpoint,
        ESS_STORE__ACCESS_KEY=ADMIN.access_key,
        ESS_STORE__SECRET_KEY=ADMIN.secret_key,
        ESS_RESULTS__REDIS_URL=redis.url,
        **alert_settings(hooks),
    ) as made:
        yield made


def test_what_was_in_the_topic_before_an_upgrade_is_there_once(system: System) -> None:
    for _ in ("in flight", "stored"):
        found = system.search("before-the-upgrade")
        assert sorted(event["vnode"] for event in found) == list(range(16))
        assert len({event["message"] for event in found}) == 16
        system.ess("flush")
    assert system.http.get("/search/healthz").status_code == 200, "nothing of it is a dead letter"


def test_in_flight_stored_and_after_kill_9_each_event_is_there_once(system: System, bucket: S3Location) -> None:
    expected = []
    for turn in range(20):
        expected += [f"turn {turn} event {number}" for number in range(50)]
        system.push([{"message": name, "service": "shop", "turn": turn} for name in expected[-50:]])
    assert sorted(event["message"] for event in system.search("service:shop")) == sorted(expected)
    assert not (system.data_dir / "log.sqlite").exists(), "the embedded log was used"
    assert not (system.data_dir / "events").exists(), "the local directory was used"
    system.ess("flush")
    assert sorted(event["message"] for event in system.search("service:shop")) == sorted(expected)
    system.push([{"message": "pushed last", "service": "shop"}])
    system.kill_everything()
    system.up()
    found = sorted(event["message"] for event in system.search("service:shop"))
    assert found == sorted([*expected, "pushed last"])
    system.ess("flush")
    frame = polars.read_delta(f"{bucket.url}/events", storage_options=bucket.storage_options())
    assert sorted(frame.filter(polars.col("service") == "shop")["message"]) == found


def test_a_reader_sees_no_gap_and_no_double_through_flushes_and_the_death_of_an_actor(system: System) -> None:
    with Reader(system) as reader:
        for turn in range(12):
            names = [f"polled {turn} {number}" for number in range(20)]
            system.push([{"message": name, "service": "polled"} for name in names])
            reader.acknowledged += names
            if turn % 4 == 1:
                system.ess("flush")
            if turn == 6:
                persist_actors(system)[0].kill()
                wait_until(lambda: len(persist_actors(system)) == 2, "the actor was not replaced")
        wait_until(lambda: reader.complete >= 3, "the reader got no complete answer")
    assert reader.wrong == []


def test_lokis_reads_see_what_is_stored_and_what_is_in_flight(system: System) -> None:
    began_s = int(time.time()) - 60
    selector = '{service_name="cluster-loki"}'
    for half in range(2):
        numbers = range(half * 20, half * 20 + 20)
        values = [[f"{began_s + at}000000000", f"user {at} came from 10.0.0.{at}"] for at in numbers]
        body = {"streams": [{"stream": {"service_name": "cluster-loki"}, "values": values}]}
        assert system.http.post("/loki/api/v1/push", json=body).status_code == 204
        if half == 0:
            system.ess("flush")

    def ask(path: str, query: str, **more: int) -> list[Any]:
        asked = {"query": query, "start": began_s, "end": began_s + 120, **more}
        answer = system.http.get(f"/loki/api/v1/{path}", params=asked)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert "warnings" not in told
        data = told["data"]
        found: list[Any] = data if isinstance(data, list) else data["result"]
        return found

    (stream,) = ask("query_range", f'{selector} |= ip("10.0.0.0/27")', limit=1_000)
    assert len(stream["values"]) == 32
    (series,) = ask("query", f"sum(count_over_time({selector} [5m]))", time=began_s + 120)
    assert series["value"][1] == "40"
    (pattern,) = ask("patterns", selector)
    assert pattern["pattern"] == "user <_> came from <_>"
    assert sum(count for _, count in pattern["samples"]) == 40


def test_the_whole_search_surface_is_there(system: System, tmp_path: Path) -> None:
    """Counted, named, planned, exported and followed: half of the events stored, half in flight."""
    query = "service:surface"
    names = [f"surface {number}" for number in range(60)]
    events = [
        {"message": name, "service": "surface", "level": "warn", "kind": number % 3}
        for number, name in enumerate(names)
    ]
    with Watcher(system, query) as watcher:
        system.push(events[:30])
        system.ess("flush")
        system.push(events[30:])
        wait_until(lambda: len(watcher.messages) >= 60, "the tail does not show everything")
    assert sorted(watcher.messages) == sorted(names)
    buckets = [json.loads(line) for line in system.ess("count", query, "--by", "kind", "--json").stdout.splitlines()]
    assert {bucket["by"]["kind"]: bucket["count"] for bucket in buckets} == {"0": 20, "1": 20, "2": 20}
    fields = json.loads(system.ess("fields", "--query", query, "--json").stdout)
    assert {field["name"]: field["count"] for field in fields["fields"]}.get("kind") == 60
    patterns = json.loads(system.ess("patterns", query, "--json").stdout)
    assert [(row[0], row[1], sum(row[8])) for row in patterns["rows"]] == [("surface <num>", 60, 60)]
    plan = json.loads(system.ess("explain", query, "--json").stdout)
    assert plan["complete"]
    assert plan["objects"] >= 1
    file = tmp_path / "surface.ndjson"
    system.ess("export", query, "--output", str(file))
    assert sorted(json.loads(line)["message"] for line in file.read_text().splitlines()) == sorted(names)


def test_answers_are_in_redis(system: System, redis: RedisServer) -> None:
    system.push([{"message": "kept in Redis"}])
    assert len(system.search('"kept in Redis"')) == 1
    assert any(key.startswith(b"ess:{default/") for key in redis.client.scan_iter())


def test_a_repeat_with_a_key_is_one_request(system: System) -> None:
    events = [{"message": f"keyed {number}"} for number in range(3)]
    for _ in range(4):
        system.push(events, **{"Idempotency-Key": "k-1"})
    other = system.http.post("/push/v1/events", json=[{"message": "other"}], headers={"Idempotency-Key": "k-1"})
    assert other.status_code == 422
    assert len(system.search("keyed")) == 3


def test_the_status_tells_of_the_cluster_and_no_secret(system: System) -> None:
    told = system.ess("status", "--json").stdout
    status = json.loads(told)
    assert status["healthy"]
    assert status["log"]["kind"] == "kafka"
    assert any("replicas instead of 3" in warning for warning in status["warnings"])
    assert status["results"] == "redis"
    for secret in (ADMIN.secret_key, "only-for-tests"):
        assert secret not in told
        for log in system.data_dir.glob("*.log"):
            assert secret not in log.read_text()


async def test_what_other_programs_write_to_the_topic_is_found(system: System, kafka: KafkaCluster) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        topic = system.environment["ESS_LOG__TOPIC"]
        await producer.send_and_wait(topic, b'{"message": "from another program", "level": "warning"}', partition=3)
        await producer.send_and_wait(topic, b"\xff no JSON", partition=4)
    finally:
        await producer.stop()
    (found,) = await asyncio.to_thread(system.search, '"from another program"')
    assert (found["level"], found["vnode"]) == ("WARN", 3)
    reason = wait_until(lambda: system.http.get("/search/healthz").json().get("detail"), "the dead letter is hidden")
    assert "dead-letter topic" in reason


def test_rules_and_where_they_stand_are_kept_in_the_bucket(system: System, hooks: Webhooks, tmp_path: Path) -> None:
    story_of_an_alert(system, hooks, tmp_path)
    assert not (system.data_dir / "alerts").exists(), "the local directory was used"


def test_keys_are_kept_in_the_bucket(system: System, tmp_path: Path) -> None:
    assert system.ess("keys", "list", "--json").stdout.strip() == "[]"
    assert not (system.data_dir / "keys").exists()
