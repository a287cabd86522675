"""What is no HTTP, by real sockets and clients into a running system: stored once, whatever dies or stands still."""

from __future__ import annotations

import json
import logging
import logging.handlers
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fluent import sender
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from ess_ray.runtime.environment import free_ports
from tests.systems import System, running, titled, wait_until

LINES = 20_000


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    names = ("SYSLOG_TCP", "SYSLOG_UDP", "GELF_TCP", "GELF_UDP", "FORWARD", "OTLP_GRPC")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[System]:
    """A system that listens on ports of its own; each test's events have a word that no other's have."""
    settings = {f"ESS_LISTENERS__{name}__PORT": str(port) for name, port in ports.items()}
    with running(tmp_path_factory.mktemp("ess") / "data", **settings) as made:
        yield made


def found(system: System, query: str, count: int) -> list[dict[str, Any]]:
    """Wait until so many events are found, and give them."""

    def complete() -> list[dict[str, Any]] | None:
        if system.http.get("/search/healthz").status_code != 200:
            return None  # a log that was killed is just coming back
        rows, page = system.try_search(query)
        return rows if page["complete"] and len(rows) >= count else None

    rows: list[dict[str, Any]] = wait_until(
        complete, lambda: f"{query}: {len(system.search(query))} of {count} events were found; {listener(system)}"
    )
    assert len(rows) == count, "more than were sent"
    return rows


def listener(system: System) -> dict[str, dict[str, Any]]:
    """Give what the status tells of each protocol."""
    told = system.http.get("/search/v1/status").json()["listeners"]
    return {each["protocol"]: each for each in told}


def send(port: int, data: bytes) -> None:
    with socket.socket() as sending:
        # Small, so that the kernel does not take for the listener what that does not read.
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        sending.settimeout(120)
        sending.connect(("127.0.0.1", port))
        sending.sendall(data)


def test_fluent_logger_as_it_is(system: System, ports: dict[str, int]) -> None:
    sending = sender.FluentSender("app", host="127.0.0.1", port=ports["FORWARD"], nanosecond_precision=True)
    assert sending.emit("web", {"message": "fluentword card declined", "level": "error", "ms": 7})
    sending.close()
    (event,) = found(system, "fluentword", 1)
    assert (event["level"], event["attributes"]) == ("ERROR", {"ms": 7, "tag": "app.web"})
    wait_until(lambda: listener(system)["forward"]["events"] == 1, lambda: f"it is not counted: {listener(system)}")


def test_opentelemetrys_exporter_over_grpc_as_it_is(system: System, ports: dict[str, int]) -> None:
    provider = LoggerProvider()
    exporter = OTLPLogExporter(endpoint=f"http://127.0.0.1:{ports['OTLP_GRPC']}", insecure=True)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("app").emit(body="grpcword", severity_text="WARN", attributes={"ms": 12.5})
    provider.shutdown()
    (event,) = found(system, "grpcword", 1)
    assert (event["level"], event["attributes"]["ms"]) == ("WARN", 12.5)
    wait_until(lambda: listener(system)["otlp_grpc"]["events"] == 1, lambda: f"it is not counted: {listener(system)}")


def lines(word: str, count: int = LINES) -> bytes:
    return b"".join(
        b"<13>Sep  1 10:00:00 box %s[1]: %s number %d\n" % ((word.encode(),) * 2 + (n,)) for n in range(count)
    )


@pytest.mark.skipif(shutil.which("logger") is None, reason="this machine has no logger")
@pytest.mark.parametrize("how", [["--udp"], ["--tcp"], ["--tcp", "--octet-count"]])
@pytest.mark.parametrize("rfc", ["--rfc3164", "--rfc5424"])
def test_logger_of_util_linux(system: System, ports: dict[str, int], how: list[str], rfc: str) -> None:
    word = f"logger{''.join(how)}{rfc}".replace("-", "")
    port = ports["SYSLOG_UDP" if "--udp" in how else "SYSLOG_TCP"]
    command = ["logger", *how, rfc, "--server", "127.0.0.1", "--port", str(port), "--tag", word, "-p", "local3.err"]
    subprocess.run([*command, f"said by {word}"], check=True, timeout=30)
    (row,) = found(system, f"service:{word}", 1)
    assert (row["message"], row["level"], row["attributes"]["facility"]) == (f"said by {word}", "ERROR", "local3")
    assert row["host"]
    assert row["attributes"]["source.ip"] == "127.0.0.1"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_pythons_handler(system: System, ports: dict[str, int], kind: socket.SocketKind) -> None:
    port = ports["SYSLOG_UDP" if kind == socket.SOCK_DGRAM else "SYSLOG_TCP"]
    word = f"pythonhandler{kind}"
    handler = logging.handlers.SysLogHandler(("127.0.0.1", port), socktype=kind)
    handler.emit(logging.makeLogRecord({"msg": f"{word} speaks", "levelno": 30, "levelname": "WARNING"}))
    handler.close()
    (row,) = found(system, word, 1)
    assert (row["message"], row["level"]) == (f"{word} speaks", "WARN")


