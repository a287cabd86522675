"""One flipped bit of a checkpoint, of the pointer to it, or of their sums: the table reads as it was written, or the
file is named; never as something else."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_log import ASIDE, POINTER, checkpoint_name, commit_name, sums_name
from ess_ray.core.errors import CorruptData
from ess_ray.ports import Advance, vnode_advances
from tests.damages import flipped
from tests.examples import examples
from tests.property.test_commit_flips import entry

COMMITS = 6
CHECKPOINT = 4
FILES = (checkpoint_name(CHECKPOINT), POINTER, sums_name(CHECKPOINT))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a checkpoint that was written by maintenance, and two commits behind it."""
    folder = tmp_path_factory.mktemp("made")
    catalog = DeltaCatalog(folder)
    writer = catalog.writer()
    for number in range(COMMITS):
        writer.commit([entry(number)], [], vnode_advances("log", {0: Advance(number, number + 1)}))
        if number + 1 == CHECKPOINT:
            assert catalog.checkpoint(every=1) == CHECKPOINT
    return folder


def told(folder: Path) -> tuple[list[str], object]:
    """What a process that opens the table sees, by all ways of reading it."""
    catalog = DeltaCatalog(folder)
    assert catalog.writer().next_offsets("log", [0]) == {0: COMMITS}
    snapshot = catalog.snapshot()
    assert snapshot.transactions == LogFiles(folder).transactions(COMMITS)
    return sorted(map(repr, snapshot.objects(None, None, None))), snapshot.version


def aside(folder: Path) -> set[str]:
    return {path.name.rpartition(".")[0] for path in (folder / ASIDE).glob("*")}


def test_each_flip_is_healed_by_commits_and_told(made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    right = told(made)
    assert aside(made) == set()

    @settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(FILES), st.data())
    def check(name: str, draw: st.DataObject) -> None:
        folder = tmp_path / "table"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        path = folder / "_delta_log" / name
        data = path.read_bytes()
        path.write_bytes(flipped(data, draw.draw(st.integers(0, 8 * len(data) - 1))))
        caplog.clear()
        assert told(folder) == right
        # A flip of a sum's spelling may leave its meaning; everything else is seen.
        assert aside(folder) == {name} or name == sums_name(CHECKPOINT)
        assert (name in caplog.text) is bool(aside(folder))

    with caplog.at_level(logging.ERROR):
        check()


@pytest.mark.parametrize("bit", range(40, 8_000, 2_000))
def test_where_its_commits_are_gone_it_is_named(made: Path, tmp_path: Path, bit: int) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "table"))
    for version in range(CHECKPOINT):
        (folder / "_delta_log" / commit_name(version)).unlink()
    assert told(folder) == told(made)
    path = folder / "_delta_log" / checkpoint_name(CHECKPOINT)
    path.write_bytes(flipped(path.read_bytes(), bit))
    for _ in range(2):
        with pytest.raises(CorruptData, match=path.name):
            DeltaCatalog(folder)
    assert path.exists()


def test_who_only_looks_changes_nothing(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "table"))
    path = folder / "_delta_log" / checkpoint_name(CHECKPOINT)
    path.write_bytes(flipped(path.read_bytes(), 4_000))
    before = sorted(folder.rglob("*"))
    with pytest.raises(CorruptData, match=path.name):
        DeltaCatalog(folder, mends=False).snapshot()
    assert sorted(folder.rglob("*")) == before


def test_a_running_reader_and_a_writer_heal_it_too(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "table"))
    catalog = DeltaCatalog(folder)
    writer = catalog.writer()
    path = folder / "_delta_log" / checkpoint_name(CHECKPOINT)
    path.write_bytes(flipped(path.read_bytes(), 4_000))
    assert writer.view().transactions == catalog.snapshot().transactions
    assert aside(folder) == {path.name}


def test_a_checkpoint_without_sums_is_read_as_it_is(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "table"))
    (folder / "_delta_log" / sums_name(CHECKPOINT)).unlink()
    assert told(folder) == told(made)


def test_sums_go_with_their_checkpoints(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "table"))
    (folder / "_delta_log" / checkpoint_name(CHECKPOINT)).unlink()
    (folder / "_delta_log" / POINTER).unlink()
    assert DeltaCatalog(folder).checkpoint(every=1) == COMMITS
    assert LogFiles(folder).sums() == [COMMITS]
    assert json.loads((folder / "_delta_log" / POINTER).read_bytes())["version"] == COMMITS
