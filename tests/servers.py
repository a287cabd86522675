"""Real servers for tests and benchmarks, started here, on loopback, in a temporary folder, and stopped by their
handle.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest

from infra.kafka.cluster import free_ports

READY_S: Final = 60.0
"""The S3 server takes 2 to 4 s; on a machine that runs other things too, much longer."""
STOP_S: Final = 10.0
_START_TRIES: Final = 3
"""A free port may be taken by somebody else before the server binds it: then everything is started anew."""
_LOG_TAIL: Final = 2_000


class ServerMissing(RuntimeError):
    """The server's program is not installed here."""


@dataclass(frozen=True)
class Keys:
    """An access key of the server under test, made up for it."""

    access_key: str
    secret_key: str


ADMIN: Final = Keys("ess-admin", "made-up-for-tests-admin")
READER: Final = Keys("ess-reader", "made-up-for-tests-reader")
"""May read and list, and nothing else."""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it listens, and the process that it is."""

    port: int
    process: subprocess.Popen[bytes]
    host: str = "127.0.0.1"

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextmanager
def s3_server(folder: Path, host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run SeaweedFS with its data in `folder` until the context ends. Raises ServerMissing."""
    program = _program("weed")
    identities = [_identity("admin", ADMIN, ["Admin"]), _identity("reader", READER, ["Read", "List"])]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    for attempt in range(_START_TRIES):
        data = folder / f"data-{attempt}"
        data.mkdir()
        master, volume, filer, s3, *grpc = free_ports(8)
        command = [program, f"-logdir={data}", "server", f"-dir={data}", f"-ip={host}", f"-ip.bind={host}"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
        parts = ("master", "volume", "filer", "s3")
        command += [f"-{part}.port.grpc={port}" for part, port in zip(parts, grpc, strict=True)]
        command += ["-s3", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        # Sockets beside the data, not in /tmp; small volumes, else each bucket reserves 30 GB of the disk's free space.
        command += [f"-filer.localSocket={data / 'f.sock'}", f"-s3.localSocket={data / 's.sock'}"]
        command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=128", "-volume.max=0"]
        log = data / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=data)
        try:
            if _until_ready(process, host, s3):
                yield S3Server(s3, process, host)
                return
        finally:
            _stop(process)
    raise RuntimeError(f"the S3 server did not start: {log.read_bytes()[-_LOG_TAIL:].decode(errors='replace')}")


def or_skip(reason: str) -> NoReturn:
    """Skip, visibly; fail where everything must run (`CI=true`)."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def needs(is_here: bool, what: str) -> pytest.MarkDecorator:
    """Mark tests that are skipped, visibly, where something is missing; under `CI=true` they run, and fail."""
    return pytest.mark.skipif(not is_here and not os.environ.get("CI"), reason=f"this machine has no {what}")


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        raise ServerMissing(f"there is no program {name!r}: install the development dependencies (make setup)")
    return found


def _identity(name: str, keys: Keys, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": keys.access_key, "secretKey": keys.secret_key}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _until_ready(process: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Wait until the server answers; False when it ended. Raises TimeoutError."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/status")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass  # not listening yet, which is what this loop waits out
        finally:
            connection.close()
        _wait(process, 0.05)
    raise TimeoutError(f"the S3 server did not answer within {READY_S:g} s")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait a moment, or until the process ends."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Killed, not asked: it takes over ten seconds to go, and nothing that it holds is needed any more.
    process.kill()
    process.wait(STOP_S)
