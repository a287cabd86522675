"""The package: the same bytes each time, small enough, and all that a clean environment needs to run the function.

Needs a package index by name (pip), for x86-64 wheels: where there is none, or on another machine, it is skipped in
sight.
"""

from __future__ import annotations

import platform
import subprocess
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from ess_ray.language import parse
from lambda_compat.package import MAX_UNZIPPED_BYTES, PackageError, build_package, write_template
from tests.lambda_rigs import Here, offsets, results, rig
from tests.servers import or_skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "scan.zip"
    try:
        size = build_package(path)
    except PackageError as error:
        or_skip(str(error))
    assert size < MAX_UNZIPPED_BYTES * 0.8
    return path


def test_the_same_bytes_each_time(package: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    build_package(again)
    assert again.read_bytes() == package.read_bytes()
    names = zipfile.ZipFile(package).namelist()
    assert not [name for name in names if name.split("/")[0] in ("ray", "pydantic", "boto3", "tests")]


def test_the_template_points_at_the_package(package: Path) -> None:
    text = write_template(package).read_text()
    assert f"CodeUri: {package.name}" in text
    cfnlint = pytest.importorskip("cfnlint")
    found = cfnlint.lint(text)
    assert not found, [str(each) for each in found]


@pytest.fixture
def clean_python(tmp_path: Path) -> Path:
    """An interpreter that has AWS's runtime client, and nothing else."""
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    fetched = subprocess.run([python, "-m", "pip", "install", "-q", "awslambdaric"], check=False, capture_output=True)
    if fetched.returncode:
        or_skip(f"awslambdaric cannot be fetched: {fetched.stderr.decode()}")
    return python


@pytest.fixture
def task_root(package: Path, tmp_path: Path) -> Path:
    if platform.machine() != "x86_64":
        or_skip("the package is for x86-64")
    with zipfile.ZipFile(package) as zipped:
        zipped.extractall(tmp_path / "task")
    return tmp_path / "task"


@pytest.mark.parametrize(
    ("name", "there"), [("ray", False), ("pydantic", False), ("lambda_compat.package", False), ("pyarrow", True)]
)
def test_what_can_be_imported_there(clean_python: Path, task_root: Path, name: str, there: bool) -> None:
    command = [clean_python, "-c", f"import {name}"]
    done = subprocess.run(command, check=False, env={"PYTHONPATH": str(task_root)}, capture_output=True)
    assert (done.returncode == 0) is there, done.stderr.decode()


async def test_it_runs_where_nothing_else_is(
    clean_python: Path, task_root: Path, tmp_path: Path, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    handler = "lambda_compat.handler.handler"
    folder = tmp_path / "data"
    folder.mkdir()
    packed = rig(folder, handler=handler, task_root=task_root, python=str(clean_python))
    with packed as packaged, packaged.executor() as executor:
        for text in ("", "message", '"message 0"', r"/mess.*0/i", "vnode:0", "NOT x*y"):
            tasks = packaged.tasks(make_events, t0_us, 4, Query(parse(text)))
            assert offsets(await results(executor, tasks)) == offsets(await results(Here(packaged.store), tasks))
