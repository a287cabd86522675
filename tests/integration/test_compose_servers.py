"""The servers of infra/compose.yaml take the settings that it gives them: the real programs, without containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from botocore.exceptions import ClientError

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from infra.kafka.cluster import Broker, KafkaCluster, KafkaMissing, free_ports
from tests.compose import GIVEN, interpolated, kafka_properties, script
from tests.redis_server import server_program
from tests.servers import ADMIN, S3Server, or_skip
from tests.systems import wait_until

SERVICES = interpolated()["services"]
DEADLINE_S = 60.0


# ------------------------------------------------------------------------------------------------------------ Kafka
class AsComposed(KafkaCluster):
    """Three brokers with compose's own properties; only hosts, ports and folders are this machine's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, brokers=3)
        self._cluster_id = SERVICES["kafka-1"]["environment"]["CLUSTER_ID"]

    def _properties(self, broker: Broker) -> str:
        properties = kafka_properties(SERVICES[f"kafka-{broker.node_id}"]["environment"])
        properties["log.dirs"] = str(broker.folder / "data")
        listeners = properties["listeners"]
        assert listeners == "PLAINTEXT://:9092,CONTROLLER://:9093"
        properties["listeners"] = listeners.replace("//:9092", f"//127.0.0.1:{broker.port}").replace(
            "//:9093", f"//127.0.0.1:{broker.controller_port}"
        )
        for each in self.brokers:
            for name in ("controller.quorum.voters", "advertised.listeners"):
                value = properties[name].replace(f"kafka-{each.node_id}:9092", f"127.0.0.1:{each.port}")
                properties[name] = value.replace(f"kafka-{each.node_id}:9093", f"127.0.0.1:{each.controller_port}")
        return "".join(f"{name}={value}\n" for name, value in properties.items())


async def _described(bootstrap: str, node_id: int) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(node_id))])
        return {
            entry[0]: entry[1] for answer in answers for _, _, _, _, entries in answer.resources for entry in entries
        }
    finally:
        await admin.close()


async def test_kafka_takes_its_properties(tmp_path: Path, kafka: KafkaCluster) -> None:
    known = await _described(kafka.bootstrap, 1)
    ours = kafka_properties(SERVICES["kafka-1"]["environment"])
    assert ours.keys() <= known.keys(), "the broker would pass over a name that it does not know"
    try:
        cluster = AsComposed(tmp_path)
    except KafkaMissing as missing:
        or_skip(f"no Kafka to test with: {missing}")
    with cluster:
        told = await _described(cluster.bootstrap, 3)
    assert told["node.id"] == "3"
    places = {"node.id", "log.dirs", "listeners", "advertised.listeners", "controller.quorum.voters"}
    assert {name: told[name] for name in ours.keys() - places} == {name: ours[name] for name in ours.keys() - places}


# --------------------------------------------------------------------------------------------------------------- S3
@dataclass
class Running:
    """A service's own script in a shell, ended with the context."""

    command: str
    environment: dict[str, str]
    folder: Path

    def __enter__(self) -> subprocess.Popen[bytes]:
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", **self.environment}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", self.command], env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "output.log"


def _with(command: str, old: str, new: str) -> str:
    assert old in command
    return command.replace(old, new)


