"""A real Redis (or Valkey) server of a test's own, on loopback, in a temporary folder, ended with the test."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.servers import or_skip
from tests.systems import free_port

START_TIMEOUT_S = 20.0
PASSWORD = "only-for-tests"


def server_program() -> str:
    """Find the server; without one a test is skipped in sight, and fails where everything has to be there."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        or_skip("no redis-server or valkey-server on the PATH: apt-get install redis-server")
    return program


class RedisServer:
    """One server process, with a password, and a client of it."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder, self._host = folder, host
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@{host}:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [server_program(), "--port", str(self.port), "--bind", self._host, "--dir", str(self._folder)]
        command += ["--requirepass", PASSWORD, "--save", "", "--appendonly", "no", "--daemonize", "no"]
        with (self._folder / "redis.log").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.client.ping()
                return process
            except redis.exceptions.ConnectionError:
                assert process.poll() is None, (self._folder / "redis.log").read_text()
                assert time.monotonic() < deadline, "the Redis server does not answer"
                time.sleep(0.02)

    def restart(self, *, keep: bool) -> None:
        """End the server as kill -9 does, and start it again, with what it held until then or with nothing."""
        (self._folder / "dump.rdb").unlink(missing_ok=True)
        if keep:
            self.client.save()
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def close(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    def let_pass(self, seconds: float) -> None:
        """Bring every key's end nearer, as if so much time had gone by."""
        for key in self.client.scan_iter():
            left_ms = self.client.pttl(key) - round(seconds * 1000)
            if left_ms > 0:
                self.client.pexpire(key, left_ms)
            else:
                self.client.delete(key)


@contextmanager
def redis_server(folder: Path, host: str = "127.0.0.1") -> Iterator[RedisServer]:
    server = RedisServer(folder, host)
    try:
        yield server
    finally:
        server.close()
