"""Systems to break, in either profile, on servers of their own that faults may kill.

May live here: making and ending them, finding their processes, reading their table beside them. May not: faults.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars
import psutil

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import KafkaCluster
from tests.kafka_server import kafka_cluster
from tests.proxy import Proxy, http_proxy
from tests.redis_server import RedisServer, redis_server
from tests.servers import ADMIN, ServerMissing, or_skip, s3_server
from tests.systems import System, titled

Profile = Literal["embedded", "cluster"]

BROKERS: Final = 3
SEAL_AGE_S: Final = "2"
"""Flushes come often, so that each fault meets some, and a process that was stopped has one due when it wakes."""


@dataclass
class Servers:
    """What the cluster profile stands on. The proxy is in front of S3."""

    kafka: KafkaCluster
    proxy: Proxy
    redis: RedisServer
    bucket: S3Location


@dataclass
class World:
    """A running system, and its servers where it has any."""

    profile: Profile
    system: System
    _servers: Servers | None = None

    @property
    def servers(self) -> Servers:
        assert self._servers is not None, "this fault is of the cluster profile"
        return self._servers

    def processes(self, title: str) -> list[psutil.Process]:
        """Find processes of the system by what stands in their command line, such as an actor's class."""
        return titled(self.system, title)

    def stored(self, service: str) -> Counter[str]:
        """Count the messages in the table itself, read as any Delta reader does: nothing merges repeats there."""
        if self._servers is None:
            frame = polars.read_delta(str(self.system.data_dir / "events"))
        else:
            bucket = self._servers.bucket
            frame = polars.read_delta(f"{bucket.url}/events", storage_options=bucket.storage_options())
        return Counter(frame.filter(polars.col("service") == service)["message"].to_list())


@contextmanager
def _servers(folder: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        for name in ("kafka", "s3", "redis"):
            (folder / name).mkdir()
        kafka = stack.enter_context(kafka_cluster(folder / "kafka", BROKERS))
        try:
            s3 = stack.enter_context(s3_server(folder / "s3"))
        except ServerMissing as missing:
            or_skip(str(missing))
        proxy = stack.enter_context(http_proxy(s3.port))
        redis = stack.enter_context(redis_server(folder / "redis"))
        name = f"chaos-{uuid.uuid4().hex[:8]}"
        bucket = S3Location(name, "a/prefix", s3.endpoint, "us-east-1", ADMIN.access_key, ADMIN.secret_key)
        make_bucket(bucket)
        yield Servers(kafka, proxy, redis, bucket)


def _settings(servers: Servers) -> dict[str, str]:
    return {
        "ESS_LOG__BROKERS": servers.kafka.bootstrap,
        "ESS_LOG__VNODES": "16",
        "ESS_STORE__BUCKET": servers.bucket.bucket,
        "ESS_STORE__PREFIX": servers.bucket.prefix,
        "ESS_STORE__ENDPOINT": servers.proxy.endpoint,
        "ESS_STORE__ACCESS_KEY": ADMIN.access_key,
        "ESS_STORE__SECRET_KEY": ADMIN.secret_key,
        "ESS_RESULTS__REDIS_URL": servers.redis.url,
    }


@contextmanager
def _world(profile: Profile, folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        servers = stack.enter_context(_servers(folder)) if profile == "cluster" else None
        settings = {"ESS_PERSIST__SEAL_AGE_S": SEAL_AGE_S} | ({} if servers is None else _settings(servers))
        system = System(folder / "data", **settings)
        stack.callback(system.http.close)
        stack.callback(system.down)
        system.up()
        yield World(profile, system, servers)


class Worlds:
    """One world a profile, made when first asked for, used by row after row, and made anew after a row that failed."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        self._make_folder = make_folder
        self._open: dict[Profile, tuple[World, ExitStack]] = {}

    def get(self, profile: Profile) -> World:
        if profile not in self._open:
            for other in list(self._open):  # one at a time: each takes gigabytes
                self.discard(other)
            stack = ExitStack()
            world = stack.enter_context(_world(profile, self._make_folder(profile)))
            self._open[profile] = (world, stack)
        return self._open[profile][0]

    def discard(self, profile: Profile) -> None:
        if profile in self._open:
            self._open.pop(profile)[1].close()

    def close(self) -> None:
        for profile in list(self._open):
            self.discard(profile)
