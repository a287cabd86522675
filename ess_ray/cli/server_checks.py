"""The checks of `ess doctor` on the servers of the cluster profile: Kafka, the bucket, Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.exceptions import RedisError

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings, kafka_of
from ess_ray.adapters.places import places_of
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.errors import EssError
from ess_ray.settings import Settings

MAX_SKEW_S: Final = 60.0
"""S3 refuses requests whose clock is 15 minutes off; ages of garbage and retention go by the store's clock anyway."""
REDIS_TIMEOUT_S: Final = 5.0
_REFUSED: Final = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found; `advice` says what to do about it."""

    name: str
    state: State
    found: str
    advice: str = ""


def server_checks(settings: Settings) -> Iterator[Check]:
    """Check the servers that these settings name; none for the embedded profile."""
    if (kafka := kafka_of(settings)) is not None:
        yield from _kafka(kafka)
    if (bucket := places_of(settings).bucket) is not None:
        yield from _bucket(bucket)
    if settings.results.redis_url is not None:
        yield from _redis(settings.results.redis_url.get_secret_value())


def _kafka(settings: KafkaSettings) -> Iterator[Check]:
    try:
        vnodes, weaknesses = asyncio.run(_ask_kafka(settings))
    except EssError as error:
        yield Check("kafka", "failed", error.message, "see log.brokers, its credentials, and the brokers themselves")
        return
    yield Check("kafka", "ok", f"topic {settings.topic} at {settings.brokers}, {vnodes} virtual nodes")
    for weakness in weaknesses:
        yield Check("kafka", "warning", weakness, "correct the topic's settings with Kafka's own tools")


async def _ask_kafka(settings: KafkaSettings) -> tuple[int, list[str]]:
    log = KafkaLog(settings)
    try:
        return await log.vnode_count(), await log.weaknesses()
    finally:
        await log.close()


def _bucket(at: S3Location) -> Iterator[Check]:
    client = at.boto3_client()
    key = f"{at.prefix}/ess-doctor-{uuid.uuid4().hex}".lstrip("/")
    target = {"Bucket": at.bucket, "Key": key}
    try:
        listed = client.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)
        client.put_object(**target, Body=b"probe", IfNoneMatch="*")
        try:
            conditional = _put_again_is_refused(client, target)
        finally:
            client.delete_object(**target)
    except (ClientError, BotoCoreError) as error:
        yield Check("bucket", "failed", f"{at.url}: {error}", "see `store` in the settings, and the rights of its keys")
        return
    yield Check("bucket", "ok", f"{at.url} can be listed, written and deleted from")
    if conditional:
        yield Check("conditional put", "ok", "a second writer is refused")
    else:
        advice = "use a service with conditional writes: without, two writers overwrite each other's commits"
        yield Check("conditional put", "failed", "If-None-Match is ignored", advice)
    yield from _skew(listed["ResponseMetadata"]["HTTPHeaders"].get("date"))


def _put_again_is_refused(client: Any, target: dict[str, str]) -> bool:
    try:
        client.put_object(**target, Body=b"probe", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] in _REFUSED:
            return True
        raise
    return False


def _skew(date: str | None) -> Iterator[Check]:
    if date is None:
        return
    skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    advice = "set this machine's clock (NTP): S3 refuses requests at 15 minutes" if abs(skew_s) > MAX_SKEW_S else ""
    yield Check("clock", "warning" if advice else "ok", f"{skew_s:+.0f} s against the bucket's server", advice)


def _redis(url: str) -> Iterator[Check]:
    client = Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
    try:
        client.ping()
        info: Any = client.info("memory")
    except (RedisError, OSError) as error:
        yield Check("redis", "failed", str(error), "see results.redis_url, and the server itself")
        return
    finally:
        client.close()
    policy, limit = info.get("maxmemory_policy", "unknown"), int(info.get("maxmemory", 0))
    found = f"answers; maxmemory {limit or 'unlimited'}, maxmemory-policy {policy}"
    advice = "answers that are still read may be evicted: use volatile-ttl" if limit and "allkeys" in policy else ""
    yield Check("redis", "warning" if advice else "ok", found, advice)
