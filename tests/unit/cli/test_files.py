"""Files that the user named and that cannot be written: one line that says what to do, in every command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ess_ray.cli import main
from ess_ray.cli.files import not_written
from ess_ray.core.errors import BadRequest
from ess_ray.runtime.processes import RUN_FILE
from tests.cli_contract import Contract, Ess

GENERATE = ("generate", "--events", "3")


@pytest.mark.parametrize("command", [GENERATE, ("export", "*", "--since", "all")], ids=["generate", "export"])
@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("nodir/x.csv", "mkdir -p nodir"),
        ("a_file/x.csv", "a_file is no folder"),
        ("x" * 300 + ".csv", "name is too long"),
        ("a_folder.csv", "is a directory"),
    ],
    ids=["no folder", "below a file", "too long", "a folder"],
)
def test_what_cannot_be_opened_is_one_line(
    ess: Ess, server: Contract, tmp_path: Path, command: tuple[str, ...], name: str, todo: str
) -> None:
    (tmp_path / "a_file").write_text("")
    (tmp_path / "a_folder.csv").mkdir()
    done = ess(*command, "--output", name)
    assert done.exit_code == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert todo in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file", "a_folder.csv", "data"]


def test_a_folder_that_bears_the_name_of_the_part_is_named(ess: Ess, tmp_path: Path) -> None:
    (tmp_path / "x.csv.part").mkdir()
    done = ess("export", "--since", "all", "--output", "x.csv")
    assert done.exit_code == 2
    assert "x.csv.part cannot be written: it is a folder" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_no_room_is_one_line(ess: Ess) -> None:
    done = ess("generate", "--events", "3", "--output", "/dev/full")
    assert done.exit_code == 1
    assert "/dev/full cannot be written: there is no room for it" in done.stderr


def test_a_device_is_written_and_not_replaced(ess: Ess, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.csv"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ess("export", "--since", "all", "--output", str(fifo)).exit_code == 0
        assert os.read(reader, 100) == b"level\nx\n"
    finally:
        os.close(reader)
    assert fifo.is_fifo()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOENT])
def test_what_may_not_be_written_says_what_to_do(code: int) -> None:
    error = not_written("folder/x.csv", OSError(code, os.strerror(code), "folder/x.csv"))
    assert isinstance(error, BadRequest)
    assert "\n" not in error.message
    assert "name" in error.message


def test_the_package_of_the_function_says_it_too(tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("")
    command = [sys.executable, "-m", "lambda_compat.package", "--output", str(tmp_path / "a_file" / "x.zip")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "is no folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_any_other_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / RUN_FILE).mkdir(parents=True)
    done = CliRunner().invoke(main, ["flush", "--data-dir", str(tmp_path / "data")])
    assert done.exit_code != 0
    assert done.stderr.startswith(f"Error: {tmp_path / 'data' / RUN_FILE}")
    assert len(done.stderr.splitlines()) == 1
