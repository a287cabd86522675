"""The package: the same bytes each time, small enough, and all that a clean environment needs to run the function.

Wheels are those that are installed here; where they are not for x86-64 Linux a package index is needed, and what cannot
run is skipped in sight.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.ports import ObjectEntry
from ess_ray.testing import HereExecutor
from lambda_compat.package import MAX_UNZIPPED_BYTES, build_package, our_files, write_template, write_zip
from lambda_compat.wheels import RUNTIME, WHEELS, PackageError, fetched_files, installed_files, requirements
from tests.lambda_golden import QUERIES, answer, store_objects
from tests.lambda_rigs import ROOT, Rig, need_runtime_client, rig
from tests.servers import or_skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "scan.zip"
    try:
        size = build_package(path)
    except PackageError as error:
        or_skip(str(error))
    assert size < MAX_UNZIPPED_BYTES * 0.85
    return path


@pytest.fixture(scope="module")
def task_root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64":
        or_skip("the package is for x86-64")
    root = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package) as zipped:
        zipped.extractall(root)
    return root


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has AWS's runtime client, and nothing else."""
    need_runtime_client()
    root = tmp_path_factory.mktemp("clean")
    venv.create(root, symlinks=True)
    (packages,) = root.glob("lib/python3*/site-packages")
    for name in RUNTIME:
        files = installed_files(name)
        assert files is not None, f"{name} is not installed as its wheel says"
        for path, content in files:
            (packages / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(content, packages / path)
    return root / "bin" / "python"


@pytest.fixture(scope="module")
def packaged(clean_python: Path, task_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The function as Lambda would run it, from the package alone."""
    handler, folder = "lambda_compat.handler.handler", tmp_path_factory.mktemp("packaged")
    with rig(folder, handler=handler, task_root=task_root, python=str(clean_python), concurrency=2) as running:
        yield running


def test_an_entry_tells_nothing_of_when_and_where_it_was_made(package: Path) -> None:
    with zipfile.ZipFile(package) as zipped:
        entries = zipped.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {(entry.date_time, entry.external_attr, entry.create_system, entry.extra) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o755 << 16, 3, b"")
    }
    assert {name.split("/")[0] for name in names}.isdisjoint({"ray", "pydantic", "boto3", "tests", "deployments"})


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    files = dict(our_files())
    write_zip(tmp_path / "one.zip", files)
    elsewhere = {}
    for number, (name, path) in enumerate(reversed(files.items())):
        copy = tmp_path / f"{number}.copy"
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
        os.utime(copy, (number, number))
        elsewhere[name] = copy
    write_zip(tmp_path / "other.zip", elsewhere)
    assert (tmp_path / "other.zip").read_bytes() == (tmp_path / "one.zip").read_bytes()


def test_a_wheel_that_is_installed_has_the_files_of_one_that_is_fetched(tmp_path: Path) -> None:
    here = installed_files("typing-extensions")
    assert here is not None
    try:
        fetched = list(fetched_files(["typing-extensions"], tmp_path))
    except PackageError as error:
        or_skip(str(error))
    assert {name: path.read_bytes() for name, path in fetched} == {name: path.read_bytes() for name, path in here}


def test_an_installed_file_that_was_altered_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = installed_files("typing-extensions")
    assert here is not None
    root = here[0][1].parents[len(Path(here[0][0]).parts) - 1]
    for path in [*root.glob("typing_extensions-*.dist-info/*"), root / "typing_extensions.py"]:
        if path.is_file():
            (tmp_path / path.relative_to(root)).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, tmp_path / path.relative_to(root))
    monkeypatch.syspath_prepend(str(tmp_path))
    with (tmp_path / "typing_extensions.py").open("a") as module:
        module.write("# altered")
    assert installed_files("typing-extensions") is None


def test_the_template_points_at_the_package(tmp_path: Path) -> None:
    text = write_template(tmp_path / "build.zip").read_text()
    assert "CodeUri: build.zip" in text
    cfnlint = pytest.importorskip("cfnlint")
    found = cfnlint.lint(text)
    assert not found, [str(each) for each in found]


def test_the_container_gets_what_the_lock_pins() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    lock += "".join(
        f"{name}==1.0 \\\n    --hash=sha256:00\n    # via x\n" for name in RUNTIME if f"\n{name}==" not in lock
    )
    told = requirements(lock)
    assert {line.partition("==")[0] for line in told.splitlines() if not line.startswith(" ")} == {*WHEELS, *RUNTIME}
    assert "#" not in told
    with pytest.raises(PackageError, match="pyarrow"):
        requirements(lock.replace("\npyarrow==", "\npyarrow-of-old=="))


def test_what_can_be_imported_there(clean_python: Path, task_root: Path) -> None:
    names = ("ray", "pydantic", "boto3", "pytest", "lambda_compat.package", "pyarrow", "lambda_compat.handler")
    program = (
        "import importlib, sys\nfor name in sys.argv[1:]:\n try:\n  importlib.import_module(name)\n  print(name)\n"
    )
    program += " except ModuleNotFoundError:\n  pass\n"
    environment = {"PYTHONPATH": str(task_root), "TABLE_URL": "file:///a", "ANSWERS_URL": "file:///b"}
    command = [str(clean_python), "-c", program, *names]
    done = subprocess.run(command, check=True, env=environment, cwd=task_root, capture_output=True, text=True)
    assert done.stdout.split() == ["pyarrow", "lambda_compat.handler"]


async def test_the_golden_cases_over_the_package(
    packaged: Rig, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    entries: list[ObjectEntry] = store_objects(packaged, make_events, t0_us)
    with packaged.executor(cap=2) as executor:
        for text in QUERIES:
            for query in (Query(parse(text), limit=10_000), Query(parse(text), limit=20, order="oldest")):
                expected = await answer(HereExecutor(packaged.store), query, entries)
                assert (await answer(executor, query, entries)).equals(expected), (text, query.limit)
