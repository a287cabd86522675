"""The log over an encrypted, authenticated listener of a real broker."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.core.errors import Unavailable
from ess_ray.ports import Record
from infra.kafka.cluster import free_ports
from tests.kafka_server import kafka_cluster, opened

STORE = ["-keystore", "broker.p12", "-storepass", "changeit", "-alias", "broker"]


def keytool(folder: Path, *arguments: str) -> None:
    """Run Java's own tool for certificates."""
    tool = shutil.which("keytool")
    assert tool is not None
    subprocess.run([tool, *arguments, *STORE], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """Give the settings that reach a broker by TLS, with a certificate for its address, and a password."""
    folder = tmp_path_factory.mktemp("secure")
    port = free_ports(1)[0]

    with kafka_cluster(folder, properties=lambda broker: listener(folder, port, broker.port, broker.controller_port)):
        yield KafkaSettings(
            f"127.0.0.1:{port}",
            vnodes=2,
            replication=1,
            min_insync_replicas=1,
            append_timeout_s=5,
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            username="ess",
            password="hush",
            ca_file=str(folder / "ca.pem"),
        )
    gc.collect()  # else what the last test here leaves (see there) comes up in another one, which failed by it


def listener(folder: Path, port: int, plain: int, controller: int) -> dict[str, str]:
    name = ["-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    keytool(folder, "-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", *name)
    keytool(folder, "-exportcert", "-rfc", "-file", "ca.pem")
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": f'{login} required user_ess="hush";',
        "listener.name.secure.ssl.keystore.type": "PKCS12",
        "listener.name.secure.ssl.keystore.location": str(folder / "broker.p12"),
        "listener.name.secure.ssl.keystore.password": "changeit",
    }


async def test_the_right_password_over_a_trusted_certificate_is_let_in(secure: KafkaSettings) -> None:
    async with opened(secure) as log:
        assert await log.append([Record(1, b"x")]) == [0]
        assert [r.value for r in (await log.read(1, 0, 100)).records] == [b"x"]
        assert len(await log.weaknesses()) == 2


# A deadline that falls into a TLS handshake: asyncio (3.11) then leaves the socket to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(function _SelectorTransport|socket.socket):pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("wrong", [{"password": "loud"}, {"ca_file": None}, {"security_protocol": "PLAINTEXT"}])
async def test_whatever_is_wrong_is_refused_and_told_without_the_password(
    secure: KafkaSettings, wrong: dict[str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    changed = {"append_timeout_s": 1.0, "request_timeout_s": 1.0, **wrong}
    async with opened(replace(secure, **changed)) as log:  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match="credentials") as refused:
            await log.append([Record(1, b"x")])
    assert "hush" not in refused.value.message + caplog.text
    assert "loud" not in refused.value.message + caplog.text
