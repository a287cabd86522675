"""The forward listener over loopback sockets: acknowledged once durable, stored once, held up by the log, drained."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from ess_ray.core.errors import BadRequest, Unauthenticated, Unavailable
from ess_ray.intake.formats.forward_message import key_of
from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.storing import Storing
from ess_ray.metrics import FORWARD_DROPPED, FORWARD_LOST, FORWARD_REFUSED, PUSH_ACCEPTED, PUSH_REJECTED, Tally
from ess_ray.ports import Record
from ess_ray.record import DecodedRecord
from tests.forward import MODES, Mode, message, pack, ping
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


# ------------------------------------------------------------------------------------------------------------ durable
@pytest.mark.parametrize("mode", MODES)
async def test_a_chunk_is_acknowledged_once_it_is_durable(world: World, mode: Mode) -> None:
    world.log.gate = asyncio.Event()
    async with world.served() as server, client(server) as agent:
        agent.send(message(entries("a"), mode, chunk="one"))
        await until(lambda: world.log.tries, "it is appended")
        assert await agent.is_quiet()
        world.log.gate.set()
        assert await agent.hear() == {"ack": "one"}
    await world.write()
    assert world.stored == ["a"]


async def test_a_large_chunk_is_acknowledged_once_its_last_piece_is_durable(world: World) -> None:
    texts = [f"{number:06d}" + "x" * 300 for number in range(30_000)]
    world.log.left = 1  # of several appends
    async with world.served() as server:
        async with client(server) as agent:
            agent.send(message(entries(*texts), chunk="large"))
            assert await agent.hear() is None
        world.log.left = 1_000
        async with client(server) as agent:
            agent.send(message(entries(*texts), chunk="large"))
            assert await agent.hear() == {"ack": "large"}
    await world.write()
    assert sorted(world.stored) == texts


async def test_while_the_log_is_away_a_connection_with_a_chunk_is_closed_without_an_acknowledgement(
    world: World,
) -> None:
    world.log.away = True
    async with world.served() as server:
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="one"))
            assert await agent.hear() is None
        world.log.away = False
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="one"))
            assert await agent.hear() == {"ack": "one"}
    await world.write()
    assert world.stored == ["a"]


async def test_the_same_chunk_again_is_stored_once_and_acknowledged_again(world: World) -> None:
    async with world.served() as server:
        for _ in range(3):
            async with client(server) as agent:
                agent.send(message(entries("a", "b"), chunk="one"))
                assert await agent.hear() == {"ack": "one"}
        async with client(server) as agent:
            agent.send(message(entries("a", "b"), tag="other", chunk="one"))
            assert await agent.hear() == {"ack": "one"}
    records = await world.write()
    assert world.stored == ["a", "b"] * 2
    keys = {record.request.key for record in records if record.request is not None}
    assert keys == {key_of("app", "one"), key_of("other", "one")}


async def test_other_entries_under_a_name_that_was_used_are_no_repeat(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        for text in ("a", "b", "b"):
            agent.send(message(entries(text), chunk="one"))
            assert await agent.hear() == {"ack": "one"}
    await world.write()
    assert sorted(world.stored) == ["a", "b"]


async def test_what_can_never_be_stored_is_acknowledged_and_counted(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        broken = [
            pack(["app", b"\x1f\x8b no gzip", {"compressed": "gzip", "chunk": "1"}]),
            pack(["app", b"", {"compressed": "lzo", "chunk": "2"}]),
            pack([7, [[1, {}]], {"chunk": "3"}]),
            pack(["app", pack([NOW_S, {"message": "a"}]) + b"\xc1", {"chunk": "4"}]),
        ]
        for data in broken:
            agent.send(data)
        assert sorted([(await agent.hear())["ack"] for _ in broken]) == ["1", "2", "3", "4"]
    assert world.counted(PUSH_REJECTED) == 4
    await world.write()
    assert world.stored == ["a"]


async def test_metrics_and_traces_are_acknowledged_dropped_and_counted(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        for signal in (1, 2, 0):
            agent.send(message(entries("a"), chunk=str(signal), fluent_signal=signal))
            assert await agent.hear() == {"ack": str(signal)}
    assert world.counted(FORWARD_DROPPED) == 2
    await world.write()
    assert world.stored == ["a"]


# ------------------------------------------------------------------------------------------------ without a chunk
@pytest.mark.parametrize("mode", MODES)
async def test_without_a_chunk_all_is_stored_in_order_and_nothing_said(world: World, mode: Mode) -> None:
    texts = [f"{number:05d}" for number in range(2_000)]
    async with world.served() as server, client(server) as agent:
        for start in range(0, len(texts), 50):
            agent.send(message(entries(*texts[start : start + 50]), mode, tag="x" if start % 100 else "y"))
        agent.writer.write_eof()
        assert await agent.hear() is None
    records = await world.write()
    assert world.stored == texts, "one route, one append after another"
    assert len(records) < 200, "together, not each message by itself"
    assert all(record.request is None for record in records)


async def test_without_a_chunk_a_log_that_is_away_holds_the_sender_up_and_nothing_is_lost(world: World) -> None:
    world.log.away = True
    texts = [f"{number:05d}" + "x" * 1_000 for number in range(12_000)]
    async with world.served() as server, client(server) as agent:

        async def send() -> None:
            for text in texts:
                agent.send(message(entries(text), "message"))
                await agent.writer.drain()
            agent.writer.write_eof()

        sending = asyncio.create_task(send())
        await until(lambda: world.log.tries > 3, "it is tried again")
        assert not sending.done(), "12 MB are more than anybody has taken"
        assert world.gatherer.gate.most_held() < 2_000_000
        world.log.away = False
        await sending
        assert await agent.hear() is None
    await world.write()
    assert world.stored == texts


async def test_an_unfinished_message_is_not_stored(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        agent.send(b"\xc0" + message(entries("a")) + message(entries("b"), chunk="b")[:-1])
        agent.writer.write_eof()
        assert await agent.hear() is None
    await world.write()
    assert world.stored == ["a"]


# ------------------------------------------------------------------------------------------------------------- the end
async def test_at_the_end_what_was_read_is_stored_and_acknowledged_before_the_connection_closes(world: World) -> None:
    world.log.gate = asyncio.Event()
    async with world.served() as server, client(server) as agent, client(server) as idle:
        agent.send(message(entries("a"), chunk="one"))
        await until(lambda: world.log.tries, "it is appended")
        agent.send(message(entries("b")))
        await until(lambda: server.open_connections == 2, "both are there")
        draining = asyncio.create_task(server.drain(20))
        assert await idle.hear() is None
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server_port(server))
        assert not draining.done()
        world.log.gate.set()
        assert await agent.hear() == {"ack": "one"}
        assert await agent.hear() is None
        await draining
    await world.write()
    assert "a" in world.stored


def server_port(server: ForwardServer) -> int:
    return server.ports[0] if server.ports else 1


async def test_what_cannot_be_stored_until_the_end_is_counted_as_lost(world: World) -> None:
    world.log.away = True
    async with world.served() as server, client(server) as agent:
        agent.send(message(entries("a")))
        await until(lambda: world.log.tries, "it is tried")
        await server.drain(0.05)
        assert await agent.hear() is None
    assert world.counted(FORWARD_LOST) == 1


# ------------------------------------------------------------------------------------------------------ who is let in
KEYS = {"acme": "secret one", "shop": "secret two"}


async def test_with_shared_keys_each_client_is_the_tenant_whose_key_it_knows(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server:
        for tenant, key in KEYS.items():
            async with client(server) as agent:
                agent.send(ping(pack(await agent.hear()), key) + message(entries(tenant), chunk=tenant))
                assert (await agent.hear())[:2] == ["PONG", True]
                assert await agent.hear() == {"ack": tenant}
    assert {record.tenant for record in await world.write()} == set(KEYS)


async def test_a_wrong_key_is_told_so_and_nothing_of_it_is_read(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as agent:
        agent.send(ping(pack(await agent.hear()), "wrong") + message(entries("a"), chunk="a"))
        assert (await agent.hear())[:3] == ["PONG", False, "shared_key mismatch"]
        assert await agent.hear() is None
    assert await world.write() == []


async def test_before_the_ping_no_more_is_read_than_a_ping_has(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as agent:
        await agent.hear()
        agent.send(pack(["app", b"x" * 100_000]))
        assert await agent.hear() is None
    assert await world.write() == []


async def test_who_says_nothing_in_the_handshake_is_sent_away(world: World) -> None:
    async with world.served(replace(QUICK, handshake_s=0.05), shared_keys=KEYS) as server, client(server) as agent:
        assert (await agent.hear())[0] == "HELO"
        assert await agent.hear() is None


async def test_connections_end_when_their_tenant_is_not_let_in_any_more(world: World) -> None:
    refused: set[str] = set()

    async def allowed(tenant: str) -> None:
        if tenant in refused:
            raise Unauthenticated("there are keys now")

    async with world.served(allowed=allowed) as server:
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="a"))
            assert await agent.hear() == {"ack": "a"}
            refused.add("default")
            assert await agent.hear() is None
        async with client(server) as agent:
            agent.send(message(entries("b"), chunk="b"))
            assert await agent.hear() is None
    await world.write()
    assert world.stored == ["a"]


async def test_a_shared_key_that_is_taken_back_ends_its_connections_alone(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as acme, client(server) as shop:
        for agent, key in ((acme, KEYS["acme"]), (shop, KEYS["shop"])):
            agent.send(ping(pack(await agent.hear()), key))
            assert (await agent.hear())[1] is True
        server.change_shared_keys({"shop": KEYS["shop"], "acme": "another"})
        assert await acme.hear() is None
        shop.send(message(entries("a"), chunk="a"))
        assert await shop.hear() == {"ack": "a"}


@pytest.mark.parametrize("options", [{}, {"tenant": "a", "shared_keys": KEYS}, {"tenant": "a", "users": {"u": "p"}}])
async def test_a_listener_must_know_whose_its_connections_are(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ForwardServer(storing=world.storing, **options)


# ---------------------------------------------------------------------------------------------------------- the limits
@pytest.mark.parametrize("cap", ["max_connections", "max_connections_a_peer"])
async def test_connections_beyond_the_caps_are_refused(world: World, cap: str) -> None:
    async with world.served(replace(QUICK, **{cap: 2})) as server:
        async with client(server) as first, client(server) as second:
            for agent in (first, second):
                agent.send(message(entries("a"), chunk="a"))
                assert await agent.hear() == {"ack": "a"}
            async with client(server) as third:
                assert await third.hear() is None
        await until(lambda: server.open_connections == 0, "they are gone")
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="a"))
            assert await agent.hear() == {"ack": "a"}
    assert world.counted(FORWARD_REFUSED) == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", pack(["app", b"x" * 2_000, {"chunk": "a"}])])
async def test_what_cannot_be_read_or_is_too_large_ends_the_connection_behind_what_was_good(
    world: World, data: bytes
) -> None:
    async with world.served(replace(QUICK, max_message_bytes=1_000)) as server, client(server) as agent:
        agent.send(message(entries("a"), chunk="good") + data)
        assert await agent.hear() == {"ack": "good"}
        assert await agent.hear() is None


@pytest.mark.parametrize("sent", [b"", message(entries("a"))[:-1]])
async def test_silence_ends_a_connection_in_its_time(world: World, sent: bytes) -> None:
    quick = replace(QUICK, idle_s=0.05 if not sent else 60.0, stalled_s=0.05 if sent else 60.0)
    async with world.served(quick) as server, client(server) as agent:
        agent.send(sent)
        assert await agent.hear() is None


async def test_a_message_for_which_there_is_no_room_is_not_taken(world: World) -> None:
    small = World(most_bytes=1_000_000)
    async with small.served() as server:
        async with client(server) as agent:
            agent.send(message(entries("x" * 900_000), chunk="a"))
            assert await agent.hear() is None
        async with client(server) as agent:
            agent.send(message(entries("b"), chunk="b"))
            assert await agent.hear() == {"ack": "b"}
    await small.http.aclose()


async def test_who_takes_no_acknowledgements_is_sent_away(world: World) -> None:
    async with world.served(replace(QUICK, max_unread_bytes=1_000)) as server, client(server) as agent:
        chunk = "c" * 200_000
        data = message(entries("a"), chunk=chunk)

        async def send() -> None:
            while not agent.writer.is_closing():
                agent.send(data)
                await agent.writer.drain()

        sending = asyncio.create_task(send())
        await until(lambda: server.open_connections == 0, "it is sent away")
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_taken_port_is_said(world: World) -> None:
    async with world.served() as server:
        with pytest.raises(Unavailable, match="port"):
            await server.serve("127.0.0.1", server.ports[0])


async def test_events_are_counted(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        agent.send(message(entries("a", "b"), chunk="a"))
        await agent.hear()
    assert world.counted(PUSH_ACCEPTED) == 2
