"""The section `listeners`, and what status and doctor tell of it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from deployments.main import check_ports
from ess_ray.cli.condition import lines_of
from ess_ray.cli.listener_checks import listener_checks
from ess_ray.cli.port_checks import Listener
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.intake.listening.table import PROTOCOLS
from ess_ray.limits import ListenAt
from ess_ray.runtime.environment import free_ports
from ess_ray.settings import Settings, load
from ess_ray.settings.listeners import USUAL_PORTS


def wanted(settings: Settings) -> dict[str, ListenAt]:
    return {each.protocol: each for each in settings.listeners.wanted}


ON: dict[str, Any] = {
    "node": "a",
    "protocol": "syslog_tcp",
    "transport": "tcp",
    "host": "127.0.0.1",
    "port": 5514,
    "tenant": "default",
    "state": "on",
    "why": "",
    "connections": 3,
    "connections_total": 9,
    "events": 1_234,
    "bytes": 5_000,
    "rejected": {"framing": 2},
    "frames_cut": 0,
    "udp_drops": 0,
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_usual_ports_on_loopback() -> None:
    told = wanted(load())
    assert {name: each.port for name, each in told.items()} == {
        name: port for name, port in USUAL_PORTS.items() if name != "syslog_tls"
    }, "TLS needs a certificate"
    assert {(each.host, each.is_explicit, each.tenant) for each in told.values()} == {("127.0.0.1", False, None)}


def test_every_protocol_has_settings_and_every_setting_a_protocol() -> None:
    assert set(USUAL_PORTS) == set(PROTOCOLS)


def test_each_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESS_LISTENERS__SYSLOG_TCP__PORT", "5514")
    monkeypatch.setenv("ESS_LISTENERS__SYSLOG_TCP__TENANT", "acme")
    monkeypatch.setenv("ESS_LISTENERS__GELF_UDP__ENABLED", "false")
    monkeypatch.setenv("ESS_LISTENERS__HOST", "0.0.0.0")
    monkeypatch.setenv("ESS_LISTENERS__MAX_CONNECTIONS", "7")
    tls = {"cert_file": "c", "key_file": "k", "time_zone": "Europe/Berlin", "host": "127.0.0.1"}
    settings = load(listeners={"syslog_tls": tls})
    told = wanted(settings)
    assert sorted(told) == ["forward", "gelf_tcp", "otlp_grpc", "syslog_tcp", "syslog_tls", "syslog_udp"]
    tcp = told["syslog_tcp"]
    assert (tcp.host, tcp.port, tcp.is_explicit, tcp.tenant) == ("0.0.0.0", 5514, True, "acme")
    assert (told["syslog_tls"].host, told["syslog_tls"].time_zone) == ("127.0.0.1", "Europe/Berlin")
    assert settings.listeners.limits.max_connections == 7


def test_the_tenants_of_clients_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESS_LISTENERS__SYSLOG_TLS__CLIENT_TENANTS", '{"web-1.example.com": "shop", "AB:CD": "vault"}')
    files = {"cert_file": "c", "key_file": "k", "client_ca_file": "ca"}
    told = wanted(load(listeners={"syslog_tls": files}))["syslog_tls"]
    assert told.client_tenants == (("web-1.example.com", "shop"), ("AB:CD", "vault"))
    assert (told.asks, told.tenants) == (True, ["shop", "vault"])


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"syslog_tcp": {"time_zone": "Mars/Nowhere"}}, "no time zone"),
        ({"syslog_tls": {"cert_file": "c"}}, "go together"),
        ({"syslog_tcp": {"tenant": "NOT A NAME"}}, "tenant"),
        ({"syslog_tcp": {"port": 0}}, "port"),
        ({"syslog": {"port": 1}}, "unknown"),
        ({"syslog_tls": {"cert_file": "c", "key_file": "k", "client_tenants": {"web": "shop"}}}, "client_ca_file"),
        ({"syslog_tls": {"client_ca_file": "c", "client_tenants": {"web": "NO NAME"}}}, "tenant"),
    ],
)
def test_what_is_wrong_is_told(section: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        load(listeners=section)


@pytest.mark.parametrize(("protocol", "kind"), [("syslog_tcp", socket.SOCK_STREAM), ("gelf_udp", socket.SOCK_DGRAM)])
def test_a_chosen_port_that_is_taken_is_an_error_before_anything_starts(protocol: str, kind: socket.SocketKind) -> None:
    http = {"port": free_ports(1)[0]}
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"{port}.*listeners.{protocol}.port"):
            check_ports(load(http=http, listeners={protocol: {"port": port}}))
    check_ports(load(http=http, listeners={protocol: {"port": port}}))


def test_the_status_tells_of_each() -> None:
    off = {**ON, "protocol": "gelf_udp", "transport": "udp", "state": "off", "why": "port 12201 is taken"}
    dropped = {**ON, "protocol": "syslog_udp", "transport": "udp", "rejected": {}, "udp_drops": 17}
    lines = [text for name, text in lines_of("u", {"listeners": [ON, off, dropped]}, ()) if name == "listener"]
    assert lines == [
        "syslog_tcp on 127.0.0.1:5514: 3 connections, 1,234 events, 5.0 kB; not taken: 2 framing",
        "gelf_udp on 127.0.0.1:5514: off, port 12201 is taken",
        "syslog_udp on 127.0.0.1:5514: 1,234 events, 5.0 kB; not taken: 17 datagrams dropped by the kernel",
    ]


def test_doctor_tells_of_each_and_what_to_do() -> None:
    taken = {**ON, "state": "off", "why": "port 5514 of 127.0.0.1 cannot be used"}
    keys = {**ON, "state": "off", "why": "keys exist"}
    broken = {**ON, "state": "failed", "why": "the certificate cannot be used"}
    old = {**ON, "why": "the changed certificate x cannot be used, the old one stays"}
    found = list(listener_checks([ON, taken, keys, broken, old]))
    assert [check.state for check in found] == ["ok", "warning", "warning", "failed", "warning"]
    assert "certificate x" in found[4].found
    assert "listeners.syslog_tcp.port" in found[1].advice
    assert "listeners.syslog_tcp.tenant" in found[2].advice
    assert "correct listeners.syslog_tcp" in found[3].advice


def test_doctor_knows_the_listeners_process() -> None:
    assert "no key" in Listener("0.0.0.0", 5514, 9, "ray::ListenerActor").check().advice
