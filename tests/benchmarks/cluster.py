"""The cluster profile beside the embedded one: push over HTTP, and log to committed object, in one run.

One Kafka broker with replication 1, SeaweedFS and Redis, all on this machine: they take their share of its cores, which
is told apart.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import KafkaCluster
from tests.benchmarks import store
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.push import BATCH, BODIES, CONNECTIONS, TARGET_PER_S, bodies
from tests.benchmarks.report import Row, cpu_seconds
from tests.redis_server import redis_server
from tests.servers import ADMIN, s3_server
from tests.systems import System

PARTITIONS: Final = 16
WARM_S: Final = 3.0


@dataclass(frozen=True)
class Servers:
    """What the cluster profile stands on, and the processes that it is."""

    brokers: str
    bucket: S3Location
    redis_url: str
    processes: dict[str, psutil.Process]


@dataclass(frozen=True)
class Pushed:
    """One round: what was pushed, and the cores that ours, each server and the generator used meanwhile."""

    load: Load
    cores: dict[str, float]


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Run one broker, an S3 server and Redis. Raises KafkaMissing, ServerMissing."""
    with ExitStack() as stack:
        for name in ("kafka", "s3", "redis"):
            (folder / name).mkdir(parents=True)
        kafka = stack.enter_context(KafkaCluster(folder / "kafka", 1))
        s3 = stack.enter_context(s3_server(folder / "s3"))
        redis = stack.enter_context(redis_server(folder / "redis"))
        bucket = S3Location("bench", "pushed", s3.endpoint, access_key=ADMIN.access_key, secret_key=ADMIN.secret_key)
        make_bucket(bucket)
        broker = kafka.brokers[0].process
        assert broker is not None
        running = {"Kafka": broker.pid, "S3": s3.process.pid, "Redis": redis.process.pid}
        yield Servers(kafka.bootstrap, bucket, redis.url, {name: psutil.Process(pid) for name, pid in running.items()})


def measure(directory: Path, seconds: float, count: int, rounds: int) -> list[Row]:
    """Measure both profiles; gives medians."""
    with servers(directory / "servers") as cluster:
        return [*_push(directory, cluster, seconds, rounds), *_store(directory, cluster, count, rounds)]


# ------------------------------------------------------------------------------------------------------------- push
def _push(directory: Path, cluster: Servers, seconds: float, rounds: int) -> list[Row]:
    settings = {
        "ESS_LOG__BROKERS": cluster.brokers,
        "ESS_LOG__VNODES": str(PARTITIONS),
        "ESS_LOG__REPLICATION": "1",
        "ESS_LOG__MIN_INSYNC_REPLICAS": "1",
        "ESS_STORE__BUCKET": cluster.bucket.bucket,
        "ESS_STORE__PREFIX": cluster.bucket.prefix,
        "ESS_STORE__ENDPOINT": str(cluster.bucket.endpoint),
        "ESS_STORE__ACCESS_KEY": ADMIN.access_key,
        "ESS_STORE__SECRET_KEY": ADMIN.secret_key,
        "ESS_RESULTS__REDIS_URL": cluster.redis_url,
    }
    sides = {"embedded": System(directory / "embedded"), "cluster": System(directory / "cluster", **settings)}
    many = bodies(BATCH, BODIES)
    # One after the other: a second system, though idle, would take a tenth of a core and its memory's share of caches.
    pushed = {side: _push_to(system, cluster, many, seconds, rounds) for side, system in sides.items()}
    return _push_rows(pushed)


def _push_to(system: System, cluster: Servers, many: list[bytes], seconds: float, rounds: int) -> list[Pushed]:
    """Start a system, load it `rounds` times, end it."""
    groups: dict[str, Callable[[], list[psutil.Process]]] = {"ours": system.processes}
    groups |= {name: lambda process=process: [process] for name, process in cluster.processes.items()}  # type: ignore[misc]
    runs = []
    with ExitStack() as stack:
        stack.callback(system.http.close)
        stack.callback(system.down)  # also of what came up in part
        system.up()
        _load(system, many, WARM_S)
        for _ in range(rounds):
            before_s = {name: cpu_seconds(found()) for name, found in groups.items()}
            load = _load(system, many, seconds)
            used_s = {name: cpu_seconds(found()) - before_s[name] for name, found in groups.items()}
            cores = {name: used / load.wall_s for name, used in {**used_s, "generator": load.cpu_s}.items()}
            runs.append(Pushed(load, cores))
    return runs


def _load(system: System, many: list[bytes], seconds: float) -> Load:
    load = asyncio.run(run_load(f"{system.url}/push/v1/events", many, CONNECTIONS, seconds))
    assert set(load.statuses) == {202}, f"not everything was acknowledged: {load.statuses}"
    return load


def _push_rows(pushed: dict[str, list[Pushed]]) -> list[Row]:
    rate = {side: statistics.median(run.load.requests_per_s for run in runs) * BATCH for side, runs in pushed.items()}
    ratio = f"ratio {rate['cluster'] / rate['embedded']:.2f}; to reach: {TARGET_PER_S:,}"
    notes = {"embedded": "", "cluster": ratio}
    rows = []
    for side, runs in pushed.items():
        rows.append(Row(f"push, 100-event batches, {side}", f"{rate[side]:,.0f} events/s", notes[side]))
        used = {name: statistics.median(run.cores[name] for run in runs) for name in runs[0].cores}
        told = ", ".join(f"{name} {cores:.2f}" for name, cores in used.items())
        rows.append(Row("  CPU in it, in cores", told, f"{rate[side] / used['ours']:,.0f} events/s per core of ours"))
    return rows


# ------------------------------------------------------------------------------------------------------------ store
def _store(directory: Path, cluster: Servers, count: int, rounds: int) -> list[Row]:
    embedded, on_servers = [], []
    for number in range(rounds):
        target = directory / f"store-{number}"
        target.mkdir(parents=True)
        embedded.append(asyncio.run(store.store_in(target, count)))
        on_servers.append(asyncio.run(_store_on(cluster, number, count)))
    rows = []
    what: tuple[tuple[str, Callable[[tuple[float, float, int, int]], float]], ...] = (
        ("log to committed object, per core of ours", lambda run: run[0]),
        ("log to committed object, wall time, one process", lambda run: run[1]),
    )
    for name, figure in what:
        ours, theirs = (statistics.median(figure(run) for run in runs) for runs in (embedded, on_servers))
        rows.append(Row(f"{name}, embedded", f"{ours:,.0f} events/s", ""))
        rows.append(Row(f"{name}, cluster", f"{theirs:,.0f} events/s", f"ratio {theirs / ours:.2f}"))
    return rows


async def _store_on(cluster: Servers, number: int, count: int) -> tuple[float, float, int, int]:
    place = replace(cluster.bucket, prefix=f"store-{number}")
    log = KafkaLog(
        KafkaSettings(cluster.brokers, f"store-{number}", store.VNODES, replication=1, min_insync_replicas=1)
    )
    try:
        return await store.store_all(log, place.open(), DeltaCatalog(place), count)
    finally:
        await log.close()
