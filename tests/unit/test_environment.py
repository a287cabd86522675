"""What one run gets for itself before Ray is imported."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ess_ray.adapters.private import is_private
from ess_ray.core.errors import CorruptData, Forbidden
from ess_ray.runtime import environment
from ess_ray.runtime.processes import RUN_FILE, RunFile, boot_id, read_run_file
from tests.users import NOBODY, root_only


def test_ports_are_out_of_the_kernels_reach(tmp_path: Path) -> None:
    """The kernel gives its own away for connections: one was taken before Ray's dashboard listened on it."""
    told = tmp_path / "ip_local_port_range"
    told.write_text("20040\t60999\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", environment.free_ports(1, told)[0]))
        found = environment.free_ports(20, told)
        assert taken.getsockname()[1] not in found
    assert len(set(found)) == 20
    assert all(20_000 <= port < 20_040 for port in found)


@pytest.mark.parametrize("told", ["1024 65535", "", None])
def test_without_such_ports_the_kernel_is_asked(told: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ip_local_port_range"
    if told is not None:
        file.write_text(told)
    assert len(set(environment.free_ports(20, file))) == 20


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


@pytest.mark.usefixtures("umask")
def test_what_a_run_executes_and_keeps_secret_is_its_users_alone(tmp_path: Path) -> None:
    dirs = environment.RunDirs(tmp_path / "run")
    dirs.private.mkdir(0o700)
    variables = environment.prepare(dirs)
    assert dirs.haproxy.stat().st_mode & 0o777 == 0o700
    assert Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"]).stat().st_mode & 0o777 == 0o700
    assert dirs.token.stat().st_mode & 0o777 == 0o600
    assert len(dirs.token.read_text()) == 64
    places = [Path(value) for name, value in variables.items() if value.startswith("/")]
    assert len(places) == 7
    assert all(dirs.private in place.parents for place in places), variables


@pytest.mark.usefixtures("umask")
def test_each_run_has_a_new_folder_and_only_such_a_one_is_removed(tmp_path: Path) -> None:
    dirs, others = environment.new_run_dirs(tmp_path), environment.new_run_dirs(tmp_path)
    assert dirs != others
    assert is_private(dirs.private)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    link = tmp_path / "ess-link"
    link.symlink_to(others.private)
    for kept in (elsewhere, link, Path(), Path("/"), others.private / "h", Path("ess-x")):
        environment.remove_run_dirs(environment.RunDirs(kept), tmp_path)
    others.private.chmod(0o755)
    environment.remove_run_dirs(others, tmp_path)
    environment.remove_run_dirs(dirs, tmp_path)
    environment.remove_run_dirs(dirs, tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["elsewhere", "ess-link", others.private.name])


def test_no_run_begins_where_others_can_rename_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Forbidden, match=r"chmod \+t"):
        environment.new_run_dirs(tmp_path)
    tmp_path.chmod(0o1777)
    assert is_private(environment.new_run_dirs(tmp_path).private)


RUN = RunFile(1, 2.5, "http://127.0.0.1:1", 1, "", "", boot_id(), "/tmp/ess-x")


def test_run_files_of_older_and_newer_versions_are_read(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    assert read_run_file(tmp_path) == RUN
    file = tmp_path / RUN_FILE
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "started_s": 2, "of_a_newer_version": [1]}))
    assert read_run_file(tmp_path) == replace(RUN, started_s=2)
    del told["run_dir"]
    file.write_text(json.dumps(told))
    assert read_run_file(tmp_path) == replace(RUN, run_dir="")


@pytest.mark.parametrize("damage", ['{"session_id": 1}', "[]", "null", '{"a', "\xff", "{run_dir}", "{session}"])
def test_a_damaged_run_file_is_named(tmp_path: Path, damage: str) -> None:
    RUN.write(tmp_path)
    file = tmp_path / RUN_FILE
    told = json.loads(file.read_text())
    wrong = {"{run_dir}": {**told, "run_dir": 7}, "{session}": {**told, "session_id": "1"}}
    file.write_text(json.dumps(wrong[damage]) if damage in wrong else damage, encoding="latin-1")
    with pytest.raises(CorruptData, match="then `rm "):
        read_run_file(tmp_path)


def test_a_run_file_that_somebody_else_put_there_is_not_believed(tmp_path: Path) -> None:
    """It names processes to end and a folder to remove."""
    root_only()
    RUN.write(tmp_path)
    os.chown(tmp_path / RUN_FILE, NOBODY, NOBODY)
    with pytest.raises(CorruptData, match="not of the owner"):
        read_run_file(tmp_path)
