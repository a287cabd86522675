"""The forward listener over loopback sockets, and an agent that speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.storing import Storing
from ess_ray.metrics import Tally
from ess_ray.ports import Record
from ess_ray.record import DecodedRecord
from tests.unit import test_large_requests
from tests.waiting import until

NOW_S = test_large_requests.NOW_US // 1_000_000
QUICK = ForwardLimits(linger_s=0.2, ask_again_s=0.02, again_s=0.01, max_again_s=0.02, room_s=0.3)


class Log(test_large_requests.Log):
    """A log that can be away, and slow: `gate` is waited for."""

    away = False
    gate: asyncio.Event | None = None
    tries = 0

    async def append(self, records: Sequence[Record]) -> list[int]:
        self.tries += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable("the log is away")
        return await super().append(records)


class World(test_large_requests.World):
    """What stores, over a log in memory, and a writer that drops repeats."""

    log: Log

    def __init__(self, most_bytes: int | None = None) -> None:
        super().__init__()
        self.log, self.tally = Log(test_large_requests.VNODES), Tally()
        self.seen: list[DecodedRecord] = []
        gate = Gate(tally=self.tally) if most_bytes is None else Gate(most_bytes, self.tally)
        self.gatherer = Gatherer(self.log, tally=self.tally, gate=gate)
        self.storing = Storing(
            self.gatherer, self._known, clock_us=lambda: self.now_us, tally=self.tally, deadline_s=5.0
        )

    @asynccontextmanager
    async def served(self, limits: ForwardLimits = QUICK, **options: Any) -> AsyncIterator[ForwardServer]:
        named = options if "shared_keys" in options else {"tenant": "default", **options}
        server = ForwardServer(storing=self.storing, limits=limits, **named)
        await server.serve("127.0.0.1", 0)
        try:
            yield server
        finally:
            await server.drain(5)
        assert server.open_connections == 0
        await until(lambda: not self.gatherer.gate.held_bytes, "nothing is held any more")

    async def write(self) -> list[DecodedRecord]:
        """Store what is new, and give all that was read since the beginning."""
        self.seen += await super().write()
        return self.seen

    def counted(self, metric: Any) -> float:
        return sum(value for (found, _), value in self.tally.totals.items() if found is metric)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


class Client:
    """An agent's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._unpacker = msgpack.Unpacker()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> Any:
        """Give what the server says next; None at the end of the connection."""
        while True:
            for said in self._unpacker:
                return said
            try:
                data = await asyncio.wait_for(self.reader.read(65_536), 20)
            except ConnectionError:
                return None
            if not data:
                return None
            self._unpacker.feed(data)

    async def is_quiet(self) -> bool:
        """Tell whether nothing is heard for a moment."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.05)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def client(server: ForwardServer, **options: Any) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[0], **options)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):  # the server was first
            await writer.wait_closed()


def entries(*texts: str) -> list[tuple[int, dict[str, str]]]:
    return [(NOW_S, {"message": text}) for text in texts]
