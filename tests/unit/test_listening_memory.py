"""What the listener holds of many connections that bring half of something: counted in one gate, little beside it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from ess_ray.intake.forward_limits import ForwardLimits
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.listening import gelf, syslog
from ess_ray.intake.storing import Storing
from ess_ray.intake.wire import Wire
from ess_ray.limits import SocketLimits
from ess_ray.testing import MemoryLog
from tests.listening import QUICK, Rig, at, until

HALVES = {
    "syslog_tcp": (syslog.tcp, b"400000 <13>" + b"x" * 100_000),
    "gelf_tcp": (gelf.tcp, b'{"version":"1.1","short_message":"' + b"x" * 100_000),
}


@asynccontextmanager
async def opened(server: Any) -> AsyncIterator[Any]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def half(port: int, data: bytes) -> socket.socket:
    """Send data of a connection that stays."""
    made = socket.socket()
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", port))
    await loop.sock_sendall(made, data)
    return made


@pytest.mark.parametrize("protocol", HALVES)
async def test_half_frames_count_in_the_gate_of_the_process_until_their_connections_end(protocol: str) -> None:
    make, data = HALVES[protocol]
    rig = Rig()
    gate = rig.gatherer.gate
    async with opened(make(at(protocol, tenant="acme"), rig.around)) as server:
        peers = [await half(server.port, data) for _ in range(5)]
        await until(lambda: gate.held_bytes >= 5 * 100_000)
        assert gate.held_bytes <= 5 * len(data)
        for peer in peers:
            peer.close()
        await until(lambda: gate.held_bytes == 0)


async def test_a_half_frame_waits_for_room_in_the_gate_and_is_stored_once_there_is() -> None:
    rig = Rig(most_held_bytes=1_000_000)
    others = [rig.gatherer.gate.claim(tenant) for tenant in "abc"]
    for claim, held_bytes in zip(others, (300_000, 300_000, 200_000), strict=True):
        claim.hold(held_bytes)
    async with opened(syslog.tcp(at("syslog_tcp", tenant="acme"), rig.around)) as server:
        with closing(await half(server.port, b"200000 <13>" + b"x" * 150_000)) as peer:
            await until(lambda: server.meter.bytes > 0)
            assert rig.gatherer.gate.held_bytes < 900_000
            for claim in others:
                claim.close()
            await asyncio.get_running_loop().sock_sendall(peer, b"x" * 50_000)
            ((row,)) = await rig.stored(1)
            assert len(row["message"]) > 190_000


async def test_a_half_frame_that_finds_no_room_for_long_is_given_up() -> None:
    rig = Rig(SocketLimits(room_s=0.1, quiet_s=0.05), most_held_bytes=200_000)
    others = rig.gatherer.gate.claim("acme")
    others.hold(100_000)
    async with opened(syslog.tcp(at("syslog_tcp", tenant="acme"), rig.around)) as server:
        with closing(await half(server.port, b"200000 <13>" + b"x" * 90_000)):
            await until(lambda: server.meter.rejected["partial"] == 1)
            others.close()
            assert len(await rig.stored(1)) == 1, "what there is of it counts"
    assert rig.gatherer.gate.held_bytes == 0


async def test_of_a_connection_that_nobody_reads_little_is_held_beside_the_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log hangs: asyncio's own streams would hold up to 384 KiB of each connection."""
    made: list[asyncio.StreamReader] = []
    reader = asyncio.StreamReader

    def kept(**given: Any) -> asyncio.StreamReader:
        made.append(reader(**given))
        return made[-1]

    monkeypatch.setattr(asyncio, "StreamReader", kept)
    rig = Rig()
    rig.log.hangs = True
    async with opened(syslog.tcp(at("syslog_tcp", tenant="acme"), rig.around)) as server:
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.setblocking(False)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, b"<13>x\n" * 1_000_000))
        await until(lambda: len(made) == 1)
        (stream,) = made
        await until(lambda: len(stream._buffer) > 0)  # type: ignore[attr-defined]
        for _ in range(50):
            await asyncio.sleep(0)
            assert len(stream._buffer) <= QUICK.read_bytes  # type: ignore[attr-defined]
        sending.cancel()
        await asyncio.wait([sending])
        peer.close()
        rig.sink.give_up()


async def test_a_wire_reads_nothing_that_nobody_wants_to_take() -> None:
    wires: list[Wire] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Wire(wires.append, 1_000), "127.0.0.1", 0)
    with closing(await half(server.sockets[0].getsockname()[1], b"x" * 10_000)):
        await until(lambda: bool(wires))
        assert len(await wires[0].take(5.0)) == 1_000
        for _ in range(50):
            await asyncio.sleep(0)
        assert not wires[0]._backlog
        rest = b""
        while len(rest) < 9_000:
            rest += await wires[0].take(5.0)
        wires[0].abort()
    server.close()


async def test_half_forward_messages_count_in_the_gate_and_nothing_is_read_ahead() -> None:
    async def nobody(*_: object) -> None:
        return None

    gatherer = Gatherer(MemoryLog(2), gate=Gate(10_000_000))
    server = ForwardServer(storing=Storing(gatherer, nobody), tenant="acme", limits=ForwardLimits())
    await server.serve("127.0.0.1", 0)
    beginning = b"\x92\xa1t\xc6" + (400_000).to_bytes(4, "big") + b"x" * 300_000
    peers = [await half(server.ports[0], beginning) for _ in range(4)]
    await until(lambda: gatherer.gate.held_bytes >= 4 * 300_000)
    for peer in peers:
        peer.close()
    await until(lambda: gatherer.gate.held_bytes == 0)
    await server.drain(hang_up_s=0.0)
