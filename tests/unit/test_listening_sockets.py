"""The listener's sockets over loopback: nothing is read that the log does not take, and nothing that was read is
lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging.handlers
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.intake.formats.gelf_chunks import MAGIC
from ess_ray.intake.listening import gelf, syslog
from ess_ray.intake.listening.tcp import TcpServer
from ess_ray.intake.listening.udp import UdpServer
from ess_ray.limits import SocketLimits
from tests.listening import QUICK, Rig, at, until


@asynccontextmanager
async def opened(server: Any) -> AsyncIterator[Any]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def connect(server: TcpServer, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port, **more)


async def send(server: TcpServer, data: bytes) -> None:
    _, writer = await connect(server)
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


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


# ---------------------------------------------------------------------------------------------------------------- TLS
@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def trusting(folder: Path, name: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / f"{name}.crt"))
    context.maximum_version = newest
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_syslog_over_tls_loses_nothing_of_who_sends_and_closes(
    certificates: Path, newest: ssl.TLSVersion
) -> None:
    rig = Rig()
    files = {"cert_file": str(certificates / "one.crt"), "key_file": str(certificates / "one.key")}
    async with opened(syslog.tls(at("syslog_tls", **files), rig.around)) as server:
        for number in range(5):
            raw = socket.create_connection(("127.0.0.1", server.port))
            raw.setblocking(True)

            def talk(raw: socket.socket = raw, number: int = number) -> None:
                with trusting(certificates, "one", newest).wrap_socket(raw, server_hostname="127.0.0.1") as tls:
                    tls.sendall(b"9 <13>tls %d" % number)

            await asyncio.to_thread(talk)
        await rig.stored(5)
    assert await rig.messages() == [f"tls {number}" for number in range(5)]


async def test_a_certificate_that_changes_is_read_again(certificates: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"

    def put(name: str) -> None:
        cert.write_bytes((certificates / f"{name}.crt").read_bytes())
        key.write_bytes((certificates / f"{name}.key").read_bytes())

    put("one")
    server = syslog.tls(at("syslog_tls", cert_file=str(cert), key_file=str(key)), Rig().around)
    async with opened(server):
        put("two")
        server.look()
        _, writer = await connect(server, ssl=trusting(certificates, "two"))  # type: ignore[arg-type]
        writer.close()
        await writer.wait_closed()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and clients that it vouches for: by a DNS name, by a common name alone, and one unknown to us."""
    folder = tmp_path_factory.mktemp("clients")
    for name, names in (("ca", ""), ("web", "DNS:Web-1.example.com"), ("common", ""), ("print", ""), ("other", "")):
        issuer = [] if name == "ca" else ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key")]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        more = ["-addext", f"subjectAltName={names}"] if names else []
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *issuer, *files, *more]
        subprocess.run([*command, "-subj", f"/O=test/CN={name}"], check=True, capture_output=True)
    return folder


def showing(certificates: Path, clients: Path, name: str) -> ssl.SSLContext:
    context = trusting(certificates, "one", ssl.TLSVersion.TLSv1_2)  # in which a refusal is part of the handshake
    context.load_cert_chain(clients / f"{name}.crt", clients / f"{name}.key")
    return context


def fingerprint(file: Path) -> str:
    told = subprocess.run(
        ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True
    )
    return told.stdout.decode().strip().partition("=")[2]


def mutual(certificates: Path, authority: Path, *tenants: tuple[str, str], tenant: str | None = None) -> Any:
    files = {"cert_file": str(certificates / "one.crt"), "key_file": str(certificates / "one.key")}
    return at("syslog_tls", **files, client_ca_file=str(authority), client_tenants=tenants, tenant=tenant)


async def say(server: TcpServer, context: ssl.SSLContext, message: str) -> None:
    reader, writer = await connect(server, ssl=context)
    writer.write(f"{len(message)} {message}".encode())
    await asyncio.wait_for(reader.read(), 10) if server.meter.rejected else await writer.drain()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("otherwise", [None, "acme"])
async def test_a_clients_certificate_tells_whose_its_events_are(
    certificates: Path, clients: Path, otherwise: str | None
) -> None:
    rig = Rig()
    told = (("web-1.EXAMPLE.com", "web"), ("common", "ops"), (fingerprint(clients / "print.crt"), "vault"))
    settings = mutual(certificates, clients / "ca.crt", *told, tenant=otherwise)
    assert settings.asks
    async with opened(syslog.tls(settings, rig.around)) as server:
        for name in ("web", "common", "print"):
            await say(server, showing(certificates, clients, name), name)
        await rig.stored(3)
        if otherwise is None:
            with contextlib.suppress(ConnectionError):
                await say(server, showing(certificates, clients, "other"), "other")
            await until(lambda: server.meter.rejected == {"certificate": 1})
        else:
            await say(server, showing(certificates, clients, "other"), "other")
            await rig.stored(4)
    expected = {"web": "web", "common": "ops", "print": "vault"} | ({"other": otherwise} if otherwise else {})
    assert {row["message"]: row["tenant"] for row in await rig.rows()} == expected


async def test_an_authority_that_changes_is_read_again_and_one_that_is_gone_vouches_no_more(
    certificates: Path, clients: Path, tmp_path: Path
) -> None:
    rig, authority = Rig(), tmp_path / "ca"
    authority.write_bytes((clients / "ca.crt").read_bytes())
    async with opened(syslog.tls(mutual(certificates, authority, tenant="acme"), rig.around)) as server:
        await say(server, showing(certificates, clients, "web"), "before")
        await rig.stored(1)
        authority.write_text("no certificate")
        server.look()
        await say(server, showing(certificates, clients, "web"), "the old one stays")
        await rig.stored(2)
        authority.write_bytes((certificates / "two.crt").read_bytes())
        server.look()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await say(server, showing(certificates, clients, "web"), "never")
        context = trusting(certificates, "one", ssl.TLSVersion.TLSv1_2)
        context.load_cert_chain(certificates / "two.crt", certificates / "two.key")
        await say(server, context, "after")
        await rig.stored(3)
    assert await rig.messages() == ["after", "before", "the old one stays"]


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cert_file"):
        syslog.tls(at("syslog_tls"), Rig().around)
    with pytest.raises(BadRequest, match="cannot be used"):
        syslog.tls(at("syslog_tls", cert_file=str(tmp_path / "x"), key_file=str(tmp_path / "y")), Rig().around)


def test_a_time_zone_that_is_none_is_told() -> None:
    with pytest.raises(BadRequest, match="Nowhere"):
        syslog.tcp(at("syslog_tcp", time_zone="Mars/Nowhere"), Rig().around)
