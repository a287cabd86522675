"""`ess export` and `ess explain` over the real application: files, exit codes, what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.routing import Mount

from ess_ray.cli import main
from ess_ray.search.slices import SliceLimits
from tests.exports import World, app_of
from tests.http_server import serving

Ess = Callable[..., Result]


@pytest.fixture
def world(make_events: Callable[..., pa.Table], t0_us: int) -> World:
    objects = [make_events([t0_us + n * 1_000 + i for i in range(1_000)], first=n * 1_000) for n in range(4)]
    return World(objects, make_events([]), slices=SliceLimits(1 << 40, 1_500, 1_500, 1_500))


@pytest.fixture
def url(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    for name in [name for name in os.environ if name.startswith("ESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with serving(Starlette(routes=[Mount("/search", app_of(world))])) as address:
        yield address


@pytest.fixture
def ess(url: str) -> Ess:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--url", url], catch_exceptions=False)

    return run


@pytest.mark.parametrize("name", ["all.ndjson", "all.csv", "all.parquet", "all.CSV"])
def test_a_files_suffix_tells_its_format(ess: Ess, tmp_path: Path, name: str) -> None:
    done = ess("export", "*", "--since", "all", "--output", name)
    assert done.exit_code == 0, done.stderr
    file = tmp_path / name
    assert f"{file.stat().st_size:,} bytes" in done.stderr
    assert done.stdout == ""
    if name == "all.parquet":
        assert pq.read_table(file).column("offset").to_pylist() == list(range(3_999, -1, -1))
    else:
        assert len(file.read_text().splitlines()) == 4_000 + name.lower().endswith("csv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_standard_output_gets_ndjson_or_what_is_asked_for(ess: Ess) -> None:
    done = ess("export", "message", "--since", "all", "--order", "oldest")
    assert [json.loads(line)["offset"] for line in done.stdout.splitlines()] == list(range(4_000))
    assert "4,000 events to -" in done.stderr
    assert ess("export", "--since", "all", "--format", "csv").stdout.startswith('"timestamp","observed_timestamp"')


def test_csv_has_the_columns_that_are_named(ess: Ess, tmp_path: Path) -> None:
    columns = ("--column", "message", "--column", "level")
    done = ess("export", "--since", "all", "--format", "csv", *columns)
    assert done.stdout.splitlines()[0] == '"message","level"'
    refused = ess("export", "--since", "all", *columns)
    assert refused.exit_code == 2
    assert "--column is for CSV" in refused.stderr


def test_the_given_format_comes_before_the_suffix_and_one_is_needed(ess: Ess, tmp_path: Path) -> None:
    assert ess("export", "--since", "all", "--format", "csv", "--output", "all.txt").exit_code == 0
    assert (tmp_path / "all.txt").read_text().startswith('"timestamp"')
    done = ess("export", "--output", "all.xlsx")
    assert done.exit_code == 2
    assert "--format" in done.stderr


def test_an_export_that_is_broken_off_has_no_file(ess: Ess, world: World, tmp_path: Path) -> None:
    oldest = min(world.entries, key=lambda entry: entry.min_us)
    world.store.put(oldest.key, b"damaged" * 100)
    done = ess("export", "--since", "all", "--output", "all.ndjson")
    assert done.exit_code == 1
    assert "broke its answer off" in done.stderr
    assert f"object {oldest.key} cannot be read" in done.stderr, "and why"
    assert "what came is in all.ndjson.part" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["all.ndjson.part"]
    assert 0 < len((tmp_path / "all.ndjson.part").read_bytes().splitlines()) < 4_000


def test_what_is_wrong_is_told_as_of_a_search(ess: Ess, tmp_path: Path) -> None:
    for command in ("export", "explain"):
        done = ess(command, "a AND (b")
        assert done.exit_code == 2
        lines = done.stderr.splitlines()
        assert lines[1][lines[2].index("^")] == "("
    assert ess("export", "--since", "whenever").exit_code == 2
    assert ess("export", "--executor", "lambda").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_failure(url: str) -> None:
    command = [sys.executable, "-m", "ess_ray.cli", "export", "--since", "all", "--url", url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) == 0
        assert b"Error" not in process.stderr.read()


def test_a_plan_is_shown(ess: Ess) -> None:
    done = ess("explain", "timeout level:ERROR", "--since", "all")
    assert done.exit_code == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert 'query message contains "timeout" (any case) AND level is "ERROR" (any case)' in shown
    assert "objects total 4" in shown
    assert "complete yes" in shown
    assert "lambda" not in shown, "there is no function"
    told = json.loads(ess("explain", "--since", "all", "--json").stdout)
    assert (told["objects"], told["lambda"], told["query"]) == (4, None, "everything")
