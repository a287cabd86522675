"""A made-up protocol whose clients wait for answers: it is one file, and is answered when the log has its events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.frames import EndedFrames
from ess_ray.intake.formats.syslog import Received, decode
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.listening.listening import Listening
from ess_ray.intake.listening.shapes import Piece, Server, Surroundings, Turn
from ess_ray.intake.listening.tcp import TcpServer
from ess_ray.limits import ListenAt
from tests.listening import Rig, at, until


def read(messages: Sequence[Received], now_us: int) -> Decoded:
    return decode(messages, now_us, IntakeLimits())


def broken(now_us: int) -> Decoded:
    raise ValueError("a bug")


class Conversation:
    """`TENANT NAME TEXT` and a line end, answered by `NAME`: the same name is the same message."""

    replies = True

    def __init__(self, peer: str) -> None:
        self._frames = EndedFrames(b"\n")

    @property
    def partial_bytes(self) -> int:
        return self._frames.partial_bytes

    def begin(self) -> bytes:
        return b"hello\n"

    def feed(self, data: bytes) -> Turn:
        pieces = []
        for frame in self._frames.feed(data):
            if frame.content == b"quit":
                return Turn(pieces, "quit")
            tenant, name, text = frame.content.split(b" ", 2)
            columns = broken if text == b"bug" else partial(read, [Received(text)])
            pieces.append(Piece(len(text), columns, name + b"\n", name.decode(), tenant.decode()))
        return Turn(pieces)

    def end(self) -> Turn:
        return Turn()


def made_up(settings: ListenAt, around: Surroundings) -> Server:
    return TcpServer(settings, around, Conversation)


async def test_it_is_answered_once_the_log_has_it() -> None:
    rig = Rig()
    listening = Listening([at("made_up")], rig.around, lambda: False, {"made_up": made_up})
    await listening.look()
    server = listening._doors[0].server
    assert isinstance(server, TcpServer)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert await reader.readline() == b"hello\n"
    rig.log.is_away = True
    writer.write(b"acme 1 one\nblue 2 two\n")
    await until(lambda: rig.log.tries > 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    rig.log.is_away = False
    assert [await reader.readline() for _ in range(2)] == [b"1\n", b"2\n"]
    assert sorted((row["tenant"], row["message"]) for row in await rig.rows()) == [("acme", "one"), ("blue", "two")]
    writer.write(b"acme 3 three\nacme 4 bug\nacme 5 five\n")
    assert await reader.read() == b"3\n", "what could not be read is not answered, and its connection closed"
    writer.close()
    await writer.wait_closed()
    await listening.stop()
    assert server.meter.rejected == {"failed": 1}


async def test_what_is_on_its_way_at_the_end_is_answered_before_it_closes() -> None:
    rig = Rig()
    server = TcpServer(at("made_up"), rig.around, Conversation)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    rig.log.is_away = True
    writer.write(b"acme 1 one\n")
    await until(lambda: rig.log.tries > 0)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    rig.log.is_away = False
    assert await reader.read() == b"1\n"
    writer.close()
    await writer.wait_closed()
    await stopping


async def test_the_end_of_patience_answers_nothing() -> None:
    rig = Rig()
    server = TcpServer(at("made_up"), rig.around, Conversation)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    rig.log.hangs = True
    writer.write(b"acme 1 one\n")
    await until(lambda: rig.log.tries > 0)
    rig.sink.give_up()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await server.stop()
    assert server.meter.rejected == {"ended": 1}


async def test_a_bug_in_one_protocol_leaves_the_others_open() -> None:
    def wrong(settings: ListenAt, around: Surroundings) -> Server:
        raise ValueError("a bug")

    wanted = [at("wrong"), at("made_up")]
    listening = Listening(wanted, Rig().around, lambda: False, {"wrong": wrong, "made_up": made_up})
    await listening.look()
    assert [door["state"] for door in listening.status()] == ["failed", "on"]
    assert listening.problems() == ["wrong: ValueError: a bug"]
    await listening.stop()


async def test_closing_one_door_while_the_log_is_away_keeps_nobody_waiting() -> None:
    rig = Rig()
    exist = False
    listening = Listening([at("made_up")], rig.around, lambda: exist, {"made_up": made_up})
    await listening.look()
    server = listening._doors[0].server
    assert isinstance(server, TcpServer)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    rig.log.is_away = True
    writer.write(b"acme 1 one\n")
    await until(lambda: rig.log.tries > 0)
    exist = True
    async with asyncio.timeout(5):
        await listening.look()
    assert listening.status()[0]["state"] == "off"
    rig.log.is_away = False
    assert await reader.read() == b"1\n"
    writer.close()
    await writer.wait_closed()
    await listening.stop()
