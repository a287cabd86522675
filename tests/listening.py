"""The listener's parts over loopback sockets and a log in memory, for tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ess_ray.core.errors import Unavailable
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.listening.shapes import Surroundings
from ess_ray.intake.listening.sink import Sink
from ess_ray.limits import ListenAt, SocketLimits
from ess_ray.metrics import Tally
from ess_ray.ports import Record
from ess_ray.record import decode_record
from ess_ray.testing import MemoryLog
from tests.loki import rows_of

VNODES = 4
PATIENCE_S = 20.0
QUICK = SocketLimits(quiet_s=0.05, drain_s=1.0)


class AwayLog(MemoryLog):
    """A log in memory that can be away, and that can lose its answers."""

    def __init__(self) -> None:
        super().__init__(VNODES)
        self.is_away = False
        self.hangs = False
        self.lose_answers = 0
        self.tries = 0

    async def append(self, records: Sequence[Record]) -> list[int]:
        self.tries += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise Unavailable("the log is away")
        offsets = await super().append(records)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("the answer is lost")
        return offsets


class Rig:
    """A log, the way to it, and what a protocol is given."""

    def __init__(self, limits: SocketLimits = QUICK, most_held_bytes: int = 144 * 1024 * 1024) -> None:
        self.log = AwayLog()
        self.tally = Tally()
        self.gatherer = Gatherer(self.log, gate=Gate(most_held_bytes))
        self.sink = Sink(self.gatherer)
        self.around = Surroundings(self.sink, IntakeLimits(), self.tally, limits, gate=self.gatherer.gate)

    async def rows(self) -> list[dict[str, Any]]:
        """Give every stored event with its tenant."""
        found = []
        for vnode in range(VNODES):
            for stored in (await self.log.read(vnode, 0, 1 << 30)).records:
                record = decode_record(stored, await self.log.log_id(), vnode)
                found += [{**row, "tenant": record.tenant} for row in rows_of(record.batch)]
        return found

    async def messages(self) -> list[str]:
        """Give the stored events' messages, sorted."""
        return sorted(row["message"] for row in await self.rows())

    async def stored(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many events are stored, and give them."""
        await until(lambda: self._count() >= count)
        return await self.rows()

    def _count(self) -> int:
        return sum(int(total) for (metric, _), total in self.tally.totals.items() if metric.name == "ess_listen_events")


def at(protocol: str, **more: Any) -> ListenAt:
    """Give the settings of a protocol on a free port of loopback."""
    return ListenAt(protocol, "127.0.0.1", 0, **more)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it does not become so"
        await asyncio.sleep(0.005)
