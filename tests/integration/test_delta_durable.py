"""The Delta catalog on a disk: commits of many processes, and what is durable when they are answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.errors import UnknownOutcome
from ess_ray.ports import Advance, vnode_advances
from ess_ray.table.replacing import count_up
from tests.delta_tables import grow_old, log_folder

# ------------------------------------------------------------------------------------------------------ many processes
WORKER = """
import sys
from pathlib import Path
from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.core.errors import UnknownOutcome, Fenced
from ess_ray.ports import Advance, vnode_advances
root, vnode, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
writer = DeltaCatalog(root).writer()
stand = writer.next_offsets("log", [vnode])[vnode] or 0
while stand < steps:
    try:
        writer.commit([], [], vnode_advances("log", {vnode: Advance(stand, stand + 1)}))
    except (UnknownOutcome, Fenced):
        pass
    stand = writer.next_offsets("log", [vnode])[vnode] or 0
"""


def test_many_processes_make_one_table_and_commit_to_it(tmp_path: Path) -> None:
    root, steps, vnodes = tmp_path / "new" / "events", 8, (0, 1, 2, 2)
    command = [sys.executable, "-c", WORKER, str(root)]
    workers = [
        subprocess.Popen([*command, str(vnode), str(steps)], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
        for vnode in vnodes
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors.decode()
    snapshot = DeltaCatalog(root).snapshot()
    assert snapshot.next_offsets("log", [0, 1, 2]) == dict.fromkeys(range(3), steps)
    # Of two owners of one virtual node each step is taken once, and the table is made once: no version too many.
    assert snapshot.version == 3 * steps


def test_a_reader_sees_commits_of_other_processes(tmp_path: Path) -> None:
    reader = DeltaCatalog(tmp_path)
    assert reader.snapshot().next_offset("log", 0) is None
    for steps in (2, 5):
        command = [sys.executable, "-c", WORKER, str(tmp_path), "0", str(steps)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=60)
        assert reader.snapshot().next_offset("log", 0) == steps


# ---------------------------------------------------------------------------------------------------------- durability
@contextlib.contextmanager
def recorded_fsyncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Record what the real os.fsync is called on, while it does its work."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield synced


def commit_file(root: Path, version: int) -> Path:
    return log_folder(root) / f"{version:020d}.json"


def test_creation_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data" / "events"
    with recorded_fsyncs(monkeypatch) as synced:
        DeltaCatalog(root)
    assert {commit_file(root, 0), log_folder(root), root, root.parent, tmp_path} <= set(synced)


def test_a_commit_is_durable_with_all_that_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = DeltaCatalog(tmp_path)
    first, second = catalog.writer(), catalog.writer()
    with recorded_fsyncs(monkeypatch) as synced:
        first.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    assert synced[-2:] == [commit_file(tmp_path, 1), log_folder(tmp_path)]
    second.commit([], [], vnode_advances("log", {1: Advance(0, 0)}))
    with recorded_fsyncs(monkeypatch) as synced:
        # A hole at the other writer's version, which it may not have synced yet, would make ours unreadable.
        first.commit([], [], vnode_advances("log", {0: Advance(0, 1)}))
    assert synced == [commit_file(tmp_path, 2), commit_file(tmp_path, 3), log_folder(tmp_path)]
    first_view = first.view()
    with recorded_fsyncs(monkeypatch) as synced:
        first.commit([], [], count_up(first_view, 1))
    assert synced == [commit_file(tmp_path, 4), log_folder(tmp_path)]


def test_a_commit_that_cannot_be_made_durable_is_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = DeltaCatalog(tmp_path).writer()

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(UnknownOutcome):
            writer.commit([], [], vnode_advances("log", {0: Advance(0, 3)}))
    assert writer.next_offsets("log", [0]) == {0: 3}


def test_a_checkpoint_is_durable_before_commits_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer = catalog.writer()
    for step in range(5):
        writer.commit([], [], vnode_advances("log", {0: Advance(step, step + 1)}))
    grow_old(tmp_path)
    with recorded_fsyncs(monkeypatch) as synced:
        there_when_synced = []
        real = LogFiles.sync_checkpoint

        def sync_checkpoint(files: LogFiles, version: int) -> None:
            there_when_synced.extend(files.versions())
            real(files, version)

        monkeypatch.setattr(LogFiles, "sync_checkpoint", sync_checkpoint)
        catalog.checkpoint(every=1)
    assert there_when_synced == list(range(6)), "creating a checkpoint cleaned up by itself"
    checkpoint = log_folder(tmp_path) / f"{5:020d}.checkpoint.parquet"
    first = synced.index(checkpoint)
    assert synced[first : first + 3] == [checkpoint, log_folder(tmp_path) / "_last_checkpoint", log_folder(tmp_path)]
    assert {commit_file(tmp_path, version) for version in range(6)} <= set(synced)
    assert LogFiles(tmp_path).versions() == [5]


def test_an_object_is_durable_with_its_new_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "events"
    store: Any = LocalObjectStore(root)
    with recorded_fsyncs(monkeypatch) as synced:
        store.put("tenant=a/date=2026-09-21/k", b"x")
    parts = [tmp_path, root, root / "tenant=a", root / "tenant=a/date=2026-09-21"]
    assert set(parts) <= set(synced)
    assert synced[-1] == parts[-1], "the name is synced after the rename"
    assert synced[-2].parent == parts[-1], "the bytes are synced before the rename"
    with recorded_fsyncs(monkeypatch) as synced:
        store.put("tenant=a/date=2026-09-21/k2", b"x")
    assert len(synced) == 2
