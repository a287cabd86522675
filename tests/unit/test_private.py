"""Folders for one user alone: whatever the umask, never somebody else's, and never where others could swap them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.private import claim, is_private, make_private, new_folder, taken_over
from ess_ray.core.errors import Forbidden, Unavailable
from tests.users import NOBODY, root_only


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_what_is_made_is_private_with_its_parents(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "data"
    assert claim(folder) is None
    assert [mode(each) for each in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    assert is_private(folder)
    LocalObjectStore(tmp_path / "first" / "keys").put("some/key", b"what comes before the system was ever started")
    assert mode(tmp_path / "first") == mode(tmp_path / "first" / "keys") == 0o700


@pytest.mark.parametrize(("before", "written"), [(0o755, False), (0o750, False), (0o777, True), (0o770, True)])
def test_what_was_open_is_closed_and_said(tmp_path: Path, before: int, written: bool) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(before)
    told = claim(folder)
    assert told is not None
    assert f"mode {before:04o}" in told
    assert ("look at what is in it" in told) is written
    assert mode(folder) == 0o700
    assert claim(folder) is None


def test_what_is_stricter_stays_so(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(0o500)
    assert claim(folder) is None
    assert mode(folder) == 0o500


def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    root_only()
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(Forbidden, match="chown"):
        claim(folder)
    assert not is_private(folder)


def test_a_file_or_a_link_is_no_folder(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(tmp_path)
    for wrong in (file, link, file / "below"):
        with pytest.raises(Unavailable, match="cannot be used"):
            claim(wrong)
        assert not is_private(wrong)


@pytest.mark.usefixtures("umask")
def test_a_new_folder_is_never_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ess-folder").mkdir()
    (tmp_path / "ess-link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ess-file").touch()
    names = iter(["folder", "link", "file", "free"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    made = new_folder(tmp_path, "ess-")
    assert made == tmp_path / "ess-free"
    assert is_private(made)
    assert not (tmp_path / "nowhere").exists()


def test_no_new_folder_where_there_is_no_room_for_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no folder can be made"):
        new_folder(tmp_path / "nowhere", "ess-")


def test_a_way_that_others_can_change_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "on" / "the" / "way"
    make_private(folder)
    assert taken_over(folder) is None
    assert taken_over(folder / "not" / "there") is None
    for others in (0o777, 0o770, 0o702):
        folder.parent.chmod(others)
        told = taken_over(folder)
        assert told is not None
        assert str(folder.parent) in told
        folder.parent.chmod(others | stat.S_ISVTX)
        assert taken_over(folder) is None


def test_a_folder_of_somebody_elses_on_the_way_is_named(tmp_path: Path) -> None:
    root_only()
    folder = tmp_path / "home" / "data"
    make_private(folder)
    os.chown(folder.parent, NOBODY, NOBODY)
    told = taken_over(folder)
    assert told is not None
    assert f"{folder.parent} belongs to nobody" in told