def test_the_s3_server_takes_its_flags_and_keys(tmp_path: Path) -> None:
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    if not weed.exists():
        or_skip("there is no program 'weed': install the development dependencies (make setup)")
    (tmp_path / "weed").symlink_to(weed)
    master, volume, filer, s3, *grpc = free_ports(10)
    ports = {"master.port": master, "volume.port": volume, "filer.port": filer, "s3.port": s3}
    names = ("master", "volume", "filer", "s3")
    ports |= {f"{name}.port.grpc": port for name, port in zip(names, grpc, strict=False)}
    ports |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
    here = " ".join(f"-{name}={port}" for name, port in ports.items())
    sockets = f"-filer.localSocket={tmp_path / 'f.sock'} -s3.localSocket={tmp_path / 's.sock'}"
    command = script(SERVICES["s3"])
    command = _with(command, "/tmp/s3.json", str(tmp_path / "s3.json"))
    command = _with(command, "-dir=/data -ip=s3 -ip.bind=0.0.0.0", f"-dir={tmp_path} -ip=127.0.0.1 -ip.bind=127.0.0.1")
    running = Running(f"{command.rstrip()} {here} {sockets}", SERVICES["s3"]["environment"], tmp_path)
    with running as process:
        endpoint = f"http://127.0.0.1:{s3}"
        keys = {"access_key": GIVEN["S3_ACCESS_KEY"], "secret_key": GIVEN["S3_SECRET_KEY"]}
        health = _with(SERVICES["s3"]["healthcheck"]["test"][1], ":8333", f":{s3}")
        _until(lambda: subprocess.run(["sh", "-c", health], check=False).returncode == 0, process, running.log)
        make_bucket(S3Location("composed", "", endpoint, **keys))
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="who", aws_secret_access_key="else"
        )
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            client.list_objects_v2(Bucket="composed")


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    def asked() -> bool:
        found = ready()
        assert found or process.poll() is None, log.read_text()
        return found

    wait_until(asked, log.read_text, DEADLINE_S)


# ------------------------------------------------------------------------------------------------------------ Redis
def test_redis_takes_its_flags_and_password(tmp_path: Path) -> None:
    (tmp_path / "valkey-server").symlink_to(server_program())
    client_program = shutil.which("valkey-cli") or shutil.which("redis-cli")
    assert client_program is not None
    (tmp_path / "valkey-cli").symlink_to(client_program)
    (port,) = free_ports(1)
    service = SERVICES["redis"]
    command = _with(script(service), "valkey-server -", f"valkey-server - --port {port} --bind 127.0.0.1")
    running = Running(command, service["environment"], tmp_path)
    with running as process:
        health = _with(service["healthcheck"]["test"][1], "valkey-cli", f"{tmp_path}/valkey-cli -p {port}")
        given = service["environment"]
        _until(
            lambda: subprocess.run(["sh", "-c", health], env=given, check=False).returncode == 0, process, running.log
        )
        with redis.Redis(port=port, password=GIVEN["REDIS_PASSWORD"]) as client:
            wanted = {"maxmemory-policy": "volatile-ttl", "maxmemory": str(1024**3), "appendonly": "no", "save": ""}
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
        with redis.Redis(port=port) as client, pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()


# ----------------------------------------------------------------------------------------------------------- deploy
def test_the_first_deployment_makes_bucket_and_key_and_the_next_one_nothing(tmp_path: Path, s3: S3Server) -> None:
    """All of it but `serve deploy` itself."""
    command = _with(script(SERVICES["deploy"]), "serve deploy /etc/ess/serve.yaml", "echo deploying")
    given = {
        **SERVICES["deploy"]["environment"],
        "ESS_STORE__ENDPOINT": s3.endpoint,
        "ESS_STORE__BUCKET": f"composed-{uuid.uuid4().hex[:8]}",
        "ESS_STORE__ACCESS_KEY": ADMIN.access_key,
        "ESS_STORE__SECRET_KEY": ADMIN.secret_key,
        "ESS_DATA_DIR": str(tmp_path),
        "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
    }

    def deploy() -> str:
        done = subprocess.run(["sh", "-c", command], env=given, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("deploying --address http://ray-head:8265\n")
        return done.stdout

    first, again = deploy(), deploy()
    assert len(first.splitlines()) > len(again.splitlines()) == 1
    listed = subprocess.run(["ess", "keys", "list", "--json"], env=given, check=True, capture_output=True, text=True)
    (key,) = json.loads(listed.stdout)
    assert (key["name"], sorted(key["scopes"])) == ("first", ["admin", "push", "search"])