def test_gelf(system: System, ports: dict[str, int]) -> None:
    message = {"version": "1.1", "host": "box", "short_message": "gelfword", "level": 4, "_user": "u"}
    send(ports["GELF_TCP"], json.dumps(message).encode() + b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(json.dumps(message).encode(), ("127.0.0.1", ports["GELF_UDP"]))
    for row in found(system, "gelfword", 2):
        assert (row["host"], row["level"], row["attributes"]["user"]) == ("box", "WARN", "u")


def test_status_and_doctor_tell_of_every_port(system: System, ports: dict[str, int]) -> None:
    told = listener(system)
    assert {name: each["state"] for name, each in told.items()} == dict.fromkeys(told, "on")
    for name, port in ports.items():
        assert told[name.lower()]["port"] == port
        assert f"{name.lower()} on 127.0.0.1:{port}" in " ".join(system.ess("status").stdout.split())
    checks = json.loads(system.ess("doctor", "--json", ok=(0, 1)).stdout)
    assert {check["state"] for check in checks if check["check"] == "listener"} == {"ok"}


@pytest.mark.slow
def test_a_log_that_stands_still_holds_tcp_up_and_loses_and_doubles_nothing(
    system: System, ports: dict[str, int]
) -> None:
    (log,) = titled(system, "LogActor")
    sending = threading.Thread(target=send, args=(ports["SYSLOG_TCP"], lines("standstill")))
    log.send_signal(signal.SIGSTOP)
    try:
        sending.start()
        # Longer than a call to the log may take: the append is given up, and sent again.
        sending.join(25)
        assert sending.is_alive(), "all was read, though nothing could be stored"
    finally:
        log.send_signal(signal.SIGCONT)
    sending.join(120)
    rows = found(system, "service:standstill", LINES)
    assert len({row["message"] for row in rows}) == LINES


@pytest.mark.slow
def test_a_log_that_is_killed_loses_and_doubles_nothing(system: System, ports: dict[str, int]) -> None:
    sending = threading.Thread(target=send, args=(ports["SYSLOG_TCP"], lines("killedlog")))
    sending.start()
    (log,) = titled(system, "LogActor")
    log.kill()
    sending.join(120)
    rows = found(system, "service:killedlog", LINES)
    assert len({row["message"] for row in rows}) == LINES


@pytest.mark.slow
def test_a_listener_that_is_killed_comes_back(system: System, ports: dict[str, int]) -> None:
    (before,) = titled(system, "ListenerActor")
    before.kill()
    wait_until(
        lambda: (
            [each for each in titled(system, "ListenerActor") if each.pid != before.pid]
            and listener(system).get("syslog_tcp", {}).get("state") == "on"
        ),
        "no listener came back",
    )
    send(ports["SYSLOG_TCP"], lines("comeback", 10))
    found(system, "service:comeback", 10)


def test_a_chosen_port_that_is_taken_stops_the_start(system: System, ports: dict[str, int], tmp_path: Path) -> None:
    other = System(tmp_path / "data", ESS_LISTENERS__SYSLOG_TCP__PORT=str(ports["SYSLOG_TCP"]))
    refused = other.ess("up", "--detach", "--port", str(other.port), ok=(1,))
    assert "listeners.syslog_tcp.port" in refused.stderr
    other.http.close()


def test_the_end_stores_what_came_and_the_first_key_closes_the_ports(system: System, ports: dict[str, int]) -> None:
    """The last test of the module: it takes the system down and up again, and then closes it."""
    send(ports["SYSLOG_TCP"], lines("atheend"))
    system.down()
    system.up()
    found(system, "service:atheend", LINES)
    system.ess("keys", "create", "--scope", "search", "--scope", "push", "--scope", "admin")

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", ports["SYSLOG_TCP"])) != 0

    wait_until(is_closed, "the port is still open, though keys exist")
