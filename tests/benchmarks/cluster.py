"""The cluster profile beside the embedded one: push over HTTP, and log to committed object, in turn in one run.

One Kafka broker with replication 1, SeaweedFS and Redis, all on this machine: they take their share of its cores, which
is told apart. May live here: both sides and their servers. May not: how load is made (`load`), or stored (`store`).
"""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_wire import KafkaSettings
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
    """Measure both profiles in turn; gives medians."""
    with servers(directory / "servers") as cluster:
        return [*_push(directory, cluster, seconds, rounds), *_store(directory, cluster, count, rounds)]


# ------------------------------------------------------------------------------------------------------------- push
def _push(directory: Path, cluster: Servers, seconds: float, rounds: int) -> list[Row]:
    with ExitStack() as stack:
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
        systems = {"embedded": System(directory / "embedded"), "cluster": System(directory / "cluster", **settings)}
        for system in systems.values():
            stack.callback(system.down)
            system.up()
        many = bodies(BATCH, BODIES)
        loads: dict[str, list[Load]] = defaultdict(list)
        cores: dict[tuple[str, str], list[float]] = defaultdict(list)
        for system in systems.values():
            _load(system, many, WARM_S)
        for _ in range(rounds):
            for side, system in systems.items():
                groups = {"ours": system.processes, **{n: lambda p=p: [p] for n, p in cluster.processes.items()}}
                before = {name: cpu_seconds(found()) for name, found in groups.items()}
                loads[side].append(_load(system, many, seconds))
                for name, found in groups.items():
                    used_s = cpu_seconds(found()) - before[name]
                    cores[side, name].append(used_s / loads[side][-1].wall_s)
    return _push_rows(loads, cores)


def _load(system: System, many: list[bytes], seconds: float) -> Load:
    load = asyncio.run(run_load(f"{system.url}/push/v1/events", many, CONNECTIONS, seconds))
    assert set(load.statuses) == {202}, f"not everything was acknowledged: {load.statuses}"
    return load


def _push_rows(loads: dict[str, list[Load]], cores: dict[tuple[str, str], list[float]]) -> list[Row]:
    rate = {side: statistics.median(load.requests_per_s for load in each) * BATCH for side, each in loads.items()}
    ratio = f"ratio {rate['cluster'] / rate['embedded']:.2f}; to reach: {TARGET_PER_S:,}"
    notes = {"embedded": "", "cluster": ratio}
    rows = []
    for side, each in loads.items():
        rows.append(Row(f"push, 100-event batches, {side}", f"{rate[side]:,.0f} events/s", notes[side]))
        used = {name: statistics.median(values) for (of, name), values in cores.items() if of == side}
        used["generator"] = statistics.median(load.cpu_s / load.wall_s for load in each)
        told = ", ".join(f"{name} {value:.2f}" for name, value in used.items())
        rows.append(Row("  CPU in it, in cores", told, ""))
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
    log = KafkaLog(KafkaSettings(cluster.brokers, f"store-{number}", store.VNODES, 1, 1))
    try:
        return await store.store_all(log, place.open(), DeltaCatalog(place), count)
    finally:
        await log.close()
