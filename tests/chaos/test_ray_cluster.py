"""A Ray cluster of three hosts by `ray up` and `serve deploy`, one of which is lost: every acknowledged event, once."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from tests.hosts import REPOSITORY, Host, hosts, shell_of
from tests.kafka_server import kafka_cluster
from tests.redis_server import redis_server
from tests.servers import ADMIN, s3_server
from tests.systems import wait_until

PORT = 8000
DEADLINE_S = 240.0
"""For what a cluster does by itself: starting nodes, replacing what a lost one ran."""
PERSIST_ACTORS = 3
NODE = "--num-cpus=1 --object-store-memory=134217728 "
AUTHENTICATED = "RAY_AUTH_MODE=token"
DASHBOARD = "-a http://127.0.0.1:8265"
CONNECT = "import ray; ray.init(address='auto', logging_level='ERROR', log_to_driver=False)"
AWAIT_NODES = f"""{CONNECT}; import time
while sum(n['Alive'] for n in ray.nodes()) < 3: time.sleep(0.5)"""
LIST_POOL = f"""{CONNECT}; from ray.util.state import list_actors
addresses = {{n['NodeID']: n['NodeManagerAddress'] for n in ray.nodes()}}
for a in list_actors(filters=[('state', '=', 'ALIVE'), ('ray_namespace', '=', 'ess')]):
    if not a.name.startswith('SERVE'): print(a.name, a.actor_id, addresses[a.node_id])"""

pytestmark = pytest.mark.timeout(600)


@dataclass
class Cluster:
    """The hosts, and what was acknowledged."""

    admin: Host
    head: Host
    workers: list[Host]
    key: str
    acknowledged: list[str] = field(default_factory=list)

    def _send(self, host: Host, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"http://{host.address}:{PORT}{path}"
        return httpx.request(method, url, headers=headers, timeout=20, **arguments)

    def healthy(self, host: Host) -> bool:
        try:
            return all(self._send(host, "GET", f"/{app}/healthz").status_code == 200 for app in ("push", "search"))
        except httpx.TransportError:
            return False

    def push(self, host: Host, count: int = 20) -> None:
        """Push a batch with a key until it is acknowledged: a lost node takes unanswered requests with it."""
        names = [f"event {len(self.acknowledged) + number}" for number in range(count)]
        body, key = [{"message": name, "service": "shop"} for name in names], uuid.uuid4().hex
        deadline = time.monotonic() + DEADLINE_S
        while True:
            told = "no answer"
            try:
                headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key}
                url = f"http://{host.address}:{PORT}/push/v1/events"
                answer = httpx.post(url, json=body, headers=headers, timeout=10)
                told = answer.text
                if answer.status_code == 202:
                    self.acknowledged += names
                    return
                assert answer.status_code >= 500, told
            except httpx.TransportError as error:
                told = repr(error)
            assert time.monotonic() < deadline, f"not acknowledged: {told}"
            time.sleep(0.1)

    def search(self, host: Host) -> list[str]:
        """Search until a complete answer comes; gives its messages."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            told: Any = "no answer"
            try:
                names, page = self._search_once(host)
                told = page
                if page["state"] == "done" and page["complete"]:
                    return names
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                told = repr(error)
            assert time.monotonic() < deadline, f"no complete answer: {told}"
            time.sleep(0.1)

    def _search_once(self, host: Host) -> tuple[list[str], dict[str, Any]]:
        body = {"query": "service:shop", "start": 0, "limit": 200_000}
        created = self._send(host, "POST", "/search/v1/queries", json=body).raise_for_status().json()
        cursor, names = "", []
        while True:
            path = f"/search/v1/queries/{created['id']}?limit=10000&cursor={cursor}"
            page: dict[str, Any] = self._send(host, "GET", path).raise_for_status().json()
            names += [event["message"] for event in page["events"]]
            cursor = page["cursor"]
            if page["state"] != "running" and not page["events"]:
                return names, page

    def on_ray(self, program: str) -> str:
        """Run Python lines that end with printing on the head; gives what they print."""
        return self.head.run(f'{AUTHENTICATED} python3 -c "{program}"', DEADLINE_S).strip()

    def deploy(self) -> None:
        self.head.run(f"{AUTHENTICATED} serve deploy {REPOSITORY}/infra/ray/serve.yaml {DASHBOARD}")
        self.await_health("it does not come up")

    def await_health(self, what: str) -> None:
        """Wait until the head serves; else fails with `what` and what Serve says."""
        wait_until(
            lambda: self.healthy(self.head),
            lambda: f"{what} {self.head.run(f'{AUTHENTICATED} serve status {DASHBOARD}')}",
            DEADLINE_S,
        )

    def pool(self) -> dict[str, tuple[str, str]]:
        """Give of each actor of the pool: Ray's id, and the address of its node."""
        rows = [line.split() for line in self.on_ray(LIST_POOL).splitlines()]
        return {name: (actor, address) for name, actor, address in rows}


