"""Apache Kafka brokers on this machine's loopback: fetched by Maven once, started in a folder, stopped by process.

For tests and for trying things out, not for production. Standard library only, so that it runs before anything is
installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
POM = HERE / "pom.xml"
HEAP_MIB = 256
"""A broker's heap: 64 partitions and records of 1 MB fit; three brokers and the tests share a small machine."""
START_TIMEOUT_S = 60.0
"""A broker alone is up in about 3 s; three on two busy cores take several times as long."""
STOP_TIMEOUT_S = 20.0
"""An orderly stop takes 1 s; after that the process is killed."""
STARTED = b"Kafka Server started"
JVM = [f"-Xmx{HEAP_MIB}m", f"-Xms{HEAP_MIB}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
"""For quick starts on few cores: no optimizing compiler, no collector threads."""

PORTS = range(20_000, 32_768)
"""Where brokers listen. Ray gives its workers ports from 10,002 to 19,999, and the kernel usually gives connections
those from 32,768."""


class KafkaMissing(Exception):
    """Java, Maven or a free port are not here, or Kafka cannot be fetched."""


def java() -> str:
    """Find the Java runtime. Raises KafkaMissing."""
    found = shutil.which("java")
    if found is None:
        raise KafkaMissing("java is missing: apt-get install default-jre-headless maven")
    return found


def jars() -> Path:
    """Give the folder of Kafka's jars, fetched by Maven the first time. Raises KafkaMissing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ess_ray" / "kafka"
    target = cache / sha256(POM.read_bytes()).hexdigest()[:16]
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing("mvn is missing: apt-get install maven")
    for folder in (cache.parent, cache):  # what is run from there is nobody else's to write, whatever the umask
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=cache, prefix="fetching-"))
    try:
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        done = subprocess.run(
            [maven, "--quiet", "--batch-mode", "--file", str(POM), *copy], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise KafkaMissing(f"Maven could not fetch Kafka:\n{done.stdout}{done.stderr}")
        fresh.chmod(0o755)
        try:
            fresh.rename(target)  # atomic: another process may have been quicker
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def free_ports(count: int) -> list[int]:
    """Name ports of loopback that are free just now, below those that the kernel gives to connections by itself.

    Until a broker listens there takes seconds, in which a connection could take one of the kernel's.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody listens there: the next one
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise KafkaMissing(f"fewer than {count} ports of {PORTS.start} to {PORTS.stop - 1} are free on this machine")


@dataclass
class Broker:
    """One broker and controller: its ports and folder stay the same over restarts."""

    node_id: int
    port: int
    controller_port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0
    """Where in its log the newest start begins."""

    @property
    def config(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class KafkaCluster:
    """`brokers` brokers in KRaft combined mode. Use as a context manager, or call `start` and `stop`."""

    def __init__(self, folder: Path, brokers: int = 1, host: str = "127.0.0.1") -> None:
        self._host = host
        self._jars = jars()
        self._java = java()
        ports = free_ports(2 * brokers)
        self.brokers = [Broker(i + 1, ports[i], ports[brokers + i], folder / f"broker-{i + 1}") for i in range(brokers)]
        self.properties: dict[str, str] = {}
        """Settings of every broker beyond ours, or instead of them: to be set before the start."""
        self._cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{self._host}:{broker.port}" for broker in self.brokers)

    def __enter__(self) -> KafkaCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Format what is new, start all brokers, wait until each answers. What was begun is stopped on failure."""
        try:
            self._format()
            for broker in self.brokers:
                self.launch(broker)
            for broker in self.brokers:
                self.wait(broker)
        except BaseException:
            self.stop()
            raise

    def restart(self, broker: Broker) -> None:
        """Start a broker again that was stopped or killed, on its old port and data; waits until it answers."""
        self.launch(broker)
        self.wait(broker)

    def kill(self, broker: Broker) -> None:
        """End a broker as kill -9 does."""
        if broker.process is not None:
            broker.process.kill()
            broker.process.wait()

    def stop(self) -> None:
        """Stop all brokers; idempotent. With more than one, the last may have no quorum to leave in order: killed."""
        running = [broker.process for broker in self.brokers if broker.process is not None and broker.running]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + (STOP_TIMEOUT_S if len(self.brokers) == 1 else STOP_TIMEOUT_S / 4)
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _format(self) -> None:
        formats = []
        for broker in self.brokers:
            if not broker.config.exists():
                broker.folder.mkdir(mode=0o700, parents=True)
                broker.config.write_text(self._properties(broker))
                tool = [
                    "kafka.tools.StorageTool",
                    "format",
                    f"--cluster-id={self._cluster_id}",
                    f"--config={broker.config}",
                ]
                with broker.log.open("ab") as log:
                    formats.append((broker, subprocess.Popen(self._command(tool), stdout=log, stderr=log)))
        for broker, process in formats:
            if process.wait():
                raise RuntimeError(f"formatting {broker.folder} failed:\n{broker.log.read_text()}")

    def _properties(self, broker: Broker) -> str:
        voters = ",".join(f"{each.node_id}@{self._host}:{each.controller_port}" for each in self.brokers)
        copies = min(len(self.brokers), 3)
        return "\n".join(
            [
                "process.roles=broker,controller",
                f"node.id={broker.node_id}",
                f"controller.quorum.voters={voters}",
                f"listeners=PLAINTEXT://{self._host}:{broker.port},CONTROLLER://{self._host}:{broker.controller_port}",
                "controller.listener.names=CONTROLLER",
                f"log.dirs={broker.folder / 'data'}",
                "auto.create.topics.enable=false",
                "delete.topic.enable=true",
                "offsets.topic.num.partitions=1",
                f"offsets.topic.replication.factor={copies}",
                "transaction.state.log.num.partitions=1",
                f"transaction.state.log.replication.factor={copies}",
                "transaction.state.log.min.isr=1",
                "group.initial.rebalance.delay.ms=0",
                "share.coordinator.state.topic.replication.factor=1",
                # A dead broker is noticed within two seconds instead of nine: tests kill brokers.
                "broker.session.timeout.ms=2000",
                "broker.heartbeat.interval.ms=500",
                "controller.quorum.election.timeout.ms=500",
                "controller.quorum.fetch.timeout.ms=1000",
                # Few threads: many idle ones cost memory on a small machine.
                "num.network.threads=2",
                "num.io.threads=4",
                "log.cleaner.dedupe.buffer.size=8388608",
                *(f"{name}={value}" for name, value in self.properties.items()),  # the last one of a name counts
                "",
            ]
        )

    def _command(self, arguments: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
        return [self._java, *JVM, logging, "-cp", f"{self._jars}/*", *arguments]

    def launch(self, broker: Broker) -> None:
        """Start a broker and do not wait for it."""
        with broker.log.open("ab") as log:
            broker.log_start = log.tell()
            broker.process = subprocess.Popen(
                self._command(["kafka.Kafka", str(broker.config)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever started us: brokers are stopped in order
            )

    def wait(self, broker: Broker) -> None:
        """Wait until the broker says that it has started: its port takes connections before it serves them."""
        deadline = time.monotonic() + START_TIMEOUT_S
        assert broker.process is not None
        while STARTED not in broker.log.read_bytes()[broker.log_start :]:
            ended = broker.process.poll() is not None
            if ended or time.monotonic() > deadline:
                state = "ended" if ended else f"is not up after {START_TIMEOUT_S:g} s"
                raise RuntimeError(f"broker {broker.node_id} {state}:\n{broker.log.read_text()[-4000:]}")
            time.sleep(0.02)


def main() -> None:
    """Start, print the bootstrap address, wait for Ctrl-C, SIGTERM or the end of standard input's writer."""
    parser = argparse.ArgumentParser(description="Run Apache Kafka brokers on loopback until Ctrl-C.")
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where their data lies (default: a temporary folder)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="ess-kafka-") as temporary:
        try:
            with KafkaCluster(given.folder or Path(temporary), given.brokers) as cluster:
                print(cluster.bootstrap, flush=True)
                signal.pause()
        except KafkaMissing as missing:
            sys.exit(str(missing))
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
