"""Room on the disk: who is refused when, what is said, and that all goes on by itself; free space is injected."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.places import Places
from ess_ray.adapters.s3_location import S3Location
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.core.errors import Unavailable
from ess_ray.limits import DiskLimits
from ess_ray.ports import Record
from ess_ray.runtime import wiring
from ess_ray.runtime.wiring import System
from ess_ray.table.compaction import TARGET_BYTES
from ess_ray.table.disk import APPEND_COPIES, MIN_FREE_FILES, RESUME_BYTES, DiskWatch, Room, Space, judge, space_of

MIB = 1024 * 1024
GIB = 1024 * MIB
LIMITS = DiskLimits(warn_bytes=2 * GIB, reserve_bytes=512 * MIB)


@dataclass
class Disk:
    """A disk whose free space is said by the test."""

    space: Space = field(default_factory=lambda: Space(10 * GIB, 20 * GIB))
    broken: OSError | None = None

    def __call__(self, folder: Path) -> Space:
        if self.broken is not None:
            raise self.broken
        return self.space

    def has(self, free_bytes: int, free_files: int | None = None) -> None:
        self.space = replace(self.space, free_bytes=free_bytes, free_files=free_files)


def state(free_bytes: int, backlog: int = 0, coming: int = 0, **more: Any) -> str:
    return judge(Path("/data"), Space(free_bytes, 20 * GIB), LIMITS, backlog, coming, **more).state


def test_it_is_told_before_anybody_is_refused() -> None:
    assert state(2 * GIB) == "ok"
    assert state(2 * GIB - 1) == "low"
    assert state(512 * MIB) == "low"
    assert state(512 * MIB - 1) == "refusing"


def test_what_the_log_holds_must_still_find_room_as_objects() -> None:
    assert state(600 * MIB, backlog=88 * MIB) == "low"
    assert state(600 * MIB, backlog=89 * MIB) == "refusing"
    assert state(3 * GIB, backlog=3 * GIB) == "refusing"


def test_what_comes_must_find_room_in_every_place_that_it_passes() -> None:
    coming = 4 * MIB
    assert state(512 * MIB + APPEND_COPIES * coming, coming=coming) == "low"
    assert state(512 * MIB + APPEND_COPIES * coming - 1, coming=coming) == "refusing"


def test_pushes_are_taken_again_a_little_above_where_they_were_refused() -> None:
    assert state(512 * MIB, is_refusing=True) == "refusing"
    assert state(512 * MIB + RESUME_BYTES, is_refusing=True) == "low"


def test_a_file_system_without_names_left_is_full_too() -> None:
    assert judge(Path("/data"), Space(GIB * 10, GIB * 20, MIN_FREE_FILES), LIMITS).state == "ok"
    room = judge(Path("/data"), Space(GIB * 10, GIB * 20, MIN_FREE_FILES - 1), LIMITS)
    assert room.state == "refusing"
    assert f"{MIN_FREE_FILES - 1} files left" in str(room.told)


def test_what_is_said_names_place_room_and_what_to_do() -> None:
    low = judge(Path("/data"), Space(GIB, 20 * GIB), LIMITS).told
    assert low is not None
    assert low.startswith("the disk of /data has 1,024 MiB left: below 512 MiB pushes are refused")
    assert "maintenance.max_bytes" in low
    refusing = judge(Path("/data"), Space(MIB, 20 * GIB), LIMITS).told
    assert refusing is not None
    assert "noticed by itself" in refusing
    assert judge(Path("/data"), Space(GIB * 10, 20 * GIB), LIMITS).told is None


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    watch = DiskWatch(Path("/data"), LIMITS, space=disk)
    with caplog.at_level(logging.INFO, "ess_ray.table.disk"):
        for free in (10 * GIB, GIB, GIB, MIB, MIB, 513 * MIB, 10 * GIB, 10 * GIB):
            disk.has(free)
            watch.look(0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "INFO"]


def test_the_backlog_does_not_count_where_objects_go_elsewhere() -> None:
    disk = Disk()
    disk.has(GIB)
    assert DiskWatch(Path("/data"), LIMITS, space=disk).look(GIB).state == "refusing"
    assert DiskWatch(Path("/data"), LIMITS, space=disk, keeps_objects=False).look(GIB).state == "low"


def test_a_disk_that_does_not_tell_is_unavailable() -> None:
    watch = DiskWatch(Path("/data"), LIMITS, space=Disk(broken=OSError(5, "Input/output error")))
    with pytest.raises(Unavailable, match="/data cannot be looked at: Input/output error"):
        watch.look(0)


def test_the_real_disk_is_read(tmp_path: Path) -> None:
    found = space_of(tmp_path)
    assert 0 < found.free_bytes <= found.total_bytes


# ------------------------------------------------------------------------------------------------------------ the log
async def test_the_log_refuses_before_it_writes_and_goes_on_by_itself(tmp_path: Path) -> None:
    disk = Disk()
    watch = DiskWatch(tmp_path, LIMITS, space=disk)
    log = SqliteLog(tmp_path / "log.sqlite", 2, admit=watch.admit)
    try:
        assert await log.append([Record(0, b"a")]) == [0]
        disk.has(100 * MIB)
        with pytest.raises(Unavailable, match="pushes are refused until there is room"):
            await log.append([Record(0, b"b")])
        assert (await log.end_offsets())[0] == 1
        await log.committed({0: 1})  # storing goes on
        assert [record.value for record in (await log.read(0, 1, 100)).records] == []
        disk.has(10 * GIB)
        assert await log.append([Record(0, b"c")]) == [1]
    finally:
        log.close()


async def test_the_log_counts_what_it_holds(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []
    log = SqliteLog(tmp_path / "log.sqlite", 2, admit=lambda backlog, coming: asked.append((backlog, coming)))
    try:
        await log.append([Record(0, b"x" * 1000)])
        await log.append([Record(1, b"y" * 100), Record(0, b"z" * 10)])
        assert asked == [(0, 1000), (1000, 110)]
    finally:
        log.close()


# ------------------------------------------------------------------------------------------------------------- merges
def test_a_merge_takes_its_share_of_what_is_kept_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(wiring, "space_of", disk)
    system = System(Places(tmp_path), "test", disk=LIMITS)
    disk.has(LIMITS.reserve_bytes + 50 * MIB)
    assert system.room_to_merge(50 * MIB) == TARGET_BYTES
    assert system.room_to_merge(200 * MIB) == TARGET_BYTES - 150 * MIB
    assert system.is_disk_low()
    disk.has(LIMITS.warn_bytes)
    assert not system.is_disk_low()
    elsewhere = System(Places(tmp_path, S3Location("bucket")), "test", disk=LIMITS)
    disk.has(0)
    assert elsewhere.room_to_merge(0) is None
    assert not elsewhere.is_disk_low()


def test_a_room_survives_the_way_between_processes() -> None:
    room = judge(Path("/data"), Space(GIB, 20 * GIB), LIMITS)
    assert pickle.loads(pickle.dumps(room)) == room
    assert isinstance(room, Room)