def make_key(environment: dict[str, str]) -> str:
    """Make the first key of a system that does not run yet."""
    command = [sys.executable, "-m", "ess_ray.cli", "keys", "create"]
    command += ["--scope", "push", "--scope", "search", "--scope", "admin", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: str = yaml.safe_load(done.stdout)["key"]
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with hosts(tmp_path, ["admin", "head", "one", "two"], shell_of({})) as (gateway, made):
        folders = {name: tmp_path / name for name in ("kafka", "s3", "redis")}
        for folder in folders.values():
            folder.mkdir()
        with (
            kafka_cluster(folders["kafka"], host=gateway) as kafka,
            s3_server(folders["s3"], gateway) as s3,
            redis_server(folders["redis"], gateway) as redis,
        ):
            bucket = S3Location(
                "nodes", "a", s3.endpoint, region="us-east-1", access_key=ADMIN.access_key, secret_key=ADMIN.secret_key
            )
            make_bucket(bucket)
            settings = {
                "log": {"brokers": kafka.bootstrap, "vnodes": 8, "replication": 1, "min_insync_replicas": 1},
                "store": {
                    "bucket": bucket.bucket,
                    "prefix": bucket.prefix,
                    "endpoint": s3.endpoint,
                    "access_key": ADMIN.access_key,
                    "secret_key": ADMIN.secret_key,
                },
                "results": {"redis_url": redis.url},
                "persist": {"actors": PERSIST_ACTORS, "seal_age_s": 5},
            }
            (tmp_path / "ess.yaml").write_text(yaml.safe_dump(settings))
            key = make_key({"ESS_CONFIG": str(tmp_path / "ess.yaml")})
            found = Cluster(made["admin"], made["head"], [made["one"], made["two"]], key)
            bring_up(found, tmp_path)
            yield found


def bring_up(cluster: Cluster, folder: Path) -> None:
    """Run `ray up` with infra/ray/local.yaml on these hosts, and wait until all three nodes are there."""
    config = yaml.safe_load((REPOSITORY / "infra/ray/local.yaml").read_text())
    config["provider"] |= {
        "head_ip": cluster.head.address,
        "worker_ips": [worker.address for worker in cluster.workers],
    }
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    (folder / "token").write_text(secrets.token_hex(32))
    config["file_mounts"] = {
        "~/.ray/auth_token": str(folder / "token"),
        "~/ess.yaml": str(folder / "ess.yaml"),
    }
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[part] = [line.replace("ray start ", f"ray start {NODE}") for line in config[part]]
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    everyone = [cluster.admin, cluster.head, *cluster.workers]
    assert all(host.alone() for host in everyone), "`ray up` runs `ray stop`"
    up = f"RAY_enable_autoscaler_v2=0 ray up --yes --no-config-cache --disable-usage-stats {folder / 'cluster.yaml'}"
    cluster.admin.run(up)
    cluster.on_ray(AWAIT_NODES)


def test_a_lost_node_costs_no_event_and_no_answer(cluster: Cluster) -> None:
    cluster.deploy()
    serving = wait_until(
        lambda: [worker for worker in cluster.workers if cluster.healthy(worker)], "no worker serves HTTP", DEADLINE_S
    )
    cluster.push(serving[0])
    assert sorted(cluster.search(cluster.head)) == sorted(cluster.acknowledged)
    for _ in range(5):
        cluster.push(cluster.head)
    assert sorted(cluster.search(serving[0])) == sorted(cluster.acknowledged)

    pool, listeners = cluster.pool(), 1 + len(cluster.workers)
    assert len(pool) == 1 + PERSIST_ACTORS + listeners, pool
    assert pool["supervisor"][1] == cluster.head.address
    places = {address for name, (_, address) in pool.items() if name.startswith("persist-")}
    assert len(places) > 1, pool
    cluster.deploy()
    assert cluster.pool() == pool, "deploying again has made the pool anew"

    # Of those that serve, one with a persist actor.
    lost = sorted(serving, key=lambda worker: worker.address in places)[-1]
    lost.kill()
    for _ in range(10):
        cluster.push(cluster.head)
    assert sorted(cluster.search(cluster.head)) == sorted(cluster.acknowledged)
    cluster.await_health("the pool was not completed")
    healed = cluster.pool()
    assert len(healed) == 1 + PERSIST_ACTORS + listeners - 1, healed
    assert lost.address not in {address for _, address in healed.values()}
    assert healed["supervisor"] == pool["supervisor"]
    for _ in range(5):
        cluster.push(cluster.head)
    assert sorted(cluster.search(cluster.head)) == sorted(cluster.acknowledged)
