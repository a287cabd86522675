"""The listener's sockets over loopback: nothing is read that the log does not take, and nothing that was read is
lost."""

from __future__ import annotations

import asyncio
import json
import logging.handlers
import socket

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.intake.formats.gelf_chunks import MAGIC
from ess_ray.intake.listening import gelf, syslog
from ess_ray.intake.listening.udp import UdpServer
from ess_ray.limits import SocketLimits
from tests.listening import QUICK, Rig, at, until
from tests.listening_sockets import connect, opened, send


def datagrams(server: UdpServer, *contents: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for content in contents:
            udp.sendto(content, ("127.0.0.1", server.port))


async def test_syslog_over_tcp_in_both_framings() -> None:
    rig = Rig()
    async with opened(syslog.tcp(at("syslog_tcp", tenant="acme"), rig.around)) as server:
        await send(server, b"<13>one\n8 <14>two\n<15>three")
        rows = await rig.stored(3)
    assert sorted(row["message"] for row in rows) == ["one", "three", "two"]
    assert {(row["tenant"], row["attributes"]["source.ip"]) for row in rows} == {("acme", "127.0.0.1")}
    assert server.meter.figures()["connections_total"] == 1
    assert server.meter.open_connections == 0


async def test_syslog_over_udp_with_pythons_handler() -> None:
    rig = Rig()
    async with opened(syslog.udp(at("syslog_udp"), rig.around)) as server:
        handler = logging.handlers.SysLogHandler(("127.0.0.1", server.port))
        handler.emit(logging.makeLogRecord({"msg": "two\nlines", "levelno": 40, "levelname": "ERROR"}))
        handler.close()
        (row,) = await rig.stored(1)
    assert (row["message"], row["level"], row["tenant"]) == ("two\nlines", "ERROR", "default")


async def test_a_burst_of_datagrams_is_taken_or_counted() -> None:
    rig, count = Rig(), 5_000
    async with opened(syslog.udp(at("syslog_udp"), rig.around)) as server:
        datagrams(server, *(b"<13>%d" % number for number in range(count)))
        await until(lambda: server.look() or server.meter.events + server.meter.udp_drops == count)
    assert len(set(await rig.messages())) == server.meter.events


async def test_datagrams_that_came_before_the_end_are_stored() -> None:
    rig = Rig()
    rig.log.is_away = True
    server = syslog.udp(at("syslog_udp"), rig.around)
    await server.start()
    datagrams(server, *(b"<13>%d" % number for number in range(500)))  # type: ignore[arg-type]
    stopping = asyncio.create_task(server.stop())
    await until(lambda: rig.log.tries > 1)
    rig.log.is_away = False
    await stopping
    assert len(await rig.messages()) == 500


async def test_waiting_datagrams_are_bounded_and_what_is_lost_is_counted() -> None:
    limits = SocketLimits(udp_buffer_bytes=4_096, udp_waiting_bytes=20_000, udp_batch_bytes=10_000)
    rig, count = Rig(limits), 2_000
    rig.log.is_away = True
    async with opened(syslog.udp(at("syslog_udp"), rig.around)) as server:
        for number in range(count):
            datagrams(server, b"<13>%d" % number)
            if number % 50 == 0:
                await asyncio.sleep(0)
        server.look()
        assert server.meter.udp_drops > 0
        rig.log.is_away = False
        await until(lambda: server.look() or server.meter.events + server.meter.udp_drops == count)


async def test_a_log_that_is_away_holds_senders_up_and_loses_nothing() -> None:
    rig = Rig()
    rig.log.is_away = True
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        lines = [b"<13>%d %s\n" % (number, b"x" * 1_000) for number in range(20_000)]
        sending = asyncio.create_task(send(server, b"".join(lines)))
        await until(lambda: rig.log.tries > 3)
        read = server.meter.bytes
        assert read <= QUICK.read_bytes, "no more is read while what was read is not durable"
        assert not sending.done(), "the sender is held up"
        rig.log.is_away = False
        await sending
        await until(lambda: server.meter.events == len(lines))
    assert len(set(await rig.messages())) == len(lines)
    assert rig.gatherer.gate.held_bytes == 0


async def test_an_answer_that_the_log_lost_is_asked_for_again_under_the_same_key() -> None:
    rig = Rig()
    rig.log.lose_answers = 2
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        await send(server, b"<13>once\n")
        await rig.stored(1)
    records = [each for vnode in range(4) for each in (await rig.log.read(vnode, 0, 1 << 30)).records]
    assert len(records) == 3
    assert len({dict(record.headers)["idempotency-key"] for record in records}) == 1
    assert len({record.value for record in records}) == 1, "which the writer stores once"


async def test_the_end_drains_what_senders_take_for_delivered() -> None:
    rig = Rig()
    server = syslog.tcp(at("syslog_tcp"), rig.around)
    await server.start()
    reader, writer = await connect(server)  # type: ignore[arg-type]
    rig.log.is_away = True
    writer.write(b"<13>first\n")
    await until(lambda: rig.log.tries > 0)
    writer.write(b"".join(b"<13>%d\n" % number for number in range(1_000)))
    await writer.drain()
    stopping = asyncio.create_task(server.stop())
    assert await reader.read() == b"", "the sender is told that this is the end"
    writer.write(b"<13>last\n")
    await writer.drain()
    rig.log.is_away = False
    await stopping
    writer.close()
    await writer.wait_closed()
    messages = await rig.messages()
    assert len(messages) == 1_002
    assert "last" in messages


async def test_an_end_without_a_log_ends_all_the_same_and_counts_the_loss() -> None:
    rig = Rig()
    rig.log.is_away = True
    server = syslog.tcp(at("syslog_tcp"), rig.around)
    await server.start()
    sending = asyncio.create_task(send(server, b"<13>lost\n"))  # type: ignore[arg-type]
    await until(lambda: rig.log.tries > 0)
    rig.sink.give_up()
    await server.stop()
    await sending
    assert server.meter.rejected == {"ended": 1}
    assert rig.gatherer.gate.held_bytes == 0


async def test_a_nonsensical_count_closes_the_connection_behind_what_came_before() -> None:
    rig = Rig()
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        reader, writer = await connect(server)
        writer.write(b"<13>before\n99999999999 <13>x\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert server.meter.rejected == {"framing": 1}
    assert await rig.messages() == ["before"]


async def test_connections_have_limits_in_all_and_for_each_peer() -> None:
    rig = Rig(SocketLimits(max_connections=10, max_connections_per_peer=2, quiet_s=0.05))
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        taken = [await connect(server) for _ in range(2)]
        await until(lambda: server.meter.open_connections == 2)
        reader, writer = await connect(server)
        assert await reader.read() == b"", "one too many is closed at once"
        assert server.meter.rejected == {"connections": 1}
        for _, each in [*taken, (reader, writer)]:
            each.close()
            await each.wait_closed()
        await until(lambda: server.meter.open_connections == 0)
        await send(server, b"<13>room again\n")
        await rig.stored(1)


async def test_frames_that_never_end_have_limits() -> None:
    rig = Rig(SocketLimits(max_partial_bytes_per_peer=50_000, quiet_s=0.05))
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        reader, writer = await connect(server)
        writer.write(b"<13>" + b"x" * 100_000)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert server.meter.rejected == {"partial": 1}
        (row,) = await rig.stored(1)
        assert len(row["message"]) > 40_000, "what was there of it counts"


async def test_a_frame_that_does_not_go_on_counts_as_it_is() -> None:
    rig = Rig(SocketLimits(partial_s=0.05))
    async with opened(syslog.tcp(at("syslog_tcp"), rig.around)) as server:
        reader, writer = await connect(server)
        writer.write(b"<13>unfinished")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert await rig.messages() == ["unfinished"]


async def test_a_full_gate_holds_senders_up() -> None:
    rig = Rig(most_held_bytes=2_000_000)
    async with opened(syslog.tcp(at("syslog_tcp", tenant="acme"), rig.around)) as server:
        held = rig.gatherer.gate.claim("acme")
        held.hold(1_000_000)
        sending = asyncio.create_task(send(server, b"".join(b"<13>%d %s\n" % (n, b"x" * 500) for n in range(2_000))))
        await until(lambda: server.meter.bytes > 0)
        held.close()
        await sending
        await until(lambda: server.meter.events == 2_000)
    assert rig.gatherer.gate.held_bytes == 0


async def test_gelf_over_tcp() -> None:
    rig = Rig()
    async with opened(gelf.tcp(at("gelf_tcp"), rig.around)) as server:
        await send(server, b'{"short_message":"a"}\0{"short_message":"b","_x":1}\0no gelf\0')
        rows = await rig.stored(2)
        await until(lambda: server.meter.rejected == {"other": 1})
    assert sorted(row["message"] for row in rows) == ["a", "b"]


async def test_gelf_over_udp_whole_and_in_chunks() -> None:
    rig = Rig()
    async with opened(gelf.udp(at("gelf_udp"), rig.around)) as server:
        message = json.dumps({"short_message": "x" * 50}).encode()
        parts = [message[:20], message[20:40], message[40:]]
        chunks = [MAGIC + b"12345678" + bytes([number, 3]) + part for number, part in enumerate(parts)]
        datagrams(server, chunks[2], b'{"short_message":"whole"}', chunks[0], chunks[1], MAGIC + b"bad")
        rows = await rig.stored(2)
        await until(lambda: server.meter.rejected == {"chunks_malformed": 1})
    assert sorted(row["message"] for row in rows) == ["whole", "x" * 50]


def test_a_time_zone_that_is_none_is_told() -> None:
    with pytest.raises(BadRequest, match="Nowhere"):
        syslog.tcp(at("syslog_tcp", time_zone="Mars/Nowhere"), Rig().around)
