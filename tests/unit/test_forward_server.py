"""The forward listener over loopback sockets: acknowledged once durable, stored once, held up by the log, drained."""

from __future__ import annotations

import asyncio

import pytest

from ess_ray.intake.formats.forward_message import key_of
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.metrics import FORWARD_DROPPED, FORWARD_LOST, PUSH_REJECTED
from tests.forward import MODES, Mode, message, pack
from tests.forward_listening import NOW_S, World, client, entries, world
from tests.waiting import until

__all__ = ["world"]


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
