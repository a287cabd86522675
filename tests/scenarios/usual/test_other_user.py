"""What another user of the machine cannot do to a running system: read it, run code in it, or steer it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from ess_ray.settings.listeners import USUAL_PORTS
from tests.systems import System, titled, wait_until
from tests.users import as_nobody, root_only

METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.LogService/ListLogs",
    "/ray.serve.ASGIService/HandleRequest",
)
"""One of each service that Ray's processes listen for: some of them unpickle what they are sent."""


@pytest.fixture(scope="module")
def reachable(system: System) -> System:
    """The system in a place that others can come to: below pytest's own folders there is nothing to try."""
    root_only()
    system.push([{"message": "seen by nobody", "service": "other-user"}])
    system.ess("flush")
    return system


@pytest.fixture
def beside(reachable: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work beside the data directory, so that its parents' modes are not asked; gives its name from there."""
    parent = reachable.data_dir.parent
    parent.chmod(0o755)
    monkeypatch.chdir(parent)
    with as_nobody():
        assert os.listdir() == [reachable.data_dir.name]
    return Path(reachable.data_dir.name)


def refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except PermissionError:
        return True
    return False


def files_below(folder: Path) -> list[Path]:
    return [Path(at) / name for at, folders, names in os.walk(folder) for name in [*folders, *names]]


def can_touch(folder: Path, inside: list[Path]) -> list[str]:
    """Name what NOBODY could do with a folder or something in it."""
    actions: dict[str, Callable[[], object]] = {
        f"list {folder}": lambda: os.listdir(folder),
        f"enter {folder}": lambda: os.chdir(folder),
        f"write {folder}": (folder / "planted").touch,
        f"rename {folder}": lambda: folder.rename(f"{folder}.other"),
        f"chmod {folder}": lambda: folder.chmod(0o777),
        f"remove {folder}": folder.rmdir,
    }
    for one in inside:
        actions |= {
            f"look at {one}": one.lstat,
            f"read {one}": one.read_bytes,
            f"write {one}": lambda at=one: os.open(at, os.O_WRONLY | os.O_NONBLOCK),
            f"rename {one}": lambda at=one: at.rename(f"{at}.other"),
            f"link {one}": lambda at=one: os.link(at, "/tmp/ess-of-nobody"),
        }
    with as_nobody():
        return [name for name, action in actions.items() if not refused(action)]


def test_nobody_can_look_into_the_folders_or_change_them(reachable: System, beside: Path) -> None:
    run = reachable.run_dirs()
    seen = files_below(run.private)
    names = {each.name for each in seen}
    assert {"auth_token", "haproxy", "haproxy.cfg", "admin.sock", "plasma_store", "raylet"} <= names, names
    assert can_touch(run.private, seen) == []
    stored = files_below(beside)
    assert {"log.sqlite", "run.json", "system.log", "_delta_log"} <= {each.name for each in stored}
    assert can_touch(beside, stored) == []


def test_nobody_can_connect_to_a_socket(reachable: System) -> None:
    sockets = [each for each in files_below(reachable.run_dirs().private) if each.is_socket()]
    assert {"admin.sock", "plasma_store", "raylet"} <= {each.name for each in sockets}
    for each in sockets:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as mine, as_nobody():
                assert refused(lambda at=each, by=mine: by.connect(str(at))), each
    with open("/proc/net/unix") as table:
        abstract = [line for line in table if " @" in line and reachable.run_dirs().private.name in line]
    assert abstract == [], "these have no folder that guards them"


def test_without_the_token_no_port_runs_anything(reachable: System) -> None:
    """Loopback is every user's: what listens there asks for the token, or tells figures, or is the door for HTTP."""
    ports = {
        one.laddr.port
        for process in reachable.processes()
        if process.name() != "haproxy"  # HTTP for whoever has a key, and figures
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    } - set(USUAL_PORTS.values())  # doors for pushing, which run nothing
    guarded = 0
    dashboard = reachable.run_file()["dashboard_url"]
    with httpx.Client(trust_env=False) as http:  # a port does not ask who one is: only the token counts
        for port in ports:
            guarded += guarded_methods(port)
            with suppress(httpx.TransportError):  # it does not speak HTTP
                answer = http.post(f"http://127.0.0.1:{port}/get_or_create_runtime_env", content=b"")
                assert answer.status_code in (401, 404, 405), (port, answer.text)
        for path in ("/api/jobs/", "/api/v0/actors", "/api/serve/applications/", "/nodes?view=summary"):
            assert http.get(f"{dashboard}{path}").status_code == 401, path
        assert http.post(f"{dashboard}/api/jobs/", json={"entrypoint": "true"}).status_code == 401
    assert guarded >= 10, "the ports of Ray's processes were not tried"


def guarded_methods(port: int) -> int:
    """Call without a token what Ray's services know: none may answer; gives how many were refused for want of it."""
    guarded = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in METHODS:
            with pytest.raises(grpc.RpcError) as failed:
                channel.unary_unary(method)(b"", timeout=10)
            code = failed.value.code()
            if code is grpc.StatusCode.UNAVAILABLE:
                break  # it does not speak gRPC
            assert code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED), (port, method, code)
            guarded += code is grpc.StatusCode.UNAUTHENTICATED
    return guarded


def test_what_is_started_again_is_our_own_haproxy(reachable: System) -> None:
    """It was a script of whoever renamed its folder."""
    wrapper = reachable.run_dirs().haproxy
    with as_nobody():
        assert refused(lambda: wrapper.rename(wrapper.with_name("other")))

    def haproxies() -> list[psutil.Process]:
        return [process for process in titled(reachable, "haproxy.cfg") if "python" not in process.name()]

    old = haproxies()
    assert old
    replica = titled(reachable, "ServeReplica:push")[0]
    for process in (*old, replica):
        with suppress(psutil.NoSuchProcess):
            process.kill()

    def serves_again() -> bool:
        with suppress(httpx.TransportError):
            if {each.pid for each in haproxies()} - {each.pid for each in old}:
                healthy = [reachable.http.get(f"/{part}/healthz").status_code for part in ("push", "search")]
                return healthy == [200, 200] and len(titled(reachable, "ServeReplica:push")) > 1
        return False

    wait_until(serves_again, "it did not come back")
    assert {process.uids().real for process in haproxies()} == {0}
    reachable.push([{"message": "after the restart", "service": "other-user"}])
    assert len(reachable.search("service:other-user")) == 2
