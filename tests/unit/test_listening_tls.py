"""Syslog over TLS: certificates of ours and of clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.intake.listening import syslog
from ess_ray.intake.listening.tcp import TcpServer
from tests.listening import Rig, at, until
from tests.listening_sockets import connect, opened


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


async def test_a_changed_certificate_that_cannot_be_read_is_told_until_it_can(
    certificates: Path, tmp_path: Path
) -> None:
    """A bad sector, or rights: a file that becomes readable again has the time of before."""
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes((certificates / "one.crt").read_bytes())
    key.write_bytes((certificates / "one.key").read_bytes())
    server = syslog.tls(at("syslog_tls", cert_file=str(cert), key_file=str(key)), Rig().around)
    async with opened(server):
        assert server.look() is None
        os.utime(cert, ns=(1, 1))
        key.rename(tmp_path / "away")
        for _ in range(2):
            assert f"{cert} cannot be used, the old one stays" in str(server.look())
        _, writer = await connect(server, ssl=trusting(certificates, "one"))  # type: ignore[arg-type]
        writer.close()
        await writer.wait_closed()
        found = cert.stat().st_mtime_ns
        (tmp_path / "away").rename(key)
        assert cert.stat().st_mtime_ns == found
        assert (server.look(), server.look()) == (None, None)


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
