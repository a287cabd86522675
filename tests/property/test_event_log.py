"""Random interleavings of append, read, committed and reopen against a model, over the memory and the SQLite log."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ess_ray.adapters.sqlite_log import SqliteLimits, SqliteLog
from ess_ray.ports import EventLog, Record
from ess_ray.testing import MemoryLog
from tests.examples import examples

VNODES = 2
Steps = list[tuple[str, int, int]]

steps = st.lists(
    st.tuples(st.sampled_from(["append", "read", "commit", "ends"]), st.integers(0, VNODES - 1), st.integers(0, 60)),
    max_size=12,
)


class LogMachine(RuleBasedStateMachine):
    """The model: per virtual node the list of all values ever appended, and where it starts."""

    log: EventLog

    def open(self) -> EventLog:
        return MemoryLog(VNODES)

    def shut(self) -> None:
        pass

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.values: list[list[bytes]] = [[] for _ in range(VNODES)]
        self.starts = [0] * VNODES
        self.serial = 0
        self.log = self.open()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.shut()
            self.loop.close()

    def records(self, vnode: int, sizes: list[int]) -> list[Record]:
        self.serial += 1
        return [Record((vnode + i) % VNODES, (b"%d-%d " % (self.serial, i)).ljust(s)) for i, s in enumerate(sizes)]

    @rule(vnode=st.integers(0, VNODES - 1), sizes=st.lists(st.integers(0, 400), max_size=4))
    def append(self, vnode: int, sizes: list[int]) -> None:
        records = self.records(vnode, sizes)
        offsets = self.run(self.log.append(records))
        for record, offset in zip(records, offsets, strict=True):
            assert offset == len(self.values[record.vnode])
            self.values[record.vnode].append(record.value)

    @rule(vnode=st.integers(0, VNODES - 1), offset=st.integers(-1, 200), max_bytes=st.integers(0, 2000))
    def read(self, vnode: int, offset: int, max_bytes: int) -> None:
        read = self.run(self.log.read(vnode, offset, max_bytes))
        first = max(offset, self.starts[vnode])
        due = self.values[vnode][first:]
        values = [record.value for record in read.records]
        assert values == due[: len(values)]
        assert [record.offset for record in read.records] == list(range(first, first + len(values)))
        assert read.next_offset == first + len(values)
        assert bool(values) == bool(due)
        assert len(values) <= 1 or sum(map(len, values)) <= max_bytes
        if len(values) < len(due):
            assert sum(map(len, due[: len(values) + 1])) > max_bytes, "it could have given one more"

    @rule(vnode=st.integers(0, VNODES - 1), back=st.integers(0, 60))
    def committed(self, vnode: int, back: int) -> None:
        below = max(len(self.values[vnode]) - back, 0)
        self.run(self.log.committed({vnode: below}))
        self.starts[vnode] = max(self.starts[vnode], below)

    @rule(todo=steps)
    def at_once(self, todo: Steps) -> None:
        """Do many things concurrently: each sees what had been acknowledged before it began, and nothing made up."""

        async def append(vnode: int, size: int) -> None:
            records = self.records(vnode, [size, size])
            for record, offset in zip(records, await self.log.append(records), strict=True):
                given[record.vnode][offset] = record.value

        async def read(vnode: int, back: int) -> None:
            acknowledged = len(self.values[vnode]) + len(given[vnode])
            at = max(len(self.values[vnode]) - back, 0)
            read = await self.log.read(vnode, at, 10_000_000)
            seen[vnode].update({record.offset: record.value for record in read.records})
            assert read.next_offset >= min(acknowledged, max(given[vnode], default=-1) + 1)

        async def commit(vnode: int, back: int) -> None:
            below = max(len(self.values[vnode]) - back, 0)
            await self.log.committed({vnode: below})
            self.starts[vnode] = max(self.starts[vnode], below)

        async def ends(vnode: int, _: int) -> None:
            before = max(given[vnode], default=len(self.values[vnode]) - 1) + 1
            assert (await self.log.end_offsets())[vnode] >= before

        async def everything() -> None:
            does = {"append": append, "read": read, "commit": commit, "ends": ends}
            await asyncio.gather(*(does[what](vnode, number) for what, vnode, number in todo))

        given: list[dict[int, bytes]] = [{} for _ in range(VNODES)]
        seen: list[dict[int, bytes]] = [{} for _ in range(VNODES)]
        self.run(everything())
        for vnode in range(VNODES):
            first = len(self.values[vnode])
            assert sorted(given[vnode]) == list(range(first, first + len(given[vnode])))
            self.values[vnode] += [given[vnode][offset] for offset in sorted(given[vnode])]
            assert all(self.values[vnode][offset] == value for offset, value in seen[vnode].items())

    @invariant()
    def bounds(self) -> None:
        if hasattr(self, "loop"):
            assert self.run(self.log.start_offsets()) == dict(enumerate(self.starts))
            assert self.run(self.log.end_offsets()) == {v: len(self.values[v]) for v in range(VNODES)}


class SqliteMachine(LogMachine):
    limits = SqliteLimits(recent_bytes=5_000, keep_free_bytes=0)  # reads meet both memory and file

    def open(self) -> EventLog:
        self.folder = tempfile.TemporaryDirectory()
        return self._open()

    def _open(self) -> SqliteLog:
        self.sqlite = SqliteLog(Path(self.folder.name) / "log.sqlite", VNODES, self.limits)
        return self.sqlite

    def shut(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()

    @rule()
    def reopen(self) -> None:
        log_id = self.run(self.log.log_id())
        self.sqlite.close()
        self.log = self._open()
        assert self.run(self.log.log_id()) == log_id


LogMachine.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=30, suppress_health_check=list(HealthCheck)
)
SqliteMachine.TestCase.settings = LogMachine.TestCase.settings
TestMemoryLog = LogMachine.TestCase
TestSqliteLog = SqliteMachine.TestCase
