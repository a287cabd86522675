"""What a cluster of several nodes is refused, and what its nodes are started with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ess_ray.adapters.private import is_private
from ess_ray.core.errors import BadRequest, Forbidden
from ess_ray.keys import KeyBook
from ess_ray.runtime.environment import node_variables
from ess_ray.settings import load
from ess_ray.testing import MemoryObjectStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Ray's own, at import
    from ray.serve.schema import ServeDeploySchema

    from deployments import cluster

ROOT = Path(__file__).parents[2]
SHARED = {
    "log": {"brokers": "kafka:9092"},
    "store": {"bucket": "events"},
    "results": {"redis_url": "redis://redis:6379/0"},
}


def test_everything_that_lies_on_one_machine_is_named() -> None:
    with pytest.raises(BadRequest) as refused:
        cluster.check_shared(load())
    for name in ("log.brokers", "store.bucket", "results.redis_url", "ESS_RESULTS__REDIS_URL"):
        assert name in refused.value.message


@pytest.mark.parametrize("missing", SHARED)
def test_one_missing_place_is_enough(missing: str) -> None:
    with pytest.raises(BadRequest, match=missing):
        cluster.check_shared(load(**{name: given for name, given in SHARED.items() if name != missing}))
    cluster.check_shared(load(**SHARED))


def test_without_a_key_nobody_is_let_in() -> None:
    book = KeyBook(MemoryObjectStore(lambda: 0))
    with pytest.raises(BadRequest, match="ess keys create"):
        cluster.check_keys(book)
    book.create("default", ("push",), "")
    cluster.check_keys(book)


def test_serve_accepts_the_config_and_finds_the_builders() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "infra/ray/serve.yaml").read_text()))
    assert [application.name for application in config.applications] == ["push", "search", "ui"]
    for application in config.applications:
        module, _, name = application.import_path.partition(":")
        assert module == cluster.__name__
        assert callable(getattr(cluster, name))
        assert application.route_prefix == ("/" if application.name == "ui" else f"/{application.name}")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A node's own folder in a home; what it remembers in /tmp goes with it."""
    folder = tmp_path / ".ess"
    yield folder
    for file in folder.glob("node-*"):
        shutil.rmtree(file.read_text().strip(), ignore_errors=True)


def test_a_shell_reads_the_variables_of_a_node(tmp_path: Path, home: Path) -> None:
    script = f'v=$("{sys.executable}" -m ess_ray.runtime.environment) && eval "$v" && env'
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    variables = node_variables(home)
    assert variables["RAY_AUTH_MODE"] == "token"
    assert {f"{name}={value}" for name, value in variables.items()} <= set(done.stdout.splitlines())
    wrapper = Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"])
    assert os.access(wrapper, os.X_OK)


def test_haproxy_tells_its_figures_on_loopback_alone_and_serves_where_it_is_told(tmp_path: Path, home: Path) -> None:
    wrapper = node_variables(home)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    config = tmp_path / "haproxy.cfg"
    binds = {"frontend prometheus": ":9101", "frontend http_frontend": "*:8000", "listen stats": "*:8404"}
    waits = "".join(f"    timeout {what} 1s\n" for what in ("connect", "client", "server"))
    sections = "".join(f"{section}\n  bind {bind}\n" for section, bind in binds.items())
    config.write_text(f"defaults\n    mode http\n{waits}{sections}")
    done = subprocess.run([wrapper, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.split()[1] for line in config.read_text().splitlines() if "bind" in line]
    assert found == ["127.0.0.1:9101", "*:8000", "127.0.0.1:8404"]


def test_a_nodes_files_lie_where_nobody_else_comes_and_socket_paths_fit(home: Path) -> None:
    variables = node_variables(home)
    folder = Path(variables["RAY_TMPDIR"])
    assert is_private(home)
    assert is_private(folder)
    files = {name: Path(value) for name, value in variables.items() if "HAPROXY" in name and "/" in value}
    assert len(files) == 6
    assert all(folder in file.parents for file in files.values()), files
    socket_path = files["RAY_SERVE_HAPROXY_SOCKET_PATH"]
    assert len(str(socket_path.parent / ("0" * 56) / socket_path.name)) <= 97
    assert len(f"{folder}/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store") <= 103
    assert node_variables(home) == variables, "the same folder is taken again"


def test_a_nodes_folder_that_is_not_its_own_any_more_is_not_used(home: Path) -> None:
    folder = Path(node_variables(home)["RAY_TMPDIR"])
    folder.chmod(0o777)
    try:
        assert node_variables(home)["RAY_TMPDIR"] != str(folder)
    finally:
        shutil.rmtree(folder)


def test_nothing_is_run_from_a_home_that_others_can_write_to(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(Forbidden, match="chmod go-w"):
        node_variables(shared / ".ess")
    script = [sys.executable, "-m", "ess_ray.runtime.environment"]
    environment = {**os.environ, "HOME": str(shared), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ess: nothing may be run from")


@pytest.mark.parametrize("file", ["cluster.yaml", "infra/ray/local.yaml"])
def test_every_node_is_started_with_them(file: str) -> None:
    config = yaml.safe_load((ROOT / file).read_text())
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in config[part] if "ray start" in command]
        assert 'v=$(python3 -m ess_ray.runtime.environment) && eval "$v" &&' in start
        assert part.startswith("head") or start.endswith('--temp-dir="$RAY_TMPDIR/ray"')
