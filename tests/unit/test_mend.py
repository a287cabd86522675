"""Damage of the files that a system stands on, as a table: a start heals it and says so, or names file and remedy.

In no row may an acknowledged event be lost without a word: it is in the table, or in the log, or the start refuses.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from deployments.main import alone
from ess_ray.adapters.places import DELETIONS, EVENTS, KEYS, LOG, POOL, Places
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.cli import main
from ess_ray.core.errors import Conflict, CorruptData, Unavailable
from ess_ray.core.query import All, Query
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.keys import KeyBook
from ess_ray.limits import WriterLimits
from ess_ray.pool import PoolSize
from ess_ray.ports import ScanTask
from ess_ray.record import decode_record, encode_records
from ess_ray.runtime.processes import RUN_FILE, read_run_file
from ess_ray.search.scan import run_task
from ess_ray.table.deletion_book import DeletionBook
from ess_ray.table.mend import heal, look
from tests.damages import DAMAGES, flipped
from tests.worlds import T0_US, batch_of

VNODES = 2
STORED, LATE = 6, 3
"""Events that are in the table, each by a commit of its own; and those that only the log's -wal has."""
CHECKPOINT_AT = 4

_LEAVE = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.unit.test_mend import fill
asyncio.run(fill(Path(sys.argv[1])))
os.kill(os.getpid(), signal.SIGKILL)
"""


async def fill(folder: Path) -> None:
    """What a system leaves that was killed: stored events, a checkpoint between them, and events in the log alone."""
    places = Places(folder)
    log = SqliteLog(folder / LOG, VNODES)
    writer = writer_on(places, log)
    await writer.assign(range(VNODES))
    for number in range(STORED + LATE):
        await log.append(encode_records(batch_of([f"m{number}"], [None], 0, T0_US), number % VNODES, "default"))
        if number < STORED:
            await writer.poll()
            await writer.flush()
        if number == CHECKPOINT_AT:
            places.catalog().checkpoint(every=1)


def writer_on(places: Places, log: SqliteLog) -> VnodeWriter:
    return VnodeWriter(
        log,
        places.catalog(),
        places.store(EVENTS),
        decode=decode_record,
        dead_letter=lambda vnode, record, reason: pytest.fail(reason),
        clock_us=lambda: T0_US,
        limits=WriterLimits(),
    )


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left") / "data"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _LEAVE, str(folder)], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    KeyBook(Places(folder).store(KEYS)).create("default", ["push"])
    PoolSize(Places(folder).store(POOL), 2).write(3)
    return folder


@pytest.fixture
def data_dir(left: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(left, tmp_path / "data"))


def start(data_dir: Path) -> list[str]:
    """What a start does with the files before anything runs."""
    return heal(Places(data_dir), data_dir / LOG)


def events_after_start(data_dir: Path) -> list[str]:
    """Take over, read, store, and give what a search of the table finds."""

    async def carry_on() -> None:
        log = SqliteLog(data_dir / LOG, VNODES)
        try:
            writer = writer_on(Places(data_dir), log)
            await writer.assign(range(VNODES))
            while await writer.poll():
                pass
            await writer.flush()
            assert writer.gaps == []
        finally:
            log.close()

    asyncio.run(carry_on())
    places = Places(data_dir)
    entries = places.catalog().snapshot().objects(None, None, None)
    result = run_task(places.store(EVENTS), ScanTask("default", Query(All(), limit=1000), tuple(entries)))
    assert result.failed == ()
    return sorted(result.partial.table.column("message").to_pylist())


ALL = sorted(f"m{number}" for number in range(STORED + LATE))


def test_what_is_whole_starts_without_a_word(data_dir: Path) -> None:
    assert list(look(Places(data_dir), data_dir / LOG)) == []
    assert start(data_dir) == []
    assert events_after_start(data_dir) == ALL


def log_file(name: str) -> str:
    return f"{EVENTS}/_delta_log/{name}"


def newest(data_dir: Path) -> str:
    return log_file(max(path.name for path in (data_dir / EVENTS / "_delta_log").glob("*.json")))


def checkpoint(data_dir: Path) -> str:
    (found,) = (data_dir / EVENTS / "_delta_log").glob("*.parquet")
    return log_file(found.name)


def after_checkpoint(data_dir: Path) -> str:
    version = int(Path(checkpoint(data_dir)).name[:20])
    return log_file(f"{version + 1:020d}.json")


def before_checkpoint(data_dir: Path) -> str:
    version = int(Path(checkpoint(data_dir)).name[:20])
    return log_file(f"{version - 1:020d}.json")


def key(data_dir: Path) -> str:
    (found,) = (data_dir / KEYS).iterdir()
    return f"{KEYS}/{found.name}"


@dataclass(frozen=True)
class Row:
    """A file, and what its damage leads to; `told`: whether healing it is worth a word."""

    file: str | Callable[[Path], str]
    heals: bool
    told: bool = True
    but: tuple[str, ...] = ()
    """Ways of damage that lead to the opposite."""

    def path(self, data_dir: Path) -> Path:
        return data_dir / (self.file if isinstance(self.file, str) else self.file(data_dir))


ROWS = {
    "the pointer": Row(log_file("_last_checkpoint"), heals=True),
    "the checkpoint": Row(checkpoint, heals=True),
    "a commit that a checkpoint covers": Row(before_checkpoint, heals=True, told=False),
    "a commit after the checkpoint": Row(after_checkpoint, heals=False),
    "the newest commit, which the log was trimmed after": Row(newest, heals=False),
    "the log": Row(LOG, heals=False),
    "the log's WAL": Row(f"{LOG}-wal", heals=False),
    "the WAL's index": Row(f"{LOG}-shm", heals=True, told=False),
    "the log's lock": Row(f"{LOG}.lock", heals=True, told=False),
    "the pool's size": Row(f"{POOL}/size.json", heals=True),
    "a key": Row(key, heals=True),
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ROWS)
def test_a_start_heals_it_and_says_so_or_names_file_and_remedy(data_dir: Path, name: str, how: str) -> None:
    row = ROWS[name]
    path = row.path(data_dir)
    DAMAGES[how](path)
    told = row.told and how != "missing"
    found = [
        one for one in look(Places(data_dir), data_dir / LOG) if path.name in str(one) or path.parent.name in one.file
    ]
    if row.heals:
        assert bool(found) == (told or (how, name) == ("missing", "the checkpoint"))
        said = start(data_dir)
        assert bool(said) == bool(found), said
        assert all("healed" in one or "ess keys revoke" in one or "ess pool --actors" in one for one in said)
        assert events_after_start(data_dir) == ALL
        return
    verified = CliRunner().invoke(main, ["verify", "--data-dir", str(data_dir)])
    assert verified.exit_code == 1, verified.output
    for _ in range(2):  # a look changes nothing
        with pytest.raises(CorruptData) as refused:
            start(data_dir)
        assert str(data_dir) in refused.value.message
        assert "restore" in refused.value.message
        if how != "missing":
            assert path.name in refused.value.message
            assert path.name in verified.output


@pytest.mark.parametrize("how", [how for how in DAMAGES if how != "missing"])
def test_a_newest_commit_that_nothing_rests_on_is_put_aside(data_dir: Path, how: str) -> None:
    """Killed between commit and fsync: nothing was acknowledged for it, and the log still has its events."""

    async def commit_without_trimming() -> None:
        log = SqliteLog(data_dir / LOG, VNODES)
        writer = writer_on(Places(data_dir), log)
        await writer.assign(range(VNODES))
        while await writer.poll():
            pass

        async def not_reached(stored: object) -> None:
            return

        log.committed = not_reached  # type: ignore[method-assign]
        await writer.flush()
        log.close()

    asyncio.run(commit_without_trimming())
    path = data_dir / newest(data_dir)
    DAMAGES[how](path)
    (said,) = start(data_dir)
    assert path.name in said
    assert "healed" in said
    assert not path.exists()
    assert len(list((data_dir / EVENTS / "_damaged").iterdir())) == 1
    assert events_after_start(data_dir) == ALL


def test_a_log_that_is_not_there_is_told_and_begun_anew(data_dir: Path) -> None:
    for path in data_dir.glob(f"{LOG}*"):
        path.unlink()
    (said,) = start(data_dir)
    assert "a new one begins" in said


def test_a_copy_without_log_and_newest_commits_loses_no_object(data_dir: Path) -> None:
    """Nothing names such objects any more: they would be deleted as garbage."""
    for path in [*data_dir.glob(f"{LOG}*"), data_dir / newest(data_dir)]:
        path.unlink()
    stored = {path.name for path in (data_dir / EVENTS).rglob("tenant=*/**/*.parquet")}
    begun, aside = start(data_dir)
    assert "a new one begins" in begun
    assert "1 objects" in aside
    assert "healed" in aside
    assert str(data_dir / EVENTS / "_delta_log") in aside
    put_aside = {path.name for path in (data_dir / EVENTS / "_damaged").rglob("*.parquet")}
    assert len(put_aside) == 1
    assert put_aside < stored
    (again,) = start(data_dir)
    assert again == begun


@pytest.mark.parametrize("logs", [True, False], ids=["with the log", "without the log"])
@pytest.mark.parametrize("emptied", [True, False], ids=["emptied", "missing"])
def test_objects_without_the_tables_log_are_no_empty_system(data_dir: Path, logs: bool, emptied: bool) -> None:
    """A copy that ended before its end, or that left the folder out: a new table would have them deleted."""
    shutil.rmtree(data_dir / EVENTS / "_delta_log")
    if emptied:
        (data_dir / EVENTS / "_delta_log").mkdir()
    for path in data_dir.glob(f"{LOG}*"):
        if not logs:
            path.unlink()
    for tell in (start, lambda at: [str(one) for one in look(Places(at), at / LOG)]):
        try:
            (said, *_) = tell(data_dir)
        except CorruptData as refused:
            said = refused.message
        assert f"{EVENTS}/_delta_log: it is missing or empty, though {STORED} objects lie beside it: restore it" in said
    with pytest.raises(CorruptData):
        start(data_dir)


@pytest.mark.parametrize("file", [newest, after_checkpoint, checkpoint])
def test_a_file_of_the_table_that_the_disk_does_not_give_is_named(data_dir: Path, file: Callable[[Path], str]) -> None:
    """As a folder in its place, which root cannot read either, or a bad sector."""
    path = data_dir / file(data_dir)
    path.unlink()
    path.mkdir()
    (found,) = look(Places(data_dir), data_dir / LOG)
    assert path.name in str(found)
    assert "cannot be read (" in str(found) or file is checkpoint  # Arrow has words of its own
    if file is checkpoint:
        (said,) = start(data_dir)
        assert "healed" in said
        assert events_after_start(data_dir) == ALL
    else:
        with pytest.raises(CorruptData, match=path.name):
            start(data_dir)


@pytest.mark.parametrize("told", [b'numRecords\\": ', b'"version":', b'timestamp\\": \\"2'])
def test_a_commit_that_says_something_else_is_named(data_dir: Path, told: bytes) -> None:
    """One bit of a digit: events that nobody stored would be skipped, or an object not be looked at."""
    path = data_dir / newest(data_dir)
    data = path.read_bytes()
    path.write_bytes(flipped(data, 8 * (data.index(told) + len(told))))
    with pytest.raises(CorruptData, match=path.name):
        start(data_dir)


@pytest.mark.parametrize("how", [how for how in DAMAGES if how != "missing"])
def test_a_damaged_deletion_is_told(data_dir: Path, how: str) -> None:
    """It was acknowledged, and is never done: a start that says nothing would have it forgotten."""
    made = DeletionBook(Places(data_dir).store(DELETIONS)).create("default", "m1", None, None)
    assert start(data_dir) == []
    DAMAGES[how](data_dir / DELETIONS / f"{made.id}.json")
    (found,) = look(Places(data_dir), data_dir / LOG)
    (said,) = start(data_dir)
    assert said == str(found)
    assert made.id in said
    assert "ask for the deletion again" in said
    assert events_after_start(data_dir) == ALL


def test_an_empty_log_of_an_interrupted_first_start_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b"")
    (said,) = start(tmp_path)
    assert "healed" in said
    assert not (tmp_path / LOG).exists()


def test_nothing_at_all_is_no_damage(tmp_path: Path) -> None:
    assert start(tmp_path / "new") == []
    assert list(look(Places(tmp_path / "new"), tmp_path / "new" / LOG)) == []


def test_a_running_systems_log_is_left_to_it(data_dir: Path) -> None:
    log = SqliteLog(data_dir / LOG, VNODES)
    try:
        assert list(look(Places(data_dir), data_dir / LOG)) == []
    finally:
        log.close()


# ----------------------------------------------------------------------------------------------------- the run's files
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_run_file_is_named_unless_it_is_of_before_this_boot(tmp_path: Path, how: str) -> None:
    file = tmp_path / RUN_FILE
    file.write_text('{"session_id": 1}')
    DAMAGES[how](file)
    if how == "missing":
        assert read_run_file(tmp_path) is None
        return
    with pytest.raises(CorruptData, match=r"rm .*run\.json"):
        read_run_file(tmp_path)
    long_ago_s = psutil.boot_time() - 3600
    os.utime(file, (long_ago_s, long_ago_s))
    assert read_run_file(tmp_path) is None


@pytest.mark.parametrize("how", DAMAGES)
def test_what_the_lock_file_holds_does_not_matter(tmp_path: Path, how: str) -> None:
    (tmp_path / "run.lock").write_bytes(b"anything")
    DAMAGES[how](tmp_path / "run.lock")
    with alone(tmp_path), pytest.raises(Conflict), alone(tmp_path):
        pass


def test_a_table_that_cannot_be_read_names_its_files_wherever_it_is_opened(data_dir: Path) -> None:
    path = data_dir / after_checkpoint(data_dir)
    DAMAGES["cut in half"](path)
    with pytest.raises(Unavailable, match=path.name):
        Places(data_dir).catalog().snapshot()
