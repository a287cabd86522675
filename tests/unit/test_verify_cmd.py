"""`ess verify` as a command on a data directory: exit codes 0, 1 and 2, what it prints, and `--json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from ess_ray.adapters.places import DEAD_LETTERS, EVENTS, LOG, Places
from ess_ray.adapters.sqlite_file import LogFile
from ess_ray.cli import main
from ess_ray.core.chunk import OffsetRange, encode_object
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, ObjectEntry, vnode_advances

HOUR_US = 3_600_000_000
T0_US = 1_790_000_000_000_000 // HOUR_US * HOUR_US


class DataDir:
    """A data directory of one object of ten events, as a system leaves it, and the command on it."""

    def __init__(self, folder: Path, make: Callable[..., pa.Table]) -> None:
        self.folder, self.places = folder, Places(folder)
        self.make = make
        self.entry = self.put(0)
        self.places.catalog().writer().commit([self.entry], [], vnode_advances("log", {0: Advance(0, 10)}))

    def put(self, hour: int) -> ObjectEntry:
        rows = self.make([T0_US + hour * HOUR_US + number for number in range(10)])
        entry = entry_of(Sealed("default", sealed := encode_object(rows, [OffsetRange("log", 0, 0, 10)])), T0_US)
        self.places.store(EVENTS).put(entry.key, sealed.data)
        return entry

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["verify", "--data-dir", str(self.folder), *arguments])

    def told(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = self.run("--json", *arguments)
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def data_dir(tmp_path: Path, make_events: Callable[..., pa.Table]) -> DataDir:
    return DataDir(tmp_path, make_events)


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_all_right_ends_with_0(data_dir: DataDir, deep: tuple[str, ...]) -> None:
    done = data_dir.run(*deep)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1 objects of table version")
    assert done.stdout.endswith("all is right\n")
    code, told = data_dir.told(*deep)
    assert (code, told["right"], told["deep"], told["problems"]) == (0, True, bool(deep), [])
    assert (told["objects"], told["rows"], told["bytes"]) == (1, 10, data_dir.entry.size)


def test_what_is_wrong_is_named_and_ends_with_1(data_dir: DataDir) -> None:
    (data_dir.folder / EVENTS / data_dir.entry.key).unlink()
    done = data_dir.run()
    assert done.exit_code == 1
    assert f"missing: {data_dir.entry.key}: the store has no such object" in done.stdout
    assert "what to do: restore it" in done.stdout
    assert done.stdout.endswith("1 problems\n")
    code, told = data_dir.told()
    assert (code, told["right"]) == (1, False)
    (problem,) = told["problems"]
    assert problem.keys() == {"check", "where", "found", "advice"}
    assert (problem["check"], problem["where"]) == ("missing", data_dir.entry.key)


def test_only_deep_reads_rows(data_dir: DataDir) -> None:
    data_dir.places.catalog().writer().commit([data_dir.put(7)], [], {})
    assert data_dir.told()[0] == 0
    code, told = data_dir.told("--deep")
    assert (code, [problem["check"] for problem in told["problems"]]) == (1, ["doubled"])


def test_tenant_and_time_narrow_it(data_dir: DataDir) -> None:
    assert data_dir.told("--tenant", "other")[1]["objects"] == 0
    assert data_dir.told("--tenant", "default", "--since", "all")[1]["objects"] == 1
    assert data_dir.told("--since", str(T0_US // 1_000_000 + 3_600))[1]["objects"] == 0
    assert data_dir.told("--since", str(T0_US // 1_000_000 - 3_600))[1]["objects"] == 1


@pytest.mark.parametrize(
    "wrong", [("--tenant", "Not A Tenant"), ("--since", "the day before"), ("--no-such-option",), ("an argument",)]
)
def test_usage_ends_with_2(data_dir: DataDir, wrong: tuple[str, ...]) -> None:
    done = data_dir.run(*wrong)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""


def test_a_folder_without_a_table_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["verify", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "--data-dir" in done.stderr


def test_the_log_beside_it_is_compared(data_dir: DataDir) -> None:
    """A new log with a table of another one: nothing of the new one is stored, and nothing is wrong."""
    log = LogFile(data_dir.folder / LOG, 2)
    log_id = log.log_id
    log.close()
    assert data_dir.told()[1]["not_stored"] == 0
    data_dir.places.catalog().writer().commit([], [], vnode_advances(log_id, {1: Advance(0, 5)}))
    code, told = data_dir.told()
    (problem,) = told["problems"]
    assert (code, problem["check"]) == (1, "log end")
    assert problem["where"] == f"log {log_id}, virtual node 1"


def test_people_get_the_first_problems_and_programs_all(data_dir: DataDir) -> None:
    gone = [replace(data_dir.entry, key=data_dir.entry.key.replace("-f", f"-{number}-f", 1)) for number in range(60)]
    data_dir.places.catalog().writer().commit(gone, [], vnode_advances("log", {0: Advance(10, 15)}))
    data_dir.places.store(DEAD_LETTERS).put("0-1", b"x")
    unreferenced = data_dir.put(7)
    done = data_dir.run()
    assert done.exit_code == 1
    assert done.stdout.count("what to do") == 50
    assert "and 10 more: see --json" in done.stdout
    assert "1 records could not be decoded" in done.stderr
    assert (
        "0 objects (0 bytes) are in no table version for over a day: maintenance deletes them; 1 for less"
        in done.stderr
    )
    assert "5 offsets held nothing to store" in done.stderr
    told = data_dir.told()[1]
    assert len(told["problems"]) == 60
    assert unreferenced.key not in str(told["problems"])
    assert told["uncovered"] == [{"log_id": "log", "vnode": 0, "first": 10, "end": 15}]
