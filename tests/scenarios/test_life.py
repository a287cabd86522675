"""The life of systems on one machine: side by side, on loopback only, ended without a trace, and healing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from ess_ray.adapters.private import is_private
from tests.systems import DEADLINE_S, System, is_alive, persist_actors, title, titled, wait_until

Make = Callable[..., System]


def listeners(system: System) -> list[tuple[str, int, str]]:
    """Give (address, port, process name) of every listening socket of a system."""
    found = []
    for process in system.processes():
        try:
            sockets = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        found += [(s.laddr.ip, s.laddr.port, process.name()) for s in sockets if s.status == psutil.CONN_LISTEN]
    return found


@pytest.mark.slow
def test_two_systems_run_side_by_side_and_one_ends_without_a_trace(own_system: System, new_system: Make) -> None:
    one, other = new_system(), own_system
    one.push([{"message": "only in the first"}])
    other.push([{"message": "only in the second"}])
    assert [e["message"] for e in one.search("only")] == ["only in the first"]
    assert [e["message"] for e in other.search("only")] == ["only in the second"]
    ports = [port for _, port, _ in listeners(one)]
    assert one.port in ports
    assert not set(ports) & {port for _, port, _ in listeners(other)}
    processes, run_dir = one.processes(), one.run_dirs().private
    assert processes
    assert is_private(run_dir)
    one.down()
    assert living(processes) == []
    assert not run_dir.exists()
    assert not (one.data_dir / "run.json").exists()
    objects = list((one.data_dir / "events").rglob("tenant=*/**/*.parquet"))
    assert len(objects) == 1, "down stores everything"
    one.down()  # nothing runs: no error
    assert [e["message"] for e in other.search("only")] == ["only in the second"]


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def test_every_listener_is_on_loopback(own_system: System) -> None:
    system = own_system

    def is_there() -> bool:
        return (system.port, "127.0.0.1") in [(port, address) for address, port, _ in listeners(system)]

    wait_until(is_there, "HAProxy does not listen")  # whenever routes change, it is a new process
    found = listeners(system)
    print(*sorted(found), sep="\n")
    assert [row for row in found if row[0] not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == []


def test_no_worker_of_the_system_loads_pandas(own_system: System) -> None:
    workers = titled(own_system, "ray::")
    loaded = [title(worker) for worker in workers if "/pandas/" in Path(f"/proc/{worker.pid}/maps").read_text()]
    assert workers
    assert loaded == []


def test_a_second_up_on_the_same_directory_is_refused(own_system: System) -> None:
    refused = own_system.ess("up", "--detach", "--port", str(own_system.port + 1), ok=(1,))
    assert "already runs" in refused.stderr


@contextmanager
def in_the_foreground(system: System, after: Sequence[psutil.Process] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Give the `ess up` that stays in the foreground, once the system answers, and no process of an `after` lives."""
    command = [sys.executable, "-m", "ess_ray.cli", "up"]
    command += ["--port", str(system.port), "--data-dir", str(system.data_dir)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: not living(after) and healthy(system), "the system in the foreground did not come up")
        yield child
    finally:
        system.down()
        child.kill()
        child.wait()


def healthy(system: System) -> bool:
    try:
        return all(system.http.get(f"/{part}/healthz").status_code == 200 for part in ("push", "search"))
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_after_kill_9_of_up_it_starts_again_and_ctrl_c_stops_clean(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    with closing(system.http), in_the_foreground(system) as child:
        system.push([{"message": "before the kill"}])
        old, old_dir = system.processes(), system.run_dirs().private
        child.kill()
        child.communicate()
        for process in old:  # the driver as well: nobody is left who could stop in good order
            if process.is_running() and process.pid == os.getsid(process.pid):
                process.kill()
        with in_the_foreground(system, old) as again:
            assert [e["message"] for e in system.search("kill")] == ["before the kill"]
            assert not old_dir.exists(), "the run before has left its folder"
            processes = system.processes()
            again.send_signal(signal.SIGINT)
            output, _ = again.communicate(timeout=DEADLINE_S)
            assert again.returncode == 0, output
            assert b"Traceback" not in output
            assert living(processes) == []


def test_a_killed_persist_actor_shows_in_health_and_is_replaced_without_loss(own_system: System) -> None:
    system = own_system
    expected = [f"before {i}" for i in range(50)]
    for name in expected:
        system.push([{"message": name}])
    victim = persist_actors(system)[0]
    victim.kill()
    reason = wait_until(lambda: unhealthy(system), "the death never showed in health")
    assert "persist-" in reason
    wait_until(lambda: healthy(system), "the pool did not heal")
    assert sorted(e["message"] for e in system.search("before")) == sorted(expected)
    deaths = system.http.get("/search/v1/status").json()["pool"]["deaths"]
    assert deaths
    system.ess("flush")
    assert sorted(e["message"] for e in system.search("before")) == sorted(expected)


@pytest.mark.slow
def test_a_persist_loop_that_dies_shows_in_health(new_system: Make) -> None:
    """Its process would live on: the log has lost an acknowledged record, which no retry brings back."""
    system = new_system()
    for number in range(40):
        system.push([{"message": f"acknowledged {number}"}])
    system.kill_everything()
    with closing(sqlite3.connect(system.data_dir / "log.sqlite")) as log, log:
        log.execute("DELETE FROM records WHERE id = (SELECT min(id) FROM records)")
    system.up()
    reason = wait_until(lambda: "loop died" in (found := unhealthy(system)) and found, "the dead loop never showed")
    assert "has lost records from offset" in reason
    _, page = system.try_search("acknowledged")
    assert not page["complete"]
    assert page["incomplete"]


def unhealthy(system: System) -> str:
    answer = system.http.get("/search/healthz")
    return "" if answer.status_code == 200 else str(answer.json()["detail"])


def kill_the_supervisor(system: System) -> None:
    (supervisor,) = wait_until(lambda: titled(system, "Supervisor"), "there is no supervisor")
    supervisor.kill()
    wait_until(lambda: not supervisor.is_running(), "the supervisor did not die")
    wait_until(lambda: healthy(system), "the supervisor did not come back")


def test_a_killed_supervisor_comes_back_each_time_and_keeps_the_pool(own_system: System) -> None:
    system = own_system
    system.push([{"message": "before the supervisor died"}])
    pool = {p.pid for p in persist_actors(system)}
    for _ in range(3):  # what it does after a restart must not depend on when Ray tells it of the restart
        kill_the_supervisor(system)
    assert {p.pid for p in persist_actors(system)} == pool
    system.push([{"message": "after the supervisor died"}])
    assert len(system.search("supervisor")) == 2
    victim = persist_actors(system)[0]
    victim.kill()
    wait_until(lambda: {p.pid for p in persist_actors(system)} - pool, "nobody watches the pool any more")
    wait_until(lambda: healthy(system), "the pool did not heal")
    assert len(system.search("supervisor")) == 2


def test_a_killed_log_comes_back_and_nothing_acknowledged_is_lost(own_system: System) -> None:
    system = own_system
    (log,) = titled(system, "LogActor")
    system.push([{"message": "number 0"}])
    log.kill()
    acknowledged = ["number 0"]
    for number in range(1, 40):
        answer = system.http.post("/push/v1/events", json=[{"message": f"number {number}"}])
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            acknowledged.append(f"number {number}")
        else:
            assert answer.headers["retry-after"]
    wait_until(lambda: healthy(system), "the log did not come back")
    system.push([{"message": "number 40"}])
    found = [e["message"] for e in system.search("number")]
    assert len(found) == len(set(found))
    assert {*acknowledged, "number 40"} <= set(found)
