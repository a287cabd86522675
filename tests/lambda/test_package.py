"""The package: the same bytes each time, small enough, and all that a clean environment needs to run the function.

Needs a package index by name (pip), for x86-64 wheels: where there is none, or on another machine, it is skipped in
sight.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from lambda_compat.package import MAX_UNZIPPED_BYTES, PackageError, build_package, write_template
from tests.lambda_rigs import offsets, results, rig
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


async def test_it_runs_where_nothing_else_is(
    package: Path, tmp_path: Path, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    if platform.machine() != "x86_64":
        or_skip("the package is for x86-64")
    root, clean = tmp_path / "task", tmp_path / "clean"
    with zipfile.ZipFile(package) as zipped:
        zipped.extractall(root)
    venv.create(clean, with_pip=True)
    python = clean / "bin" / "python"
    fetched = subprocess.run([python, "-m", "pip", "install", "-q", "awslambdaric"], check=False, capture_output=True)
    if fetched.returncode:
        or_skip(f"awslambdaric cannot be fetched: {fetched.stderr.decode()}")
    seen = "import importlib.util as u, json; print(json.dumps([bool(u.find_spec(n)) for n in ['ray', 'pydantic', 'pyarrow']]))"
    told = subprocess.run([python, "-c", seen], env={"PYTHONPATH": str(root)}, check=True, capture_output=True).stdout
    assert json.loads(told) == [False, False, True]
    handler = "lambda_compat.handler.handler"
    folder = tmp_path / "data"
    folder.mkdir()
    with rig(folder, handler=handler, task_root=root, python=str(python)) as packaged, packaged.executor() as executor:
        found = await results(executor, packaged.tasks(make_events, t0_us, 4, Query()))
    assert offsets(found) == {number: [number] for number in range(4)}
    assert sys.executable != str(python)
