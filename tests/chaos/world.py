"""Systems to break, on servers, a disk or a clock of their own that faults may break."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx
import psutil
import pyarrow as pa
from deltalake import DeltaTable

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import KafkaCluster
from tests.chaos.clock import Clock, shifted_clock
from tests.chaos.corpus import COLUMNS
from tests.chaos.disk import SmallDisk, small_disk
from tests.kafka_server import kafka_cluster
from tests.proxy import Proxy, http_proxy
from tests.redis_server import RedisServer, redis_server
from tests.servers import ADMIN, ServerMissing, or_skip, s3_server
from tests.systems import System, titled, wait_until

Place = Literal["embedded", "cluster", "small disk", "own clock"]
"""Where a system runs. The last two: embedded, on file systems, or with a clock, that are its own."""

TENANTS: Final = 2
"""That push and search at the same time, each with a key of its own."""
BROKERS: Final = 3
SEAL_AGE_S: Final = "2"
"""Flushes come often, so that each fault meets some, and a process that was stopped has one due when it wakes."""
RULES: Final = """\
groups:
  - name: chaos
    interval: 5s
    rules:
      - {alert: Nothing, expr: '"a word that is nowhere" | stats count() as n', condition: n > 0, window: 1m}
"""
"""One alert that never fires: with a rule there is the process that evaluates it."""
SCOPES: Final = ("--scope", "push", "--scope", "search", "--scope", "admin")


@dataclass
class Servers:
    """What the cluster profile stands on. The proxy is in front of S3."""

    kafka: KafkaCluster
    proxy: Proxy
    redis: RedisServer
    bucket: S3Location


@dataclass
class World:
    """A running system, and what it stands on where that is its own."""

    place: Place
    system: System
    _servers: Servers | None = None
    _disks: tuple[SmallDisk, SmallDisk] | None = None
    _clock: Clock | None = None
    restarts_s: list[float] = field(default_factory=list)
    """When a fault took the whole system along, by the monotonic clock: it gives up when that comes too often."""

    @property
    def servers(self) -> Servers:
        assert self._servers is not None, "this fault is of the cluster profile"
        return self._servers

    @property
    def disks(self) -> tuple[SmallDisk, SmallDisk]:
        """The file systems of the log and of the table."""
        assert self._disks is not None, "this fault is of a system on a small disk"
        return self._disks

    @property
    def clock(self) -> Clock:
        assert self._clock is not None, "this fault is of a system with its own clock"
        return self._clock

    def processes(self, title: str) -> list[psutil.Process]:
        """Find processes of the system by what stands in their command line, such as an actor's class."""
        return titled(self.system, title)

    def healthy(self) -> bool:
        try:
            return all(self.system.http.get(f"/{part}/healthz").status_code == 200 for part in ("push", "search"))
        except httpx.TransportError:
            return False

    def new_tenants(self, run: str) -> dict[str, str]:
        """Make the tenants of a run; gives the key of each."""
        return {name: new_key(self.system, name) for name in (f"{run}-{number}" for number in range(TENANTS))}

    def stored(self, tenant: str) -> Iterator[pa.RecordBatch]:
        """Read a tenant's rows from the table itself, as any Delta reader does: nothing merges repeats there."""
        if self._servers is None:
            table = DeltaTable(str(self.system.data_dir / "events"))
        else:
            bucket = self._servers.bucket
            table = DeltaTable(f"{bucket.url}/events", storage_options=bucket.storage_options())
        rows = table.to_pyarrow_dataset(file_pruning_predicate=[("tenant", "=", tenant)])
        yield from rows.to_batches(columns=list(COLUMNS))


def new_key(system: System, tenant: str, scopes: Sequence[str] = SCOPES) -> str:
    """Make an API key with `ess keys create`."""
    return str(json.loads(system.ess("keys", "create", "--json", "--tenant", tenant, *scopes).stdout)["key"])


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
        bucket = S3Location(
            name, "a/prefix", s3.endpoint, region="us-east-1", access_key=ADMIN.access_key, secret_key=ADMIN.secret_key
        )
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
def world(place: Place, folder: Path) -> Iterator[World]:
    """Run a system until the context ends; a key is needed from the start. Skips the test where a part is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        settings, data_dir = {"ESS_PERSIST__SEAL_AGE_S": SEAL_AGE_S}, folder / "data"
        servers = disks = clock = None
        if place == "cluster":
            servers = stack.enter_context(_servers(folder))
            settings |= _settings(servers)
        elif place == "small disk":
            disks = stack.enter_context(small_disk(data_dir)), stack.enter_context(small_disk(data_dir / "events"))
        elif place == "own clock":
            clock = stack.enter_context(shifted_clock(folder))
            settings |= clock.environment
        system = System(data_dir, **settings)
        stack.callback(system.http.close)
        stack.callback(system.down)
        system.up()
        admin = new_key(system, "default")
        system.environment["ESS_KEY"] = admin
        system.http.headers["Authorization"] = f"Bearer {admin}"
        no_key = httpx.Client(base_url=system.url, timeout=30)
        stack.callback(no_key.close)
        wait_until(lambda: no_key.post("/push/v1/events", json=[]).status_code == 401, "no key is needed")
        (folder / "rules.yaml").write_text(RULES)
        system.ess("alerts", "apply", str(folder / "rules.yaml"))
        yield World(place, system, servers, disks, clock)


class Worlds:
    """One world at a time, made when first asked for, used by row after row, and made anew after a row that failed."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        self._make_folder = make_folder
        self._open: dict[Place, tuple[World, ExitStack]] = {}

    def get(self, place: Place) -> World:
        if place not in self._open:
            for other in list(self._open):  # one at a time: each takes gigabytes
                self.discard(other)
            stack = ExitStack()
            made = stack.enter_context(world(place, self._make_folder(place.replace(" ", "-"))))
            self._open[place] = (made, stack)
        return self._open[place][0]

    def discard(self, place: Place) -> None:
        if place in self._open:
            self._open.pop(place)[1].close()

    def close(self) -> None:
        for place in list(self._open):
            self.discard(place)
