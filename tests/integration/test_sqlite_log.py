"""SqliteLog against the real thing: killed processes, a full disk, damaged files, restarts, files that may not grow."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import ess_ray
from ess_ray.adapters.sqlite_file import PAGE_BYTES, LogFile
from ess_ray.adapters.sqlite_log import SqliteLimits, SqliteLog
from ess_ray.core.errors import BadRequest, CorruptData, DataLoss, Unavailable
from ess_ray.ports import Record, StoredRecord
from tests.waiting import until

VNODES = 4
ROOT = Path(ess_ray.__file__).parents[1]

# Appends for ever from 16 workers, and tells each acknowledged record. With a second argument the file may grow to so
# many bytes only, as on a full disk, until the first refusal; then the limit goes and 50 records more are appended.
CHILD = """
import asyncio, os, resource, sys
from pathlib import Path
from typing import Any
from ess_ray.adapters.sqlite_file import PAGE_BYTES, LogFile
from ess_ray.adapters.sqlite_log import SqliteLog
from ess_ray.core.errors import Unavailable
from ess_ray.ports import Record

async def main():
    path, most = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    log = SqliteLog(path, 4)
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    async def append(value):
        records = [Record((len(value) + i) % 4, value + b" %d" % i) for i in range(3)]
        for record, offset in zip(records, await log.append(records)):
            sys.stdout.write(f"{record.vnode} {offset} {record.value.decode()}\\n")
        sys.stdout.flush()
    async def work(worker):
        i = 0
        while True:
            await append(b"%d-%d-%d" % (os.getpid(), worker, i) + b"x" * (i * 37 % 5000))
            i += 1
    works = [asyncio.create_task(work(n)) for n in range(16)]
    try:
        await asyncio.gather(*works)
    except Unavailable as error:
        print("refused", error.message, flush=True)
    await asyncio.wait([asyncio.gather(*works, return_exceptions=True)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for i in range(50):
        await append(b"%d-again-%d" % (os.getpid(), i))
    log.close()
    print("closed", flush=True)

asyncio.run(main())
"""


@contextmanager
def child(path: Path, *args: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), *args],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def opened(path: Path, limits: SqliteLimits | None = None, vnodes: int = VNODES) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(path, vnodes, limits)
    try:
        yield log
    finally:
        log.close()


async def read_all(log: SqliteLog, vnode: int) -> list[StoredRecord]:
    found: list[StoredRecord] = []
    position = 0
    while read := await log.read(vnode, position, 1 << 20):
        if not read.records:
            return found
        found += read.records
        position = read.next_offset
    raise AssertionError


def size(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.sqlite"


def acknowledged(lines: list[str]) -> dict[tuple[int, int], str]:
    told = [line.rstrip("\n").split(" ", 2) for line in lines if line.endswith("\n") and line[0].isdigit()]
    return {(int(vnode), int(offset)): value for vnode, offset, value in told}


async def check_holds(path: Path, acks: dict[tuple[int, int], str], starts: dict[int, int]) -> None:
    """Every acknowledged record that is not trimmed is there, once, at its offset; and there are no holes."""
    async with opened(path, SqliteLimits(recent_bytes=0)) as log:
        ends = await log.end_offsets()
        assert await log.start_offsets() == starts
        for vnode in range(VNODES):
            records = await read_all(log, vnode)
            assert [r.offset for r in records] == list(range(starts[vnode], ends[vnode]))
            there = {(vnode, r.offset): r.value.decode() for r in records}
            due = {key: value for key, value in acks.items() if key[0] == vnode and key[1] >= starts[vnode]}
            assert due.items() <= there.items(), "an acknowledged record is gone or changed"
            assert len(set(there.values())) == len(there), "doubled"
            # the three records of a call stand together or not at all
        calls: dict[str, int] = {}
        for vnode in range(VNODES):
            for record in await read_all(log, vnode):
                call = record.value.decode().rsplit(" ", 1)[0]
                calls[call] = calls.get(call, 0) + 1
        if not any(starts.values()):
            assert set(calls.values()) == {3}


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    acks: dict[tuple[int, int], str] = {}
    starts = dict.fromkeys(range(VNODES), 0)
    for life, wanted in enumerate((50, 700, 2500)):
        with child(path) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(wanted)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        new = acknowledged(lines)
        assert len(new) >= wanted - 1
        assert not new.keys() & acks.keys(), "an offset was given twice"
        acks |= new
        await check_holds(path, acks, starts)
        if life == 1:
            async with opened(path) as log:
                starts = {vnode: end - vnode for vnode, end in (await log.end_offsets()).items()}
                await log.committed(starts)


async def test_a_full_disk_refuses_and_the_log_goes_on_when_there_is_room(path: Path) -> None:
    with child(path, str(3 << 20)) as process:
        out, _ = process.communicate(timeout=100)
    lines = out.splitlines(keepends=True)
    refusals = [line for line in lines if line.startswith("refused")]
    assert len(refusals) == 1
    assert "disk" in refusals[0]
    assert lines[-1] == "closed\n"
    assert sum("-again-" in line for line in lines) == 150
    acks = acknowledged(lines)
    assert len(acks) > 300
    await check_holds(path, acks, dict.fromkeys(range(VNODES), 0))


async def test_a_second_owner_is_refused_in_this_process_and_in_another(path: Path) -> None:
    async with opened(path) as log:
        await log.append([Record(0, b"mine")])
        with pytest.raises(Unavailable, match=f"process {os.getpid()}.*another data directory"):
            SqliteLog(path, VNODES)
        with child(path, stderr=subprocess.PIPE) as process:
            out, errors = process.communicate(timeout=60)
        assert process.returncode != 0
        assert out == ""
        assert f"belongs to the process {os.getpid()}" in errors
        await log.append([Record(0, b"still mine")])
    async with opened(path) as log:
        assert len(await read_all(log, 0)) == 2


async def test_a_restart_keeps_the_name_and_goes_on_after_a_full_trim(path: Path) -> None:
    async with opened(path) as log:
        log_id = await log.log_id()
        await log.append([Record(1, b"x", (("h", b"v"),))] * 10)
        await log.committed({1: 10})
        await until(lambda: log.backlog_bytes() == 0, "records stayed")
    for i in range(3):
        async with opened(path) as log:
            assert await log.log_id() == log_id
            assert (await log.start_offsets())[1] == 10
            assert await log.append([Record(1, b"y")]) == [10 + i]
            assert [r.offset for r in await read_all(log, 1)] == list(range(10, 11 + i))


async def test_a_trim_that_was_cut_off_is_finished_by_the_next_owner(path: Path) -> None:
    async with opened(path) as log:
        await log.append([Record(0, b"x" * 1000) for _ in range(3000)])
    with sqlite3.connect(path) as db:  # as if killed after the start had moved, before any row went
        db.execute("UPDATE vnodes SET start = 2990 WHERE vnode = 0")
    db.close()
    async with opened(path) as log:
        assert [r.offset for r in await read_all(log, 0)] == list(range(2990, 3000))
        await until(lambda: log.backlog_bytes() == 10 * 1000, "the trim was not finished")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone() == (10,)
    db.close()


async def test_another_number_of_virtual_nodes_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    for vnodes in (VNODES - 1, VNODES + 1):
        with pytest.raises(BadRequest, match="4 virtual nodes for life"):
            SqliteLog(path, vnodes)
    async with opened(path) as log:  # the refusals let go of the file
        assert await log.vnode_count() == VNODES


def test_a_damaged_file_is_told(path: Path) -> None:
    async def fill() -> None:
        async with opened(path) as log:
            await log.append([Record(0, b"x" * 100_000) for _ in range(20)])

    async def read() -> None:
        async with opened(path) as log:
            await read_all(log, 0)

    asyncio.run(fill())
    whole = path.read_bytes()
    path.write_bytes(b"garbage that is no database at all" * 1000)
    with pytest.raises(CorruptData, match=r"damaged.*restore"):
        SqliteLog(path, VNODES)
    path.write_bytes(whole[: len(whole) // 2])  # cut short
    with pytest.raises(CorruptData, match="damaged"):
        asyncio.run(read())


async def test_records_that_are_gone_are_a_named_loss(path: Path) -> None:
    async with opened(path) as log:
        await log.append([Record(0, bytes([i])) for i in range(10)])
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM records WHERE id = 5")
    db.close()
    async with opened(path) as log:
        with pytest.raises(DataLoss, match="virtual node 0"):
            await read_all(log, 0)
        assert len((await log.read(0, 6, 1000)).records) == 4


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebody (x)")
    db.close()
    with pytest.raises(BadRequest, match="another program"):
        SqliteLog(path, VNODES)


async def test_a_closed_log_says_so(path: Path) -> None:
    log = SqliteLog(path, VNODES, SqliteLimits(recent_bytes=0))
    await log.append([Record(0, b"x")])
    log.close()
    log.close()
    for call in (log.append([Record(0, b"y")]), log.read(0, 0, 100), log.committed({0: 1})):
        with pytest.raises(Unavailable, match="closed"):
            await call


async def test_appends_under_way_are_written_before_closing(path: Path) -> None:
    log = SqliteLog(path, VNODES)
    appends = [asyncio.create_task(log.append([Record(0, b"x" * 10_000)])) for _ in range(200)]
    await asyncio.sleep(0)
    log.close()
    assert sorted(o for offsets in await asyncio.gather(*appends) for o in offsets) == list(range(200))


async def test_a_cancelled_append_disturbs_nobody(path: Path) -> None:
    async with opened(path) as log:
        appends = [asyncio.create_task(log.append([Record(0, b"%d" % i)])) for i in range(100)]
        await asyncio.sleep(0)
        for append in appends[::2]:
            append.cancel()
        answers = await asyncio.gather(*appends, return_exceptions=True)
        there = {r.offset: r.value for r in await read_all(log, 0)}
        for i, answer in enumerate(answers):
            if not isinstance(answer, BaseException):
                assert there[answer[0]] == b"%d" % i
        assert all(isinstance(answer, list) for answer in answers[1::2])


async def test_too_much_that_waits_is_refused_at_once(path: Path) -> None:
    async with opened(path, SqliteLimits(max_waiting_bytes=1 << 20)) as log:
        appends = [log.append([Record(0, b"x" * 300_000)]) for _ in range(20)]
        answers = await asyncio.gather(*appends, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert refused
        assert all("send this again" in answer.message for answer in refused)
        assert len(await read_all(log, 0)) == 20 - len(refused)


async def test_neither_file_grows_for_ever(path: Path) -> None:
    limits = SqliteLimits(keep_free_bytes=1 << 20, max_wal_bytes=16 << 20)
    async with opened(path, limits) as log:
        for _ in range(30):  # 60 MB in all
            await asyncio.gather(*(log.append([Record(v, b"x" * 20_000)] * 5) for v in range(VNODES) for _ in range(5)))
            await log.committed(await log.end_offsets())
            assert size(path.with_name("log.sqlite-wal")) < 32 << 20
        await until(lambda: log.backlog_bytes() == 0, "records stayed")
        assert await log.append([Record(0, b"x")]) == [30 * 25]
        beside = sqlite3.connect(path)
        await until(
            lambda: beside.execute("PRAGMA freelist_count").fetchone()[0] * PAGE_BYTES <= 1 << 20, "free pages stayed"
        )
        beside.close()
    assert size(path) < 2 << 20


async def test_the_wal_starts_over_under_readers_that_never_rest(path: Path) -> None:
    limits = SqliteLimits(recent_bytes=0, max_wal_bytes=8 << 20)
    async with opened(path, limits) as log:
        stop = False

        async def read() -> None:
            while not stop:
                await log.read(0, 0, 8 << 20)

        await log.append([Record(0, b"x" * 500_000)] * 10)
        readers = [asyncio.create_task(read()) for _ in range(3)]
        for _ in range(60):
            await log.append([Record(1, b"x" * 800_000)])
            assert size(path.with_name("log.sqlite-wal")) < 32 << 20
        stop = True
        await asyncio.gather(*readers)


async def test_appends_go_on_while_a_large_trim_does_its_work(path: Path) -> None:
    async with opened(path, SqliteLimits(recent_bytes=0)) as log:
        for _ in range(20):
            await log.append([Record(0, os.urandom(50_000)) for _ in range(100)])
        await log.committed({0: 1990})
        longest_s = 0.0
        appended = 0
        while log.backlog_bytes() > 3_000_000 or appended < 20:
            began_s = time.monotonic()
            await log.append([Record(1, b"y" * 1000)])
            longest_s = max(longest_s, time.monotonic() - began_s)
            appended += 1
        assert [r.offset for r in await read_all(log, 0)] == list(range(1990, 2000))
        assert len(await read_all(log, 1)) == appended
        assert longest_s < 5, "an append waited for the whole trim"
        assert appended > 5


async def test_a_commit_whose_answer_was_lost_is_looked_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file took the records, then the disk reported an error: nothing is acknowledged, offsets go on after it."""
    real = LogFile.write

    def write_and_fail(self: LogFile, *args: Any) -> None:
        real(self, *args)
        monkeypatch.setattr(LogFile, "write", real)
        raise Unavailable("the disk failed just after the commit")

    async with opened(path) as log:
        await log.append([Record(0, b"a")])
        monkeypatch.setattr(LogFile, "write", write_and_fail)
        with pytest.raises(Unavailable):
            await log.append([Record(0, b"perhaps")])
        assert await log.append([Record(0, b"b")]) == [2]
        assert [r.value for r in await read_all(log, 0)] == [b"a", b"perhaps", b"b"]
